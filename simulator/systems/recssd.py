"""RecSSD: the firmware of a drive gathers and adds up rows, with a cache in its DRAM (Wilkening
et al., "RecSSD: Near Data Processing for Solid State Drive Based Recommendation Inference", ASPLOS
2021, arXiv 2102.00075). Inference only.

Verified in its code (RecSSD-OpenSSDFirmware at bf1ccdf, for Cosmos+): 8 channels of 8 ways of 2
dies, pages of 16 KiB; the host writes a sorted list of pairs of result and row; an ARM core probes
a direct-mapped cache of 2^20 rows of 128 B in DRAM, reads the pages of those it misses and adds
up; results come back in pages. Published: half the latency of the same drive without it (abstract).

Reconstructed: the drive (`recssd_cosmos`: times of its flash and of its core are assumed), a row
has the place of its number modulo the size of the cache, a page is read for every missed row. Ours:
the MLPs run on the GPU, all tables are asked for in one request. Left out: limits of a request
(262,144 pairs, 256 pages of results), several of them in flight, rows that share a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import HIT, MISS, BatchFacts
from simulator.caches.replays import Replay
from simulator.caches.replays.direct_mapped import DirectMappedReplay
from simulator.config.parameters import Given, Parameters
from simulator.hardware.program import Elsewhere, Operation
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, require_room
from simulator.systems.in_ssd import InSsd, Lane

__all__ = ["RecSsd", "RecSsdParameters"]


class RecSsdParameters(Parameters):
    """Of RecSSD."""

    cached_rows: Annotated[
        int, Field(ge=1, le=10**9), Given("verified", "its code: 2^20 entries of 128 B")
    ] = 1_048_576
    """Rows that the direct-mapped cache in the drive's DRAM has places for."""


class RecSsd(InSsd):
    """Firmware of a drive gathers and adds up rows, with a cache in its DRAM (inference only)."""

    name: ClassVar[str] = "recssd"
    part: ClassVar[str] = "recssd_cosmos"
    source: ClassVar[str] = "Wilkening et al., RecSSD, ASPLOS 2021 (abstract and firmware)"
    unknown: ClassVar[tuple[str, ...]] = (
        "Times of its flash, and what its core takes for a row; here they are assumed.",
        "Whether rows of a page that is read for one are served with it; here they are not.",
    )
    parameters: ClassVar[type[Parameters]] = RecSsdParameters
    shown_on: ClassVar[str] = "recssd_v100"
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = ((HIT, MISS),)

    def _rows(self, job: Job, machine: Topology) -> Replay:
        places = job.parameters_as(RecSsdParameters).cached_rows
        memory = machine.memory(f"{self._near.at}.dram")
        size = max(job.model.entry_bytes)
        require_room(
            f"{places:,} cached rows of {size} B",
            places * size,
            f"{memory.place} of {machine.name}",
            memory.capacity,
            "lower cached_rows",
        )
        return DirectMappedReplay(job.keep, places)

    def _lookup(self, facts: BatchFacts) -> tuple[Lane, ...]:
        return (tuple(self._looked_up(facts)),)

    def _looked_up(self, facts: BatchFacts) -> Iterator[Operation]:
        """Rows that the cache has out of DRAM, others out of flash."""
        near = self._near
        for own, word in zip(near.tables, near.pooled(facts), strict=True):
            shard = own.group.of(facts)
            cached = replace(own.store, name="cache", memory=f"{near.at}.dram", slotted=True)
            yield replace(word, rows=shard[MISS], elsewhere=Elsewhere(cached, shard[HIT]))
