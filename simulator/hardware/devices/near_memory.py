"""Memory whose ranks are read each on its own, by logic beside it that adds rows up (near-memory
processing): what pooling, coalescing and updating in such a pool cost.

Modelled. Memory: the fullest node's rows at what the DRAM model sustains of one rank alone, pieces
or whole rows as the pool cuts them; rows that a node's cache holds are not read. Instructions of
the fullest channel; sums on their way out of the modules, and gradients on their way in (when they
are used), on the channels, and of bank groups on the pins of their ranks; additions of the fullest
node. An operation takes the slowest of these.

Approximated: sums and gradients load all channels alike; sums wait in buffers that are large
enough. Where row numbers are replayed one by one (`run.memory_fidelity`), those of the fullest node
are. Ignored: coherence with caches of processors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from simulator.caches.nodes import Counts
from simulator.config.operators import OperatorProfile
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service, Turnaround
from simulator.hardware.devices.base import Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.near_memory_layout import PIECE_BYTES, NodePool
from simulator.hardware.devices.near_memory_work import NodeWork
from simulator.hardware.memory import Memory, StreamTiming
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Elsewhere,
    Operation,
    Pool,
    Update,
)
from simulator.hardware.static_memory import StaticMemory
from simulator.units import PS_PER_S

__all__ = ["NearMemory", "NearMemoryDevice"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Pooled:
    """All nodes as one memory (copies and streams in order), one node for rows, and one for those
    that leave over the pins of its rank alone."""

    whole: StreamTiming
    node: StreamTiming
    rank: StreamTiming

    @property
    def peak_bandwidth(self) -> int:
        return self.whole.peak_bandwidth

    @property
    def turnaround(self) -> Turnaround:
        return self.whole.turnaround

    @property
    def standing_w(self) -> float:
        return self.whole.standing_w

    @property
    def sampling_error(self) -> float:
        return max(t.sampling_error for t in (self.whole, self.node, self.rank))

    def stream_ps(self, access: Access) -> float:
        return self.whole.stream_ps(access)

    def stream_pj(self, access: Access) -> float:
        return self.whole.stream_pj(access)


@dataclass(frozen=True)
class _Crossing:
    """Bytes on the pins of ranks, of what has adders within them (rows that are read at the rank
    among them), and of sums and gradients on channels."""

    pins: float = 0.0
    channels: float = 0.0

    def with_rows(self, by_rank: Counts, size: int) -> _Crossing:
        """And so many rows of `size` bytes of each rank over its pins."""
        return replace(self, pins=self.pins + sum(by_rank) * size)


def _from_afar(more: Elsewhere, reach: Reach) -> dict[str, Service]:
    """Rows of another memory that come to the adders, a lookup each, past the nodes' own."""
    store, count = more.store, more.rows.lookups
    read = Access(store.memory, count, store.row_bytes, pieces=store.pieces(more.rows))
    return reach(store.memory).services([read])


class NearMemory(NodePool):
    """A pool of memory ranks with adders beside them."""

    links: ClassVar[bool | None] = False
    kind: Literal["near_memory"]

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> NearMemoryDevice:
        """The pool in a socket of its own."""
        return NearMemoryDevice(name, self, setup, members)


