"""The set-associative cache: equal to FBGEMM's rules in plain Python, and to closed forms."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import BYPASS, LOOKUP, MISS, UNIQUE, VICTIM, Start
from simulator.caches.plan.associative import Algorithm, AssociativeCache, Loaded
from simulator.caches.plan.hashed_sets import set_of
from simulator.caches.reference.associative import (
    ReferenceAssociative,
    reference_fill,
    reference_set,
)
from simulator.caches.replays import PlannedReplay, Stream, associative, run_replays
from simulator.caches.replays.associative import (
    BYPASS_UPDATE,
    CACHED_UPDATE,
    FETCHED,
    AssociativeReplay,
)
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import Trace, open_trace

ROWS = 40
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@given(st.integers(0, 2**40), st.integers(1, 10**6))
def test_rows_are_hashed_as_murmur_does(row: int, sets: int) -> None:
    assert set_of(row, sets) == reference_set(row, sets)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(["lru", "lfu"]),
    st.booleans(),
    st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12), max_size=12),
)
def test_it_equals_the_reference(
    sets: int, ways: int, algorithm: str, lock: bool, batches: list[list[int]]
) -> None:
    """Locks: those of the reference are counters, here stamps of the mini-batch before say it."""
    lock = lock and algorithm == "lru"
    cache = AssociativeCache(ROWS, sets, ways, algorithm, int(lock))  # type: ignore[arg-type]
    reference = ReferenceAssociative(sets, ways, algorithm)
    before: list[int] = []
    for ids in batches:
        times = {row: ids.count(row) for row in dict.fromkeys(ids)}
        held = {row for row in times if reference.slot_of(row) is not None}
        came, left = reference.load(times, lock=lock)
        counts = np.array(list(times.values()), np.int64)
        loaded = cache.load(np.array(list(times), np.int64), counts)
        rows = np.array(list(times), np.int64)
        assert set(rows[loaded.hit].tolist()) == held
        assert set(rows[loaded.fetched].tolist()) == came
        assert sorted(loaded.victims.tolist()) == left
        assert [None if row < 0 else row for row in cache.tags.tolist()] == reference.tags
        assert loaded.slots.tolist() == [
            -1 if (slot := reference.slot_of(row)) is None else slot for row in times
        ]
        reference.unlock(before)
        before = [row for row in times if reference.slot_of(row) is not None] if lock else []


@pytest.mark.parametrize(
    ("load", "share"),
    [(0.5, 1.5e-5), (0.7, 0.0024), (0.8, 0.011), (0.9, 0.033), (1.0, 0.070), (1.25, 0.21)],
)
def test_rows_without_a_slot_are_as_many_as_poisson_says(load: float, share: float) -> None:
    """Sets of 32 slots get Poisson(32 x load) rows; what is above 32 stays out."""
    sets, ways = 4096, 32
    wanted = round(load * sets * ways)
    rows = np.sort(np.random.default_rng(7).permutation(4 * sets * ways)[:wanted]).astype(np.int64)
    cache = AssociativeCache(4 * sets * ways, sets, ways)
    loaded = cache.load(rows, np.ones(wanted, np.int64))
    left_out = 1.0 - loaded.fetched.mean()
    assert left_out == pytest.approx(share, rel=0.08, abs=2e-5)
    mean = load * ways
    term, over = math.exp(-mean), 0.0
    for k in range(1, 400):
        term *= mean / k
        over += max(0, k - ways) * term
    assert left_out == pytest.approx(over / mean, rel=0.05, abs=2e-5)


@pytest.mark.parametrize(("load", "share"), [(0.8, 0.011), (1.0, 0.070), (1.25, 0.21)])
def test_locked_rows_of_two_mini_batches_overflow_as_poisson_says(
    load: float, share: float
) -> None:
    """Under prefetch the rows of two mini-batches share the sets: the second one finds no slot for
    as many as both together would, but for those that the first one had none for."""
    sets, ways = 4096, 32
    wanted = round(load * sets * ways)
    rows = np.random.default_rng(11).permutation(4 * sets * ways).astype(np.int64)
    cache = AssociativeCache(len(rows), sets, ways, locked=1)
    halves = (rows[: wanted // 2], rows[wanted // 2 : wanted])
    loaded = [cache.load(half, np.ones(len(half), np.int64)) for half in halves]
    assert sum(len(each.victims) for each in loaded) == 0
    left_out = sum(int((~each.fetched).sum()) for each in loaded) / wanted
    assert left_out == pytest.approx(share, rel=0.08)
    third = cache.load(rows[wanted : 2 * wanted], np.ones(wanted, np.int64))
    assert set(third.victims.tolist()) <= set(halves[0].tolist())  # the second is still locked


def zipf(rows: int = 4000, batch: int = 256) -> Trace:
    config = ZipfTraceConfig(kind="zipf", alpha=0.9)
    return open_trace(config, rows=(rows, rows), lookups=(2, 1), batch_size=batch, seed=3)


def test_one_set_of_all_slots_misses_what_lru_misses() -> None:
    """Serial, infinite ways: the misses of the straw-man's cache in one pool, but for rows of one
    mini-batch, which LRU orders by first lookup there and by slot here."""
    trace, slots = zipf(), 1500
    one_set = AssociativeReplay(1, slots)
    lru = PlannedReplay((slots,), "lru", "global")
    facts = run_replays(Stream(trace, 30), [one_set, lru], threads=1)
    mine, other = (sum(batch[MISS].rows for batch in facts[r].facts) for r in (one_set, lru))
    assert mine == pytest.approx(other, rel=0.005)
    for batch, twin in zip(facts[one_set].facts, facts[lru].facts, strict=True):
        assert batch[LOOKUP].lookups == twin[LOOKUP].lookups
        assert batch[UNIQUE].rows == twin[UNIQUE].rows
        assert batch[BYPASS].rows == 0


@pytest.mark.parametrize("algorithm", ["lru", "lfu"])
@pytest.mark.parametrize("locked", [0, 1])
def test_rows_are_conserved_table_by_table(algorithm: str, locked: int) -> None:
    replay = AssociativeReplay(20, 8, algorithm, locked, keep=range(20))  # type: ignore[arg-type]
    facts = run_replays(Stream(zipf(), 20), [replay], threads=1)[replay].facts
    resident = 0
    for batch in facts:
        batch.check()
        assert batch[CACHED_UPDATE].rows + batch[BYPASS_UPDATE].rows == batch[UNIQUE].rows
        assert batch[FETCHED].rows <= batch[MISS].rows
        if algorithm == "lru":
            assert batch[MISS].rows == batch[FETCHED].rows + batch[BYPASS].rows
        resident += batch[FETCHED].rows - batch[VICTIM].rows
        assert 0 <= resident <= 160
    assert sum(batch[BYPASS].rows for batch in facts) > 0


def test_a_steady_cache_starts_where_a_long_run_ends() -> None:
    trace = zipf()
    cold, steady = (AssociativeReplay(40, 16, prefill=how) for how in ("empty", "steady"))
    facts = run_replays(Stream(trace, 80), [cold, steady], threads=1)
    late = np.mean([batch[MISS].rows for batch in facts[cold].facts[60:]])
    early = np.mean([batch[MISS].rows for batch in facts[steady].facts[:20]])
    assert facts[steady].facts[0].start is not None
    assert facts[steady].facts[0].start.kind == "sampled"
    assert early == pytest.approx(late, rel=0.05)


def lfu(trace: Trace, share: float, batches: int = 10) -> tuple[Start, Floats]:
    """How a steady LFU cache of sets of 16 starts on a trace, and the rows that are missed, come in
    and stay outside of a mini-batch, and that are missed of each table: mean of a few."""
    sets = int(sum(trace.rows) * share / 16)
    replay = AssociativeReplay(sets, 16, "lfu", prefill="steady")
    facts = run_replays(Stream(trace, batches), [replay], threads=1)[replay].facts
    assert facts[0].start is not None
    told = [
        [
            *(batch[name].rows for name in (MISS, FETCHED, BYPASS)),
            *(shard.rows for shard in batch.flows[MISS]),
        ]
        for batch in facts
    ]
    return facts[0].start, np.mean(np.array(told, np.float64), axis=0)


def test_lfu_without_a_closed_form_is_settled_by_a_past() -> None:
    config = ZipfTraceConfig(kind="zipf", alpha=0.9, correlation=0.5)
    trace = open_trace(config, rows=(4000, 4000), lookups=(2, 1), batch_size=256, seed=3)
    start, _ = lfu(trace, 0.08)
    assert start.kind == "planned"
    assert start.batches >= 32


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.2])
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_lfu_starts_as_if_its_past_were_played(
    alpha: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of as many mini-batches: the same rows are missed, come in and stay outside, table by table,
    within five standard deviations of what two such pasts differ by."""
    config = ZipfTraceConfig(kind="zipf", alpha=alpha)
    trace = open_trace(config, rows=(20_000, 10_000), lookups=(4, 2), batch_size=256, seed=3)
    start, sampled = lfu(trace, share)
    assert start == Start("sampled", 512)
    monkeypatch.setattr(AssociativeReplay, "_counted", lambda *_: 0)
    monkeypatch.setattr(associative, "is_settled", lambda *_: False)
    start, played = lfu(trace, share)
    assert start == Start("planned", 512)
    spread = np.sqrt(2 * np.maximum(played, 5.0) / 10)
    assert (np.abs(sampled - played) < 5 * spread + 0.01 * played).all()


