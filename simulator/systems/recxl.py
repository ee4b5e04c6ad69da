"""ReCXL: the whole training of embeddings in a near-memory pool behind CXL, whose idle time during
the MLPs pools for the next mini-batch (Liu et al., "Enabling Efficient Large Recommendation Model
Training with Near CXL Memory Processing", ISCA 2024).

Verified in part of the abstract: lookups, reduction and update run beside the memory of a CXL
device, only pooled vectors and their gradients cross the link. Second-hand (a reader's notes):
"dependency-free prefetching" pools rows of the next mini-batch that this one does not update, and
"fine-grained update scheduling" updates rows first that the next one waits for; rank-level units;
PCIe 5.0 x8. Published: 9.4 times as fast as CPU and GPU on average (recalled, 75 %).

Derived: the order of stages. While the MLPs of mini-batch i run, the pool updates what is left of
i - 1, then sums the lookups of i + 1 whose rows are not in U(i); rows of U(i) and U(i + 1) are
updated first, and the other lookups of i + 1 are summed behind them. Reconstructed: the pool
(`recxl_ddr5`; how many ranks is not told), the GPU that sorts ids for the update (Tensor Casting).
Left out: buffers for partial sums are large enough, pools of several devices, several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, ClassVar, Literal

from simulator.caches.facts import BatchFacts
from simulator.caches.replays.nodes import NodesReplay
from simulator.caches.replays.overlap import (
    AGAIN_LOOKUP,
    ALONE,
    FRESH_LOOKUP,
    SHARED,
    OverlapReplay,
)
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job
from simulator.systems.mlp import mlp_step
from simulator.systems.near_memory import NearMemorySystem
from simulator.systems.schedule import After, Schedule, Streams

__all__ = ["ReCxl", "ReCxlParameters"]


class ReCxlParameters(Parameters):
    """Of ReCXL."""

    overlap: Annotated[
        Literal["both", "prefetch", "none"],
        Given("second-hand", "prefetching and update scheduling, both"),
    ] = "both"
    """What runs beside the MLPs: lookups of the next mini-batch that do not depend on this one
    (`prefetch`), and the update of rows that the next one does not look up as well (`both`)."""


class ReCxl(NearMemorySystem):
    """A near-memory pool behind CXL pools for the next mini-batch during the MLPs."""

    name: ClassVar[str] = "recxl"
    source: ClassVar[str] = "Liu et al., ReCXL, ISCA 2024 (part of its abstract, and notes)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Lookups are summed ahead only where the mini-batch in training does not update their "
        "rows; the others wait until those rows are updated.",
        sums="vectors: lookups that are summed ahead, then the others",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Ranks and memory of the device, and its buffers of partial sums.",
        "What the update is made of, and whether it is fused.",
        "Whether ids are sorted on the GPU.",
    )
    parameters: ClassVar[type[Parameters]] = ReCxlParameters
    shown_on: ClassVar[str] = "recxl_v100"
    keys: ClassVar[dict[str, str]] = {"sums_meet": "pool"}
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((FRESH_LOOKUP, AGAIN_LOOKUP, SHARED, ALONE),)

    def __init__(self, job: Job, machine: Topology) -> None:
        self._overlap = job.parameters_as(ReCxlParameters).overlap
        super().__init__(job, machine)

    def _rows(self) -> NodesReplay:
        plain = super()._rows()
        if self._overlap == "none":
            return plain
        return OverlapReplay(**{f.name: getattr(plain, f.name) for f in fields(plain)})

    def _schedule(self) -> Schedule:
        if self._overlap == "none":
            return super()._schedule()
        waits = [After("prepool", "gather_reduce", -1)]
        if self._overlap == "prefetch":
            waits += [After("prepool", "update", -2), After("gather_reduce", "update", -1)]
            last: tuple[str, ...] = ("update",)
        else:
            waits += [
                After("prepool", "update_rest", -2),
                After("gather_reduce", "update_shared", -1),
                After("update_rest", "gather_reduce", 1),
            ]
            last = ("update_shared", "update_rest")
        names = ("prepool", "gather_reduce", "mlp", "gradients_to_pool", *last)
        return Streams.of(*names, after=tuple(waits), in_flight=3)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        if self._overlap == "none":
            return super().stages(facts)
        again = self._pooled(facts, AGAIN_LOOKUP, "gather_reduce")
        fresh = self._pooled(facts, FRESH_LOOKUP, "prepool")
        ahead = (fresh, self._instructions(facts), self._cast(facts))
        return (
            Stage("prepool", tuple(filter(None, ahead))),
            Stage("gather_reduce", (again, (self._sent(again),))),
            Stage("mlp", ((mlp_step(self._job.model, self.gpu),),)),
            self._gradients(facts),
            *self._trained(facts),
        )

    def _trained(self, facts: BatchFacts) -> Iterator[Stage]:
        if self._overlap != "both":
            yield from super()._trained(facts)
            return
        for name, flow in (("update_shared", SHARED), ("update_rest", ALONE)):
            rows = ((own, own.group.of(facts)[flow]) for own in self._tables)
            yield Stage(name, (tuple(self._update(*each, name) for each in rows),))
