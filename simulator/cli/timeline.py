"""`scratchpipe timeline`: the spans of a run as Trace Event JSON for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.files import is_standard_output, write_file
from simulator.text import few

if TYPE_CHECKING:
    from simulator.results.reading import StoredRun
    from simulator.results.rows import Row

__all__ = ["timeline"]


def timeline(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default RUN_DIR/timeline.json.")
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="POINT",
            help="Label, locality, swept value (fraction=0.1), or several (label,fraction=0.1);"
            " or the start of a key; repeatable.",
        ),
    ] = None,
) -> None:
    """Write the timeline of a run as Trace Event JSON.

    Tracks: each stage, and each kind of resource by stage; arrows follow a mini-batch; counters
    show bandwidth and the scratchpad's rows in use. Opens in ui.perfetto.dev and chrome://tracing.
    """
    from simulator.results.reading import read_run
    from simulator.results.timeline import trace_events

    run = read_run(run_dir)
    numbers = _chosen(run, points or [])
    target = out or run_dir / "timeline.json"
    drawn = trace_events(run, numbers)
    text = json.dumps(drawn.document, separators=(",", ":"), allow_nan=False)
    write_file(target, f"{text}\n")
    events = len(drawn.document["traceEvents"])
    apart = is_standard_output(target)
    typer.echo(f"{target}: {drawn.points:,} points, {events:,} events", err=apart)
    if drawn.points < len(numbers):
        left = f"{len(numbers) - drawn.points:,} more points left out"
        typer.echo(f"{left}, for viewers take no longer files: --point picks others", err=apart)
    if drawn.cut:
        typer.echo("of long points the first mini-batches alone", err=apart)
    typer.echo("Next:\n  open https://ui.perfetto.dev and drop the file there", err=apart)


def _chosen(run: StoredRun, names: Sequence[str]) -> list[int]:
    """Numbers of the points that are asked for: all where no name is given."""
    from simulator.errors import UsageError

    if not run.has_timeline:
        raise UsageError(f"{run.folder} holds no timeline")
    points = [
        (row["point"], _names(row, swept))
        for row, swept in zip(run.metrics(), run.swept(), strict=True)
    ]
    for name in names:
        if not any(_matches(name, *point) for point in points):
            known = few(dict.fromkeys(known for _, words in points for known in words), 20)
            raise UsageError(f"--point {name}: no such point; there is {known}")
    return [
        number
        for number, point in enumerate(points)
        if not names or any(_matches(name, *point) for name in names)
    ]


def _names(metrics: Row, swept: Row) -> dict[str, None]:
    """What a point may be called: its label, its locality, its swept values by path or last key."""
    from simulator.config.point import short

    words = [str(metrics["label"]), str(metrics["locality"])]
    for path, value in swept.items():
        text = short(value)
        words += [f"{path.rpartition('.')[2]}={text}", f"{path}={text}"]
    return dict.fromkeys(words)


def _matches(name: str, key: str, words: Container[str]) -> bool:
    """Whether a point is called `name`, or all that `name` has between commas."""
    parts = [part.strip() for part in name.split(",")]
    said = (part in words or (len(part) >= 4 and key.startswith(part)) for part in parts)
    return name in words or all(said)
