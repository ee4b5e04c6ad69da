"""Sections of a DRAM's description: what it is made of, its timing, controller and energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulator.config.types import Frozen, MisfitError, Picojoules, Watts
from simulator.hardware.devices.bounds import (
    CacheBytes,
    Channels,
    Clocks,
    Halves,
    PageBytes,
    PowerOfTwo,
    Queue,
    Ranks,
)

__all__ = [
    "MAX_BANKS",
    "MAX_UNITS",
    "CommandLength",
    "Controller",
    "Energy",
    "Organization",
    "Timing",
]

MAX_BANKS = 64
"""Banks of a channel (all its pseudo-channels, ranks and stack identifiers) that are simulated."""
MAX_UNITS = 8
"""Pseudo-channels x ranks of a channel that are simulated."""


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
