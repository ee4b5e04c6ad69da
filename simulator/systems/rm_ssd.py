"""RM-SSD: a drive that reads vectors out of page registers and adds them up (Sun et al., "RM-SSD:
In-Storage Computing for Large-Scale Recommendation Inference", HPCA 2022). Inference only.

Second-hand (a summary of the paper): rows are striped over four channels; of a page only the bytes
of a vector leave its register, so that a read takes 0.7 + 0.3 E / page of that of a whole page (20
us); an FPGA adds up and runs the MLPs as well. Published: 20 to 100 times the throughput of a plain
drive, 1.5 to 15 times RecSSD's.

Reconstructed: the drive (`rm_ssd_fpga`: dies of a channel are assumed). Ours: the MLPs run on the
GPU. Left out: pipelining of queries in the drive.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Replay
from simulator.caches.replays.unique import UniqueReplay
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.in_ssd import InSsd, Lane

__all__ = ["RmSsd"]


class RmSsd(InSsd):
    """A drive reads vectors out of page registers and adds them up (inference only)."""

    name: ClassVar[str] = "rm_ssd"
    part: ClassVar[str] = "rm_ssd_fpga"
    source: ClassVar[str] = "Sun et al., RM-SSD, HPCA 2022 (a summary)"
    unknown: ClassVar[tuple[str, ...]] = (
        "Dies of a channel, and whether lookups of one row are read once; here each is read.",
        "What its FPGA takes for the MLPs; here the GPU runs them.",
    )
    shown_on: ClassVar[str] = "rm_ssd_v100"

    def _rows(self, job: Job, machine: Topology) -> Replay:
        del machine
        return UniqueReplay(job.keep)

    def _lookup(self, facts: BatchFacts) -> tuple[Lane, ...]:
        return (self._near.pooled(facts),)
