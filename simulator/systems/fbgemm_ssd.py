"""FBGEMM's tables on a drive: a set-associative cache in HBM before a key-value store (RocksDB).

Code: FBGEMM at 71d6f8b (`SSDTableBatchedEmbeddingBags`). Verified there: a cache of 32 ways in
HBM, LRU by a stamp a mini-batch; missed rows are read by RocksDB's MultiGet in 8 shards, a thread
each, and cross the link into their slots; victims are copied out before those are filled, and put
into the store from a buffer in host memory while the mini-batch trains; rows that find no slot
train in a scratch area in HBM and are put back after it. No write-ahead log, no compression, direct
I/O. Measured in its pull request 3495: MultiGet gives 62.8 MiB/s a shard, 7.8 us a row of 512 B,
so that software and not the drive sets the rate.

Derived: `get_time` is that less a request to the drive (1 us). Reconstructed: a row is read by a
page of the drive of its own; a put waits in a table in host memory and is appended to the log in
whole pages. Ours: the MLPs; optimizer state lies beside its row. Left out: the prefetch of the next
mini-batch, the cache in host memory (off by default), bloom filters and index blocks, compaction
unless `write_amplification` says it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import BYPASS, VICTIM, BatchFacts
from simulator.caches.replays.associative import (
    BYPASS_LOOKUP,
    BYPASS_UPDATE,
    CACHED_LOOKUP,
    CACHED_UPDATE,
    FETCHED,
    AssociativeReplay,
)
from simulator.config.parameters import Given, Parameters
from simulator.config.types import Picoseconds
from simulator.errors import ConfigError
from simulator.hardware.program import KeyValue, Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.fbgemm_cached import CACHE_KEYS, Ways
from simulator.systems.schedule import Serial
from simulator.systems.staged import Below, StagedTables
from simulator.systems.uvm import probed, sets_for

__all__ = ["FbgemmSsd", "FbgemmSsdParameters", "drive_of"]

DRIVES = ("nvme_drive", "flash_array")
Shards = Annotated[int, Field(ge=1, le=1024)]


class FbgemmSsdParameters(Parameters):
    """Of FBGEMM's tables on a drive."""

    ways: Ways = 32
    """Slots of a set."""
    drive: Annotated[str, Given("assumed", "a host with one drive")] = ""
    """Socket of the drive that has the tables; empty: the only one of the host."""
    shards: Annotated[Shards, Given("verified", "ssd_rocksdb_shards, as its benchmark sets it")] = 8
    """Of the key-value store, each with a thread."""
    get_time: Annotated[
        Picoseconds, Given("derived", "62.8 MiB/s a shard (pull request 3495) less a request")
    ] = "6.8 us"  # type: ignore[assignment]
    """Time of a shard's thread for a row that it gets, beside its request to the drive."""
    put_time: Annotated[Picoseconds, Given("assumed", "a put into a table in memory")] = "1 us"  # type: ignore[assignment]
    """Time of a shard's thread for a row that it puts."""
    write_amplification: Annotated[
        float, Field(ge=1, le=1000), Given("assumed", "each row is flushed once: no compaction")
    ] = 1.0
    """Times that the store writes each byte in the end."""


class FbgemmSsd(System):
    """A 32-way cache in HBM before a key-value store on a drive."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "FBGEMM at 71d6f8b, SSDTableBatchedEmbeddingBags"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Victims are in the store before the next mini-batch reads it, rows without a slot train "
        "in the scratch area and go back after it.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How often compaction writes a row again; here it is written once.",
        "What a put costs a shard; here it is assumed.",
        "Which drive the measured rate of a shard was taken on.",
    )
    parameters: ClassVar[type[Parameters]] = FbgemmSsdParameters
    uses: ClassVar[frozenset[str]] = CACHE_KEYS
    shown_on: ClassVar[str] = "ssd_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((FETCHED, VICTIM, BYPASS),)

    def __init__(self, job: Job, machine: Topology) -> None:
        own, cache = job.parameters_as(FbgemmSsdParameters), job.cache
        sets = sets_for(job, "fbgemm_ssd", own.ways)
        self.replay = AssociativeReplay(
            sets, own.ways, prefill=cache.prefill, keep=job.keep, profile=cache.profile_share
        )
        self._job, self._ways = job, own.ways
        keyed = KeyValue(own.shards, own.get_time, own.put_time, own.write_amplification)
        below = Below(drive_of(machine, "fbgemm_ssd", own.drive), keyed)
        slots = sum(self.replay.slots)
        self._tables = StagedTables(job, machine, "fbgemm_ssd", slots, below=below)
        self.schedule = Serial.of(
            ("ids", "load"),
            ("find", "plan"),
            ("collect", "read"),
            ("insert", "write"),
            "train",
            ("put_back", "write"),
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        done = synchronize(tables.gpu)
        train = (
            *tables.pooled(facts, CACHED_LOOKUP, BYPASS_LOOKUP),
            tables.mlp(),
            *tables.trained(facts, CACHED_UPDATE, BYPASS_UPDATE),
            done,
        )
        back: tuple[Operation, ...] = ()
        if facts[BYPASS].rows:
            out = tables.taken_out(facts, BYPASS, bypass=True)
            back = (*out, done, *tables.written_back(facts, BYPASS, bypass=True))
        return (
            Stage("ids", (tables.ids(facts),)),
            Stage("find", ((*probed(self._job, tables.gpu, facts, self._ways), done),)),
            Stage("collect", self._collect(facts)),
            Stage("insert", self._insert(facts)),
            Stage("train", tuple(filter(None, [train, tables.written_back(facts, VICTIM)]))),
            Stage("put_back", tuple(filter(None, [back]))),
        )

    def _collect(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], ...]:
        """Missed rows out of the store, beside victims out of HBM."""
        tables = self._tables
        missed: list[Operation] = []
        for name, buffer in ((FETCHED, "missed_rows"), (BYPASS, "scratch_rows")):
            missed += tables.gathered(facts, name, buffer) if facts[name].rows else ()
        out = tuple(tables.taken_out(facts, VICTIM)) if facts[VICTIM].rows else ()
        return tuple(filter(None, [tuple(missed), out]))

    def _insert(self, facts: BatchFacts) -> tuple[tuple[Operation, ...], ...]:
        """Missed rows into their slots, and into the scratch area."""
        tables = self._tables
        words: list[Operation] = []
        if facts[FETCHED].rows:
            words += tables.put_in(facts, FETCHED, "missed_rows")
        if facts[BYPASS].rows:
            words += tables.put_in(facts, BYPASS, "scratch_rows", bypass=True)
        return ((*words, synchronize(tables.gpu)),) if words else ()


def drive_of(machine: Topology, system: str, name: str = "") -> str:
    """The drive of that name, by default the only one.

    Raises `ConfigError` with the remedy where the machine has none, or several and no name.
    """
    drives = tuple(name for kind in DRIVES for name in machine.all(kind))
    if name in drives:
        return name
    if not drives:
        raise ConfigError(
            f"{system} keeps its tables on a drive, but {machine.name} has none: join one to the "
            "cpu (host: {ssd: micron_9200, ssd_link: {part: pcie3_x4, join: [cpu, ssd]}}), or "
            "take a platform that has one, such as ssd_v100"
        )
    if name:
        raise ConfigError(f"drive: {machine.name} has no drive {name!r}: {', '.join(drives)}")
    if len(drives) > 1:
        raise ConfigError(
            f"{system} keeps its tables on one drive, but {machine.name} has {len(drives)}: set "
            f"drive to one of {', '.join(drives)}"
        )
    return drives[0]
