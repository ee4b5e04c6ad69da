"""CachedEmbedding (ColossalAI): a software cache in HBM that is filled and emptied before each
mini-batch trains (Fang et al., "A Frequency-aware Software Cache for Large Recommendation System
Embeddings", 2022; code hpcaitech/CachedEmbedding, cache_mgr.py in ColossalAI at 4f9953b).

Verified in the code: unique ids on the GPU; missing are those that the cache map lacks; rows of the
mini-batch are masked; victims are those of the lowest count (counted anew in each slot that is
refilled) or of the highest rank in the data set; victims go to the host and are copied into the
tables by the CPU; missing rows are selected by the CPU, pinned, sent and copied in; all of it
before training, always written back (no dirty bit); a warm-up fills 70 % of the slots with the rows
that are the hottest in the data set.

Reconstructed: that the rows of both ways cross the link side by side, as in the straw-man; the code
synchronises before, and sends victims first. So this is the straw-man with another policy, which is
what its tests demand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.caches.replays import Replay
from simulator.config.parameters import Given, Parameters
from simulator.config.sections import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.systems.base import Consistency, SystemGroup, planned_replay
from simulator.systems.straw_man import StrawMan

__all__ = ["CachedEmbedding", "CachedEmbeddingParameters"]

POLICIES = {"lfu": "lfu", "dataset": "static_hot"}
"""What it calls them, and what they are called here."""


class CachedEmbeddingParameters(Parameters):
    """Of CachedEmbedding."""

    evict_strategy: Annotated[
        Literal["lfu", "dataset"], Given("recalled", "default of CachedEmbeddingBag")
    ] = "lfu"
    """`lfu`: fewest uses since the row came in; `dataset`: coldest in the data set (of rows that
    are colder than the cache is large, the one that was used longest ago)."""
    warmup: Annotated[float, Field(gt=0, le=1), Given("verified", "cache_mgr.py at 4f9953b")] = 0.7
    """Share of the slots that its warm-up fills with the hottest rows (`cache.prefill: hot`)."""


class CachedEmbedding(StrawMan):
    """The hottest rows in HBM by count, swapped through the CPU before each mini-batch."""

    group: ClassVar[SystemGroup] = "rival"
    source: ClassVar[str] = (
        "Fang et al., 2022; code hpcaitech/CachedEmbedding, ColossalAI at 4f9953b"
    )
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Rows of the mini-batch are never victims; victims are in their tables, and missing rows "
        "in the cache, before it trains.",
        sums="of tables cut by rows the vectors, part by part",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        "Queries that plan several mini-batches at once (`prefetch_num`) are not modelled.",
    )
    parameters: ClassVar[type[Parameters]] = CachedEmbeddingParameters
    uses: ClassVar[frozenset[str]] = frozenset(
        {*(f"cache.{key}" for key in (*SIZE_KEYS, "scope", "if_too_small", "prefill", "profile"))}
        | {"gpus", "tables"}
    )
    name: ClassVar[str] = "cached_embedding"

    def cache_replay(self) -> Replay:
        """The scratchpad under its own policy."""
        own = self._job.parameters_as(CachedEmbeddingParameters)
        cache = self._job.cache.model_copy(update={"policy": POLICIES[own.evict_strategy]})
        planned = planned_replay(replace(self._job, cache=cache), self.schedule)
        if cache.prefill == "hot":
            return replace(planned, filled=own.warmup)
        if own.warmup != CachedEmbeddingParameters().warmup:
            raise ConfigError(
                f"cached_embedding warms its cache up with cache.prefill hot alone: warmup would "
                f"do nothing with cache.prefill {cache.prefill}; set cache.prefill: hot, or leave "
                "warmup out"
            )
        return planned
