"""A DRAM: devices, address map, controller and energy of one memory, as its data sheet states them.

Description only; `simulator.hardware.dram` simulates what it does. Timing is in clocks of the
command clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from simulator.config.machine import Part
from simulator.config.types import Bytes, MisfitError
from simulator.hardware.devices.address_map import AddressMap
from simulator.hardware.devices.base import Device, Setup
from simulator.hardware.devices.bounds import (
    BurstBytes,
    Bursts,
    Channels,
    Clock,
)
from simulator.hardware.devices.dram_sections import (
    MAX_BANKS,
    MAX_UNITS,
    CommandLength,
    Controller,
    Energy,
    Organization,
    Timing,
)
from simulator.hardware.memory import Memory

__all__ = ["Dram", "MemoryDevice"]

RANKED = ("DDR4", "DDR5", "LPDDR5X")
"""Standards whose capacity grows by ranks on the same buses."""
SUBCHANNELS = {"DDR5": 2}
"""Channels with a bus of their own in one that people count: a DDR5 channel has two of 32 bit."""


def _count_dimms(each: int) -> str:
    """Why channels of DDR5 are not given as others are, and what to write."""
    return (
        f"counts buses of 32 bit, of which a DDR5 channel has {each}: write "
        "organization.dimm_channels, as data sheets count (12 for a socket of 12 channels)"
    )


class Dram(Part):
    """One memory: devices, address map, controller, energy."""

    presets: ClassVar[Mapping[str, str]] = {
        "controller": "memories/controllers",
        "mapping": "memories/mappings",
    }
    links: ClassVar[bool | None] = False

    kind: Literal["dram"]
    standard: Literal["DDR4", "DDR5", "LPDDR5X", "GDDR6", "HBM2", "HBM2E", "HBM3", "HBM3E"]
    clock: Clock
    """Command clock (CK)."""
    burst_clocks: Bursts
    burst_bytes: BurstBytes
    half_clock_commands: bool = False
    """Precharge may use the falling clock edge (HBM3): simulated in half clocks."""
    dual_command_bus: bool = False
    """Row and column commands have separate buses (HBM)."""
    command_length: CommandLength = Field(default=CommandLength())
    organization: Organization
    timing: Timing
    mapping: AddressMap
    controller: Controller
    energy: Energy
    simulated_channels: Channels = 1
    """Channels that `sustained` simulates in place of all (they are alike)."""
    capacity: Bytes | None = None
    """Bytes that tables and caches can use; null: all. Says how many ranks a channel has where
    `organization.ranks` does not."""

    @model_validator(mode="before")
    @classmethod
    def _with_subchannels(cls, data: Any) -> Any:
        """`dimm_channels` as the channels that are simulated."""
        organization = data.get("organization") if isinstance(data, dict) else None
        if not isinstance(organization, dict):
            return data
        each = SUBCHANNELS.get(str(data.get("standard")))
        counted, buses = organization.get("dimm_channels"), organization.get("channels")
        if each is None or not isinstance(counted, int) or isinstance(counted, bool):
            return data
        if buses not in (None, each * counted):
            raise MisfitError("organization.channels", _count_dimms(each))
        return {**data, "organization": {**organization, "channels": each * counted}}

    @model_validator(mode="after")
    def _counts_channels(self) -> Self:
        organization, each = self.organization, SUBCHANNELS.get(self.standard)
        if each is None and organization.dimm_channels is not None:
            raise MisfitError(
                "organization.dimm_channels",
                f"is for DDR5, whose channels have two buses: write organization.channels of "
                f"{self.standard}",
            )
        if each is not None and organization.dimm_channels is None and organization.channels > 1:
            raise MisfitError("organization.channels", _count_dimms(each))
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        organization = self.organization
        if organization.page_bytes % self.burst_bytes:
            raise MisfitError("organization.page_bytes", "must be a multiple of burst_bytes")
        if self.mapping.interleave % self.burst_bytes:
            raise MisfitError("mapping.interleave", "must be a multiple of burst_bytes")
        if self.simulated_channels > organization.channels:
            raise MisfitError("simulated_channels", "exceeds organization.channels")
        if self.controller.scheduler == "per-bank" and (
            organization.pseudo_channels > 1
            or (organization.ranks or 1) > 1
            or self.half_clock_commands
        ):
            raise MisfitError(
                "controller.scheduler", "per-bank drives one pseudo-channel and one rank only"
            )
        return self

    @model_validator(mode="after")
    def _refreshes_by_bank(self) -> Self:
        if self.controller.refresh == "all_bank":
            return self
        if self.controller.scheduler == "per-bank":
            raise MisfitError(
                "controller.refresh", "per_bank needs the scheduler frfcfs or frfcfs-rowhit"
            )
        for name in ("rfc_pb", "rrefd"):
            if getattr(self.timing, name) is None:
                raise MisfitError(
                    f"timing.{name}", "is needed by controller.refresh: per_bank (or all_bank)"
                )
        banks = self.organization.rank_banks
        if (self.timing.rrefd or 0) * banks >= self.timing.refi:
            raise MisfitError("timing.rrefd", f"must fit {banks} times, once a bank, into refi")
        return self

    @model_validator(mode="after")
    def _refreshes_fit(self) -> Self:
        """A bank must open, serve and close between two refreshes, or none ever does."""
        t = self.timing
        left = t.refi - (t.rfc if self.controller.refresh == "all_bank" else t.rfc_pb or 0)
        cycle = t.rc + t.wr
        if left <= self.units * 2 * cycle:
            raise MisfitError("timing.refi", "must leave time between refreshes (rfc, rc, wr)")
        waits = [(f"timing.{name}", clocks) for name, clocks in t.waits()]
        waits += [("burst_clocks", self.burst_clocks)]
        waits += [(f"command_length.{name}", half) for name, half in self.command_length]
        for key, clocks in waits:
            if 4 * clocks >= left:
                raise MisfitError(
                    key,
                    f"is {clocks:,} of the {left:,} clocks between two refreshes (refi - rfc): "
                    "must be below a quarter of them",
                )
        return self

    @property
    def channels(self) -> int:
        """Channels (each of `pseudo_channels` data buses)."""
        return self.organization.channels

    @property
    def write_entries(self) -> int:
        """Bursts that wait to be written: in the write queue and in the cache above it."""
        c = self.controller
        return c.write_queue + (c.write_back_cache or 0) // self.burst_bytes

    @property
    def ranks(self) -> int:
        """Ranks of a channel: as stated, else as many as `capacity` needs (DDR, LPDDR), else 1."""
        o = self.organization
        if o.ranks is not None:
            return o.ranks
        if self.capacity is None or self.standard not in RANKED:
            return 1
        return max(1, -(-self.capacity // (o.channels * o.rank_bytes)))

    @property
    def simulated_ranks(self) -> int:
        """Ranks of a channel that are simulated: a power of two, as many as fit into `MAX_BANKS`
        and `MAX_UNITS` (`docs/memory.md` has the error); one under the scheduler `per-bank`."""
        o = self.organization
        if self.controller.scheduler == "per-bank":
            return 1
        most = min(MAX_BANKS // (o.pseudo_channels * o.rank_banks), MAX_UNITS // o.pseudo_channels)
        return 1 << (min(self.ranks, most).bit_length() - 1)

    @property
    def units(self) -> int:
        """Pseudo-channels x ranks of a channel that are simulated: own activate gates, own
        refresh."""
        return self.organization.pseudo_channels * self.simulated_ranks

    @property
    def channel_peak_bytes_per_s(self) -> int:
        """Peak bandwidth of one channel, all its pseudo-channels together."""
        buses = self.organization.pseudo_channels
        return buses * self.burst_bytes * self.clock // self.burst_clocks

    @property
    def peak_bytes_per_s(self) -> int:
        """Peak bandwidth of the whole memory in bytes/s."""
        return self.channels * self.channel_peak_bytes_per_s

    @property
    def channel_bytes(self) -> int:
        """Capacity of one channel, all its ranks."""
        return self.ranks * self.organization.rank_bytes

    @property
    def capacity_bytes(self) -> int:
        """Capacity of all channels."""
        return self.channels * self.channel_bytes

    @property
    def usable(self) -> int:
        """Bytes that tables and caches can use."""
        return self.capacity_bytes if self.capacity is None else self.capacity

    def derived(self) -> Mapping[str, str]:
        """Peak bandwidth, channels, ranks, and bytes that can be used."""
        simulated = f" ({self.simulated_ranks} simulated)" * (self.simulated_ranks < self.ranks)
        counted = self.organization.dimm_channels
        dimms = "" if counted is None else f" ({counted} of DDR5, two sub-channels each)"
        return {
            "channels": f"{self.channels}{dimms}",
            "ranks": f"{self.ranks} a channel{simulated}",
            "peak bandwidth": f"{self.peak_bytes_per_s} B/s",
            "usable": f"{self.usable} B",
        }

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> MemoryDevice:
        """The memory in a socket of its own."""
        return MemoryDevice(name, self, setup, members)


class MemoryDevice(Device):
    """A memory on its machine that no processor brings: `far.dram`."""

    part: Dram

    def prepare(self, setup: Setup) -> None:
        timing = setup.timing(self.part)
        self.dram = Memory(f"{self.name}.dram", self.name, "dram", self.part.usable, timing)

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram,)
