"""An experiment from its points to its run directory, resumed where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from simulator.config.expand import expand
from simulator.config.experiment import Experiment
from simulator.config.point import config_hash
from simulator.errors import InvariantError, ScratchPipeError
from simulator.files import json_bytes
from simulator.results.finished import FinishedPoints
from simulator.results.manifest import manifest_of
from simulator.results.store import (
    FAILURES,
    POINTS,
    abandon_run,
    begin_run,
    check_target,
    discard_results,
    tidy,
    write_run,
)
from simulator.sweep.keys import code_version
from simulator.sweep.ownership import require_owned
from simulator.sweep.repeat import Source, repeat_command
from simulator.sweep.runner import FailedPoint, Sweep, Workers, run_sweep
from simulator.sweep.watch import SweepProgress
from simulator.traces.survey import notes_on

__all__ = ["Finished", "default_folder", "failure_rows", "run_experiment", "under_way"]


@dataclass(frozen=True)
class Finished:
    """A run that came to its end."""

    sweep: Sweep
    files: tuple[Path, ...]
    wall_s: float
    failures: tuple[dict[str, Any], ...] = ()
    """What `failures.json` holds."""
    others: int = 0
    """Finished points in the directory that were not asked for."""


def default_folder(experiment: Experiment) -> Path:
    """Where results go unless told otherwise: `runs/NAME-HASH`."""
    return Path("runs") / f"{experiment.name}-{config_hash(expand(experiment))[:8]}"


def run_experiment(
    experiment: Experiment,
    out_dir: Path,
    *,
    workers: Workers | None = None,
    resume: bool = True,
    replace: bool = False,
    source: Source | None = None,
    progress: Callable[[SweepProgress], None] | None = None,
) -> Finished:
    """Simulate `experiment` and write its run directory.

    Points that an earlier run into `out_dir` finished are taken from there, if `resume`; those that
    are not asked for stay. Results of another experiment are refused (`UsageError`), or removed
    first if `replace`. Where points failed, the directory holds the others and `failures.json`.
    Raises as `run_sweep` does; then the directory can be resumed, or is not there where no point
    was finished.
    """
    points = expand(experiment)
    asked = source or Source("EXPERIMENT.yaml")
    check_target(out_dir)
    if not replace:
        require_owned(out_dir, experiment)
    store = FinishedPoints(out_dir / POINTS)
    started = time.perf_counter()
    facts = {
        "name": experiment.name,
        "config_hash": config_hash(points),
        "points": len(points),
        "experiment": experiment.model_dump(mode="json"),
    }
    with under_way(facts, out_dir, store):
        if replace:
            discard_results(out_dir)
            store.clear()
        sweep = run_sweep(
            points,
            workers=workers,
            store=store,
            progress=progress,
            name=experiment.name,
            resume=resume,
        )
        if not sweep.result.points and not sweep.failed:
            raise InvariantError("no point was simulated")
        software = experiment.origin.software
        sweep = changed(sweep, result=changed(sweep.result, software=software))
        wall_s = time.perf_counter() - started
        failures = failure_rows(experiment, sweep.failed, asked)
        manifest = manifest_of(experiment, sweep.result, wall_s, asked.overrides)
        manifest |= {
            "config_hash": config_hash(points),
            "code_version": code_version(),
            **({} if source is None else {"command": source.command}),
            "failed": len(failures),
            "notes": notes_on(points),
            **({"software": software} if software else {}),
        }
        extra = {FAILURES: json_bytes(failures)} if failures else {}
        files = write_run(sweep.result, manifest, out_dir, extra=extra)
        others = len(store.keys() - set(sweep.keys))
    return Finished(sweep, tuple(files), wall_s, tuple(failures), others)


@contextmanager
def under_way(facts: Mapping[str, Any], out_dir: Path, store: FinishedPoints) -> Iterator[None]:
    """The run directory while points are simulated; gone again if none is kept.

    `facts`: what the directory says of the run until it is finished; `experiment` in it is whose
    it is.
    """
    begin_run(out_dir, facts)
    with store.owned():
        tidy(out_dir)
        try:
            yield
        except BaseException as error:
            if isinstance(error, ScratchPipeError) and error.exit_code == 2:
                # A bad configuration owns nothing: what it finished stays, for whoever mends it.
                begin_run(out_dir, {key: facts[key] for key in facts if key != "experiment"})
            store.remove_if_empty()
            abandon_run(out_dir)
            raise


def failure_rows(
    experiment: Experiment, failed: Sequence[FailedPoint], source: Source
) -> list[dict[str, Any]]:
    """What is told of points that failed: which, why, and the command that repeats each."""
    return [
        {
            "point": failed_point.point.key(),
            "label": failed_point.point.system.label,
            "locality": failed_point.point.locality,
            "sweep": failed_point.point.sweep_text(),
            "error": failed_point.failure.error,
            "message": failed_point.failure.message,
            "command": repeat_command(experiment, failed_point.point, source),
            "traceback": failed_point.failure.details or None,
        }
        for failed_point in failed
    ]
