"""A DRAM: devices, address map, controller and energy of one memory, as its data sheet states them.

Description only; `simulator.hardware.dram` simulates what it does. Timing is in clocks of the
command clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from simulator.config.machine import Part
from simulator.config.types import Bytes, Frozen, MisfitError, Picojoules, Watts
from simulator.hardware.devices.address_map import MAPS, AddressMap
from simulator.hardware.devices.base import Device, Setup
from simulator.hardware.devices.bounds import (
    BurstBytes,
    Bursts,
    CacheBytes,
    Channels,
    Clock,
    Clocks,
    Halves,
    PageBytes,
    PowerOfTwo,
    Queue,
    Ranks,
)
from simulator.hardware.memory import Memory

__all__ = [
    "MAPS",
    "MAX_BANKS",
    "MAX_UNITS",
    "AddressMap",
    "CommandLength",
    "Controller",
    "Dram",
    "Energy",
    "MemoryDevice",
    "Organization",
    "Timing",
]

MAX_BANKS = 64
"""Banks of a channel (all its pseudo-channels, ranks and stack identifiers) that are simulated."""
MAX_UNITS = 8
"""Pseudo-channels x ranks of a channel that are simulated."""
RANKED = ("DDR4", "DDR5", "LPDDR5X")
"""Standards whose capacity grows by ranks on the same buses."""


SUBCHANNELS = {"DDR5": 2}
"""Channels with a bus of their own in one that people count: a DDR5 channel has two of 32 bit."""


class Organization(Frozen):
    """What the memory is made of. Every count is a power of two except those of channels."""

    channels: Channels = 1
    """Channels with a bus of their own. Of DDR5 those are sub-channels: give `dimm_channels`."""
    dimm_channels: Channels | None = None
    """Channels of DDR5 as data sheets count them, each of two sub-channels of 32 bit."""
    pseudo_channels: PowerOfTwo = 1
    """Pseudo-channels of a channel: own banks and data bus, shared command buses."""
    ranks: Ranks | None = None
    """Ranks of a channel: share its buses. null: as many as `capacity` needs (`Dram.ranks`)."""
    stack_ids: PowerOfTwo = 1
    """Stack identifiers (HBM3 SID): share the data bus and the activate gates."""
    bank_groups: PowerOfTwo
    banks_per_group: PowerOfTwo
    rows_per_bank: PowerOfTwo
    page_bytes: PageBytes
    """Bytes of one DRAM row of one (pseudo-)channel: the row buffer."""

    @property
    def rank_banks(self) -> int:
        """Banks of one rank of one pseudo-channel, all its stack identifiers."""
        return self.stack_ids * self.bank_groups * self.banks_per_group

    @property
    def rank_bytes(self) -> int:
        """Bytes of one rank of a channel, all its pseudo-channels."""
        return self.pseudo_channels * self.rank_banks * self.rows_per_bank * self.page_bytes

    @model_validator(mode="after")
    def _can_be_simulated(self) -> Self:
        banks = self.pseudo_channels * self.rank_banks
        if banks > MAX_BANKS or self.pseudo_channels > MAX_UNITS:
            raise ValueError(
                f"a rank of {banks} banks in {self.pseudo_channels} pseudo-channels: at most "
                f"{MAX_BANKS} banks in {MAX_UNITS} are simulated"
            )
        return self


class CommandLength(Frozen):
    """Half clocks that a command occupies its command bus (2 = one clock)."""

    activate: Halves = 2
    precharge: Halves = 2
    column: Halves = 2


class Timing(Frozen):
    """Data-sheet timing in clocks of the command clock, under the data sheet's names."""

    cl: Clocks
    cwl: Clocks
    rcd_rd: Clocks
    rcd_wr: Clocks
    rp: Clocks
    ras: Clocks
    rc: Clocks
    rrd_s: Clocks
    rrd_l: Clocks
    faw: Clocks
    ccd_s: Clocks
    ccd_l: Clocks
    ccd_s_wr: Clocks | None = None
    """Write-to-write spacing where it differs from read-to-read (DDR5)."""
    ccd_l_wr: Clocks | None = None
    ccd_r: Clocks | None = None
    """Column spacing between stack identifiers (HBM3)."""
    wtr_s: Clocks
    wtr_l: Clocks
    rtw: Clocks | None = None
    """Read command to write command; derived as CL + burst + 2 - CWL where not given."""
    rtrs: Clocks = 2
    """Clocks lost on the data bus when it changes rank."""
    wr: Clocks
    rtp: Clocks
    ppd: Clocks = 0
    """Precharge to precharge of another bank (DDR5, LPDDR5, HBM3)."""
    rfc: Clocks
    """Refresh of all banks to the next activate (tRFC1, tRFCab)."""
    refi: Clocks
    """Mean time between two refreshes of a bank."""
    rfc_pb: Clocks | None = None
    """Refresh of one bank to its next activate (tRFCpb; HBM2: tRFCSB)."""
    rrefd: Clocks | None = None
    """Refresh of one bank to an activate or refresh of another (tRREFD)."""

    def waits(self) -> Iterator[tuple[str, int]]:
        """(name, clocks) of everything that can pass between two refreshes."""
        for name in type(self).model_fields:
            clocks = getattr(self, name)
            if clocks is not None and name not in ("rfc", "refi", "rfc_pb"):
                yield name, clocks


class Controller(Frozen):
    """Queues and scheduling policy."""

    scheduler: Literal["frfcfs", "frfcfs-rowhit", "per-bank"]
    """`frfcfs`: the oldest command that is timing-ready; `frfcfs-rowhit`: as well, but a row that
    an older request still hits is not closed; `per-bank`: queues a bank served round robin."""
    read_queue: Queue = 32
    write_queue: Queue = 32
    write_back_cache: CacheBytes | None = None
    """Changed data for one (pseudo-)channel that a cache above (L2 of a GPU) gathers before it
    writes it back in a batch: as so much more of the write queue, drained by the same shares."""
    drain_high: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the write queue above which writes are drained (`frfcfs*`)."""
    drain_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the write queue below which reads are served again (`frfcfs*`); at 0 a drain would
    never end while writes come."""
    command_queue: Queue = 8
    """Entries of each bank's command queue (`per-bank`)."""
    write_batch: Queue = 16
    """Writes that start a drain while no read waits (`per-bank`)."""
    row_hit_cap: Queue = 4
    """Hits after which a row may close although requests still hit it (`per-bank`)."""
    merge_reads: bool = False
    """Serve outstanding reads of one address with one burst."""
    command_lengths: bool = True
    """False: every command takes one clock of the command bus, as some simulators have it."""
    refresh: Literal["all_bank", "per_bank"] = "all_bank"
    """`all_bank`: every `refi`, all banks of a rank or pseudo-channel together, which close before;
    `per_bank`: one after the other, every `refi` / banks, while the others serve (HBM)."""
    in_order: bool = True
    """The stream is offered in order over the channels, so that a full queue of one holds back
    all; false: every channel takes its part of the stream as fast as it can (GPUs)."""

    @model_validator(mode="after")
    def _drains_end(self) -> Self:
        if self.drain_low >= self.drain_high:
            raise MisfitError("drain_low", "must be below drain_high: a drain ends below it")
        return self


class Energy(Frozen):
    """Energy of the parts of a memory's work, for all devices of one rank of a pseudo-channel."""

    activate: Picojoules
    """One activate and its precharge."""
    read: Picojoules
    """One burst read, array and I/O, above background."""
    write: Picojoules
    refresh: Picojoules
    """One all-bank refresh, above background."""
    background: Watts
    """Standby power of one rank of one pseudo-channel."""


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
