"""Every observed number beside its simulated one: iterations, stages, counts, order of systems."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.config.listing import parts_of, sourced_numbers
from simulator.results.record import PointResult
from simulator.validation.goal import Goal
from simulator.validation.numbers import Count, Errors, Order, Time
from simulator.validation.predict import predict
from simulator.validation.reasons import Notes

__all__ = ["Comparison", "compare", "worst"]

_COUNT_COLUMNS = {
    "lookups": "lookups_per_batch",
    "unique_rows": "unique_rows_per_batch",
    "misses": "misses_per_batch",
    "victims": "victims_per_batch",
    "write_backs": "dirty_victims_per_batch",
}


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared on one machine."""

    observed: tuple[dict[str, Any], ...]
    platform: str
    """What stood for the machine; `operators`: for its software."""
    operators: str
    times: tuple[Time, ...]
    counts: tuple[Count, ...]
    orders: tuple[Order, ...]
    notes: Notes
    sources: tuple[tuple[str, str, str], ...]
    """(key, value, source) of every number of the platform."""
    fitted_on: str = ""
    """The micro-benchmarks that the platform's numbers come from; empty: none."""
    failed: tuple[str, ...] = ()
    """Points that could not be observed."""

    @property
    def all_iterations(self) -> list[Time]:
        return [time for time in self.times if time.stage is None]

    @property
    def iterations(self) -> list[Time]:
        """Whole iterations on all threads of the machine."""
        return [time for time in self.all_iterations if not time.fewer_threads]

    @property
    def fewer_threads(self) -> list[Time]:
        """Whole iterations on fewer threads."""
        return [time for time in self.all_iterations if time.fewer_threads]

    @property
    def stages(self) -> list[Time]:
        return [time for time in self.times if time.stage is not None]

    @property
    def systems(self) -> dict[str, list[Time]]:
        """Whole iterations on all threads, by system."""
        systems = dict.fromkeys(time.system for time in self.iterations)
        return {name: [t for t in self.iterations if t.system == name] for name in systems}

    @property
    def experiments(self) -> dict[str, list[Time]]:
        """Whole iterations on all threads, by experiment; nothing where there is only one."""
        names = dict.fromkeys(time.experiment for time in self.iterations)
        if len(names) < 2:
            return {}
        return {name: [t for t in self.iterations if t.experiment == name] for name in names}

    @property
    def chosen(self) -> list[Count]:
        """Counts that two planners made independently."""
        return [count for count in self.counts if count.independent and not count.is_input]

    @property
    def planned_once(self) -> list[Count]:
        """Counts of one plan that both sides followed."""
        return [count for count in self.counts if not count.independent and not count.is_input]

    @property
    def other_inputs(self) -> list[Count]:
        """Counts of the mini-batches that differ: they are not the ones that were observed."""
        return [count for count in self.counts if count.is_input and count.error]

    @property
    def disagreeing(self) -> list[Order]:
        return [order for order in self.orders if not order.agrees]

    def outside(self) -> list[Time]:
        """Times beyond the goal of their kind, notable stages among them."""
        goal = self.notes.goal
        limit = {True: goal.iteration_worst, False: goal.stage}
        return [t for t in self.times if t.notable and abs(t.error) > limit[t.stage is None]]

    def unusable(self) -> list[str]:
        """Why nothing can be said at all, in sentences."""
        if not self.all_iterations:
            return ["nothing was compared"]
        if self.other_inputs:
            return [
                f"{len(self.other_inputs)} counts of the mini-batches differ: these are not the "
                "ones that were observed; observe them again with this release"
            ]
        return []

    def shortfalls(self) -> list[str]:
        """Where the goal is not reached, in sentences; empty where it is."""
        return self.unusable() or [*self._of_iterations(self.notes.goal), *self._of_the_rest()]

    def _of_iterations(self, goal: Goal) -> Iterable[str]:
        errors = Errors.of_times(self.iterations)
        if errors is None:
            return
        if errors.median > goal.iteration_median:
            yield (
                f"median error of iterations {errors.median:.1%} (goal {goal.iteration_median:.1%})"
            )
        if abs(errors.worst) > goal.iteration_worst:
            largest = worst(self.iterations)
            yield (
                f"worst iteration {largest.error:+.1%}, {largest.system} {largest.sweep} "
                f"(goal {goal.iteration_worst:.1%})"
            )
        for system, times in self.systems.items():
            bias = float(np.median([time.error for time in times]))
            if abs(bias) > goal.system_bias:
                yield f"bias of {system} {bias:+.1%} (goal ±{goal.system_bias:.1%})"

    def _of_the_rest(self) -> Iterable[str]:
        goal = self.notes.goal
        threads = Errors.of_times(self.fewer_threads)
        if threads is not None and threads.median > goal.threads_median:
            yield (
                f"median error of iterations on fewer threads {threads.median:.1%} "
                f"(goal {goal.threads_median:.1%})"
            )
        chosen = Errors.of([count.error for count in self.chosen])
        if chosen is not None and abs(chosen.worst) > goal.count_worst:
            yield f"worst count {chosen.worst:+.1%} (goal {goal.count_worst:.1%})"
        if self.disagreeing:
            yield (
                f"{len(self.disagreeing)} of {len(self.orders)} pairs of systems come in the "
                "other order"
            )


