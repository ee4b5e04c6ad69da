"""`scratchpipe timeline`: the spans of a run as Trace Event JSON for Perfetto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.report.rundir import RunDir

__all__ = ["timeline"]


def timeline(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default RUN_DIR/timeline.json.")
    ] = None,
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point", metavar="POINT", help="Label of a system or start of a key; repeatable."
        ),
    ] = None,
) -> None:
    """Write the timeline of a run as Trace Event JSON.

    Tracks: each stage, and each device by stage; arrows follow a mini-batch; counters show
    bandwidth and the scratchpad's rows in use. Opens in ui.perfetto.dev and chrome://tracing.
    """
    from simulator.cli.writing import write_file
    from simulator.report.rundir import read_run
    from simulator.report.trace_events import trace_events

    run = read_run(run_dir)
    chosen = _chosen(run, points or [])
    target = out or run_dir / "timeline.json"
    document = trace_events(run, chosen)
    write_file(target, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
    events = len(document["traceEvents"])
    typer.echo(f"{target}: {len(chosen)} points, {events:,} events")
    typer.echo("Next:\n  open https://ui.perfetto.dev and drop the file there")


def _chosen(run: RunDir, wanted: list[str]) -> list[str]:
    """Keys of the points that have a timeline and are asked for."""
    from simulator.errors import UsageError

    if run.timeline.empty:
        raise UsageError(f"{run.folder} holds no timeline")
    rows = list(zip(run.metrics["point"], run.metrics["label"], strict=True))
    for text in wanted:
        if not any(_matches(text, key, label) for key, label in rows):
            known = ", ".join(dict.fromkeys(label for _, label in rows))
            raise UsageError(f"--point {text}: no such point; labels: {known}")
    found = [k for k, label in rows if not wanted or any(_matches(w, k, label) for w in wanted)]
    return list(dict.fromkeys(found))


def _matches(text: str, key: str, label: str) -> bool:
    return text == label or (len(text) >= 4 and key.startswith(text))
