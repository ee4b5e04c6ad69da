"""Replays one table's ids through one policy and says what was counted: `scratchpipe replay`.

Two passes over the source of chunks: one that looks at the ids (largest, how many, how often where
a profile is needed), one that replays. Ids that are sparse are numbered densely on the way. Time is
measured around the replay alone: reading, numbering and compilation are outside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import numpy.typing as npt

from simulator._progress import part, tell, watched
from simulator.caches.per_lookup.base import lookup_cache, next_positions
from simulator.caches.plan.base import PoolPlan, Window
from simulator.caches.plan.distinct import Deduper
from simulator.caches.plan.future import next_uses
from simulator.caches.plan.renumber import Numbering
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.plan.sizes import DIRECT_IDS
from simulator.caches.plan.words import MAX_CAPACITY
from simulator.caches.policies.base import LOOKUP_ONLY, PolicySetup, policy_class
from simulator.errors import TraceError, UsageError
from simulator.traces.reuse import stack_histogram

__all__ = ["ONE_PASS_SIZES", "Replay", "ReplayCounts", "expected_s", "replay_sizes"]
__all__ += ["replay_trace"]

Int64s = npt.NDArray[np.int64]
Chunks = Callable[[], Iterable[Int64s]]

ONE_PASS_SIZES = 7
"""From so many cache sizes on, one pass of stack distances is cheaper than a replay each: it does
about 4 M lookups a second where an LRU replay does 30 M."""


_SURVEYED = 0.2
"""Share of a replay that the first look at the trace takes, about."""
_PIECE = 1 << 15
"""Lookups that are replayed between two signs of life."""
_PROBED = 2_048
"""Lookups that say how fast a policy is."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What to replay: policy, slots, and per lookup or in batches of `batch_lookups`."""

    policy: str
    capacity: int
    granularity: str = "lookup"
    batch_lookups: int = 40_960
    window: Window = field(default_factory=lambda: Window(3, 2))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.granularity != "lookup" or self.policy not in LOOKUP_ONLY:
            policy_class(self.policy)
        if not 1 <= self.capacity <= MAX_CAPACITY:
            raise UsageError(f"capacity {self.capacity:,}: must be 1 to {MAX_CAPACITY:,} rows")
        if self.granularity not in ("lookup", "batch"):
            raise UsageError(f"granularity {self.granularity!r}: must be lookup or batch")
        if self.batch_lookups < 1:
            raise UsageError(f"{self.batch_lookups} lookups a batch: must be at least 1")


@dataclass(slots=True)
class ReplayCounts:
    """Per lookup: hits + misses = lookups. In batches: hits + misses = sum of unique ids."""

    lookups: int = 0
    unique_ids: int = 0
    """Distinct ids in the whole trace."""
    batches: int = 0
    hits: int = 0
    misses: int = 0
    lookup_hits: int = 0
    cold_misses: int = 0
    evictions: int = 0
    resident_rows: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Survey:
    lookups: int
    rows: int
    dense: bool


def replay_trace(chunks: Chunks, replay: Replay) -> ReplayCounts:
    """Replay the ids that `chunks()` gives (int64, not negative), each time from the beginning."""
    _warm_up(replay)
    with part(0.0, _SURVEYED):
        survey = _survey(chunks)
    with part(_SURVEYED, 1.0):
        return _replay(chunks, replay, survey)


def replay_sizes(chunks: Chunks, replay: Replay, capacities: Sequence[int]) -> list[ReplayCounts]:
    """`replay` at each of `capacities`; the trace is surveyed once.

    LRU per lookup at `ONE_PASS_SIZES` sizes or more takes all of them from one pass of stack
    distances, exactly equal; that pass keeps the ids in memory (8 bytes a lookup).
    """
    replays = [dataclasses.replace(replay, capacity=capacity) for capacity in capacities]
    _warm_up(replay)
    with part(0.0, _SURVEYED):
        survey = _survey(chunks)
    one_pass = replay.policy == "lru" and replay.granularity == "lookup"
    if one_pass and len(replays) >= ONE_PASS_SIZES:
        return _by_stack_distance(chunks, survey, capacities)
    counts, each = [], (1.0 - _SURVEYED) / len(replays)
    for number, one in enumerate(replays):
        with part(_SURVEYED + number * each, _SURVEYED + (number + 1) * each):
            counts.append(_replay(chunks, one, survey))
    return counts


