"""RecTS: tables on a drive, DRAM as a cache that knows what comes, victims packed by next use
(SYSTOR 2024, doi 10.1145/3688351.3689155). A reconstruction: its abstract was read, no code.

Verified in the abstract: tables lie on an SSD and DRAM caches them; accesses of the mini-batches to
come are known, so that what is used last of all is evicted; victims that are used at about the same
time go into one chunk of I/O, so that a later read brings several wanted rows; hit rates grow from
40 to 85 % to more than 99 %, training is 1.30 to 5.55 times as fast, on CPUs alone and with GPUs.

Reconstructed: a pool of rows a table; all rows of a chunk that lie nowhere else come up with it,
and what is used last leaves, which may be those; a changed row leaves in a new chunk, one that
nobody changed stays where it lay. Ours: `hybrid` training above the pool, the fetch before each
mini-batch; a full view of the run ahead, whose
pool starts with the hottest rows. Left out: space of rows that have moved (chunks are never
cleaned up), the overlap of the fetch with training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.host_cache import FILLED, SPILLED
from simulator.caches.replays.packed import PackedReplay
from simulator.config.parameters import Given, Parameters
from simulator.config.tables import TablesConfig
from simulator.config.types import Bytes
from simulator.errors import ConfigError
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, SystemGroup
from simulator.systems.fbgemm_ssd import drive_of
from simulator.systems.hybrid import Hybrid
from simulator.units import format_bytes

__all__ = ["RecTs", "RecTsParameters"]


class RecTsParameters(Parameters):
    """Of RecTS."""

    kept: Annotated[float, Field(gt=0, le=1), Given("assumed", "as the caches of this study")] = 0.1
    """Share of the rows of each table that DRAM keeps."""
    chunk: Annotated[Bytes, Given("assumed", "its chunk size is unknown")] = "16 KiB"  # type: ignore[assignment]
    """What is read and written at once."""
    drive: Annotated[str, Given("assumed", "a host with one drive")] = ""
    """Socket of the drive that has the tables; empty: the only one of the host."""
    past: Annotated[int, Field(ge=0, le=10_000), Given("assumed", "fills the pool")] = 16
    """Mini-batches before the run that fill the pool and pack the first victims, at most."""
    ahead: Annotated[
        int, Field(ge=0, le=10_000), Given("assumed", "how far it looks ahead is unknown")
    ] = 16
    """Mini-batches after the run that are known too: with none its end knows what will never be
    used again."""


class RecTs(Hybrid):
    """Tables on a drive, rows in DRAM by next use, victims packed by next use."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "RecTS, SYSTOR 2024 (abstract): a reconstruction"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Rows of a mini-batch are in DRAM while it trains and never victims then; changed rows are "
        "on the drive before the next fetch.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Size of its chunks, how far it looks ahead, and its drive.",
        "Whether all rows of a chunk come up, and who cleans chunks up whose rows have moved.",
        "What overlaps with training; here nothing does.",
        "Its look-ahead may be shorter than a run: here the last mini-batches of a run know as "
        "much as `ahead` says, the first ones more, so that misses fall towards its end.",
    )
    parameters: ClassVar[type[Parameters]] = RecTsParameters
    uses: ClassVar[frozenset[str]] = frozenset()
    shown_on: ClassVar[str] = "ssd_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((FILLED, SPILLED),)

    def __init__(self, job: Job, machine: Topology) -> None:
        own, model = job.parameters_as(RecTsParameters), job.model
        drive = drive_of(machine, "rects", own.drive)
        tables = TablesConfig(tier={drive: 1.0}, cache=own.kept)
        super().__init__(replace(job, tables=tables), machine)
        largest = max(model.entry_bytes)
        if own.chunk < largest:
            raise ConfigError(
                f"rects: chunk is {format_bytes(own.chunk)}, but a row has "
                f"{format_bytes(largest)}: set chunk to at least that"
            )
        slots = tuple(max(1, round(own.kept * count)) for count in model.rows_per_table)
        packed = tuple(own.chunk // size for size in model.entry_bytes)
        self.replay = PackedReplay(
            slots, packed, own.past, own.ahead, job.keep, job.cache.profile_share
        )
        self._fetching = replace(self._fetching, chunk_bytes=own.chunk)
