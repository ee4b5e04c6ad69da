"""Progress on standard error: a bar with the time left, silent where nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from simulator.cli.terminal import console

if TYPE_CHECKING:
    from simulator.results.record import Progress

__all__ = ["progress"]


@contextmanager
def progress() -> Iterator[Callable[[Progress], None] | None]:
    """What to call with each `Progress`; None where standard error is not a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[count]}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("left"),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("starting", total=1.0, count="")

        def report(now: Progress) -> None:
            done = (now.point + now.share) / max(now.points, 1)
            count = f"point {min(now.point + 1, now.points)}/{now.points}"
            bar.update(task, completed=done, description=now.label, count=count)

        yield report
