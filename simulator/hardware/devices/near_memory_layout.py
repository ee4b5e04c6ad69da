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
    rank_bits_per_clock: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """The same of what leads from the buffer chip into one rank; null: never the limit."""


class NodePool(Part):
    """Ranks, what they stand on, and how rows are laid over them."""

    memory: Dram
    """One node: a channel with one rank."""
    channels: Positive
    modules: Positive
    """Of a channel."""
    ranks: Positive
    """Of a module."""
    level: Literal["rank", "bank_group"] = "rank"
    """What has an adder of its own. A bank group's reads pass its own columns, at tCCD_L and all
    groups of a rank at once; its sums go to the buffer chip over the pins of the rank. Activates
    and refresh are those of the rank."""
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
        if self.level == "bank_group" and self.cut == "vertical":
            raise MisfitError("cut", "must be horizontal where bank groups have adders")
        if self.nodes > MOST_NODES:
            raise MisfitError("channels", f"x modules x ranks are {self.nodes}: at most 4,096")
        return self

    @property
    def nodes(self) -> int:
        """Ranks of all channels."""
        return self.channels * self.modules * self.ranks

    @property
    def groups(self) -> int:
        """Adders of a rank: one, or one a bank group."""
        return self.memory.organization.bank_groups if self.level == "bank_group" else 1

    @property
    def columns(self) -> Dram:
        """One rank as its adders see it: its pins, or the columns of all its bank groups, which
        share nothing but activates and refresh (commands are made in the rank) and have a queue
        each."""
        memory = self.memory
        if self.level == "rank":
            return memory
        short = {"activate": 2, "precharge": 2, "column": 2}
        queues = {
            name: self.groups * getattr(memory.controller, name)
            for name in ("read_queue", "write_queue")
        }
        return memory.model_copy(
            update={
                "controller": memory.controller.model_copy(update=queues),
                "burst_clocks": 1,
                "command_length": memory.command_length.model_copy(update=short),
                "timing": memory.timing.model_copy(update={"ccd_s": 1, "ccd_s_wr": 1}),
            }
        )

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
        """Nodes (bank groups), or groups of nodes, that hold whole rows; where they do not divide,
        nodes are left over."""
        return self.nodes // self.pieces(row_bytes) * self.groups

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
        memory = self.columns
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

    def rank_instruction_ps(self) -> float:
        """Time of what leads into one rank for the instruction of one row."""
        bus = self.instructions
        if bus is None or bus.rank_bits_per_clock is None:
            return 0.0
        return 1e12 / self.memory.clock * bus.bits / bus.rank_bits_per_clock

    def group_ps(self, size: int) -> float:
        """Time of the columns of one bank group for a row of `size` bytes; of a rank none beside
        what its memory takes."""
        if self.level == "rank":
            return 0.0
        bursts = -(-size // self.memory.burst_bytes)
        return bursts * self.memory.timing.ccd_l * 1e12 / self.memory.clock

    def derived(self) -> Mapping[str, str]:
        """Nodes, what they sustain at most, and bytes that tables can use."""
        return {
            "nodes": str(self.nodes * self.groups),
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

    def by_rank(self, by_home: Counts) -> Counts:
        """Of each rank, where homes are its bank groups."""
        if self.part.level == "rank":
            return by_home
        nodes = self.part.nodes
        return tuple(sum(by_home[rank::nodes]) for rank in range(nodes))

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
        """Those of `ids` that lie in the fullest rank, numbered within it; rows that are cut all
        stand for those of one home. None where some are copied: who reads which is not kept."""
        if ids is None or self.part.cut == "vertical":
            return ids
        if self.spread.copied.rows:
            return None
        ranks = self.by_rank(by_home)
        own: Int64s = ids[ids % len(ranks) == int(np.argmax(ranks))] // len(ranks)
        return own


def _evenly(count: int, homes: int) -> Counts:
    """`count` over all homes, as even as can be."""
    return tuple((count + k) // homes for k in range(homes))
