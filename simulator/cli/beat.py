"""Signs of life of a verb that takes long: how far it is, and how much time is left.

A line on standard error after two seconds, then ever more rarely, whether a terminal or a file
takes it. A verb says how far it is with `at`; without it the line has the time so far alone.
`SCRATCHPIPE_PROGRESS=off` leaves standard error to messages.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from simulator._progress import watched

if TYPE_CHECKING:
    from simulator.results.record import Progress

__all__ = ["SWITCH", "Beat", "at", "at_point", "beating", "clock", "quiet"]

FIRST_S = 2.0
"""Seconds until the first line."""
SWITCH = "SCRATCHPIPE_PROGRESS"
_SLOWER = 1.6
"""Each pause over the one before."""
_LONGEST_S = 60.0


class Beat:
    """Writes the lines of one verb from a thread of its own."""

    def __init__(self, verb: str, write: Callable[[str], None]) -> None:
        self._verb, self._write = verb, write
        self._what, self._share = "", 0.0
        self._expected_s: float | None = None
        self._left: tuple[float, float] | None = None
        self._first: tuple[float, float] | None = None
        self._quiet, self._led = False, False
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Start to write."""
        self._thread.start()

    def end(self) -> None:
        """Write no more."""
        self._over.set()
        self._thread.join()

    def at(
        self,
        what: str,
        share: float = 0.0,
        expected_s: float | None = None,
        left_s: float | None = None,
    ) -> None:
        """What is being done, and the share of all that is done, 0 where that is not known;
        `expected_s`: seconds that all of it should take, told until a share is known; `left_s`:
        seconds left, of a verb that knows better than the speed so far says."""
        self._led = True
        self._say(what, share, expected_s)
        self._left = None if left_s is None else (time.monotonic() - self._began, left_s)

    def inside(self, what: str, share: float = 0.0) -> None:
        """What a part of the work says: told unless the verb says how far all of it is."""
        if not self._led:
            self._say(what, share)

    def _say(self, what: str, share: float, expected_s: float | None = None) -> None:
        self._what, self._share, self._expected_s = what, share, expected_s
        if share > 0.0 and self._first is None:
            self._first = (time.monotonic() - self._began, share)

    def silence(self, quiet: bool) -> None:
        """Whether something else shows how far it is."""
        self._quiet = quiet

    def line(self, elapsed_s: float) -> str:
        """What stands on standard error after `elapsed_s` seconds."""
        texts = [self._what, f"{clock(elapsed_s)} so far"]
        if 0.0 < self._share < 1.0:
            left = self._left_s(elapsed_s)
            texts[1:1] = [f"{self._share:.0%}"]
            texts.append(f"{clock(left)} left")
        elif self._share == 0.0 and self._expected_s is not None:
            texts.append(f"about {clock(max(1.0, self._expected_s - elapsed_s))} left")
        return f"{self._verb}: {', '.join(filter(None, texts))}"

    def _left_s(self, elapsed_s: float) -> float:
        """Seconds left: as the verb said, or at the speed since the first share was told: what came
        before compiled and opened."""
        if self._left is not None:
            then, left_s = self._left
            return max(left_s - max(elapsed_s - then, 0.0), 1.0)
        began, before = self._first or (0.0, 0.0)
        if self._share <= before:
            began = before = 0.0
        return (elapsed_s - began) * (1.0 - self._share) / (self._share - before)

    def _run(self) -> None:
        pause = FIRST_S
        while not self._over.wait(pause):
            if not self._quiet:
                self._write(self.line(time.monotonic() - self._began))
            pause = min(_SLOWER * pause, _LONGEST_S)


_beats: list[Beat] = []
"""Of the verb under way: none, or one."""


@contextmanager
def beating(verb: str) -> Iterator[None]:
    """Signs of life of `verb` meanwhile, unless they are switched off."""
    if os.environ.get(SWITCH, "").lower() in ("off", "no", "0"):
        yield
        return
    stream = sys.stderr
    beat = Beat(verb, lambda text: typer.echo(text, file=stream))
    _beats.append(beat)
    beat.begin()
    try:
        with watched(beat.inside):
            yield
    finally:
        _beats.remove(beat)
        beat.end()


@contextmanager
def quiet() -> Iterator[None]:
    """No lines meanwhile: something else shows how far the verb is."""
    for beat in _beats:
        beat.silence(True)
    try:
        yield
    finally:
        for beat in _beats:
            beat.silence(False)


def at(
    what: str, share: float = 0.0, expected_s: float | None = None, left_s: float | None = None
) -> None:
    """Say how far the verb under way is; see `Beat.at`."""
    for beat in _beats[-1:]:
        beat.at(what, share, expected_s, left_s)


def at_point(now: Progress) -> None:
    """Say how far a simulation of several points is."""
    count = f"point {min(now.point + 1, now.points)}/{now.points}"
    at(f"{count}, {now.label}", (now.point + now.share) / max(1, now.points))


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: 0:01:30."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
