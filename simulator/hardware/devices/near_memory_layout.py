"""How a pool of memory ranks with logic beside them is built, and where rows lie in it. What work
on it costs says `near_memory`.

A *node* is a rank behind a buffer chip of its own: a channel with one rank, as the DRAM model has
it. Modules of several ranks stand on channels that carry instructions in and sums out. A row is
either cut into pieces of 64 B over neighbouring nodes (`vertical`; further nodes form further
groups, each with whole tables), or lies in one node as a whole (`horizontal`; rows go round the
nodes by their number, so that the fullest node is that of the rows which are looked up).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from simulator.caches.facts import Flow
from simulator.caches.nodes import Counts, Homes, Spread
from simulator.config.machine import Part
from simulator.config.types import (
    AccessRate,
    BytesOrNone,
    BytesPerSecond,
    Frozen,
    MisfitError,
    Picoseconds,
    Positive,
    Watts,
)
from simulator.hardware.devices.dram import Dram

__all__ = ["PIECE_BYTES", "InstructionBus", "NodePool", "NodeWork"]

Int64s = npt.NDArray[np.int64]

PIECE_BYTES = 64
"""What a vertical cut cuts rows into."""
MOST_NODES = 4_096


class InstructionBus(Frozen):
    """How nodes are told which rows to read: instructions that they turn into DRAM commands."""

    bits: Positive
    """Of the instruction for one row."""
    bits_per_clock: Annotated[float, Field(gt=0, le=1e9)]
    """Bits that one channel carries a clock of the memory."""


class NodePool(Part):
    """Ranks, what they stand on, and how rows are laid over them."""

    memory: Dram
    """One node: a channel with one rank."""
    channels: Positive
    modules: Positive
    """Of a channel."""
    ranks: Positive
    """Of a module, a node each."""
    cut: Literal["vertical", "horizontal"]
    """How a row lies: pieces of 64 B over neighbouring nodes, or whole in one node."""
    sums_meet: Literal["pool", "host"]
    """Where the sums of several modules are added up: in the pool, which then sends each pooled
    vector once and hands its gradient on, or in the host, which gets one from each module and sends
    a gradient to each channel."""
    channel_bandwidth: BytesPerSecond
    """Sums and gradients on one channel, between its modules and what is above them."""
    instructions: InstructionBus | None
    """null: the host's controller sends every DRAM command of every node over the channel's command
    bus."""
    cache: BytesOrNone
    """Rows that the logic of one node keeps beside it (LRU)."""
    additions: AccessRate | None
    """fp32 additions a second of one node; null: as many as its memory has elements for."""
    latency: Picoseconds
    """From the start of an operation to its first access."""
    node_power: Watts
    """Of the logic of one node, whatever it does."""

    @model_validator(mode="after")
    def _nodes_are_ranks(self) -> Self:
        if self.memory.channels != 1:
            raise MisfitError(
                "memory.organization.channels", "must be 1: a node is one rank on a bus of its own"
            )
        if self.memory.ranks != 1:
            raise MisfitError(
                "memory.organization.ranks",
                "must be 1, and memory.capacity no more than a rank has: a node is one rank",
            )
        if self.nodes > MOST_NODES:
            raise MisfitError("channels", f"x modules x ranks are {self.nodes}: at most 4,096")
        return self

    @property
    def nodes(self) -> int:
        """Ranks of all channels."""
        return self.channels * self.modules * self.ranks

    @property
    def channel_nodes(self) -> int:
        """Nodes of one channel."""
        return self.modules * self.ranks

    def pieces(self, row_bytes: int) -> int:
        """Nodes that a row of so many bytes lies in."""
        most = -(-row_bytes // PIECE_BYTES)
        return min(self.nodes, most) if self.cut == "vertical" else 1

    def piece_bytes(self, row_bytes: int) -> int:
        """What of a row lies in one node."""
        return -(-row_bytes // self.pieces(row_bytes))

    def homes(self, row_bytes: int) -> int:
        """Groups of nodes that hold whole rows; where they do not divide, nodes are left over."""
        return self.nodes // self.pieces(row_bytes)

    def homes_of(self, table: int, row_bytes: int) -> Homes:
        """Where the rows of a table lie, by its number."""
        homes = self.homes(row_bytes)
        fixed = table % homes if self.cut == "vertical" else None
        return Homes(homes, self.channels * self.modules, self.channels, fixed)

    def cached_rows(self, row_bytes: int) -> int:
        """Rows (pieces of rows) of that size that the cache of a node holds."""
        return self.cache // self.piece_bytes(row_bytes)

    def whole(self, row_bytes: int) -> Dram:
        """All nodes as one memory: a channel each, rows of `row_bytes` laid as `cut` says."""
        memory = self.memory
        burst = memory.burst_bytes
        stripe = -(-self.piece_bytes(row_bytes) // burst) * burst
        return memory.model_copy(
            update={
                "organization": memory.organization.model_copy(update={"channels": self.nodes}),
                "mapping": memory.mapping.model_copy(update={"interleave": stripe}),
                "controller": memory.controller.model_copy(update={"in_order": False}),
                "capacity": self.nodes * memory.usable,
            }
        )

    def instruction_ps(self, row_bytes: int) -> float:
        """Time of one channel's buses for the instruction, or the commands, of one row."""
        tick = 1e12 / self.memory.clock
        if self.instructions is not None:
            return tick * self.instructions.bits / self.instructions.bits_per_clock
        bursts = -(-self.piece_bytes(row_bytes) // self.memory.burst_bytes)
        lengths = self.memory.command_length
        halves = lengths.activate + bursts * lengths.column + lengths.precharge
        return tick * halves / 2

    def derived(self) -> Mapping[str, str]:
        """Nodes, what they sustain at most, and bytes that tables can use."""
        return {
            "nodes": str(self.nodes),
            "peak bandwidth": f"{self.nodes * self.memory.peak_bytes_per_s} B/s",
            "usable": f"{self.nodes * self.memory.usable} B",
        }


@dataclass(frozen=True)
class NodeWork:
    """Rows of one size that an operation touches, by home."""

    part: NodePool
    rows: Flow
    row_bytes: int

    @cached_property
    def pieces(self) -> int:
        """Nodes of a home that a row lies in."""
        return self.part.pieces(self.row_bytes)

    @cached_property
    def spread(self) -> Spread:
        """That of the rows; where it is not told all homes do the same, for vectors of one home."""
        if self.rows.nodes is not None:
            return self.rows.nodes
        homes = self.part.homes(self.row_bytes)
        lookups, rows = (_evenly(count, homes) for count in (self.rows.lookups, self.rows.rows))
        return Spread(lookups, rows, lookups, lookups, 1, 1, 1, 1)

    def copies(self, places: int) -> float:
        """Of a vector, where so many places hold rows of all vectors together."""
        return places / self.spread.vectors if self.spread.vectors else 1.0

    def fullest_channel(self, by_home: Counts) -> int:
        """Rows that the fullest channel is asked for; a home of several channels asks each."""
        channels, homes = self.part.channels, len(by_home)
        if homes < channels:
            return max(by_home, default=0)
        numbers = np.arange(homes)
        cut = self.part.cut == "vertical"
        channel = numbers * channels // homes if cut else numbers % channels
        return int(np.bincount(channel, weights=np.array(by_home, np.float64)).max())

    def of_fullest(self, by_home: Counts, ids: Int64s | None) -> Int64s | None:
        """Those of `ids` that lie in the fullest home, numbered within it; rows that are cut all
        stand for those of one home."""
        if ids is None or self.part.cut == "vertical":
            return ids
        homes = len(by_home)
        own: Int64s = ids[ids % homes == int(np.argmax(by_home))] // homes
        return own


def _evenly(count: int, homes: int) -> Counts:
    """`count` over all homes, as even as can be."""
    return tuple((count + k) // homes for k in range(homes))