@given(
    st.lists(st.one_of(st.integers(0, 3), st.integers(4000, 5000)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_the_highest_counts_of_each_set_are_in(
    counts: list[int], sets: int, ways: int, threads: int
) -> None:
    """As the plain reference has them; and nothing but a count that is as high as the lowest one of
    its set moves a row."""
    cache = AssociativeCache(len(counts), sets, ways, "lfu")
    cache.note_counts(np.arange(len(counts)), 0, np.array(counts, np.int32))
    cache.fill_by_count(threads)
    expected = reference_fill(counts, sets, ways)
    held = [cache.tags[own * ways : (own + 1) * ways] for own in range(sets)]
    assert [sorted(own[own >= 0].tolist()) for own in held] == [sorted(own) for own in expected]
    assert cache.resident == sum(map(len, expected))
    rows = np.arange(len(counts))
    loaded = cache.load(rows, np.ones(len(counts), np.int64))
    assert set(rows[loaded.hit].tolist()) == {row for own in expected for row in own}
    assert not loaded.new.any()
    for own, before in enumerate(expected):
        lowest = min((counts[row] for row in before), default=0) if len(before) == ways else 0
        came = [row for row in rows[loaded.fetched].tolist() if set_of(row, sets) == own]
        assert all(counts[row] + 1 >= lowest for row in came)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from([("lru", 0), ("lru", 1), ("lfu", 0)]),
    st.integers(2, 5),
    st.lists(st.lists(st.integers(0, 3 * ROWS - 1), min_size=1, max_size=60), max_size=12),
)
def test_threads_change_nothing(
    sets: int, ways: int, rules: tuple[str, int], threads: int, batches: list[list[int]]
) -> None:
    """Nor the order of those who leave; and who is still in is known without looking for all."""
    one, several = (AssociativeCache(3 * ROWS, sets, ways, *rules) for _ in range(2))  # type: ignore[arg-type]
    before: tuple[Ints, Loaded] | None = None
    for ids in batches:
        rows, times = np.unique(np.array(ids, np.int64), return_counts=True)
        loaded = one.load(rows, times)
        for mine, other in zip(loaded, several.load(rows, times, threads), strict=True):
            np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(one.tags, several.tags)
        assert one.resident == several.resident
        if before is not None:
            np.testing.assert_array_equal(one.still_in(*before), one.slots_of(before[0]))
        before = rows, loaded


@pytest.mark.parametrize(("algorithm", "locked"), [("lru", 0), ("lru", 1), ("lfu", 0)])
def test_flows_count_what_kept_rows_tell(algorithm: Algorithm, locked: int) -> None:
    """Seven tables, one of them of one row: lookups and rows of each flow are the same whether row
    numbers are kept (plain sums over them) or not (`tally`)."""
    config = ZipfTraceConfig(kind="zipf", alpha=0.9)
    rows = (4000, 1, 900, 50, 4000, 3, 77)
    trace = open_trace(config, rows=rows, lookups=(2, 1, 1, 3, 1, 1, 2), batch_size=256, seed=3)
    replays = [
        AssociativeReplay(60, 8, algorithm, locked, keep=kept) for kept in (range(20), range(0))
    ]
    told = run_replays(Stream(trace, 20), replays, threads=2)
    for kept, counted in zip(*(told[replay].facts for replay in replays), strict=True):
        assert {*kept.flows} == {*counted.flows}
        for name, flows in kept.flows.items():
            pairs = zip(flows, counted.flows[name], strict=True)
            assert all((a.lookups, a.rows) == (b.lookups, b.rows) for a, b in pairs), name


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 40),
    st.sampled_from(["lru", "lfu"]),
    st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=12), max_size=12),
)
def test_a_past_that_is_played_leaves_what_loads_leave(
    sets: int, ways: int, algorithm: str, batches: list[list[int]]
) -> None:
    played, loaded = (AssociativeCache(ROWS, sets, ways, algorithm) for _ in range(2))  # type: ignore[arg-type]
    past = [np.unique(np.array(ids, np.int64), return_counts=True) for ids in batches]
    turns = [past[: len(past) // 3], past[len(past) // 3 :]]
    outcomes = [told for turn in turns if turn for told in played.play(turn, threads=2)]
    for (rows, times), (resident, missed) in zip(past, outcomes, strict=True):
        outcome = loaded.load(rows, times)
        assert missed == int((~outcome.hit).sum())
        assert resident == loaded.resident == int((loaded.tags >= 0).sum())
    np.testing.assert_array_equal(played.tags, loaded.tags)
    assert played.resident == loaded.resident
    rows = np.arange(ROWS)
    again, twin = (cache.load(rows, np.ones(ROWS, np.int64)) for cache in (played, loaded))
    np.testing.assert_array_equal(again.new, twin.new)
    np.testing.assert_array_equal(again.victims, twin.victims)


def test_counts_stay_at_the_highest_that_32_bits_hold() -> None:
    """A row that was looked up that often outlives one that comes close to it."""
    cache = AssociativeCache(4, 1, 1, "lfu")
    most = np.array([2**31 - 1], np.int64)
    cache.load(np.array([0]), most)
    cache.load(np.array([0]), most)
    cache.load(np.array([1]), most - 1)
    assert cache.tags.tolist() == [0]


def test_rows_beyond_32_bits_keep_their_numbers() -> None:
    last = 2**31 + 9
    cache = AssociativeCache(last + 1, 1, 2)
    for row in (9, last, 9):
        cache.load(np.array([row]), np.ones(1, np.int64))
    assert sorted(cache.tags.tolist()) == [9, last]
    assert cache.slots_of(np.array([last, 8])).tolist() == [cache.tags.tolist().index(last), -1]
