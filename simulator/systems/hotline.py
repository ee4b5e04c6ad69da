"""Hotline: every mini-batch in two; samples whose rows are all in HBM train while an accelerator
gathers the rows of the others (Adnan et al., "Heterogeneous Acceleration Pipeline for
Recommendation System Training", ISCA 2024). A reconstruction: no code was found, text beyond the
introduction was not read.

Verified in the abstract: an accelerator divides each mini-batch into a popular micro-batch, whose
rows are all in HBM, and another; GPUs train the popular one while it gathers missing parameters
from the CPU's memory, then the other; popularity is tracked at run time. Popular rows are in HBM of
every GPU, the others in DRAM.

Recalled: ids are looked up in an SRAM of the accelerator while the mini-batch before trains; cold
rows go back after training; there is one update a mini-batch, so that results are those of training
without it; popular rows are found in 5 % of the mini-batches. So

    T = max(T_popular, T_gather) + T_rest + T_update + T_write_back,

and the next gather waits for the write-back.

Reconstructed: rates and power of the accelerator (`hotline_card`); that it reads single rows in
DRAM and writes them into HBM without threads of the CPU; that the GPU writes cold rows straight
into DRAM. Ours: gradients of embeddings of both micro-batches are summed in one pass after the
second; those of the MLPs are applied by each, which reads and writes as much as to add them up and
apply them once. Left out: popularity that changes during a run, the size of the accelerator's SRAM,
several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

from simulator.caches.facts import HIT, LOOKUP, MISS, BatchFacts
from simulator.caches.replays.popular import POPULAR, DividedReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.program import Buffer, Operation, Split, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.mlp import mlp_step
from simulator.systems.popular import HOT_KEYS, Share, hot_rows
from simulator.systems.schedule import Ahead
from simulator.systems.staged import StagedTables

__all__ = ["Hotline", "HotlineParameters"]


class HotlineParameters(Parameters):
    """Of Hotline."""

    sample_share: Annotated[Share, Given("recalled", "5 % of the mini-batches")] = 0.05
    """Share of all mini-batches whose rows are counted: of a file drawn at random, of a generated
    trace (which counts as 400) the last of its past."""


class Hotline(System):
    """Popular samples train in HBM while an accelerator gathers the rows of the others."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = "Adnan et al., Hotline, ISCA 2024 (abstract): a reconstruction"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "One copy of every row is trained; both micro-batches read before the one update, and cold "
        "rows are in their tables before the next gather.",
        sums="gradients: popular samples, then the others",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Rates of the accelerator's look-up and of its gathers; those here are assumed.",
        "Who writes cold rows back and whether that overlaps with the next mini-batch; here the "
        "GPU does, before it.",
        "What the accelerator sums before it sends.",
    )
    parameters: ClassVar[type[Parameters]] = HotlineParameters
    uses: ClassVar[frozenset[str]] = HOT_KEYS
    shown_on: ClassVar[str] = "hotline_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((POPULAR, MISS),)

    def __init__(self, job: Job, machine: Topology) -> None:
        self._job = job
        if not machine.all("accelerator"):
            raise ConfigError(
                f"hotline needs an accelerator, but {machine.name} has none: join one to the cpu "
                "(host: {accelerator: hotline_card, accelerator_link: {part: pcie3_x16, join: "
                "[cpu, accelerator]}}), or take a platform that has one, as in {name: hotline, "
                f"platform: {self.shown_on}}}"
            )
        self._card = machine.only("accelerator", "hotline")
        gpu, share = machine.first("gpu", "hotline"), job.parameters_as(HotlineParameters)
        hot = hot_rows(job, machine, gpu, share.sample_share)
        slots = hot.budget // job.cache_size.entry_bytes
        self._tables = StagedTables(job, machine, "hotline", slots)
        self._dram = machine.memory(self._tables.cpu).place
        self.replay = DividedReplay(hot, job.keep)
        self._early = job.software.gpu.next_ids == "ahead"
        ids = () if self._early else (("ids", "load"),)
        self.schedule = Ahead.of(
            ("divide", "load"), *ids, "popular", "rest", "update", ("write_back", "write")
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables, card = self._tables, self._card
        gathered, returned = (
            tuple(tables.zero_copied(facts, MISS, at, back=back)) if facts[MISS].rows else ()
            for at, back in ((card, False), (tables.gpu, True))
        )
        popular = facts.popular or 0
        both = (self._popular(facts, popular), gathered)
        rest = self._rest(facts, facts.samples - popular)
        update = tuple(tables.trained(facts, HIT, MISS))
        return (
            *self._divided(facts),
            Stage("popular", tuple(filter(None, both))),
            Stage("rest", tuple(filter(None, [rest]))),
            Stage("update", (update,)),
            Stage("write_back", ((*returned, synchronize(tables.gpu)),)),
        )

    def _divided(self, facts: BatchFacts) -> Iterator[Stage]:
        """The accelerator reads the ids, and the GPU gets them, at once or after it."""
        lookups = facts[LOOKUP].lookups
        ids = Buffer("ids", self._dram, lookups * self._job.software.id_bytes)
        divide, sent = (Split("divide", self._card, lookups, ids=ids),), self._tables.ids(facts)
        if self._early:
            yield Stage("divide", (divide, sent))
        else:
            yield Stage("divide", (divide,))
            yield Stage("ids", (sent,))

    def _popular(self, facts: BatchFacts, samples: int) -> tuple[Operation, ...]:
        """Forward of the samples whose rows are all hot, and their MLPs."""
        if not samples and not facts[POPULAR].lookups:
            return ()
        return self._micro_batch(facts, samples, POPULAR, "")

    def _rest(self, facts: BatchFacts, samples: int) -> tuple[Operation, ...]:
        """The same for all others: cold rows out of the bypass rows."""
        return self._micro_batch(facts, samples, HIT_LOOKUP, MISS_LOOKUP) if samples else ()

    def _micro_batch(
        self, facts: BatchFacts, samples: int, hot: str, cold: str
    ) -> tuple[Operation, ...]:
        batch = self._job.model.batch_size
        name = "gather_reduce_rest" if cold else "gather_reduce_popular"
        pooled = (
            replace(
                word,
                name=name,
                into=replace(word.into, bytes=word.into.bytes * samples // batch),
            )
            for word in self._tables.pooled(facts, hot, cold)
        )
        return (*pooled, mlp_step(self._job.model, self._tables.gpu, samples))
