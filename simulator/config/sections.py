"""Sections of an experiment that say the same in a file and in a point: cache, pipeline, run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from simulator.config.arrivals import ArrivalsConfig
from simulator.config.bounds import AtMost
from simulator.config.shares import PositiveShare
from simulator.config.trace import HALF
from simulator.config.types import Bytes, Frozen, MisfitError, Positive

__all__ = ["MOST_SEED", "SIZE_KEYS", "CacheConfig", "PipelineConfig", "RunConfig"]


class Prefix(Frozen):
    """A profile of the beginning of a file."""

    prefix: float = Field(gt=0, lt=1)
    """Share of the mini-batches of the file, from its first one on."""


MOST_SEED = 2**63 - 1
SIZE_KEYS = ("fraction", "rows", "bytes")
"""Keys of `cache` of which one gives its size."""
_DEFAULT_FRACTION = 0.1


class CacheConfig(Frozen):
    """The GPU cache of embedding rows."""

    policy: str = "lru"
    """Replacement policy (`scratchpipe list policies`), or one of a file of yours:
    `./mine.py:CLASS`."""
    fraction: PositiveShare | None = None
    """Share of all embedding rows that the cache holds, `5 %` or 0.05; 2 to 10 % in the paper's
    sweep. Where neither `rows` nor `bytes` is given, 0.1."""
    rows: Annotated[int, Field(gt=0), AtMost(10**15, "no machine holds so many")] | None = None
    """Rows that the cache holds, in place of `fraction`; pools get theirs by size."""
    bytes: Bytes | None = None
    """Memory for rows and their optimizer state, such as `4 GiB`, in place of `fraction`."""
    scope: Literal["table", "global"] = "table"
    """`table`: one pool of slots for each table; `global`: one pool for all."""
    if_too_small: Literal["error", "grow"] = "error"
    """What to do where the cache cannot hold its window: refuse, or grow to the smallest cache
    that can and mark the point."""
    prefill: Literal["steady", "hot", "empty"] = "steady"
    """What the cache holds before the first mini-batch. `steady`: what this policy comes to hold
    on this trace, drawn from a closed form (LRU, independent draws) or reached by planning
    mini-batches of the past without timing them; `hot`: the hottest rows, which LRU replaces by
    others; `empty`: nothing. All rows there are trained: eviction writes them back."""
    profile: Literal["prefix", "whole"] | Prefix = "prefix"
    """What a trace's hottest rows are known from (static cache, policy static_hot, `prefill: hot`).
    Of a file, `prefix`: its first half, `{prefix: SHARE}`: its first share, `whole`: all of it, the
    timed mini-batches too; the timed mini-batches of a file come after its prefix where it is long
    enough. Generated traces: the probabilities that mini-batch 0 is drawn from."""

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, value: Any) -> Any:
        """Exactly one size: the default where none is given."""
        if not isinstance(value, Mapping):
            return value
        given = [key for key in SIZE_KEYS if value.get(key) is not None]
        if len(given) > 1:
            raise MisfitError(given[1], f"and {given[0]} are both given: give one of them")
        return value if given else {**value, "fraction": _DEFAULT_FRACTION}

    @property
    def profile_share(self) -> float:
        """Share of a file that a profile counts; 1 is all of it."""
        if isinstance(self.profile, Prefix):
            return self.profile.prefix
        return HALF if self.profile == "prefix" else 1.0

    @property
    def past_share(self) -> float:
        """Share of a file that comes before the timed mini-batches, if it is long enough."""
        return self.profile_share if self.profile != "whole" else HALF


Held = Annotated[
    int, Field(ge=0), AtMost(1_000, "a window holds a few mini-batches, one for each stage")
]


class PipelineConfig(Frozen):
    """How the stages of consecutive mini-batches overlap."""

    mode: Literal["async", "lockstep"] = "async"
    """`async`: a stage starts as soon as its inputs are there; `lockstep`: all stages move on
    together, at the pace of the slowest."""
    cpu_pool: Literal["shared", "split"] = "shared"
    """Threads of CPU stages that overlap (Collect, Insert). `shared`: one pool of all threads works
    on both, chunk by chunk; `split`: each has its own, of half as many threads."""
    window_past: Held | None = None
    """Earlier mini-batches whose rows may not be victims; null: derived from the pipeline."""
    window_future: Held | None = None
    """Coming mini-batches whose rows may not be victims; null: derived from the pipeline."""


class RunConfig(Frozen):
    """How long and how closely to simulate."""

    batches: int = Field(default=50, gt=0, le=10**9)
    """Mini-batches that are timed."""
    warmup_batches: int = Field(default=10, ge=0, le=10**9)
    """Mini-batches before them that warm caches and fill the pipeline."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Seed of everything that is drawn."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """Seeds that each point is simulated with, from `seed` on: results have the least and the most
    of them beside the numbers of the first. So many times the work."""
    cpu_threads: Positive | None = None
    """Threads of the CPU operators; null: all cores of the platform."""
    memory_fidelity: Literal["exact", "sampled", "table"] = "table"
    """DRAM timing: every access simulated, a sample of mini-batches simulated, or bandwidths
    looked up in a table of simulated patterns."""
    sample_batches: int = Field(default=4, gt=0, le=10**9)
    """Mini-batches simulated access by access where `memory_fidelity` is `sampled`."""
    held_misses: bool = False
    """Tell misses that only the hold window caused from capacity misses, by replaying the same
    cache without a window beside it (twice the replay time)."""
    check: bool = False
    """Run the invariants that take long too."""
    mode: Literal["training", "inference"] = "training"
    """`inference`: mini-batches are queries, up to the answer of the top MLP; nothing changes."""
    arrivals: ArrivalsConfig | None = None
    """In inference, how queries come; null: the next one is always waiting."""

    @model_validator(mode="before")
    @classmethod
    def _warmup_is_a_number(cls, value: Any) -> Any:
        """Who asks for as many as it takes is told what does that."""
        if isinstance(value, Mapping) and value.get("warmup_batches") == "auto":
            raise MisfitError(
                "warmup_batches",
                "is auto: give a number. As many as a cache takes to hold still are what "
                "cache.prefill: steady plans before them, without timing them (at most 512; "
                "cache_start_batches says how many)",
            )
        return value

    @model_validator(mode="after")
    def _arrivals_of_queries(self) -> RunConfig:
        if self.arrivals is not None and self.mode == "training":
            raise MisfitError("arrivals", "are those of queries: set run.mode: inference")
        return self

    @model_serializer(mode="wrap")
    def _as_it_was(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `seeds` where there is one: such a point is what it always was."""
        data: dict[str, Any] = dump(self)
        if data.get("seeds") == 1:
            del data["seeds"]
        return data