class NearMemoryDevice(Processor):
    """The pool: `dram` of all nodes, `buffers`, `instructions`, `channels`, `pins` of ranks (sums
    of bank groups), `adders`."""

    part: NearMemory
    rules: ClassVar[Mapping[type[Operation], str]] = {
        Pool: "_pool",
        Accumulate: "_accumulate",
        Update: "_update",
    }

    def prepare(self, setup: Setup) -> None:
        part = self.part
        whole = part.whole(setup.row_bytes)
        self._timing = _Pooled(
            setup.timing(whole), setup.timing(part.columns), setup.timing(part.memory)
        )
        self.dram = Memory(f"{self.name}.dram", self.name, "dram", whole.usable, self._timing)
        buffers = StaticMemory(part.nodes * part.memory.peak_bytes_per_s)
        size = part.nodes * max(part.cache, PIECE_BYTES)
        self.buffers = Memory(f"{self.name}.buffers", self.name, "other", size, buffers)
        self._told, self._adders = f"{self.name}.instructions", f"{self.name}.adders"
        self._channels, self._pins = f"{self.name}.channels", f"{self.name}.pins"

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram, self.buffers)

    @property
    def resources(self) -> tuple[Resource, ...]:
        names = (self.buffers.place, self._told, self._channels, self._pins, self._adders)
        return (self.dram.resource, *(Resource(name, self.name, "other") for name in names))

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of all nodes' memory and of their logic."""
        seconds = elapsed_ps / PS_PER_S
        standing = self.dram.timing.standing_w
        return {
            self.dram.place: dynamic_j(use, self.dram.place) + standing * seconds,
            self._adders: self.part.nodes * self.part.node_power * seconds,
        }

    # words

    def _pool(self, word: Pool, software: OperatorProfile, reach: Reach) -> Demand:
        del software
        size = word.reads.row_bytes
        work = NodeWork(self.part, word.rows, size)
        read = work.spread.read
        rows = self._rows(work, read, size, ids=word.reads.pieces(word.rows))
        once = float(word.into.bytes)
        if self.part.sums_meet == "host":
            once /= work.copies(work.spread.modules) or 1.0
        sums = _Crossing(
            once * work.copies(work.spread.inner), once * work.copies(work.spread.modules)
        ).with_rows(self.part.over_pins(read), size)
        demand = self._demand(word.name, work, [rows], work.spread.asked, sums)
        if word.elsewhere is None:
            return demand
        afar = _from_afar(word.elsewhere, reach)
        return replace(demand, services={**demand.services, **afar})

    def _accumulate(self, word: Accumulate, software: OperatorProfile, reach: Reach) -> Demand:
        """Gradients of lookups out of those of their vectors, summed by row into a region."""
        del software, reach
        work, size = NodeWork(self.part, word.rows, word.gradient_bytes), word.gradient_bytes
        gradients = self._rows(work, work.spread.lookups, size)
        sums = self._in_order(sum(work.spread.rows) * size, write=True)
        crossing = self._handed_out(work, word.source.bytes)
        crossing = crossing.with_rows(self.part.over_pins(work.spread.lookups), size)
        return self._demand(word.name, work, [gradients, sums], work.spread.lookups, crossing)

    def _update(self, word: Update, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        store, size = word.writes, word.gradient_bytes
        work = NodeWork(self.part, word.rows, store.row_bytes)
        asked, crossing = work.spread.rows, _Crossing()
        kept = self.part.over_pins(work.spread.rows)
        if word.coalesce:
            streams = [self._rows(work, work.spread.lookups, size)]
            crossing = self._handed_out(work, word.source.bytes)
            asked = work.spread.lookups
            crossing = crossing.with_rows(self.part.over_pins(asked), size)
        else:
            streams = [self._in_order(sum(work.spread.rows) * size, write=False)]
        crossing = crossing.with_rows(kept, 2 * (store.row_bytes + store.state_bytes))
        ids = store.pieces(word.rows)
        streams += [
            self._rows(work, work.spread.rows, each, write=write, ids=ids)
            for each in (store.row_bytes, store.state_bytes)
            if each
            for write in (False, True)
        ]
        return self._demand(word.name, work, streams, asked, crossing)

    # what they come to

    def _rows(
        self,
        work: NodeWork,
        by_home: Counts,
        size: int,
        *,
        write: bool = False,
        ids: Int64s | None = None,
    ) -> Service:
        """`size` bytes of each of so many rows of every home, at any place: the fullest node's
        time, everybody's bytes and energy."""
        node, place = self._timing.node, self.dram.place
        used = min(work.pieces, -(-size // PIECE_BYTES))
        count = -(-max(work.by_rank(by_home), default=0) * used // work.pieces)
        own = work.of_fullest(by_home, ids)
        fullest = Access(place, count, -(-size // used), write, pieces=own, buffer=own is None)
        whole = Access(place, sum(by_home), size, write)
        ps = node.stream_ps(fullest) if count else 0.0
        ps = max(ps, self.part.columns_ps(by_home, size))
        if alone := max(self.part.over_pins(by_home), default=0):
            ps = max(ps, self._timing.rank.stream_ps(Access(place, alone, size, write)))
        energy_pj = node.stream_pj(fullest) / fullest.bytes * whole.bytes if count else 0.0
        read_ps, write_ps = (0.0, ps) if write else (ps, 0.0)
        return Service(read_ps, write_ps, whole.bytes, energy_pj, whole.bytes if write else 0)

    def _in_order(self, size: float, *, write: bool) -> Service:
        """Bytes in order, the same in every node."""
        return self.dram.service([Access(self.dram.place, 1, round(size), write, random=False)])

    def _handed_out(self, work: NodeWork, size: int) -> _Crossing:
        """Gradients of vectors of `size` bytes to all homes that have rows of them; then sums of
        those of copied rows, out of every home that has one, and their total in to all homes."""
        spread, sums, row = work.spread, work.spread.copied, work.row_bytes
        return _Crossing(
            size * work.copies(spread.inner) + (sums.homes + sums.rows * len(spread.rows)) * row,
            size * work.copies(spread.channels)
            + (sums.modules + sums.rows * self.part.channels) * row,
        )

    def _demand(
        self,
        name: str,
        work: NodeWork,
        streams: Iterable[Service],
        asked: Counts,
        crossing: _Crossing,
    ) -> Demand:
        """`streams` of memory; rows that nodes are `asked` for; what goes in or out."""
        part, spread = self.part, work.spread
        memory = sum(streams, Service(0.0))
        elements = max(spread.lookups, default=0) * work.row_bytes / GRADIENT_BYTES / work.pieces
        added_ps = elements * PS_PER_S / part.additions if part.additions else 0.0
        channels = part.channels * part.channel_bandwidth
        pins = part.nodes * part.memory.peak_bytes_per_s
        within = crossing.pins if part.level != "rank" else 0.0
        told_ps = max(
            work.fullest_channel(asked) * part.instruction_ps(work.row_bytes),
            max(work.by_rank(asked), default=0) * part.rank_instruction_ps(),
        )
        services = {
            self.dram.place: memory,
            self._told: Service(told_ps),
            self._channels: Service(
                crossing.channels * PS_PER_S / channels, bytes=round(crossing.channels)
            ),
            self._pins: Service(within * PS_PER_S / pins, bytes=round(within)),
            self._adders: Service(added_ps),
        }
        return Demand(name, services, latency_ps=part.latency)
