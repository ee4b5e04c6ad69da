"""From spans and device use to the columns of the results."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import (
    BYPASS,
    COLD,
    HELD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
)
from simulator.caches.host_cache import FILLED, SPILLED
from simulator.caches.totals import in_pieces, totals_of
from simulator.columns import Column
from simulator.engine.invariants import check_stage_times
from simulator.engine.pipeline import Span, stage_times
from simulator.engine.run_spans import RunSpans
from simulator.engine.together import ByGroup
from simulator.hardware.demand import Resource, ResourceUse, StageDemand
from simulator.hardware.machine import Machine
from simulator.results.resources import KINDS, LATENCY, Kind
from simulator.systems import StageSpec
from simulator.units import PS_PER_S, PS_PER_US

__all__ = [
    "Meter",
    "Metered",
    "Moved",
    "Timed",
    "add_moved",
    "count_metrics",
    "device_rows",
    "stage_rows",
    "time_metrics",
    "timed_window",
    "use_metrics",
]

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
Moved = list[dict[str, int]]
"""Bytes of each resource that moves some in each stage, of all timed mini-batches."""
BOTTLENECK_UTILIZATION = 0.5
"""Below this no resource holds the iteration up; a stage or latency does."""


@dataclass(slots=True)
class Metered:
    """What had gone through each resource when the timed window opened and when it closed."""

    first: int
    """First timed mini-batch."""
    last: int
    opened: dict[str, ResourceUse] = field(default_factory=dict)
    closed: dict[str, ResourceUse] = field(default_factory=dict)
    waited_ps: dict[int, int] = field(default_factory=dict)
    """By mini-batch: that its updates waited for what must be durable before them."""

    @property
    def devices(self) -> dict[str, ResourceUse]:
        """What went through each device in the timed window."""
        return {device: self.use(device) for device in self.closed}

    def use(self, device: str) -> ResourceUse:
        """What went through `device` in the timed window."""
        after = self.closed.get(device, ResourceUse())
        before = self.opened.get(device, ResourceUse())
        return ResourceUse(
            after.busy_ps - before.busy_ps,
            after.bytes - before.bytes,
            after.energy_pj - before.energy_pj,
            after.held_ps - before.held_ps,
            after.written - before.written,
        )


@dataclass(slots=True)
class Meter(Metered):
    """Reads a machine's devices when the timed window opens and when it closes."""

    machine: Machine = field(kw_only=True)

    def watch(self, batch: int) -> None:
        """Called when `batch` retires."""
        if batch == self.first - 1:
            self.opened = self._read()
        if batch == self.last:
            self.closed = self._read()

    def _read(self) -> dict[str, ResourceUse]:
        self.machine.settle()
        return {name: replace(use) for name, use in self.machine.use.items()}


@dataclass(frozen=True, slots=True)
class Timed:
    """The ends of the timed mini-batches and of the last one before them, in picoseconds."""

    ends_ps: Sequence[int] | npt.NDArray[np.int64]

    @property
    def elapsed_ps(self) -> int:
        return int(self.ends_ps[-1]) - int(self.ends_ps[0])

    @property
    def batches(self) -> int:
        return len(self.ends_ps) - 1


def timed_window(spans: Sequence[Span], first: int, last: int) -> Timed:
    """From the end of mini-batch `first` - 1 (or the start of time) to that of `last`.

    Raises `ConfigError` for times beyond 64 bits."""
    ends = RunSpans.of(spans).ends_ps()
    before = max(0, int(ends[first - 1])) if first else 0
    return Timed(np.append(np.int64(before), ends[first : last + 1]))


def time_metrics(timed: Timed, batch_size: int) -> dict[str, Any]:
    """Iteration times and throughput of the timed window."""
    gaps = np.diff(np.asarray(timed.ends_ps, np.int64)) / PS_PER_US
    return {
        "iteration_time_us": timed.elapsed_ps / timed.batches / PS_PER_US,
        "iteration_time_p50_us": float(np.percentile(gaps, 50)),
        "iteration_time_p99_us": float(np.percentile(gaps, 99)),
        "throughput_samples_per_s": batch_size * timed.batches * PS_PER_S / timed.elapsed_ps,
    }


