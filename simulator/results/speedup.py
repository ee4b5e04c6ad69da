"""Relates every point to the hybrid system of the same experiment cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.config.point import canonical_json

if TYPE_CHECKING:
    from simulator.results.record import PointResult

__all__ = ["with_speedups"]

_BASELINE = "hybrid"


def with_speedups(points: Sequence[PointResult]) -> tuple[PointResult, ...]:
    """`points` with `speedup_over_hybrid` filled where a hybrid point has the same swept values.

    Of several (systems may have a platform or profile of their own) the one on the same platform
    and profile is taken, else the first. Where a system replaces what is swept by a value of its
    own, the others count: then all hybrids that agree have to be of one combination.
    """
    baselines: dict[str, list[PointResult]] = {}
    for outcome in points:
        if outcome.point.system.name == _BASELINE:
            baselines.setdefault(canonical_json(outcome.point.swept), []).append(outcome)
    related = []
    for outcome in points:
        swept = outcome.point.swept
        candidates = baselines.get(canonical_json(swept)) or _agreeing(swept, baselines)
        if candidates:
            hybrid = max(candidates, key=lambda candidate: _likeness(outcome, candidate))
            speedup = hybrid.metrics["iteration_time_us"] / outcome.metrics["iteration_time_us"]
            outcome = outcome.with_metrics({**outcome.metrics, "speedup_over_hybrid": speedup})
        related.append(outcome)
    return tuple(related)


def _agreeing(
    swept: Mapping[str, Any], baselines: Mapping[str, Sequence[PointResult]]
) -> Sequence[PointResult]:
    """The hybrids with the same values of what was swept for both, once these are of one
    combination; none where both were swept alike."""
    found = [
        hybrids
        for hybrids in baselines.values()
        if (own := hybrids[0].point.swept).keys() != swept.keys()
        and all(own[path] == swept[path] for path in own.keys() & swept.keys())
    ]
    return found[0] if len(found) == 1 else ()


def _likeness(outcome: PointResult, hybrid: PointResult) -> int:
    """How many of platform and profile are the same; `max` keeps the first among equals."""
    return sum(outcome.metrics[key] == hybrid.metrics[key] for key in ("platform", "operators"))
