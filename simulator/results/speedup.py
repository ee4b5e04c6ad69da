"""Relates every point to the hybrid system of the same experiment cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.config.experiment import canonical_json

if TYPE_CHECKING:
    from simulator.results.record import PointResult

__all__ = ["with_speedups"]

_BASELINE = "hybrid"


def with_speedups(points: Sequence[PointResult]) -> tuple[PointResult, ...]:
    """`points` with `speedup_over_hybrid` filled where a hybrid point has the same swept values.

    Of several (systems may have a platform or profile of their own) the one on the same platform
    and profile is taken, else the first.
    """
    baselines: dict[str, list[PointResult]] = {}
    for outcome in points:
        if outcome.point.system.name == _BASELINE:
            baselines.setdefault(canonical_json(outcome.point.swept), []).append(outcome)
    related = []
    for outcome in points:
        candidates = baselines.get(canonical_json(outcome.point.swept))
        if candidates:
            hybrid = max(candidates, key=lambda candidate: _likeness(outcome, candidate))
            speedup = hybrid.metrics["iteration_time_us"] / outcome.metrics["iteration_time_us"]
            outcome = outcome.with_metrics({**outcome.metrics, "speedup_over_hybrid": speedup})
        related.append(outcome)
    return tuple(related)


def _likeness(outcome: PointResult, hybrid: PointResult) -> int:
    """How many of platform and profile are the same; `max` keeps the first among equals."""
    return sum(outcome.metrics[key] == hybrid.metrics[key] for key in ("platform", "operators"))
