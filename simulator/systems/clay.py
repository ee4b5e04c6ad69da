"""CLAY: DRAM clusters with adders behind CXL, whose sums merge over links between neighbours (ICS
2024). Its closed form: how fast its parts are is not known. Answers queries alone.

Verified (abstract): DRAM modules of a CXL device are joined directly to each other and not by a bus
of many drops; an address map of its own against imbalance; packets are duplicated, so that
instructions take less bandwidth. Published: up to 1.87 times FeaNMP in recommendation.

Derived: whole rows in n clusters, a gather-reduce takes as long as the slowest of four
(`ClayTimes`): the fullest cluster, instructions over their duplication, sums between clusters,
pooled vectors over CXL. All numbers of the machine (`clay_cxl`) are assumed: read results as those
of a near-memory pool behind CXL whose nodes add up among themselves, not as CLAY's.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from simulator.caches.facts import BatchFacts
from simulator.config.parameters import Parameters
from simulator.hardware.devices.near_memory_layout import NodePool
from simulator.hardware.program import Operation, Stage
from simulator.systems.base import Consistency, move
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.near_memory import NearMemorySystem
from simulator.systems.schedule import Schedule, Serial
from simulator.units import PS_PER_S

__all__ = ["Clay", "ClayTimes"]


class ClayTimes(NamedTuple):
    """Picoseconds of one gather-reduce, part by part."""

    cluster: float
    """The fullest cluster reads its rows."""
    instructions: float
    """The fullest cluster is told of them."""
    merging: float
    """Sums of vectors between clusters, all links alike."""
    cxl: float
    """Pooled vectors to the GPU."""

    @classmethod
    def of(
        cls, part: NodePool, rows: int, row_bytes: int, sums: int, pooled: int, cxl: float
    ) -> ClayTimes:
        """`rows` of `row_bytes` in the fullest cluster at all that its pins carry; `sums`: bytes
        that leave clusters; `pooled`: bytes that leave over a link of `cxl` bytes a second."""
        return cls(
            rows * row_bytes * PS_PER_S / part.memory.peak_bytes_per_s,
            rows * part.instruction_ps(row_bytes),
            sums * PS_PER_S / (part.channels * part.channel_bandwidth),
            pooled * PS_PER_S / cxl,
        )

    @property
    def longest(self) -> float:
        """All of them stream, so that the slowest is what it takes."""
        return max(self)


class Clay(NearMemorySystem):
    """Clusters of DRAM behind CXL that add up among themselves, a closed form; inference alone."""

    name: ClassVar[str] = "clay"
    source: ClassVar[str] = "CLAY, ICS 2024 (abstract)"
    consistency: ClassVar[Consistency | None] = None
    unknown: ClassVar[tuple[str, ...]] = (
        "Everything in numbers: clusters, links between them, packets, how often they are copied.",
        "Whether clusters form a ring or a mesh; here all links carry alike.",
        "How it would train.",
    )
    no_training: ClassVar[str] = "its source is about inference, and says nothing of gradients"
    parameters: ClassVar[type[Parameters]] = Parameters
    shown_on: ClassVar[str] = "clay_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal", "sums_meet": "pool"}

    def _schedule(self) -> Schedule:
        return Serial.of("gather_reduce", "mlp")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return (*self._forward(facts), Stage("mlp", ((mlp_step(self._job.model, self.gpu),),)))

    def _cast(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Dense features alone: there are no gradients to sort for."""
        del facts
        return (move("dense_to_gpu", self._dram, self._hbm, dense_bytes(self._job.model)),)
