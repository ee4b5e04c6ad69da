"""One simulation under way: the state of the channels, and where the stream stands.

Channels fed in order (`controller.in_order`) run together in one state: a full queue of one holds
back the stream, as where one requester walks it. Channels fed independently run each for itself:
each takes its own part of the stream as fast as it can, as where thousands of requesters do; the
memory is done when its last channel is. Under a stated load, independent channels are offered
their parts evenly spaced.
"""

from __future__ import annotations

import time

import numpy as np

from simulator.errors import UsageError
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import frfcfs, perbank
from simulator.hardware.dram.clocks import gates, shape
from simulator.hardware.dram.mapping import address_map
from simulator.hardware.dram.state import Counters, new_state
from simulator.hardware.dram.views import Ints

__all__ = ["Session"]

LEAST_LOAD = 1e-6
"""Share of the peak rate: below it nothing contends, and ticks would leave 64 bits."""


class Session:
    """A memory being fed with a stream, chunk by chunk."""

    def __init__(self, config: Dram, channels: int, load: float | None) -> None:
        if channels < 1:
            raise UsageError(f"channels must be at least 1, not {channels}")
        if load is not None and not LEAST_LOAD <= load <= 1.0:
            raise UsageError(f"load must be {LEAST_LOAD:g} to 1 (or max), not {load}")
        self.config, self.channels = config, channels
        self.gates = gates(config)
        self.map = address_map(config, channels)
        self.buses = channels * config.organization.pseudo_channels
        self.together = config.controller.in_order or channels == 1
        states, each = (1, channels) if self.together else (channels, 1)
        self.states = [new_state(self.gates, shape(config, each)) for _ in range(states)]
        self.ticks = [0] * states
        rate = 0.0 if load is None else load * self.buses / states / float(self.gates.bl)
        self.interval = 1.0 / rate if rate else 0.0
        self.kernel = perbank.run if config.controller.scheduler == "per-bank" else frfcfs.run
        self._run(0, np.zeros((5, 1), dtype=np.int64), 0, False)  # compiled before the clock starts
        self.started = time.perf_counter()

    def _run(self, i: int, stream: Ints, n: int, final: bool) -> None:
        words = self.states[i].words
        self.ticks[i] = self.kernel(words, stream, n, self.interval, self.ticks[i], final)

    def feed(self, stream: Ints, n: int, final: bool) -> None:
        """Serve the first `n` requests of `stream`, int64[5, >= n]; all of them if `final`."""
        if self.together:
            self._run(0, stream, n, final)
            return
        order = np.argsort(stream[0, :n], kind="stable")
        by_channel = stream[:, order]
        ends = np.searchsorted(by_channel[0], np.arange(1, self.channels + 1))
        by_channel[0] = 0
        first = 0
        for channel, end in enumerate(ends.tolist()):
            own = np.ascontiguousarray(by_channel[:, first:end])
            self._run(channel, own, end - first, final)
            first = end

    def counters(self) -> Counters:
        """Counters of all channels together: the last tick of any, sums of the others."""
        each = [state.counters for state in self.states]
        totals = Counters(np.sum([n.words[: Counters.size] for n in each], axis=0), 0)
        totals.last = max(n.last for n in each)
        return totals

    @property
    def wall_s(self) -> float:
        """Seconds since the first request."""
        return time.perf_counter() - self.started
