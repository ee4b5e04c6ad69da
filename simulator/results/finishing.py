"""What points get once all are simulated: spread over seeds, speed-up, published error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.results.seeds import with_spread
from simulator.results.speedup import with_speedups
from simulator.results.trust import ERROR, median_error

if TYPE_CHECKING:
    from simulator.config.experiment import PointConfig
    from simulator.results.record import PointResult

__all__ = ["finished_points"]


def finished_points(
    points: Sequence[PointConfig], results: Sequence[PointResult]
) -> tuple[PointResult, ...]:
    """The outcomes of `points` out of the `results` of all their seeds, related to each other."""
    return tuple(
        outcome.with_metrics({**outcome.metrics, ERROR.name: median_error(outcome.metrics)})
        for outcome in with_speedups(tuple(with_spread(points, results)))
    )
