"""Progress on standard error: a live table with the time left, lines where no terminal shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from simulator.cli.beat import at, clock, quiet
from simulator.cli.terminal import console
from simulator.text import with_rest

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.config.experiment import Experiment
    from simulator.sweep.watch import SweepProgress

__all__ = ["announce", "announce_guesses", "sweep_progress"]

_MANY = 1_000
"""Points from which on looking at each takes a second or more."""

_NOT_COMPILED = (
    "note: NUMBA_DISABLE_JIT is set: nothing is compiled, and a run takes hundreds of times as long"
)
_MOST_NOTES = 12
_BAR = 24
"""Columns of a bar."""
_LABEL = 36


def announce(experiment: Experiment) -> None:
    """Signs on standard error that a run takes long: code that is not compiled, many points."""
    from simulator._compiled import PLAIN  # slow to import

    if PLAIN:
        typer.echo(_NOT_COMPILED, err=True)
    if experiment.origin.software:
        typer.echo(f"note: {experiment.origin.software}", err=True)
    count = len(experiment.systems) * math.prod(map(len, experiment.sweep.values()))
    if count >= _MANY:
        typer.echo(f"{experiment.name}: {count:,} points, checking each", err=True)


def announce_guesses(experiment: Experiment) -> None:
    """What is guessed about the files that the traces are read from, on standard error."""
    from simulator.config.expand import expand
    from simulator.traces.survey import notes_on

    rest = "the manifest of the run lists all"
    for line in with_rest(notes_on(expand(experiment)), _MOST_NOTES, rest):
        typer.echo(f"note: {line}", err=True)


@contextmanager
def sweep_progress() -> Iterator[Callable[[SweepProgress], None]]:
    """What to call with each `SweepProgress`."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield _beat
        return
    from rich.live import Live

    with quiet(), Live(console=screen, transient=True, refresh_per_second=8) as live:

        def report(now: SweepProgress) -> None:
            live.update(_picture(now))

        yield report


def _beat(now: SweepProgress) -> None:
    failed = f", {now.failed} failed" if now.failed else ""
    at(
        f"point {min(now.done + 1, now.points)}/{now.points}{failed}",
        now.share,
        now.left_s,
        now.left_s,
    )


def _picture(now: SweepProgress) -> Table:
    """One line for the whole, one for each task under way."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    failed = f", {now.failed} failed" if now.failed else ""
    count = f"point {min(now.done + 1, now.points)}/{now.points}{failed}"
    about = "" if now.share > 0.0 else "about "
    rate = f"{now.lookups_per_s / 1e6:.1f} M lookups/s"
    speed = f"{clock(now.elapsed_s)} elapsed, {about}{clock(now.left_s)} left, {rate}"
    table.add_row(count, ProgressBar(1.0, now.share, width=_BAR), speed)
    for task in now.running:
        label = task.label if len(task.label) <= _LABEL else f"{task.label[: _LABEL - 1]}…"
        points = f"{task.points} point" + ("s" if task.points != 1 else "")
        table.add_row(f"  {points}", ProgressBar(1.0, task.share, width=_BAR), label)
    return table
