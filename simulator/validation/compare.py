"""Every observed number beside its simulated one: iterations, stages, counts, order of systems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.config.listing import parts_of, sourced_numbers
from simulator.results.record import PointResult
from simulator.validation.predict import predict
from simulator.validation.reasons import Notes, Tolerance

__all__ = ["Comparison", "Count", "Order", "Time", "compare", "worst"]

_COUNT_COLUMNS = {
    "lookups": "lookups_per_batch",
    "unique_rows": "unique_rows_per_batch",
    "misses": "misses_per_batch",
    "victims": "victims_per_batch",
    "write_backs": "dirty_victims_per_batch",
}
_NOTABLE_US = 20.0
"""Shorter stages are launches and waits: listed, but no reason is asked for."""


@dataclass(frozen=True, slots=True)
class Time:
    """A time as measured and as simulated, in microseconds; `stage` None: the whole iteration."""

    experiment: str
    system: str
    sweep: str
    stage: str | None
    measured_us: float
    simulated_us: float
    spread: float
    """Of repeat runs: (largest - smallest mean) / median of means; 0 for stages."""
    reason: str = ""

    @property
    def error(self) -> float:
        """Signed: simulated over measured, less one."""
        return self.simulated_us / self.measured_us - 1.0

    @property
    def notable(self) -> bool:
        """Whether it is long enough to matter."""
        return self.stage is None or max(self.measured_us, self.simulated_us) >= _NOTABLE_US


@dataclass(frozen=True, slots=True)
class Count:
    """A count over the timed mini-batches: must be equal."""

    experiment: str
    system: str
    sweep: str
    name: str
    observed: int
    simulated: int


@dataclass(frozen=True, slots=True)
class Order:
    """Two systems in one regime that differ by more than their repeat runs do."""

    experiment: str
    sweep: str
    faster: str
    slower: str
    agrees: bool


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared."""

    observed: tuple[dict[str, Any], ...]
    platform: str
    times: tuple[Time, ...]
    counts: tuple[Count, ...]
    orders: tuple[Order, ...]
    notes: Notes
    sources: tuple[tuple[str, str, str], ...]
    """(key, value, source) of every number of the platform."""
    failed: tuple[str, ...] = ()
    """Points that could not be observed."""

    @property
    def iterations(self) -> list[Time]:
        return [time for time in self.times if time.stage is None]

    @property
    def stages(self) -> list[Time]:
        return [time for time in self.times if time.stage is not None]

    @property
    def unequal(self) -> list[Count]:
        return [count for count in self.counts if count.observed != count.simulated]

    @property
    def median_error(self) -> float:
        """Median of the absolute errors of iterations."""
        return float(np.median([abs(time.error) for time in self.iterations]))

    def outside(self, tolerance: Tolerance) -> list[Time]:
        """Times beyond the tolerance, notable stages among them."""
        limit = {True: tolerance.iteration_worst, False: tolerance.stage}
        return [t for t in self.times if t.notable and abs(t.error) > limit[t.stage is None]]

    def failures(self) -> list[str]:
        """Why the comparison fails, in sentences; empty where it holds."""
        tolerance, failures = self.notes.tolerance, []
        if not self.iterations:
            return ["nothing was compared"]
        if self.unequal:
            failures.append(f"{len(self.unequal)} of {len(self.counts)} counts differ")
        if self.median_error > tolerance.iteration_median:
            failures.append(
                f"median error of iterations {self.median_error:.1%} "
                f"(tolerance {tolerance.iteration_median:.1%})"
            )
        largest = worst(self.iterations)
        if abs(largest.error) > tolerance.iteration_worst:
            failures.append(
                f"worst iteration {largest.error:+.1%}, {largest.system} {largest.sweep} "
                f"(tolerance {tolerance.iteration_worst:.1%})"
            )
        return failures


def worst(times: Sequence[Time]) -> Time:
    """The one with the largest absolute error."""
    return max(times, key=lambda time: abs(time.error))


def compare(
    observed: Sequence[dict[str, Any]],
    platform: str | None,
    notes: Notes,
    operators: str | None = None,
) -> Comparison:
    """Simulate the observed experiments and compare.

    `platform`, `operators`: what stands for the machine and its software; None: as they name them.
    """
    times: list[Time] = []
    counts: list[Count] = []
    failed: list[str] = []
    named = platform or ""
    sources: tuple[tuple[str, str, str], ...] = ()
    for experiment in observed:
        for point, result in zip(
            experiment["points"], predict(experiment, platform, operators), strict=True
        ):
            if result is None:
                failed.append(
                    f"{experiment['name']}: {point['label']} {point['sweep']}: {point['error']}"
                )
                continue
            named = f"{result.point.platform.name} with operators {result.point.operators.name}"
            sources = _sources(result)
            times += _times(experiment["name"], point, result, notes)
            counts += _counts(experiment["name"], point, result)
    orders = _orders([time for time in times if time.stage is None])
    return Comparison(
        tuple(observed), named, tuple(times), tuple(counts), tuple(orders), notes, sources,
        tuple(failed),
    )  # fmt: skip


def _times(experiment: str, point: dict[str, Any], result: PointResult, notes: Notes) -> list[Time]:
    label, sweep = point["label"], point["sweep"]
    repeats = point["repeats_us"]
    spread = (max(repeats) - min(repeats)) / float(np.median(repeats))

    def time(stage: str | None, measured: float, simulated: float) -> Time:
        reason = notes.why(experiment, label, sweep, stage)
        own = spread if stage is None else 0.0
        return Time(experiment, label, sweep, stage, measured, simulated, own, reason)

    times = [time(None, point["iteration_us"], result.metrics["iteration_time_us"])]
    for stage in result.stages:
        measured = point["stages_us"].get(stage["stage"])
        if measured:
            times.append(time(stage["stage"], measured, stage["busy_us"]))
    return times


def _counts(experiment: str, point: dict[str, Any], result: PointResult) -> list[Count]:
    batches = point["batches"]
    return [
        Count(
            experiment,
            point["label"],
            point["sweep"],
            name,
            observed,
            round(result.metrics[_COUNT_COLUMNS[name]] * batches),
        )
        for name, observed in point["counts"].items()
    ]


def _orders(iterations: Sequence[Time]) -> list[Order]:
    """Pairs of systems in one regime, where one is faster by more than both spreads."""
    orders = []
    regimes = itertools.groupby(iterations, key=lambda time: (time.experiment, time.sweep))
    for (experiment, sweep), members in regimes:
        for first, second in itertools.combinations(list(members), 2):
            fast, slow = sorted((first, second), key=lambda time: time.measured_us)
            if slow.measured_us / fast.measured_us - 1.0 <= fast.spread + slow.spread:
                continue
            agrees = fast.simulated_us < slow.simulated_us
            orders.append(Order(experiment, sweep, fast.system, slow.system, agrees))
    return orders


def _sources(result: PointResult) -> tuple[tuple[str, str, str], ...]:
    """Where each number of the platform and of the operator profile comes from."""
    sources = [
        (f"{path}.{key}", value, source)
        for path, part in parts_of(result.point.platform)
        for key, value, source in sourced_numbers(part)
    ]
    for name, operator in result.point.operators.model_dump(mode="json").items():
        if isinstance(operator, dict) and "source" in operator:
            facts = [f"{k} {v}" for k, v in operator.items() if k not in ("source", "name")]
            sources.append((f"operators.{name}", ", ".join(facts), operator["source"]))
    return tuple(sources)
