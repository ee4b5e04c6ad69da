"""Points as answers to what is wanted: what meets it, what comes nearest, what nothing beats.

Of every point: samples a second, dollars an hour of its machine, energy of a sample, and where the
smallest is wanted that is almost the fastest, bytes of its cache. A point is on the front where no
other is as good in all of them and better in one. The error beside a throughput
is the published one of iterations of its kind, where there is one, and the spread over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.config.point import PointConfig
from simulator.results.extension import extension_mark
from simulator.results.published import ERROR
from simulator.results.record import PointResult

__all__ = ["Candidate", "Found", "Refused", "Searched", "Wanted", "candidate", "ranked"]

_US_PER_S = 1e6


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; None: not asked."""

    throughput: float | None = None
    """Samples a second, at least."""
    budget: float | None = None
    """Dollars an hour, at most."""
    within: float | None = None
    """More time a sample than the fastest (within the budget) takes, at most, as a share of it: the
    cheapest of those, and of equal cost the smallest cache."""

    def beside(self, candidates: Sequence[Candidate]) -> Wanted:
        """The same with the throughput that `within` asks for beside the fastest of `candidates`
        that the budget allows."""
        if self.within is None:
            return self
        speeds = [each.throughput for each in candidates if each.costs_at_most(self.budget)]
        return replace(self, throughput=max(speeds) / (1 + self.within)) if speeds else self


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
    """Published error of iterations of its kind; None where nobody measured."""
    seeds: tuple[float, float] | None = None
    """Least and largest throughput of several seeds."""
    training_is_ours: bool = False
    """See the column of that name."""
    cache_bytes: float = 0.0
    """Of the rows that its cache holds, with their optimizer state; 0 without a cache."""

    @property
    def usd_per_billion(self) -> float:
        """Dollars for 10^9 samples."""
        return self.usd_per_hour / 3600 / self.throughput * 1e9

    def goods(self, wanted: Wanted) -> tuple[float, ...]:
        """Cost, slowness, energy, and the size of the cache where that counts: less is better."""
        goods = self.usd_per_hour, -self.throughput, self.energy_mj
        return goods if wanted.within is None else (*goods, self.cache_bytes)

    @property
    def priced(self) -> bool:
        """Whether anybody says what its machine costs."""
        return self.point.platform.price_usd_per_hour is not None

    def costs_at_most(self, budget: float | None) -> bool:
        """Whether it is within a budget."""
        return budget is None or self.usd_per_hour <= budget

    @property
    def range(self) -> tuple[float, float] | None:
        """Throughput from where to where, by the published error and the seeds; None of neither.

        An iteration may take 1 - error to 1 + error times what was simulated.
        """
        if self.error is None and self.seeds is None:
            return None
        low, high = self.seeds or (self.throughput, self.throughput)
        error = min(self.error or 0.0, 0.99)
        return low / (1 + error), high / (1 - error)

    def meets(self, wanted: Wanted) -> bool:
        """Whether it is what was asked for, its error left out of account."""
        return self.lacks(wanted) <= 0.0

    def lacks(self, wanted: Wanted) -> float:
        """How far it is from what was asked for, relative; 0 and less: it meets it."""
        slow = 0.0 if wanted.throughput is None else wanted.throughput / self.throughput - 1
        if wanted.budget is None:
            return slow
        dear = self.usd_per_hour / wanted.budget - 1 if wanted.budget else self.usd_per_hour
        return max(slow, dear) if min(slow, dear) <= 0.0 else slow + dear

    @property
    def name(self) -> str:
        point = self.point
        sweep = point.sweep_text()
        label = f"{point.system.label}{extension_mark(self.training_is_ours)}"
        texts = (label, point.platform.name, point.locality, sweep)
        return ", ".join(text for text in texts if text)


Refused = tuple[PointConfig, str]
"""A point that does not fit, and why."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How much of a space was looked at."""

    points: int
    """Simulated, or found not to fit."""
    size: int
    """Combinations of the space; some may be the same point."""
    whole: bool
    """Whether every combination was tried."""


@dataclass(frozen=True)
class Found:
    """The best point, or None with the nearest; all others by rank; what could not run."""

    wanted: Wanted
    """As it was asked for; where that was to be almost the fastest, with the throughput of that."""
    best: Candidate | None
    nearest: Candidate | None
    """Where nothing meets it: the fastest within the budget, or the cheapest of the fastest."""
    candidates: tuple[Candidate, ...]
    """Cheapest first (fastest first where only a budget was given); where the size of the cache
    counts, the smallest of equal cost first."""
    front: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    searched: Searched


def candidate(result: PointResult) -> Candidate:
    """What a finished point (`results.finishing`) is worth."""
    point, metrics, load = result.point, result.metrics, result.point.load
    ends = metrics.get("iteration_time_low_us"), metrics.get("iteration_time_high_us")
    samples = metrics["throughput_samples_per_s"] * metrics["iteration_time_us"]
    return Candidate(
        point,
        metrics["throughput_samples_per_s"],
        (point.platform.price_usd_per_hour or 0.0)
        + (0.0 if load is None else load.usd_per_hour or 0),
        metrics["energy_mj"] / point.model.batch_size,
        metrics["bottleneck"],
        metrics[ERROR.name],
        None if None in ends else (samples / ends[1], samples / ends[0]),
        metrics["training_is_ours"],
        (metrics["cache_fraction"] or 0.0) * sum(point.stored.table_bytes),
    )


def ranked(
    candidates: Sequence[Candidate],
    refused: Sequence[Refused],
    wanted: Wanted,
    space: tuple[int, bool],
) -> Found:
    """The answer out of the points that were looked at.

    `space`: combinations of the space, and whether all were tried.
    """

    wanted = wanted.beside(candidates)

    def rank(each: Candidate) -> tuple[float, ...]:
        cost, slowness = each.usd_per_hour, -each.throughput
        if wanted.within is not None:
            return cost, each.cache_bytes, slowness, each.energy_mj
        first = (slowness, cost) if wanted.throughput is None else (cost, slowness)
        return (*first, each.energy_mj)

    candidates = sorted(candidates, key=lambda each: (rank(each), each.name))
    best = next((each for each in candidates if each.meets(wanted)), None)
    return Found(
        wanted,
        best,
        None if best else _nearest(candidates, wanted),
        tuple(candidates),
        _front(candidates, wanted),
        tuple(refused),
        Searched(len(candidates) + len(refused), *space),
    )


def _front(candidates: Sequence[Candidate], wanted: Wanted) -> tuple[Candidate, ...]:
    """Those that no other beats, in their order.

    Whoever beats a candidate comes before it where all are sorted by their goods, and so does one
    on the front that beats it too.
    """
    front: dict[int, Candidate] = {}
    goods = [each.goods(wanted) for each in candidates]
    for number in sorted(range(len(goods)), key=goods.__getitem__):
        if not any(_beats(goods[other], goods[number]) for other in front):
            front[number] = candidates[number]
    return tuple(front[number] for number in sorted(front))


def _beats(other: Sequence[float], each: Sequence[float]) -> bool:
    return other != each and all(x <= y for x, y in zip(other, each, strict=True))


def _nearest(candidates: Sequence[Candidate], wanted: Wanted) -> Candidate | None:
    """Within the budget the fastest; where nothing is within it, the cheapest."""
    affordable = [each for each in candidates if each.costs_at_most(wanted.budget)]
    if affordable:
        return max(affordable, key=lambda each: each.throughput)
    return min(candidates, key=lambda each: each.usd_per_hour, default=None)
