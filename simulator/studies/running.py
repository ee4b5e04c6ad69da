"""Simulates the points of several studies together: equal points once, equal traces once.

Finished points are kept in the output folder, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.config.expand import expand
from simulator.errors import PointsFailedError
from simulator.results.finished import FinishedPoints, relabelled
from simulator.results.record import PointResult, Result
from simulator.results.speedup import with_speedups
from simulator.studies.base import Study
from simulator.sweep.runner import local_workers, run_sweep

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment
    from simulator.config.point import PointConfig
    from simulator.sweep.watch import SweepProgress

__all__ = ["simulate_studies"]

Report = Callable[["SweepProgress"], None]


def simulate_studies(
    studies: Sequence[Study],
    points_dir: Path,
    *,
    jobs: int = 1,
    progress: Report | None = None,
) -> dict[str, dict[str, Result]]:
    """The results of every experiment, by study and by the stem of its file.

    `points_dir`: where finished points are kept. `jobs`: processes at a time; the outcome does not
    depend on it. Raises `PointsFailedError` where a point has no result.
    """
    points: dict[str, PointConfig] = {}
    for study in studies:
        for experiment in itertools.chain.from_iterable(study.experiments.values()):
            for point in expand(experiment):
                points.setdefault(point.key(), point)
    outcomes = _simulate(points, points_dir, jobs, progress) if points else {}
    return {
        study.name: {
            stem: Result(stem, tuple(_related(variants, outcomes)))
            for stem, variants in study.experiments.items()
        }
        for study in studies
    }


def _simulate(
    points: Mapping[str, PointConfig], points_dir: Path, jobs: int, progress: Report | None
) -> dict[str, PointResult]:
    """The outcomes by the key of their point."""
    store = FinishedPoints(points_dir)
    with store.owned(), local_workers(jobs) as workers:
        sweep = run_sweep(
            list(points.values()), workers=workers, store=store, progress=progress, name="studies"
        )
    if sweep.failed:
        first = sweep.failed[0]
        raise PointsFailedError(
            f"{len(sweep.failed)} of {len(points)} points failed; the first, "
            f"{first.point.system.label}, {first.point.locality}: {first.failure.message}"
        )
    return dict(zip(points, sweep.result.points, strict=True))


def _related(
    variants: Iterable[Experiment], outcomes: Mapping[str, PointResult]
) -> Iterator[PointResult]:
    """The points of all variants in their order, each related to the hybrid of its variant."""
    for experiment in variants:
        named = [relabelled(outcomes[point.key()], point) for point in expand(experiment)]
        yield from with_speedups(named)
