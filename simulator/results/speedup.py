"""Relates every point to the hybrid system of the same experiment cell."""

from __future__ import annotations

import dataclasses
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
    for one in points:
        if one.point.system.name == _BASELINE:
            baselines.setdefault(canonical_json(one.point.swept), []).append(one)
    related = []
    for one in points:
        found = baselines.get(canonical_json(one.point.swept))
        if found:
            hybrid = max(found, key=lambda other: _likeness(one, other))
            speedup = hybrid.metrics["iteration_time_us"] / one.metrics["iteration_time_us"]
            one = dataclasses.replace(one, metrics={**one.metrics, "speedup_over_hybrid": speedup})
        related.append(one)
    return tuple(related)


def _likeness(one: PointResult, hybrid: PointResult) -> int:
    """How many of platform and profile are the same; `max` keeps the first among equals."""
    return sum(one.metrics[key] == hybrid.metrics[key] for key in ("platform", "operators"))
