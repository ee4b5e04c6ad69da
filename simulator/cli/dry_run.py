"""`scratchpipe run --dry-run`: what a sweep would do, without doing any of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment
    from simulator.sweep.runner import Workers

__all__ = ["show_dry_run"]


def show_dry_run(
    experiment: Experiment, folder: Path | None, workers: Workers, as_json: bool
) -> None:
    """Print points, tasks, replays, memory and time; `folder` may hold finished points."""
    from simulator._threads import cores
    from simulator.config.expand import expand
    from simulator.engine import check_points
    from simulator.results.finished import FinishedPoints
    from simulator.results.seeds import each_seed
    from simulator.results.store import POINTS
    from simulator.sweep.estimate import estimate
    from simulator.sweep.runner import plan

    store = FinishedPoints(folder / POINTS) if folder is not None else None
    points = tuple(one for point in expand(experiment) for one in each_seed(point))
    unchecked = check_points(points)
    planned = plan(points, workers, store)
    cost = estimate(
        [task.points for task in planned.tasks],
        workers=workers.each_machine,
        cores=cores(),
        shares=[task.shares for task in planned.tasks] if workers.here else (),
    )
    document = {
        "points": len(points),
        "finished_before": len(planned.known),
        "tasks": len(planned.tasks),
        "replays": cost.replays,
        "workers": workers.count,
        "memory_bytes": cost.bytes,
        "time_s": round(cost.seconds, 1),
        "not_checked": list(unchecked),
        "estimated_from": "a model of lookups per second and core; nothing was run or measured",
    }
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(f"points:   {len(points)}, of which {len(planned.known)} are finished already")
    typer.echo(f"tasks:    {len(planned.tasks)} on {workers.count} worker(s)")
    typer.echo(f"replays:  {cost.replays}, shared between points of one trace, policy and capacity")
    typer.echo(f"memory:   about {cost.bytes / 1e9:.1f} GB at most")
    typer.echo(f"time:     about {_duration(cost.seconds)}")
    for line in unchecked:
        typer.echo(f"not checked: {line}")
    typer.echo("Time and memory come from a model (lookups per second and core); nothing was run.")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
