"""Simulates the points of several studies together: equal points once, equal traces once."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from simulator.config.expand import expand
from simulator.engine import simulate_points
from simulator.results.record import PointResult, Progress, Result
from simulator.results.speedup import with_speedups
from simulator.studies.base import Study

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment, PointConfig

__all__ = ["simulate_studies"]

Report = Callable[[Progress], None]


def simulate_studies(
    studies: Sequence[Study],
    *,
    jobs: int = 1,
    progress: Report | None = None,
) -> dict[str, dict[str, Result]]:
    """The results of every experiment, by study and by the stem of its file.

    `jobs`: processes at a time; the outcome does not depend on it.
    """
    points: dict[str, PointConfig] = {}
    for study in studies:
        for experiment in itertools.chain.from_iterable(study.experiments.values()):
            for point in expand(experiment):
                points.setdefault(point.key(), point)
    outcomes = dict(zip(points, _simulate(list(points.values()), jobs, progress), strict=True))
    return {
        study.name: {
            stem: Result(stem, tuple(_related(variants, outcomes)))
            for stem, variants in study.experiments.items()
        }
        for study in studies
    }


def _related(
    variants: Iterable[Experiment], outcomes: Mapping[str, PointResult]
) -> Iterator[PointResult]:
    """The points of all variants in their order, each related to the hybrid of its variant."""
    for experiment in variants:
        yield from with_speedups([_named(outcomes[p.key()], p) for p in expand(experiment)])


def _simulate(
    points: Sequence[PointConfig], jobs: int, progress: Report | None
) -> Sequence[PointResult]:
    """The outcomes of `points`, in their order."""
    return simulate_points(points, progress=progress)


def _named(outcome: PointResult, point: PointConfig) -> PointResult:
    """The same outcome under the label and the swept values of `point`."""
    names = {"label": point.system.label, "sweep": point.sweep_text()}
    return dataclasses.replace(
        outcome,
        point=point,
        metrics={**outcome.metrics, **names},
        stages=[{**stage, **names} for stage in outcome.stages],
    )