def device_rows(
    resources: Sequence[Resource],
    use: Mapping[str, ResourceUse],
    timed: Timed,
    energy_mj: Mapping[str, float],
) -> list[dict[str, Any]]:
    """One row a resource: columns of `devices.parquet` without those of the point.

    `use`: what went through each resource in the timed window, by name; what is missing was not
    used. `energy_mj`: of a mini-batch, by name; null where it is missing.
    """
    rows = []
    for resource in resources:
        used = use.get(resource.name, ResourceUse())
        row: dict[str, Any] = {
            "resource": resource.name,
            "device": resource.device,
            "kind": resource.kind,
            "busy_us": used.busy_ps / timed.batches / PS_PER_US,
            "utilization": used.busy_ps / timed.elapsed_ps,
            "energy_mj": energy_mj.get(resource.name),
        }
        if resource.moves_bytes:
            bandwidth = used.bytes * PS_PER_S / timed.elapsed_ps
            peak = resource.peak_bytes_per_s
            row |= {
                "bytes": used.bytes / timed.batches,
                "bandwidth_gbps": bandwidth / 1e9,
                "share_of_peak": None if peak is None else bandwidth / peak,
            }
        if resource.wears is not None:
            row |= _wear(used.written * PS_PER_S / timed.elapsed_ps, resource.wears)
        rows.append(row)
    return rows


def _wear(written_per_s: float, capacity: int) -> dict[str, float | None]:
    """What a drive of `capacity` bytes sees written in a day, and when it has been written once."""
    return {
        "written_gb_per_day": written_per_s * SECONDS_PER_DAY / 1e9,
        "fill_h": capacity / written_per_s / SECONDS_PER_HOUR if written_per_s else None,
    }


