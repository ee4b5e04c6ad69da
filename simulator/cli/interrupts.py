"""Ctrl-C and SIGTERM: what was kept, and how to go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

__all__ = ["Terminated", "ending_in_order", "hint_at_interrupt", "word_and_code"]


_SOON_S = 0.1


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a batch system sends it: ends a verb as Ctrl-C does."""


def word_and_code(interrupt: KeyboardInterrupt) -> tuple[str, int]:
    """What standard error says of an interrupt, and the exit code of the process."""
    if isinstance(interrupt, Terminated):
        return "terminated", 128 + signal.SIGTERM
    return "interrupted", 128 + signal.SIGINT


@contextmanager
def ending_in_order() -> Iterator[None]:
    """SIGTERM raises `Terminated` meanwhile, where nobody else has a use for it, and no interrupt
    is lost: one that comes while a compiler calls Python back comes once more."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    told, sys.unraisablehook = sys.unraisablehook, _interrupt_again
    try:
        yield
    finally:
        sys.unraisablehook = told
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised where nobody can catch it."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    number = signal.SIGTERM if issubclass(lost.exc_type, Terminated) else signal.SIGINT
    again = threading.Timer(_SOON_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _terminate(*_: Any) -> None:
    raise Terminated


@contextmanager
def hint_at_interrupt(points: Path) -> Iterator[None]:
    """After an interrupt: how many finished points the folder `points` keeps."""
    from simulator.results.finished import FinishedPoints

    try:
        yield
    except KeyboardInterrupt:
        kept = FinishedPoints(points).count()
        if kept:
            hint = f"{kept} finished points are kept in {points.parent}: the same command goes on"
            typer.echo(f"{hint} there", err=True)
        raise
