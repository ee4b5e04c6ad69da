"""RecNMP: memory modules whose ranks gather and reduce whole rows, with a small cache a rank (Ke et
al., "RecNMP: Accelerating Personalized Recommendation with Near-Memory Processing", ISCA 2020).

Second-hand (a summary of the paper): a unit a rank turns compressed instructions into DRAM
commands, looks rows up in a cache of 128 KB and adds them up; a unit a module adds up its ranks;
the host adds up its modules. Tables are gathered one after the other (table-aware packets). Rows
that a mini-batch looks up often enough are marked as worth keeping. Published: up to 9.8 times
lower latency of the embedding operator, 4.2 times the throughput; in silicon (AxDIMM, two ranks) up
to 1.89 times.

The paper is about inference: how rows are trained is ours (`near_memory`), and so is what becomes
of the caches then: updates are written through, or empty them. Ours as well: the pool stands on
channels beside those of the CPU's memory. Left out: colouring of pages over channels, several GPUs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.nodes import NodeCache
from simulator.config.parameters import Given, Parameters
from simulator.systems.near_memory import OURS, NearMemorySystem, PoolParameters

__all__ = ["RecNmp", "RecNmpParameters"]


class RecNmpParameters(PoolParameters):
    """Of RecNMP."""

    hot_lookups: Annotated[
        int, Field(ge=1, le=1_000_000), Given("assumed", "every row is worth keeping")
    ] = 1
    """Lookups of a row in a mini-batch from which on a rank keeps it."""
    caches: Annotated[
        Literal["written_through", "emptied"], Given("assumed", "the paper does not train")
    ] = "written_through"
    """What an update does to rows in the caches of ranks: it changes them too, or every mini-batch
    starts with empty ones."""


class RecNmp(NearMemorySystem):
    """Whole rows in near-memory ranks with caches (an inference paper: training is ours)."""

    name: ClassVar[str] = "recnmp"
    source: ClassVar[str] = "Ke et al., RecNMP, ISCA 2020 (abstract and a summary)"
    training_is_ours: ClassVar[bool] = True
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "From how many lookups on a row is kept.",
        "Buffers of partial sums; here they are large enough.",
        "How tables are coloured over channels; here rows go round all ranks.",
    )
    parameters: ClassVar[type[Parameters]] = RecNmpParameters
    shown_on: ClassVar[str] = "recnmp_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal"}

    def _cache(self, rows: int) -> NodeCache | None:
        own = self._job.parameters_as(RecNmpParameters)
        return NodeCache(rows, own.hot_lookups, own.caches == "written_through") if rows else None
