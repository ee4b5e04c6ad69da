"""From spans and device use to the columns of the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simulator.engine.pipeline import Span, critical_path
from simulator.hardware.demand import DEVICES, StageDemand
from simulator.hardware.machine import DeviceUse, Machine
from simulator.systems.base import BatchCounts, ReplayKind
from simulator.units import PS_PER_S, PS_PER_US

__all__ = ["Meter", "count_metrics", "stage_rows", "time_metrics"]

BOTTLENECK_UTILIZATION = 0.5
"""Below this no device holds the iteration up; a stage or latency does."""


@dataclass(slots=True)
class Meter:
    """Reads a machine's devices when the timed window opens and when it closes."""

    machine: Machine
    first: int
    """First timed mini-batch."""
    last: int
    opened: dict[str, DeviceUse] = field(default_factory=dict)
    closed: dict[str, DeviceUse] = field(default_factory=dict)

    def watch(self, batch: int) -> None:
        """Called when `batch` retires."""
        if batch == self.first - 1:
            self.opened = self._read()
        if batch == self.last:
            self.closed = self._read()

    def _read(self) -> dict[str, DeviceUse]:
        self.machine.settle()
        return {
            name: DeviceUse(use.busy_ps, use.bytes, use.energy_pj)
            for name, use in self.machine.use.items()
        }

    @property
    def devices(self) -> dict[str, DeviceUse]:
        """What went through each device in the timed window."""
        return {device: self.use(device) for device in self.closed}

    def use(self, device: str) -> DeviceUse:
        """What went through `device` in the timed window."""
        after = self.closed.get(device, DeviceUse())
        before = self.opened.get(device, DeviceUse())
        return DeviceUse(
            after.busy_ps - before.busy_ps,
            after.bytes - before.bytes,
            after.energy_pj - before.energy_pj,
        )


def time_metrics(
    spans: Sequence[Span],
    meter: Meter,
    peaks: Mapping[str, int],
    batch_size: int,
) -> dict[str, Any]:
    """Iteration times, throughput, devices and bottleneck of the timed window."""
    final = max(span.stage for span in spans)
    ends = {span.batch: span.end_ps for span in spans if span.stage == final}
    first, last = meter.first, meter.last
    marks = [ends.get(first - 1, 0), *(ends[batch] for batch in range(first, last + 1))]
    gaps = np.diff(np.array(marks, np.int64)) / PS_PER_US
    elapsed_ps = marks[-1] - marks[0]
    batches = last - first + 1
    metrics: dict[str, Any] = {
        "iteration_time_us": elapsed_ps / batches / PS_PER_US,
        "iteration_time_p50_us": float(np.percentile(gaps, 50)),
        "iteration_time_p99_us": float(np.percentile(gaps, 99)),
        "throughput_samples_per_s": batch_size * batches * PS_PER_S / elapsed_ps,
    }
    utilization: dict[str, float] = {}
    for device in DEVICES:
        use = meter.use(device)
        if use.busy_ps <= 0.0 and use.bytes <= 0.0:
            continue
        utilization[device] = use.busy_ps / elapsed_ps
        bandwidth = use.bytes * PS_PER_S / elapsed_ps
        metrics[f"{device}_utilization"] = utilization[device]
        if device in peaks:
            metrics[f"{device}_bytes"] = use.bytes / batches
            metrics[f"{device}_bandwidth_gbps"] = bandwidth / 1e9
            metrics[f"{device}_share_of_peak"] = bandwidth / peaks[device]
    metrics["bottleneck"] = _bottleneck(utilization)
    return metrics


def _bottleneck(utilization: Mapping[str, float]) -> str:
    device = max(utilization, key=lambda name: utilization[name], default="latency")
    if utilization.get(device, 0.0) < BOTTLENECK_UTILIZATION:
        return "latency"
    return device


def count_metrics(counts: Sequence[BatchCounts], replay: ReplayKind) -> dict[str, Any]:
    """Means of the cache counts over the timed mini-batches."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in counts]))

    lookups, unique = mean("lookups"), mean("unique_rows")
    metrics: dict[str, Any] = {
        "lookups_per_batch": lookups,
        "unique_rows_per_batch": unique,
    }
    if replay == "none":
        return metrics
    misses = mean("misses")
    metrics |= {
        "lookup_hit_rate": mean("lookup_hits") / lookups if lookups else None,
        "unique_hit_rate": mean("unique_hits") / unique if unique else None,
        "misses_per_batch": misses,
    }
    if replay == "static":
        return metrics  # nothing is fetched or evicted: misses are trained on the CPU
    cold = mean("cold_misses")
    held = mean("held_misses") if counts and counts[0].held_misses is not None else None
    metrics |= {
        "victims_per_batch": mean("victims"),
        "dirty_victims_per_batch": mean("write_backs"),
        "cold_misses_per_batch": cold,
        "held_misses_per_batch": held,
        "capacity_misses_per_batch": misses - cold - (held or 0.0),
    }
    return metrics


def stage_rows(
    names: Sequence[str],
    spans: Sequence[Span],
    works: Sequence[Sequence[StageDemand]],
    first: int,
    last: int,
) -> list[dict[str, Any]]:
    """One row a stage: busy, exposed and hidden time, and bytes by device, a mini-batch.

    `works[batch][stage]`: what the stage asked for; means over mini-batches `first` to `last`.
    """
    batches = last - first + 1
    exposed = critical_path(spans, first, last)
    busy = [0] * len(names)
    for span in spans:
        if first <= span.batch <= last:
            busy[span.stage] += span.end_ps - span.start_ps
    rows = []
    for stage, name in enumerate(names):
        busy_us = busy[stage] / batches / PS_PER_US
        exposed_us = exposed[stage] / batches / PS_PER_US
        row: dict[str, Any] = {
            "stage": name,
            "order": stage,
            "busy_us": busy_us,
            "exposed_us": exposed_us,
            "hidden_us": max(0.0, busy_us - exposed_us),
        }
        moved = _moved_bytes(work[stage] for work in works[first : last + 1])
        rows.append(row | {f"{d}_bytes": size / batches for d, size in moved.items()})
    return rows


def _moved_bytes(stages: Iterable[StageDemand]) -> dict[str, int]:
    """Bytes through each device, summed; devices that move none are left out."""
    moved: dict[str, int] = {}
    for stage in stages:
        for demand in (one for lane in stage.lanes for one in lane):
            for device, service in demand.services.items():
                if service.bytes:
                    moved[device] = moved.get(device, 0) + service.bytes
    return moved
