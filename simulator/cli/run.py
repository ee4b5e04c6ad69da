"""`scratchpipe run`: simulate an experiment, show what came out, write it down."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment
    from simulator.results.record import Result


def run(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.yaml", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Change a key (a YAML value); repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory; by default runs/NAME-HASH."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the metrics rows as JSON and nothing else.")
    ] = False,
) -> None:
    """Simulate an experiment and write its results."""
    from simulator.cli.progress import progress
    from simulator.config.expand import expand
    from simulator.config.experiment import config_hash
    from simulator.engine import load_experiment, simulate
    from simulator.errors import InvariantError
    from simulator.results.manifest import manifest_of
    from simulator.results.store import check_target, write_run

    changes = overrides or []
    loaded = load_experiment(experiment, changes)
    folder = out or Path("runs") / f"{loaded.name}-{config_hash(expand(loaded))[:8]}"
    check_target(folder)
    started = time.perf_counter()
    with progress() as report:
        result = simulate(loaded, progress=report)
    wall_s = time.perf_counter() - started
    if not result.points:
        raise InvariantError("no point was simulated")
    files = write_run(result, manifest_of(loaded, result, wall_s, changes), folder)
    if as_json:
        typer.echo(json.dumps(result.metrics(), allow_nan=False, indent=1))
    else:
        _show(loaded, result, wall_s, files, experiment)


def _show(
    loaded: Experiment, result: Result, wall_s: float, files: Sequence[Path], source: Path
) -> None:
    """The tables, the files, and what to type next."""
    from simulator.cli.terminal import console

    screen = console()
    screen.print(result)
    timed = loaded.run.batches
    spent = f"{len(result)} points, {timed} timed mini-batches each, simulated in {wall_s:.1f} s"
    typer.echo(spent, err=True)
    typer.echo("Files:")
    for file in files:
        typer.echo(f"  {file}")
    typer.echo("Next:")
    typer.echo("  scratchpipe explain speedup_over_hybrid   # what a column means")
    typer.echo(f"  scratchpipe run {source} --set trace.locality=high   # change any key")
