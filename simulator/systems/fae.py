"""FAE: mini-batches packed anew, so that some have hot rows alone and train without the CPU (Adnan
et al., "Accelerating Recommendation System Training by Leveraging Popular Choices", VLDB 2022; code
STAR-Laboratory/Accelerating-RecSys-Training at 396409a).

Verified in the code: rows are counted in 5 % of the inputs, drawn at random; rows of all tables are
sorted together by count, and the first that fit a budget (256 MiB; 128 and 512 are named) are hot;
a sample is hot where all of its lookups are; samples are told apart once, offline. A cold
mini-batch trains as `hybrid` does, hot rows too in the CPU's copy; a hot one as `gpu_only` on the
copies in HBM; between them all hot rows are copied one way. All cold mini-batches of an epoch come
first, then all hot ones.

Second-hand: the paper interleaves hot and cold mini-batches at a rate that follows the test loss.
Here rounds of `round_batches` do so at a rate that stays.

Reconstructed: how rows are copied (a gather, a copy and a scatter; the code does it row by row).
Ours: samples that fill no mini-batch of their kind go on to the next round; hot ones that are left
after the last round train in a cold mini-batch. Left out: counting and packing, which are done
before training; several GPUs.

Time of a mini-batch: (1 - f) T_hybrid + f T_gpu_only + switches x (budget over the link and what
gathers and scatters it), with the share f of hot mini-batches.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.replays.popular import TO_COLD, TO_HOT, PackedReplay
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, System, SystemGroup, synchronize
from simulator.systems.hybrid import Hybrid
from simulator.systems.popular import HOT_KEYS, Share, hot_rows
from simulator.systems.schedule import Ahead, Serial
from simulator.systems.staged import StagedTables

__all__ = ["Fae", "FaeParameters"]


class FaeParameters(Parameters):
    """Of FAE."""

    sample_share: Annotated[Share, Given("verified", "5 % of the inputs at random")] = 0.05
    """Share of all mini-batches whose rows are counted: of a file drawn at random, of a generated
    trace (which counts as 400) the last of its past."""
    round_batches: Annotated[
        int, Field(ge=1, le=10**6), Given("assumed", "an epoch in the code")
    ] = 10
    """Mini-batches that are packed together: first the cold ones of a round, then the hot ones. In
    the public code a round is an epoch. Warm-up and timed mini-batches should be whole rounds: a
    part of one has more hot or more cold ones than the trace."""


class Fae(System):
    """Samples packed into hot mini-batches, which train in HBM, and cold ones on the CPU."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = (
        "Adnan et al., FAE, VLDB 2022; code STAR-Laboratory/Accelerating-RecSys-Training at 396409a"
    )
    no_inference: ClassVar[str] = (
        "it packs samples of many mini-batches anew, and a query would wait for all of them"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "reordered",
        "Samples train in another order; hot rows are copied between DRAM and HBM at each switch, "
        "so that no mini-batch reads a row without its last update.",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "How the rate of hot mini-batches follows the test loss, and so how often it switches.",
        "Iteration times of the paper.",
    )
    parameters: ClassVar[type[Parameters]] = FaeParameters
    uses: ClassVar[frozenset[str]] = HOT_KEYS
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((MISS, TO_COLD), (TO_HOT,))

    def __init__(self, job: Job, machine: Topology) -> None:
        own = job.parameters_as(FaeParameters)
        hot = hot_rows(job, machine, machine.first("gpu", "fae"), own.sample_share)
        self._tables = StagedTables(job, machine, "fae", hot.budget // job.cache_size.entry_bytes)
        self._cold = Hybrid(job, machine)
        self.replay = PackedReplay(hot, job.keep, own.round_batches)
        cold = [name for name in self._cold.schedule.names if name not in _SHARED]
        kind = Ahead if job.software.gpu.next_ids == "ahead" else Serial
        self.schedule = kind.of(
            ("ids", "load"), ("switch", "write"), *_SHARED, *cold, "sort_update"
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """Those of `hybrid` or of `gpu_only`; nothing in those of the other."""
        own = self._hot_stages(facts) if not facts[MISS].lookups else self._cold.stages(facts)
        stages = {stage.name: stage for stage in own}
        stages["switch"] = Stage("switch", tuple(filter(None, [self._switched(facts)])))
        return tuple(stages.get(name, Stage(name, ())) for name in self.schedule.names)

    def _hot_stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        tables = self._tables
        return (
            Stage("ids", (tables.ids(facts),)),
            Stage("gather_reduce", (tuple(tables.pooled(facts, LOOKUP)),)),
            Stage("mlp", ((tables.mlp(),),)),
            Stage("sort_update", ((*tables.trained(facts, UNIQUE), synchronize(tables.gpu)),)),
        )

    def _switched(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """All hot rows to the side that this mini-batch trains, where the one before trained on the
        other."""
        tables = self._tables
        if facts[TO_HOT].rows:
            gathered = tables.gathered(facts, TO_HOT, "hot_rows")
            return (*gathered, *tables.put_in(facts, TO_HOT, "hot_rows"), synchronize(tables.gpu))
        if facts[TO_COLD].rows:
            taken = tables.taken_out(facts, TO_COLD)
            return (*taken, synchronize(tables.gpu), *tables.written_back(facts, TO_COLD))
        return ()


_SHARED = ("gather_reduce", "pooled_to_gpu", "mlp", "gradients_to_cpu")
"""Stages of `hybrid` before its backward, which passes of hot mini-batches share."""
