"""NDRec: tables on a computational SSD behind CXL, whose DRAM holds rows of three mini-batches and
brings up those of the next while one trains ("NDRec: A Near-Data Processing System for Training
Large-Scale Recommendation Models", IEEE Transactions on Computers 73(5), 2024).

Verified in its abstract: parameters and operations on embeddings in computational SSDs, CXL to the
GPU, DRAM of the SSD as a look-ahead buffer, speculation for rows in flight; up to 4.33 times as
fast as CPU and GPU, 3.97 times as a cache on the GPU, 54.9 % less energy an iteration. Verified in
a public simulator that is its own (85 %): a ring buffer a table with rows of three mini-batches.
A row of the next that the mini-batch in its forward has is copied from there at once, and corrected
by the gradient later; one that only the mini-batch before that has is copied after its backward;
others come from flash. Every row of a retired buffer is written back, though it was copied on.

Derived: which stage waits for which. Reconstructed: the drive (`ndrec_ssd`; widths are not told),
its link. Ours: rows that are written back share pages (`flash.packs_writes` of the part; with a
page a row writes are 32 times as dear); changes of rows wait in buffers of the drive. Left out: the
row buffer on the chip (FIFO), wear, tables over several drives, several GPUs.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import UNIQUE, BatchFacts
from simulator.caches.replays.overlap import AGAIN_LOOKUP
from simulator.caches.replays.ring import (
    BUFFERS,
    FETCHED_ROWS,
    IN_OLD,
    IN_PREVIOUS,
    OF_OLD,
    OF_PREVIOUS,
    RingReplay,
)
from simulator.hardware.program import Buffer, Gather, Operation, Scatter, Stage, Store, ZeroCopy
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, require_room
from simulator.systems.near_data import NearData, NearTables, device_of
from simulator.systems.schedule import After, Streams

__all__ = ["SSD_REMEDY", "NdRec"]

SSD_REMEDY = (
    "a computational SSD, but {{machine}} has none: name a platform with one, as in {{{{name: "
    "{system}, platform: {platform}}}}}, or give yours the sockets `ssd: {part}` and `ssd_link: "
    "{{{{part: {link}, join: [cpu, ssd]}}}}`"
)
"""What a machine without a drive is told; `system`, `platform`, `part` and `link` are to be set."""
_REMEDY = SSD_REMEDY.format(system="ndrec", platform="ndrec_v100", part="ndrec_ssd", link="cxl2_x8")


class NdRec(System):
    """A computational SSD trains rows in its DRAM and brings up those of the next mini-batch."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "NDRec, IEEE TC 73(5) 2024 (abstract and public simulator code)"
    no_inference: ClassVar[str] = "what it copies ahead and corrects are rows that updates change"
    consistency: ClassVar[Consistency] = Consistency(
        "reordered",
        "Rows of the next mini-batch are copied before this one updates them; what it changed is "
        "then added to the copies and to sums of them: the same in exact arithmetic.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How many drives there are, and how tables are spread over them; here one has all.",
        "Channels and dies of its flash, and its link.",
        "How rows that are written back are packed into pages.",
    )
    uses: ClassVar[frozenset[str]] = frozenset()
    shown_on: ClassVar[str] = "ndrec_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (
        (AGAIN_LOOKUP, UNIQUE, FETCHED_ROWS, IN_PREVIOUS, OF_PREVIOUS, IN_OLD, OF_OLD),
    )

    def __init__(self, job: Job, machine: Topology) -> None:
        at = device_of(machine, "computational_ssd", "ndrec", _REMEDY)
        self._near = NearData(job, machine, "ndrec", at, memory="flash", buffers="buffers")
        sizes = zip(job.most_lookups, job.model.rows_per_table, strict=True)
        buffer = tuple(min(most, rows) for most, rows in sizes)
        self.replay = RingReplay(job.keep, buffer)
        self._dram = f"{at}.dram"
        memory = machine.memory(self._dram)
        pairs = zip(self.replay.slots, job.model.entry_bytes, strict=True)
        require_room(
            f"Rows of {BUFFERS} mini-batches, {sum(self.replay.slots):,} of them,",
            sum(count * size for count, size in pairs),
            f"{memory.place} of {machine.name}",
            memory.capacity,
            "lower model.batch_size, or give the drive more memory",
        )
        self._rings = tuple(map(self._ring, self._near.tables))
        self.schedule = Streams.of(
            ("copy", "move"),
            ("prefetch", "read"),
            "forward",
            "amend",
            "pooled_to_gpu",
            "mlp",
            "gradients_to_device",
            "update",
            ("clean_up", "write"),
            after=(
                After("copy", "amend", -1),
                After("copy", "clean_up", -BUFFERS),
                After("amend", "update", -1),
                After("update", "copy", 1),
                After("clean_up", "copy", 2),
            ),
            in_flight=BUFFERS + 1,
        )

    def _ring(self, own: NearTables) -> Store:
        """The buffers of tables of one dim."""
        model = own.group.job.model
        name, tables = own.group.named("ring"), model.tables
        return Store(name, self._dram, model.row_bytes, model.state_bytes, tables, slotted=True)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        near, rings = self._near, self._rings
        copied = [
            (ring, own.group.of(facts)[OF_PREVIOUS])
            for own, ring in zip(near.tables, rings, strict=True)
        ]
        return (
            Stage("copy", (self._copied(facts),)),
            Stage("prefetch", (near.ids(facts), self._fetched(facts))),
            Stage("forward", (near.pooled(facts, rings, early=True),)),
            Stage("amend", (tuple(near.amended(facts, AGAIN_LOOKUP, copied)),)),
            Stage("pooled_to_gpu", ((near.sent(),),)),
            near.mlp(),
            Stage("gradients_to_device", (near.gradients(),)),
            Stage("update", (near.updated(facts, UNIQUE, rings),)),
            Stage("clean_up", (self._written_back(facts),)),
        )

    def _copied(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Rows that one of the two mini-batches before has, from its buffer."""
        words: list[Operation] = []
        for own, ring in zip(self._near.tables, self._rings, strict=True):
            shard, named = own.group.of(facts), own.group.named
            for source, target in ((IN_PREVIOUS, OF_PREVIOUS), (IN_OLD, OF_OLD)):
                size = shard[source].rows * ring.entry_bytes
                rows = Buffer(named(f"rows_{target}"), self._near.buffers, size)
                words += (
                    Gather(named(f"take_{target}"), self._near.at, ring, shard[source], rows),
                    Scatter(named(f"put_{target}"), self._near.at, rows, ring, shard[target]),
                )
        return tuple(words)

    def _fetched(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Other rows, from flash."""
        return tuple(
            ZeroCopy(own.group.named("fetch"), self._near.at, own.store, ring,
                     own.group.of(facts)[FETCHED_ROWS])
            for own, ring in zip(self._near.tables, self._rings, strict=True)
        )  # fmt: skip

    def _written_back(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """All rows of the mini-batch, to flash."""
        return tuple(
            ZeroCopy(own.group.named("write_back"), self._near.at, ring, own.store,
                     own.group.of(facts)[UNIQUE])
            for own, ring in zip(self._near.tables, self._rings, strict=True)
        )  # fmt: skip