def _by_stack_distance(
    chunks: Chunks, survey: _Survey, capacities: Sequence[int]
) -> list[ReplayCounts]:
    ids = np.concatenate(list(_numbered(chunks, survey)))
    start = perf_counter()
    histogram, cold = stack_histogram(ids)
    hits = np.cumsum(histogram)
    wall_s = (perf_counter() - start) / len(capacities)
    counts = []
    for capacity in capacities:
        lru_hits = int(hits[min(capacity, len(hits) - 1)])
        resident = min(capacity, cold)
        counts.append(
            ReplayCounts(
                lookups=len(ids),
                unique_ids=cold,
                hits=lru_hits,
                misses=len(ids) - lru_hits,
                lookup_hits=lru_hits,
                cold_misses=cold,
                evictions=len(ids) - lru_hits - resident,
                resident_rows=resident,
                wall_s=wall_s,
            )
        )
    return counts


def _replay(chunks: Chunks, replay: Replay, survey: _Survey | None = None) -> ReplayCounts:
    survey = survey or _survey(chunks)
    hottest = _profile(chunks, survey, replay.capacity) if _by_profile(replay.policy) else None
    setup = PolicySetup(replay.capacity, replay.seed, hottest)
    run = _per_lookup if replay.granularity == "lookup" else _per_batch
    counts = run(_told(_numbered(chunks, survey), survey.lookups), replay, setup, survey.rows)
    if counts.lookups != survey.lookups:
        raise TraceError("the trace changed while it was read")
    return counts


def expected_s(chunks: Chunks, replay: Replay) -> tuple[int, float]:
    """Lookups of the trace, and seconds that their replay should take at the speed of the first
    thousands, in which a cache may still be filling."""
    _warm_up(replay)
    lookups = sum(len(chunk) for chunk in chunks())
    first = next((chunk[:_PROBED] for chunk in chunks() if len(chunk)), None)
    if first is None:
        return 0, 0.0
    with watched(lambda what, share: None):
        probed = _replay(lambda: [first], replay)
    return lookups, probed.wall_s * lookups / len(first)


def _told(chunks: Iterator[Int64s], lookups: int) -> Iterator[Int64s]:
    """`chunks` in pieces that even a policy in plain Python is through in seconds, each told."""
    done = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            tell(f"{done:,} of {lookups:,} lookups replayed", done / lookups)
            yield chunk[start : start + _PIECE]
            done += len(chunk[start : start + _PIECE])


def _by_profile(policy: str) -> bool:
    return policy not in LOOKUP_ONLY and policy_class(policy).needs_profile


def _survey(chunks: Chunks) -> _Survey:
    lookups, largest = 0, -1
    for chunk in chunks():
        if len(chunk):
            lookups += len(chunk)
            largest = max(largest, int(chunk.max()))
    if not lookups:
        raise TraceError("the trace has no lookups")
    if largest < max(DIRECT_IDS, 4 * lookups):
        return _Survey(lookups, largest + 1, True)
    numbering = Numbering()
    for chunk in chunks():
        numbering.of(chunk)
    return _Survey(lookups, numbering.distinct, False)


def _numbered(chunks: Chunks, survey: _Survey) -> Iterator[Int64s]:
    if survey.dense:
        return iter(chunks())
    numbering = Numbering()
    return (numbering.of(chunk) for chunk in chunks())


