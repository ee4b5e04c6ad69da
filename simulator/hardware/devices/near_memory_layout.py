"""How a pool of memory ranks with logic beside them is built, and where rows lie in it. What work
on it costs says `near_memory`.

A *node* is a rank behind a buffer chip of its own: a channel with one rank, as the DRAM model has
it. Modules of several ranks stand on channels that carry instructions in and sums out. A row is
either cut into pieces of 64 B over neighbouring nodes (`vertical`; further nodes form further
groups, each with whole tables), or lies in one node as a whole (`horizontal`; rows go round the
nodes, of the pool or of a channel, by their number, so that the fullest node is that of the rows
which are looked up).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from simulator.caches.nodes import Counts, Homes
from simulator.config.machine import Part
from simulator.config.types import (
    AccessRate,
    BytesOrNone,
    BytesPerSecond,
    MisfitError,
    Picoseconds,
    Positive,
    Watts,
)
from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.near_memory_levels import InstructionBus, Regions

__all__ = ["PIECE_BYTES", "NodePool"]

PIECE_BYTES = 64
"""What a vertical cut cuts rows into."""
MOST_NODES = 4_096


class NodePool(Part):
    """Ranks, what they stand on, and how rows are laid over them."""

    memory: Dram
    """One node: a channel with one rank."""
    channels: Positive
    modules: Positive
    """Of a channel."""
    ranks: Positive
    """Of a module."""
    level: Literal["rank", "bank_group", "regions"] = "rank"
    """What has an adder of its own. A bank group's reads pass its own columns, at tCCD_L and all
    groups of a rank at once; its sums go to the buffer chip over the pins of the rank. Activates
    and refresh are those of the rank. In `regions` some banks have adders at the rank, others at
    their group, others of their own."""
    regions: Regions | None = None
    """The banks of a rank where `level` is `regions`; else null."""
    cut: Literal["vertical", "horizontal"]
    """How a row lies: pieces of 64 B over neighbouring nodes, or whole in one node."""
    spread: Literal["pool", "channel"] = "pool"
    """What whole rows of a table go round: all nodes, or those of one channel, each table that of
    its number, so that the sums of a vector come from the modules of one channel."""
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
        if self.level != "rank" and self.cut == "vertical":
            raise MisfitError("cut", "must be horizontal where bank groups have adders")
        if self.spread == "channel" and self.cut == "vertical":
            raise MisfitError("spread", "must be pool where rows are cut over nodes")
        if (self.level == "regions") != (self.regions is not None):
            raise MisfitError("regions", "must be given where level is regions, and only there")
        if self.regions is not None and sum(self.regions.banks) != self._banks:
            raise MisfitError("regions", f"must have all {self._banks} banks of a rank")
        if self.nodes > MOST_NODES:
            raise MisfitError("channels", f"x modules x ranks are {self.nodes}: at most 4,096")
        return self

    @property
    def nodes(self) -> int:
        """Ranks of all channels."""
        return self.channels * self.modules * self.ranks

    @property
    def _banks(self) -> int:
        """Of a rank."""
        organization = self.memory.organization
        return organization.bank_groups * organization.banks_per_group

    @property
    def groups(self) -> int:
        """Adders of a rank: one, one a bank group, or those of its regions."""
        if self.regions is not None:
            return self.regions.adders
        return self.memory.organization.bank_groups if self.level == "bank_group" else 1

    @property
    def columns(self) -> Dram:
        """One rank as its adders see it: its pins, or the columns of all its bank groups, which
        share nothing but activates and refresh (commands are made in the rank) and have a queue
        each. An instruction is one activate, all reads of its row and a precharge: no row closes
        between them, as `frfcfs` does for a row that waits while columns are busy."""
        memory = self.memory
        if self.level == "rank":
            return memory
        short = {"activate": 2, "precharge": 2, "column": 2}
        controller: dict[str, int | str] = {
            name: memory.organization.bank_groups * getattr(memory.controller, name)
            for name in ("read_queue", "write_queue")
        }
        if memory.controller.scheduler == "frfcfs":
            controller["scheduler"] = "frfcfs-rowhit"
        return memory.model_copy(
            update={
                "controller": memory.controller.model_copy(update=controller),
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
        """Nodes (what has adders in them), or groups of nodes, that hold whole rows; where they do
        not divide, nodes are left over."""
        return self.nodes // self.pieces(row_bytes) * self.groups

    def homes_of(self, table: int, row_bytes: int) -> Homes:
        """Where the rows of a table lie, by its number."""
        homes = self.homes(row_bytes)
        fixed = table % homes if self.cut == "vertical" else None
        widths = () if self.regions is None else self.regions.widths(self.nodes)
        channel = table % self.channels if self.spread == "channel" else None
        return Homes(homes, self.channels * self.modules, self.channels, fixed, widths, channel)

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
            bus = self.instructions
            return tick * bus.bits / bus.bits_per_clock / bus.duplication
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

    def columns_over_pins(self, size: int) -> float:
        """What the columns of a rank carry at most of rows of `size` bytes, over its pins."""
        memory, bursts = self.memory, -(-size // self.memory.burst_bytes)
        if self.regions is not None:
            return sum(self.regions.rates(memory, size)) * bursts * memory.burst_clocks
        return self.groups * memory.burst_clocks / memory.timing.ccd_l if self.groups > 1 else 1.0

    def columns_ps(self, by_home: Counts, size: int) -> float:
        """Time of the fullest columns for rows of `size` bytes: of a bank group, or of a bank; of
        a rank none beside what its memory takes."""
        if self.level == "rank":
            return 0.0
        tick = 1e12 / self.memory.clock
        group = -(-size // self.memory.burst_bytes) * self.memory.timing.ccd_l * tick
        if self.regions is None:
            return max(by_home, default=0) * group
        outer, inner, _ = self.regions.widths(self.nodes)
        bank = self.regions.bank_clocks(self.memory, size) * tick
        groups, banks = by_home[outer : outer + inner], by_home[outer + inner :]
        return max(max(groups, default=0) * group, max(banks, default=0) * bank)

    def over_pins(self, by_home: Counts) -> Counts:
        """Rows of each rank that leave over its pins, where others do not."""
        return () if self.regions is None else by_home[: self.nodes]

    def derived(self) -> Mapping[str, str]:
        """Nodes, what they sustain at most, and bytes that tables can use."""
        return {
            "nodes": str(self.nodes * self.groups),
            "peak bandwidth": f"{self.nodes * self.memory.peak_bytes_per_s} B/s",
            "usable": f"{self.nodes * self.memory.usable} B",
        }
