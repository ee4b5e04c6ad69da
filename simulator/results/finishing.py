"""What points get once all are simulated: spread over seeds, speed-up, published error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.results.published import BASIS, ERROR, longest_stage
from simulator.results.seeds import with_spread
from simulator.results.speedup import with_speedups
from simulator.results.trust import published_of

if TYPE_CHECKING:
    from simulator.config.point import PointConfig
    from simulator.results.record import PointResult

__all__ = ["finished_points"]


def finished_points(
    points: Sequence[PointConfig], results: Sequence[PointResult]
) -> tuple[PointResult, ...]:
    """The outcomes of `points` out of the `results` of all their seeds, related to each other."""
    return tuple(
        outcome.with_metrics({**outcome.metrics, **_published(outcome)})
        for outcome in with_speedups(tuple(with_spread(points, results)))
    )


def _published(outcome: PointResult) -> dict[str, Any]:
    """The columns of the published error of a point."""
    found = published_of(outcome.metrics, longest_stage(outcome.stages))
    if found is None:
        return {ERROR.name: None, BASIS.name: None}
    return {ERROR.name: found.error, BASIS.name: found.basis}
