"""`scratchpipe observe`: really train an experiment on this machine, and time it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.numbers import MOST_REPEATS
from simulator.cli.options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.observe.run import Observation
    from simulator.results.record import Progress

__all__ = ["observe"]


def observe(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory; by default observed/NAME.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda; by default the GPU where there is one.")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, max=MOST_REPEATS, help="Runs of each point, for the spread.")
    ] = 2,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the observation that DIR holds.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print observed.json and nothing else.")
    ] = False,
) -> None:
    """Really train an experiment on this machine: times of stages and iterations, and counts.

    Needs PyTorch (`python -m pip install 'scratchpipe-sim[lab]'`). Tables take memory for real.
    Files are written after every point: what was measured stays where a later one fails.
    """
    from simulator.engine import load_experiment
    from simulator.errors import PointsFailedError
    from simulator.observe.record import require_free, summary, write
    from simulator.observe.run import observe as run

    loaded = load_experiment(experiment, overrides or [])
    folder = out or Path("observed") / loaded.name
    require_free(folder, replace)

    measured: list[Observation] = []

    def keep(seen: Observation) -> None:
        write(seen, folder)
        measured.append(seen)

    try:
        observation = run(loaded, device=device, repeats=repeats, progress=_tell, keep=keep)
    except KeyboardInterrupt:
        if measured:
            typer.echo(f"{len(measured[-1].points)} measured points are kept in {folder}", err=True)
        raise
    files = write(observation, folder)
    document = summary(observation)
    if as_json:
        typer.echo(json.dumps(document, allow_nan=False, indent=1))
    else:
        _show(document, files, folder)
    failed = [point for point in document["points"] if "error" in point]
    if failed:
        names = "; ".join(f"{p['label']} {p['sweep']}: {p['error']}" for p in failed)
        raise PointsFailedError(f"{len(failed)} of {len(document['points'])} points: {names}")


def _tell(now: Progress) -> None:
    """Which point is under way, on standard error."""
    typer.echo(f"point {now.point + 1}/{now.points}: {now.label}", err=True)


def _show(document: dict[str, Any], files: Sequence[Path], folder: Path) -> None:
    """A line a point, the files, and what to type next."""
    from rich.table import Table

    from simulator.cli.terminal import console

    machine = document["machine"]
    table = Table(title=f"Measured on {machine.get('gpu', 'CPU tensors')}", title_justify="left")
    for heading in ("system", "sweep", "iteration", "p10", "p90", "longest stage"):
        right = heading in ("iteration", "p10", "p90")
        table.add_column(heading, justify="right" if right else "left")
    for point in document["points"]:
        if "error" in point:
            continue
        keys = ("iteration_us", "iteration_p10_us", "iteration_p90_us")
        times = [f"{point[key] / 1e3:.3f} ms" for key in keys]
        stage = max(point["stages_us"], key=lambda name: point["stages_us"][name])
        longest = f"{stage} {point['stages_us'][stage] / 1e3:.3f} ms"
        table.add_row(point["label"], point["sweep"], *times, longest)
    console().print(table)
    typer.echo("Files:")
    for file in files:
        typer.echo(f"  {file}")
    command = shlex.join(["scratchpipe", "validate", str(folder)])
    typer.echo(f"Next:\n  {command}   # compare with the simulator")