def _profile(chunks: Chunks, survey: _Survey, capacity: int) -> Int64s:
    """The `capacity` most accessed rows of this very trace, hottest first, ties by number."""
    counts = np.zeros(survey.rows, dtype=np.int64)
    for chunk in _numbered(chunks, survey):
        np.add.at(counts, chunk, 1)
    return np.argsort(-counts, kind="stable")[:capacity]


@contextmanager
def _timed(counts: ReplayCounts) -> Iterator[None]:
    """Add the time that the block takes to `counts.wall_s`."""
    start = perf_counter()
    yield
    counts.wall_s += perf_counter() - start


def _per_lookup(
    chunks: Iterator[Int64s], replay: Replay, setup: PolicySetup, rows: int
) -> ReplayCounts:
    cache = lookup_cache(replay.policy, setup, rows)
    counts = ReplayCounts()
    pieces: Iterable[tuple[Int64s, Int64s | None]] = ((chunk, None) for chunk in chunks)
    if cache.needs_next_use:
        trace = list(chunks)
        with _timed(counts):
            later = next_positions(trace, rows)
        pieces = zip(trace, later, strict=True)
    for chunk, next_use in pieces:
        with _timed(counts):
            cache.feed(chunk, next_use)
    result = cache.result()
    return dataclasses.replace(
        counts,
        lookups=result.lookups,
        unique_ids=result.cold_misses,
        hits=result.hits,
        misses=result.misses,
        lookup_hits=result.hits,
        cold_misses=result.cold_misses,
        evictions=result.evictions,
        resident_rows=result.resident_rows,
    )


def _per_batch(
    chunks: Iterator[Int64s], replay: Replay, setup: PolicySetup, rows: int
) -> ReplayCounts:
    capacity = min(replay.capacity, rows)
    planner = PoolPlanner(
        replay.policy, rows, capacity, replay.window, seed=replay.seed, hottest=setup.hottest
    )
    counts = ReplayCounts()
    batches = _batches(chunks, replay.batch_lookups)
    pieces: Iterable[tuple[Int64s, Int64s | None]] = ((ids, None) for ids in batches)
    if planner.needs_future:
        trace = list(batches)
        with _timed(counts):
            later = next_uses([distinct.ids for distinct in map(Deduper(rows), trace)], rows)
        pieces = zip(trace, later, strict=True)
    waiting = 0
    for ids, next_use in pieces:
        with _timed(counts):
            planner.load(ids, next_use)
            waiting += 1
            if waiting > replay.window.future:
                _count(counts, planner.plan())
                waiting -= 1
    with _timed(counts):
        for _ in range(waiting):
            _count(counts, planner.plan())
    counts.unique_ids = counts.cold_misses
    return counts


def _count(counts: ReplayCounts, plan: PoolPlan) -> None:
    counts.batches += 1
    counts.lookups += plan.lookups
    counts.lookup_hits += plan.lookup_hits
    counts.hits += plan.unique_hits
    counts.misses += len(plan.missed.rows)
    counts.cold_misses += plan.cold_misses
    counts.evictions += len(plan.victims.rows)
    counts.resident_rows = plan.resident_rows


def _batches(chunks: Iterator[Int64s], size: int) -> Iterator[Int64s]:
    """Cut a stream anew into batches of `size`; the last one may be shorter."""
    rest = np.empty(0, dtype=np.int64)
    for chunk in chunks:
        ids = np.concatenate([rest, chunk]) if len(rest) else chunk
        whole = len(ids) // size * size
        for start in range(0, whole, size):
            yield ids[start : start + size]
        rest = ids[whole:]
    if len(rest):
        yield rest


def _warm_up(replay: Replay) -> None:
    """Compile what the replay will call, on a few thousand ids."""
    ids = np.random.default_rng(0).integers(0, 64, 4096)
    small = Replay(replay.policy, 48, replay.granularity, 4, Window(1, 1), 0)
    with watched(lambda what, share: None):
        _replay(lambda: [ids], small)
