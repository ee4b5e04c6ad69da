"""Queries whose embeddings are gathered and added up inside a drive: what systems of that kind
share. Tables are in flash and never change; pooled vectors alone leave the drive."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Replay
from simulator.hardware.program import Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System, SystemGroup
from simulator.systems.ndrec import SSD_REMEDY
from simulator.systems.near_data import NearData, device_of
from simulator.systems.schedule import Serial

__all__ = ["InSsd", "Lane"]

Lane = tuple[Operation, ...]


class InSsd(System):
    """Tables in the flash of a computational SSD, which answers queries alone."""

    group: ClassVar[SystemGroup] = "rival"
    no_training: ClassVar[str] = (
        "its drive reads tables and writes none, and the paper says nothing of gradients"
    )
    uses: ClassVar[frozenset[str]] = frozenset()
    name: ClassVar[str]
    """What messages call it."""
    part: ClassVar[str]
    """The drive of the catalogue that it was published with."""

    def __init__(self, job: Job, machine: Topology) -> None:
        told = {"system": self.name, "platform": self.shown_on, "part": self.part}
        remedy = SSD_REMEDY.format(**told, link="pcie3_x4")
        at = device_of(machine, "computational_ssd", self.name, remedy)
        self._near = NearData(job, machine, self.name, at, memory="flash", buffers="buffers")
        self.replay = self._rows(job, machine)
        self.schedule = Serial.of("ids", "lookup", "pooled_to_gpu", "mlp")

    @abstractmethod
    def _rows(self, job: Job, machine: Topology) -> Replay:
        """What has to be known of rows.

        Raises `CapacityError` where the drive has no room for what it keeps of them."""

    @abstractmethod
    def _lookup(self, facts: BatchFacts) -> tuple[Lane, ...]:
        """Sums of all lookups, in the drive."""

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        near = self._near
        ids, dense = near.ids(facts)
        return (
            Stage("ids", ((ids,), (dense,))),
            Stage("lookup", self._lookup(facts)),
            Stage("pooled_to_gpu", ((near.sent(),),)),
            near.mlp(),
        )
