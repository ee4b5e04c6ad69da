"""`scratchpipe run`: simulate an experiment, show what came out, write it down."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.interrupts import hint_at_interrupt
from simulator.cli.numbers import MOST_JOBS
from simulator.cli.options import ExperimentFile, Overrides
from simulator.text import on_one_line

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment
    from simulator.engine.replaying import Kept
    from simulator.sweep.run_directory import Finished
    from simulator.sweep.runner import Workers


MOST_FAILURES = 20
"""Failed points told one by one."""


def run(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory; by default runs/NAME-HASH."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics and devices as JSON and nothing else.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=0, max=MOST_JOBS, help="Local processes; 0: one for each core  [default: 1]"
        ),
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="local|dask", help="Where points are simulated.")
    ] = "local",
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler, such as tcp://host:8786."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Take points that DIR holds already, or redo them."
        ),
    ] = True,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Remove what DIR holds, of this or another experiment, and begin anew.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be simulated, and estimate the cost.")
    ] = False,
) -> None:
    """Simulate an experiment and write its results.

    A run that was interrupted goes on where it stopped when the same command is given again.
    Finished points in DIR stay; where DIR holds another experiment, --replace has to be given.
    """
    from simulator.cli.progress import announce, announce_guesses, sweep_progress
    from simulator.engine import load_experiment
    from simulator.engine.replaying import keeping
    from simulator.results.overruled import overruled
    from simulator.results.rows import nested
    from simulator.results.store import POINTS
    from simulator.sweep.ownership import require_owned
    from simulator.sweep.repeat import Source
    from simulator.sweep.run_directory import default_folder, run_experiment

    changes = tuple(overrides or ())
    _check(executor, scheduler, jobs)
    with _workers(executor, scheduler, jobs, at_once=not dry_run) as workers:
        loaded = load_experiment(experiment, changes)
        announce(loaded)
        announce_guesses(loaded)
        folder = out or default_folder(loaded)
        if dry_run:
            from simulator.cli.dry_run import show_dry_run

            if not replace:
                require_owned(folder, loaded)
            kept = folder if resume and not replace else None
            show_dry_run(loaded, kept, workers, as_json)
            return
        with keeping() as replays, hint_at_interrupt(folder / POINTS), sweep_progress() as report:
            finished = run_experiment(
                loaded,
                folder,
                workers=workers,
                resume=resume,
                replace=replace,
                source=Source(str(experiment), changes),
                progress=report,
            )
        if as_json:
            result = finished.sweep.result
            rows = nested(result.metrics(), result.devices(), result.loads(), result.checkpoints())
            typer.echo(json.dumps(rows, allow_nan=False, indent=1))
        else:
            _show(loaded, finished, experiment, replays)
        for line in overruled(finished.sweep.result):
            typer.echo(f"note: {line}", err=True)
    _tell_failures(finished)


def _check(executor: str, scheduler: str | None, jobs: int | None) -> None:
    from simulator.errors import UsageError

    if executor not in ("local", "dask"):
        raise UsageError(f"no executor {executor!r}: local or dask")
    if (executor == "dask") != (scheduler is not None):
        raise UsageError("--executor dask and --scheduler ADDRESS go together")
    if executor == "dask" and jobs is not None:
        raise UsageError("--jobs is for local processes; Dask's workers were started by you")


@contextmanager
def _workers(
    executor: str, scheduler: str | None, jobs: int | None, *, at_once: bool
) -> Iterator[Workers]:
    """The executor that the options name; `at_once`: its local processes, and where there is none
    the one that compiles, come into being now, while the experiment is read."""
    from simulator.engine.beside import compiling_beside
    from simulator.sweep.executors import dask_client, dask_workers
    from simulator.sweep.runner import Workers, local_workers

    if executor == "dask":
        with dask_client(scheduler or "") as client:
            everywhere, densest = dask_workers(client)
            yield Workers(client, everywhere, each_machine=densest, here=False)
    else:
        alone = jobs in (None, 1)
        beside = compiling_beside() if at_once and alone else nullcontext()
        with local_workers(1 if jobs is None else jobs, at_once=at_once) as workers, beside:
            yield workers


def _show(loaded: Experiment, finished: Finished, source: Path, kept: Kept) -> None:
    """The tables, the files, and what to type next."""
    from simulator.cli.curve import curves
    from simulator.cli.reading import reading
    from simulator.cli.terminal import console
    from simulator.results.limits import limits
    from simulator.results.store import POINTS

    screen = console()
    result = finished.sweep.result
    if result.points:
        screen.print(result)
    for line in curves(list(zip(result.metrics(), result.swept(), strict=True))):
        typer.echo(line)
    if held := limits(result.metrics()):
        typer.echo(held)
    for line in reading(finished, kept):
        typer.echo(line)
    typer.echo(_spent(loaded, finished), err=True)
    typer.echo("Files:")
    for file in finished.files:
        typer.echo(f"  {file}")
    if finished.others:
        typer.echo(
            f"{finished.others} more finished points stay in {finished.files[0].parent / POINTS}: "
            "of other sweeps or versions (--replace removes all)",
            err=True,
        )
    if not result.points:
        return
    typer.echo("Next:")
    again = shlex.join(["scratchpipe", "run", str(source), "--set", "trace.locality=high"])
    typer.echo("  scratchpipe explain speedup_over_hybrid   # what a column means")
    typer.echo(f"  {again}   # change any key")
    typer.echo(f"  {shlex.join(['scratchpipe', 'whatif', str(source)])}   # what would help")


def _spent(loaded: Experiment, finished: Finished) -> str:
    sweep, timed = finished.sweep, loaded.run.batches
    text = f"{len(sweep.result)} points, {timed} timed mini-batches each, "
    if sweep.reused:
        hint = "--no-resume simulates them again"
        text += f"{sweep.reused} of them taken from an earlier run ({hint}), "
    return text + f"simulated in {finished.wall_s:.1f} s"


def _tell_failures(finished: Finished) -> None:
    """List the points that failed, with the commands that repeat them."""
    from simulator.errors import PointsFailedError

    if not finished.failures:
        return
    for row in finished.failures[:MOST_FAILURES]:
        name = ", ".join(text for text in (row["label"], row["locality"], row["sweep"]) if text)
        first, *more = row["message"].splitlines() or [""]
        typer.echo(f"failed: {on_one_line(name)}: {row['error']}: {first}", err=True)
        for line in more:
            typer.echo(f"    {line}", err=True)
        typer.echo(f"    repeat: {row['command']}", err=True)
    left = len(finished.failures) - MOST_FAILURES
    if left > 0:
        typer.echo(f"... and {left:,} more: failures.json lists all", err=True)
    failed, all_points = len(finished.failures), len(finished.sweep.keys)
    kept = "the others are kept" if finished.sweep.result.points else "none is left"
    raise PointsFailedError(f"{failed} of {all_points} points failed, {kept}: see failures.json")