def worst(times: Sequence[Time]) -> Time:
    """The one with the largest absolute error."""
    return max(times, key=lambda time: abs(time.error))


def compare(
    observed: Sequence[dict[str, Any]],
    platform: str | None,
    notes: Notes,
    operators: str | None = None,
) -> Comparison:
    """Simulate the experiments that one machine observed, and compare.

    `platform`, `operators`: what stands for the machine and its software; None: as they name them.
    """
    times: list[Time] = []
    counts: list[Count] = []
    failed: list[str] = []
    results: list[PointResult] = []
    for run, experiment in enumerate(observed):
        for point, result in zip(
            experiment["points"], predict(experiment, platform, operators), strict=True
        ):
            if result is None:
                failed.append(
                    f"{experiment['name']}: {point['label']} {point['sweep']}: {point['error']}"
                )
                continue
            results.append(result)
            times += [replace(time, run=run) for time in _times(experiment, point, result, notes)]
            counts += _counts(experiment["name"], point, result)
    times = _over_sessions(times)
    orders = _orders([time for time in times if time.stage is None])
    return Comparison(
        tuple(observed),
        _names(result.point.platform.name for result in results),
        _names(result.point.operators.name for result in results),
        tuple(times),
        tuple(counts),
        tuple(orders),
        notes,
        _sources(results[-1]) if results else (),
        _names(_fitted_on(result) for result in results),
        tuple(failed),
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))


def _fitted_on(result: PointResult) -> str:
    sockets = [s.part for host in result.point.platform.hosts for s in host.sockets.values()]
    made = dict.fromkeys(part.calibrated for part in sockets if part.calibrated is not None)
    return _names(f"{one.measured} ({one.date})" if one.date else one.measured for one in made)


def _times(
    experiment: dict[str, Any], point: dict[str, Any], result: PointResult, notes: Notes
) -> list[Time]:
    name, label, sweep = experiment["name"], point["label"], point["sweep"]
    threads = point.get("threads", result.point.run.cpu_threads or experiment["threads"])
    fewer = threads < experiment["machine"].get("cores", threads)
    of_stages = point.get("stages_repeats_us", {})

    def time(stage: str | None, measured: float, simulated: float) -> Time:
        reason = notes.why((name, label, sweep, stage), simulated / measured - 1.0)
        repeats = point["repeats_us"] if stage is None else of_stages.get(stage, [])
        own = _spread(repeats)
        return Time(
            name, label, sweep, stage, measured, simulated, own, reason, fewer,
            gpus=result.metrics["gpus"],
            bottleneck="" if stage else result.metrics["bottleneck"],
        )  # fmt: skip

    times = [time(None, point["iteration_us"], result.metrics["iteration_time_us"])]
    for stage in result.stages:
        measured = point["stages_us"].get(stage["stage"])
        if measured:
            times.append(time(stage["stage"], measured, stage["busy_us"]))
    return times


def _spread(measured: Sequence[float]) -> float | None:
    if len(measured) < 2:
        return None
    return (max(measured) - min(measured)) / float(np.median(measured))


def _over_sessions(times: Sequence[Time]) -> list[Time]:
    """The times, each with the spread between the sessions that measured the same."""

    def key(time: Time) -> tuple[Any, ...]:
        return time.experiment, time.system, time.sweep, time.stage

    measured: dict[tuple[Any, ...], list[float]] = {}
    for time in times:
        measured.setdefault(key(time), []).append(time.measured_us)
    return [replace(time, session_spread=_spread(measured[key(time)])) for time in times]


def _counts(experiment: str, point: dict[str, Any], result: PointResult) -> list[Count]:
    batches = point["batches"]
    return [
        Count(
            experiment,
            point["label"],
            point["sweep"],
            name,
            observed,
            round((result.metrics[_COUNT_COLUMNS[name]] or 0.0) * batches),
            bool(point.get("counts_independent", False)),
        )
        for name, observed in point["counts"].items()
    ]


def _orders(iterations: Sequence[Time]) -> list[Order]:
    """Pairs of systems in one regime, where one is faster by more than both spreads."""
    orders = []
    regimes = itertools.groupby(iterations, key=lambda time: (time.run, time.sweep))
    for _, members in regimes:
        for first, second in itertools.combinations(list(members), 2):
            fast, slow = sorted((first, second), key=lambda time: time.measured_us)
            measured, simulated = (
                slow.measured_us / fast.measured_us,
                slow.simulated_us / fast.simulated_us,
            )
            spread = fast.uncertainty + slow.uncertainty
            if measured - 1.0 > spread:
                where = (fast.experiment, fast.sweep, fast.system, slow.system)
                orders.append(Order(*where, measured, simulated, spread))
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
