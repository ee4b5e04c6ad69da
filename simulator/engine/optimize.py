"""The cheapest points that hold a throughput, or the fastest within a budget: all are simulated.

A space is what an experiment spans: systems, platforms and swept values. Of every point: samples a
second, dollars an hour of its machine, energy of a sample. A point is on the front where no other
is as good in all three and better in one. The error beside a throughput is the published median
error of iterations on that machine with that software, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.config.experiment import PointConfig
from simulator.engine.points import simulate_each
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.results.record import PointResult, Progress
from simulator.results.trust import median_error

__all__ = ["MOST_POINTS", "Candidate", "Found", "Wanted", "optimize"]

MOST_POINTS = 10_000
"""Points of a space at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; None: not asked."""

    throughput: float | None = None
    """Samples a second, at least."""
    budget: float | None = None
    """Dollars an hour, at most."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A simulated point."""

    point: PointConfig
    throughput: float
    """Samples a second."""
    usd_per_hour: float
    energy_mj: float
    """Of a sample, in millijoules."""
    bottleneck: str
    error: float | None
    """Published median error of iterations; None where nobody measured."""

    @property
    def usd_per_billion(self) -> float:
        """Dollars for 10^9 samples."""
        return self.usd_per_hour / 3600 / self.throughput * 1e9

    @property
    def goods(self) -> tuple[float, float, float]:
        """Cost, slowness and energy: less is better."""
        return self.usd_per_hour, -self.throughput, self.energy_mj

    def meets(self, wanted: Wanted) -> bool:
        """Whether it is what was asked for, its error left out of account."""
        fast = wanted.throughput is None or self.throughput >= wanted.throughput
        return fast and (wanted.budget is None or self.usd_per_hour <= wanted.budget)

    @property
    def name(self) -> str:
        point = self.point
        sweep = point.sweep_text()
        texts = (point.system.label, point.platform.name, point.locality, sweep)
        return ", ".join(text for text in texts if text)


@dataclass(frozen=True)
class Found:
    """The best point, or None with the nearest; all others by rank; what could not run."""

    wanted: Wanted
    best: Candidate | None
    nearest: Candidate | None
    """Where nothing meets it: the fastest within the budget, or the cheapest of the fastest."""
    candidates: tuple[Candidate, ...]
    """Cheapest first (fastest first where only a budget was given)."""
    front: tuple[Candidate, ...]
    refused: tuple[tuple[PointConfig, str], ...]
    """Points that do not fit, and why."""


def optimize(
    points: Sequence[PointConfig],
    wanted: Wanted,
    progress: Callable[[Progress], None] | None = None,
) -> Found:
    """Simulate all `points` and rank them.

    Raises `UsageError` where nothing is asked for, for more than `MOST_POINTS` points, and for
    machines without a price; whatever but a misfit ends a simulation.
    """
    _require(points, wanted)
    candidates: list[Candidate] = []
    refused: list[tuple[PointConfig, str]] = []
    for number, outcome in simulate_each(points, progress=progress):
        if isinstance(outcome, PointResult):
            candidates.append(_candidate(outcome))
        elif isinstance(outcome, ConfigError | CapacityError):
            refused.append((points[number], str(outcome).splitlines()[0]))
        else:
            raise outcome
    by_speed = wanted.throughput is None

    def rank(each: Candidate) -> tuple[float, ...]:
        cost = (each.usd_per_hour, -each.throughput)
        return (*(cost[::-1] if by_speed else cost), each.energy_mj)

    candidates.sort(key=lambda each: (rank(each), each.name))
    best = next((each for each in candidates if each.meets(wanted)), None)
    return Found(
        wanted,
        best,
        None if best else _nearest(candidates, wanted),
        tuple(candidates),
        _front(candidates),
        tuple(refused),
    )


def _require(points: Sequence[PointConfig], wanted: Wanted) -> None:
    if wanted.throughput is None and wanted.budget is None:
        raise UsageError("say what is wanted: --throughput SAMPLES_PER_S, --budget USD_PER_HOUR")
    if len(points) > MOST_POINTS:
        raise UsageError(
            f"{len(points):,} points are more than the {MOST_POINTS:,} that are all simulated: "
            "sweep fewer values"
        )
    unpriced = dict.fromkeys(
        point.platform.name for point in points if point.platform.price_usd_per_hour is None
    )
    _require_priced_loaders(points)
    if unpriced:
        raise UsageError(
            f"nobody says what {', '.join(unpriced)} costs: give --set "
            "platform.price_usd_per_hour=3.06, or systems with platforms that have a price "
            "(`scratchpipe machine show NAME`)"
        )


def _require_priced_loaders(points: Sequence[PointConfig]) -> None:
    for load in (point.load for point in points):
        if load is not None and load.usd_per_hour is None:
            where = "load.profile" + ("" if load.device is None else ".in_storage")
            raise UsageError(
                f"nobody says what the {load.workers} workers of load cost: give --set "
                f"{where}.price_usd_per_hour=0.085 (of one)"
            )


def _candidate(result: PointResult) -> Candidate:
    point, metrics, load = result.point, result.metrics, result.point.load
    row: dict[str, Any] = {
        "calibrated": point.platform.calibrated,
        "platform": point.platform.name,
        "operators": point.operators.name,
    }
    return Candidate(
        point,
        metrics["throughput_samples_per_s"],
        (point.platform.price_usd_per_hour or 0.0)
        + (0.0 if load is None else load.usd_per_hour or 0),
        metrics["energy_mj"] / point.model.batch_size,
        metrics["bottleneck"],
        median_error(row),
    )


def _front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Those that no other beats, in their order.

    Whoever beats a candidate comes before it where all are sorted by their goods, and so does one
    on the front that beats it too.
    """
    front: dict[int, Candidate] = {}
    for number, each in sorted(enumerate(candidates), key=lambda one: one[1].goods):
        if not any(_beats(other, each) for other in front.values()):
            front[number] = each
    return tuple(front[number] for number in sorted(front))


def _beats(other: Candidate, each: Candidate) -> bool:
    return other.goods != each.goods and all(
        x <= y for x, y in zip(other.goods, each.goods, strict=True)
    )


def _nearest(candidates: Sequence[Candidate], wanted: Wanted) -> Candidate | None:
    """Within the budget the fastest; where nothing is within it, the cheapest."""
    affordable = [
        each for each in candidates if wanted.budget is None or each.usd_per_hour <= wanted.budget
    ]
    if affordable:
        return max(affordable, key=lambda each: each.throughput)
    return min(candidates, key=lambda each: each.usd_per_hour, default=None)