def use_metrics(devices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The bottleneck, and the busiest resource of each kind, out of `device_rows`."""
    used = [row for row in devices if row["utilization"] > 0.0 or (row.get("bytes") or 0.0) > 0.0]
    busiest: dict[str, float] = {}
    for row in used:
        busiest[row["kind"]] = max(row["utilization"], busiest.get(row["kind"], 0.0))
    metrics: dict[str, Any] = {
        f"{kind.name}_utilization": busiest.get(kind.name)
        for kind in KINDS.values()
        if kind.summarized
    }
    candidates = [row for row in used if row["kind"] != "pool"]
    if not candidates:
        return metrics | {"bottleneck": LATENCY}
    top = max(candidates, key=lambda row: row["utilization"])
    saturated = top["utilization"] >= BOTTLENECK_UTILIZATION
    return metrics | {
        "bottleneck": top["resource"] if saturated else LATENCY,
        "bottleneck_utilization": top["utilization"],
    }


_COUNTED = (LOOKUP, UNIQUE, FILLED, SPILLED, HIT, MISS, BYPASS, VICTIM, WRITE_BACK, COLD, HELD)


def count_metrics(batches: Iterable[BatchFacts]) -> dict[str, Any]:
    """Means of what moved over the timed mini-batches; what the replay does not tell is left
    out."""
    known, names, count, popular = BatchFacts(0, 0), [LOOKUP, UNIQUE], 0, 0
    sums = np.zeros((len(_COUNTED), 2), np.int64)
    for piece in in_pieces(batches):
        if not count:
            known = piece[0]
            names = [name for name in _COUNTED if name in known or name in names]
        sums[: len(names)] += totals_of(piece, names).sum(axis=0)
        popular += 0 if known.popular is None else sum(facts.popular or 0 for facts in piece)
        count += len(piece)

    def mean(name: str, *, lookups: bool = False) -> float:
        return int(sums[names.index(name), 0 if lookups else 1]) / count

    looked_up, unique = mean(LOOKUP, lookups=True), mean(UNIQUE)
    metrics: dict[str, Any] = {
        "lookups_per_batch": looked_up,
        "unique_rows_per_batch": unique,
    }
    if known.popular is not None:
        metrics["popular_samples_per_batch"] = popular / count
    if FILLED in known:
        metrics["filled_rows_per_batch"] = mean(FILLED)
        metrics["spilled_rows_per_batch"] = mean(SPILLED)
    if HIT not in known:
        return metrics
    misses = mean(MISS)
    metrics |= {
        "lookup_hit_rate": mean(HIT, lookups=True) / looked_up if looked_up else None,
        "unique_hit_rate": mean(HIT) / unique if unique else None,
        "misses_per_batch": misses,
    }
    if BYPASS in known:
        metrics["bypass_rows_per_batch"] = mean(BYPASS)
        metrics["bypass_lookups_per_batch"] = mean(BYPASS, lookups=True)
    if VICTIM not in known:
        return metrics  # nothing is fetched or evicted: misses are trained where they are
    cold = mean(COLD)
    held = mean(HELD) if HELD in known else None
    return metrics | {
        "victims_per_batch": mean(VICTIM),
        "dirty_victims_per_batch": mean(WRITE_BACK),
        "cold_misses_per_batch": cold,
        "held_misses_per_batch": held,
        "capacity_misses_per_batch": misses - cold - (held or 0.0),
    }


def add_moved(
    moved: Moved,
    works: ByGroup[StageDemand],
    begin: int,
    window: tuple[int, int],
    resources: Container[str],
) -> None:
    """Add to `moved` the bytes that `works` move through some `resources`, mini-batches from number
    `begin` on, as far as they lie in `window` (first and last)."""
    for group, stages in works.of_group():
        timed = (begin + group >= window[0]) & (begin + group <= window[1])
        moved += [{} for _ in stages[len(moved) :]]
        for sums, stage in zip(moved, stages, strict=True):
            for demand in (demand for lane in stage.lanes for demand in lane):
                for name, service in demand.services.items():
                    if name in resources and (size := _summed(service.bytes, timed)):
                        sums[name] = sums.get(name, 0) + size


def _summed(size: Any, timed: npt.NDArray[np.bool_]) -> int:
    """The sum of a number of every mini-batch over those that are timed."""
    if isinstance(size, Column):
        return sum(size.at(timed).tolist())
    return int(size) * int(timed.sum())


def stage_rows(
    specs: Sequence[StageSpec],
    spans: Sequence[Span],
    moved: Moved,
    meter: Metered,
    kinds: Mapping[str, Kind],
    copies: Callable[[str], int],
) -> list[dict[str, Any]]:
    """One row a stage: busy, exposed and hidden time, and bytes by kind, a mini-batch.

    `specs`: the stages of the schedule. `moved[stage]`: bytes of each resource in it; means over
    the mini-batches that `meter` times. `kinds`: of the resources whose bytes count; `copies`: how
    many resources each stands for, where equal ranks are folded. Raises `InvariantError` where
    the stages' times do not add up to the elapsed time.
    """
    first, last = meter.first, meter.last
    batches = last - first + 1
    times = stage_times(spans, first, last)
    check_stage_times(times, timed_window(spans, first, last).elapsed_ps)
    rows = []
    for stage, spec in enumerate(specs):
        time = times[stage]
        row: dict[str, Any] = {
            "stage": spec.name,
            "order": stage,
            "role": spec.role,
            "busy_us": time.busy_ps / batches / PS_PER_US,
            "exposed_us": time.exposed_ps / batches / PS_PER_US,
            "hidden_us": time.hidden_ps / batches / PS_PER_US,
        }
        sums = _moved_bytes(moved[stage], kinds, copies)
        rows.append(row | {f"{kind}_bytes": size / batches for kind, size in sums.items()})
    return rows


def _moved_bytes(
    moved: Mapping[str, int], kinds: Mapping[str, Kind], copies: Callable[[str], int]
) -> dict[str, int]:
    """Bytes through the resources of each kind; kinds that move none are left out."""
    sums: dict[str, int] = {}
    for name, size in moved.items():
        sums[kinds[name]] = sums.get(kinds[name], 0) + size * copies(name)
    return sums
