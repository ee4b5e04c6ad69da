"""Queries in an open loop: when they come, and how long they wait for their answers.

A query is a mini-batch. Those of a run come at moments that are drawn ahead, whether the ones
before are answered or not, and are served by the program of the system on its machine, whose stages
overlap as its schedule has it: its timed mini-batches over and over. A latency is the time from
when a query comes to its answer. Where queries come as fast as the system answers with one always
waiting, or faster, the queue grows without end and a latency would be that of the run's length:
none is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from simulator.config.arrivals import ArrivalsConfig
from simulator.engine.pipeline import Mode, Span, Waits, run_pipeline
from simulator.hardware.demand import Resource, StageDemand
from simulator.hardware.machine import Machine
from simulator.units import PS_PER_S, PS_PER_US

__all__ = ["Server", "arrival_times", "query_metrics"]

Int64s = npt.NDArray[np.int64]
NOT_COUNTED = 10
"""One of so many queries comes before those that count."""


@dataclass(frozen=True)
class Server:
    """What answers queries: the stages of some mini-batches on a machine."""

    resources: dict[str, Resource]
    works: Sequence[tuple[StageDemand, ...]]
    mode: Mode
    waits: Waits = ()

    def alone_ps(self) -> float:
        """From when a query comes to an idle machine to its answer, mean."""
        ends = [self._run([work])[-1].end_ps for work in self.works]
        return float(np.mean(ends))

    def latencies_ps(self, arrivals: Int64s) -> Int64s:
        """From when each query comes to its answer; int64, shape of `arrivals` (rising)."""
        works = [self.works[k % len(self.works)] for k in range(len(arrivals))]
        return _ends(self._run(works, arrivals.tolist())) - arrivals

    def closed_ps(self, spans: Sequence[Span], first: int, last: int) -> Int64s:
        """What mini-batches `first` to `last` of a closed loop took, from their first stage on."""
        starts = {span.batch: span.start_ps for span in spans if span.stage == 0}
        ends = _ends(spans)
        return np.array([ends[k] - starts[k] for k in range(first, last + 1)], np.int64)

    def _run(
        self, works: Sequence[tuple[StageDemand, ...]], arrivals: Sequence[int] = ()
    ) -> tuple[Span, ...]:
        clock = Machine(simpy.Environment(), self.resources, check=False)
        return run_pipeline(clock, works, self.mode, waits=self.waits, arrivals=arrivals)


def _ends(spans: Sequence[Span]) -> Int64s:
    """The end of each mini-batch."""
    last = max(span.stage for span in spans)
    ends = sorted((span.batch, span.end_ps) for span in spans if span.stage == last)
    return np.array([end for _, end in ends], np.int64)


def arrival_times(config: ArrivalsConfig, per_s: float, seed: int) -> Int64s:
    """When queries come, `per_s` of them a second: picoseconds, int64, rising."""
    gap = PS_PER_S / per_s
    if config.process == "even":
        gaps = np.full(config.queries, gap)
    else:
        gaps = np.random.Generator(np.random.Philox(seed)).exponential(gap, config.queries)
    return np.round(np.cumsum(gaps)).astype(np.int64)


def query_metrics(
    server: Server,
    closed: Int64s,
    iteration_us: float,
    arrivals: ArrivalsConfig | None,
    seed: int,
) -> dict[str, Any]:
    """Latencies of queries, offered and answered ones.

    `closed`: latencies where a query is always waiting, `iteration_us`: what one takes there.
    """
    capacity = 1e6 / iteration_us
    metrics: dict[str, Any] = {"latency_alone_us": server.alone_ps() / PS_PER_US}
    if arrivals is None:
        return metrics | _latencies(closed) | {"answered_per_s": capacity}
    offered = arrivals.rate_per_s or capacity * (arrivals.load or 0.0)
    metrics |= {"offered_per_s": offered, "offered_load": offered / capacity}
    metrics |= {"overloaded": offered >= capacity, "answered_per_s": min(offered, capacity)}
    if offered >= capacity:
        return metrics
    times = arrival_times(arrivals, offered, seed)
    return metrics | _latencies(server.latencies_ps(times)[len(times) // NOT_COUNTED :])


def _latencies(latencies: Int64s) -> dict[str, float]:
    us = latencies / PS_PER_US
    return {
        "latency_mean_us": float(us.mean()),
        "latency_p50_us": float(np.percentile(us, 50)),
        "latency_p99_us": float(np.percentile(us, 99)),
    }
