"""The steady start of caches: sampled as long replay finds it, planned elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import Window
from simulator.caches.facts import (
    AS_FILLED,
    COLD,
    HIT,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Start,
)
from simulator.caches.replays import PlannedReplay, Stream, run_replays, sampled
from simulator.caches.replays import steady as module
from simulator.caches.replays.sampled import by_number, sampled_rows, to_last_places
from simulator.caches.replays.steady import attempts, is_settled
from simulator.config.trace import (
    DriftTraceConfig,
    FileTraceConfig,
    HistogramTraceConfig,
    SessionTraceConfig,
    StackTraceConfig,
    TraceConfig,
    ZipfTraceConfig,
)
from simulator.errors import UsageError
from simulator.traces import Trace, open_trace
from simulator.traces.cuts import TablePart
from simulator.traces.replay import Place

ROWS = (20_000, 5_000)
SLOTS = (2_000, 1_000)
NONE = Window(0, 0)


def opened(config: TraceConfig, *, rows=ROWS, lookups=(8, 4), batch_size=64, seed=0, **options):
    return open_trace(
        config, rows=rows, lookups=lookups, batch_size=batch_size, seed=seed, **options
    )


def zipf(alpha=1.0, seed=0, **options) -> Trace:
    return opened(ZipfTraceConfig(alpha=alpha, **options), seed=seed)


def replayed(trace: Trace, replay: PlannedReplay, batches: int) -> list[BatchFacts]:
    return run_replays(Stream(trace, batches), [replay], threads=1)[replay].facts


def steady(slots=SLOTS, policy="lru", scope="table", window=NONE, **options):
    return PlannedReplay(slots, policy, scope, window, "steady", **options)


def misses(facts: list[BatchFacts]) -> np.ndarray:
    return np.array([batch[MISS].rows for batch in facts])


# sampled


@pytest.mark.parametrize("pooling", ["fixed", "poisson", "geometric"])
@pytest.mark.parametrize("alpha", [0.0, 0.8, 1.05])
@pytest.mark.parametrize("scope", ["table", "global"])
def test_the_first_mini_batch_misses_as_many_rows_as_after_long_replay(alpha, pooling, scope):
    """24 seeds: the first mini-batch of a sampled cache against those of an empty one after 300
    (every row of the cache has been replaced ten times by then)."""
    slots = SLOTS if scope == "table" else (sum(SLOTS),)
    first, late = [], []
    for seed in range(24):
        trace = zipf(alpha, seed, pooling=pooling)
        first.append(misses(replayed(trace, steady(slots, scope=scope), 1))[0])
        if seed < 3:
            empty = replace(steady(slots, scope=scope), prefill="empty")
            late.append(misses(replayed(trace, empty, 340))[300:])
    long_run = np.concatenate(late)
    error = math.hypot(
        np.std(first, ddof=1) / math.sqrt(len(first)),
        3 * np.std(long_run, ddof=1) / math.sqrt(len(long_run)),  # neighbours are alike
    )
    assert abs(np.mean(first) - np.mean(long_run)) < 4 * error
    assert error < 0.05 * np.mean(long_run), "a test that can see the 27 % of a hot start"


def test_misses_of_a_sampled_cache_do_not_move_while_a_hot_one_settles():
    trace = zipf(1.05)
    still = misses(replayed(trace, steady(), 120))
    settling = misses(replayed(trace, replace(steady(), prefill="hot"), 120))
    level = still[80:].mean()
    assert abs(still[:10].mean() / level - 1) < 0.04
    assert settling[:10].mean() / level < 0.85
    assert abs(settling[80:].mean() / level - 1) < 0.04


def test_parts_by_rows_start_as_after_long_replay():
    """Each with its share of the slots, drawn and not planned, as the whole table is."""
    parts = tuple(TablePart(table, "row", index, 4) for table in range(2) for index in range(4))
    slots = tuple(SLOTS[part.table] // 4 for part in parts)
    replay = steady(slots, parts=parts)
    first, late = [], []
    for seed in range(24):
        facts = replayed(zipf(0.8, seed), replay, 1)[0]
        assert facts.start == Start("sampled")
        first.append(misses([facts])[0])
    late = misses(replayed(zipf(0.8), replace(replay, prefill="empty"), 340))[300:]
    error = math.hypot(np.std(first) / math.sqrt(24), 3 * np.std(late) / math.sqrt(len(late)))
    assert abs(np.mean(first) - np.mean(late)) < 4 * error < 0.1 * np.mean(late)


def test_the_order_of_eviction_is_that_of_lru():
    """The rows of the cache by their last mini-batch of the past: old ones leave first."""
    trace = zipf(0.8)
    rows = sampled_rows(trace, SLOTS, "table")[0]
    assert len(rows) == len(set(rows.tolist())) == SLOTS[0]
    hot = trace.hottest(0, 200)
    young, old = rows[:500], rows[-500:]
    assert np.isin(young, hot).sum() > 3 * np.isin(old, hot).sum()
    facts = replayed(trace, replace(steady(), keep=range(1)), 1)[0]
    victims = facts.flows[VICTIM][0].ids
    looked_up = set(facts.flows[UNIQUE][0].ids.tolist())
    expected = [row for row in rows[::-1].tolist() if row not in looked_up]
    assert victims.tolist() == expected[: len(victims)]


def test_within_a_mini_batch_the_first_to_be_looked_up_is_the_oldest():
    """Table after table; a row that was last looked up late in reverse was looked up early."""
    ages = np.array([0.25, 0.75, 1.25, 0.1])
    two_tables = np.concatenate([ages[:2], ages[:2]])
    to_last_places(ages, 0, 1)
    assert np.argsort(ages).tolist() == [1, 0, 3, 2]
    to_last_places(two_tables[:2], 0, 2)
    to_last_places(two_tables[2:], 1, 2)
    assert np.argsort(two_tables).tolist() == [3, 2, 1, 0]


def test_nothing_is_cold_in_a_cache_that_has_run_for_ever():
    facts = replayed(zipf(), steady(), 3)
    assert facts[0].start == Start("sampled")
    assert all(batch[COLD].rows == 0 for batch in facts)
    assert all(batch[WRITE_BACK].rows == batch[VICTIM].rows == batch[MISS].rows for batch in facts)
    assert AS_FILLED not in facts[0]


def test_caches_of_one_trace_that_are_alike_are_sampled_once():
    trace = zipf()
    first = sampled_rows(trace, SLOTS, "table")
    assert sampled_rows(trace, list(SLOTS), "table") is first
    halves = sampled_rows(trace, [slots // 2 for slots in SLOTS], "table")
    assert [len(rows) for rows in halves] == [slots // 2 for slots in SLOTS]
    again = sampled_rows(trace, SLOTS, "table")
    assert all(np.array_equal(*pair) for pair in zip(again, first, strict=True))


def test_samples_are_dropped_once_all_caches_have_begun(monkeypatch):
    """Two replays of one cache with windows of their own: one sample, gone with the first
    mini-batch."""
    made = []
    sample = sampled._sampled
    monkeypatch.setattr(sampled, "_sampled", lambda *about: made.append(1) or sample(*about))
    replays = [steady(window=Window(past, 1)) for past in (0, 2)]
    trace, held = zipf(), []
    stream = Stream(trace, 3)
    run_replays(stream, replays, threads=1, progress=lambda _: held.append(drawn_from(stream)))
    assert (len(made), held) == (1, [{}] * 3)


def drawn_from(stream):
    return sampled._samples(stream.source or stream.trace)


@pytest.mark.parametrize("distinct", [3, 10**4, 10**6])
def test_equal_places_keep_their_order(distinct):
    numbers = np.random.default_rng(0).integers(0, distinct, 5000) / 7.0
    for threads in (1, 3):
        order = by_number(numbers, np.arange(len(numbers)), threads)
        assert order.tolist() == np.argsort(numbers, kind="stable").tolist()


@given(st.lists(st.tuples(st.floats(0.0, 1e300) | st.just(1.5), st.integers(0, 3)), max_size=300))
@settings(deadline=None)
def test_the_order_is_that_of_comparing_numbers(pairs):
    """Of any size, and of some that only their last bits tell apart."""
    numbers = np.array([number for number, _ in pairs], np.float64)
    for k, (_, steps) in enumerate(pairs):
        for _ in range(steps):
            numbers[k] = np.nextafter(numbers[k], np.inf)
    for threads in (1, 3):
        order = by_number(numbers, np.arange(len(numbers)), threads)
        assert order.tolist() == np.argsort(numbers, kind="stable").tolist()


def test_two_samples_are_the_same_and_other_seeds_are_not():
    once, again = (sampled_rows(zipf(seed=1), SLOTS, "table") for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[0], sampled_rows(zipf(seed=2), SLOTS, "table")[0])


def test_the_cache_that_is_told_is_the_one_that_is_replayed():
    trace = zipf()
    replay = replace(steady(), keep=range(1))
    held = replay.resident(trace)
    facts = replayed(trace, replay, 1)[0]
    hit = ~np.isin(facts[UNIQUE].ids, facts[MISS].ids)
    assert hit.sum() == facts[HIT].rows > 0
    assert np.array_equal(held[facts[UNIQUE].slots[hit]], facts[UNIQUE].ids[hit])
    assert np.array_equal(held[facts[VICTIM].slots], facts[VICTIM].ids)


def test_one_slot_holds_the_last_row():
    """One row a mini-batch, of two equal ones: half of the mini-batches hit."""
    hits = []
    for seed in range(200):
        trace = opened(ZipfTraceConfig(alpha=0.0), rows=(2,), lookups=(1,), batch_size=1, seed=seed)
        hits.append(replayed(trace, steady((1,)), 1)[0][HIT].rows)
    assert abs(np.mean(hits) - 0.5) < 5 * 0.5 / math.sqrt(200)


def test_all_rows_fit():
    facts = replayed(zipf(1.05), steady(ROWS), 2)
    assert misses(facts).tolist() == [0, 0]


def test_a_cache_of_more_slots_than_rows_that_are_looked_up_has_free_ones(tmp_path):
    np.save(tmp_path / "counts.npy", np.array([5, 3, 0, 1, 0]))
    config = HistogramTraceConfig(path=str(tmp_path / "counts.npy"))
    trace = opened(config, rows=(1000,), lookups=(2,))
    replay = steady((10,), window=Window(0, 0))
    held = replay.resident(trace)
    assert (held >= 0).sum() == 3
    assert misses(replayed(trace, replay, 3)).tolist() == [0, 0, 0]


def test_empty_bags_look_nothing_up():
    """Bags of a mean of one are often empty; a mini-batch of one sample may be."""
    config = ZipfTraceConfig(alpha=0.5, pooling="poisson")
    trace = opened(config, rows=(50,), lookups=(1,), batch_size=1, seed=3)
    facts = replayed(trace, steady((5,)), 40)
    lookups = [batch["lookup"].lookups for batch in facts]
    assert 0 in lookups
    assert facts[0].start == Start("sampled")


def test_correlated_tables_in_one_pool_are_planned():
    trace = zipf(correlation=0.5)
    assert sampled_rows(trace, (3000,), "global") is None
    assert sampled_rows(trace, SLOTS, "table") is not None


# planned


@pytest.mark.parametrize("policy", ["fifo", "random", "clock", "sieve", "s3fifo", "lfu", "belady"])
def test_other_policies_plan_until_the_cache_is_full_and_still(policy):
    facts = replayed(zipf(0.8), steady(policy=policy, window=Window(1, 1)), 40)
    start = facts[0].start
    assert start.kind == "planned"
    assert start.batches >= 32
    assert all(batch[VICTIM].rows == batch[MISS].rows for batch in facts), "no slot is free"
    found = misses(facts)
    assert abs(found[:20].mean() / found[20:].mean() - 1) < 0.06


def test_planning_finds_the_state_that_is_sampled():
    """LRU planned over the past, as an outside policy would be, against the closed form."""
    trace = zipf(0.8)
    past = module.Past(trace, SLOTS, "table", 1, ())
    replay = replace(steady(), prefill="empty")
    planned = past.planned(lambda: replay.planners(trace), needs_future=False)
    ages = sampled_rows(trace, SLOTS, "table")
    for pool, rows in enumerate(ages):
        mine = planned.planners[pool].resident()
        hot = trace.hottest(pool, 500)
        shares = [np.isin(hot, held).mean() for held in (mine, rows)]
        assert len(mine) == SLOTS[pool]
        assert abs(shares[0] - shares[1]) < 0.06


@pytest.mark.parametrize(
    "config",
    [
        DriftTraceConfig(alpha=1.0, hot_fraction=0.02, replaced=0.3, period_batches=8),
        SessionTraceConfig(alpha=0.8, repeat=0.5, length=6.0, concurrent=16),
        StackTraceConfig(curve="nycflights_tailnum"),
    ],
)
def test_traces_that_depend_on_time_are_planned(config):
    facts = replayed(opened(config), steady((1000, 500)), 2)
    assert facts[0].start.kind == "planned"
    assert facts[0].start.batches >= 32


def test_a_drifting_cache_starts_with_what_was_hot_before():
    """With each period all of the hot set is new: of what the run's first mini-batch looks up a
    cache that was warmed by the right past holds as much as a later one does."""
    config = DriftTraceConfig(alpha=1.2, hot_fraction=0.02, replaced=0.5, period_batches=4)
    found = misses(replayed(opened(config), steady((1000, 500)), 41))
    periods = found[1:41].reshape(-1, 4).mean(axis=1)
    assert abs(periods[0] / periods.mean() - 1) < 0.2


def file_trace(tmp_path, ids, *, batch_size=10, place=None, **options):
    np.save(tmp_path / "ids.npy", ids)
    config = FileTraceConfig(path=str(tmp_path / "ids.npy"), **options)
    return opened(config, rows=(200,), lookups=(1,), batch_size=batch_size, place=place)


def test_a_file_plans_its_past(tmp_path):
    ids = np.random.default_rng(0).integers(0, 200, 2000)
    trace = file_trace(tmp_path, ids, place=Place(0.5, 10, 20))
    assert trace.past == 90
    facts = replayed(trace, steady((50,)), 30)
    assert facts[0].start == Start("planned", 32)
    assert all(batch[VICTIM].rows == batch[MISS].rows for batch in facts)


def test_a_file_shorter_than_its_warm_up_starts_empty(tmp_path):
    trace = file_trace(tmp_path, np.arange(100) % 200, place=Place(0.5, 8, 2))
    assert trace.past == 0
    facts = replayed(trace, steady((50,)), 10)
    assert facts[0].start == Start("planned", 0)
    assert facts[0][HIT].rows == 0


def test_a_past_that_never_fills_the_cache_is_used_up(tmp_path):
    trace = file_trace(tmp_path, np.arange(2000) % 30, place=Place(0.5, 10, 20))
    facts = replayed(trace, steady((50,)), 3)
    assert facts[0].start == Start("planned", 32), "no misses any more: nothing is left to fetch"
    ids = np.concatenate([np.arange(40)] * 25)
    slow = file_trace(tmp_path, np.sort(ids), place=Place(0.5, 0, 20))
    assert replayed(slow, steady((60,)), 3)[0].start == Start("planned", 50)


def test_a_mini_batch_of_the_past_that_does_not_fit_is_passed_over(tmp_path):
    ids = np.concatenate([np.arange(400) % 5, np.arange(100), np.arange(500) % 5])
    trace = file_trace(tmp_path, ids, batch_size=20, place=Place(0.5, 0, 10))
    facts = replayed(trace, steady((6,)), 3)  # the past has mini-batches of twenty rows
    assert facts[0][HIT].rows == 5


def test_rows_of_the_past_are_not_held():
    """Exactly as many slots as the window of the run needs: rows of the past must all leave."""
    trace = opened(ZipfTraceConfig(alpha=0.0), rows=(4000,), lookups=(4,), batch_size=16)
    window = Window(3, 2)
    batches = [np.unique(trace.minibatch(n).ids[0]) for n in range(20)]
    need = max(len(np.unique(np.concatenate(batches[max(0, n - 5) : n + 1]))) for n in range(20))
    for policy in ("lru", "random", "fifo"):
        facts = replayed(trace, steady((need,), policy, window=window, check=True), 20)
        assert len(facts) == 20


def test_nothing_can_be_said_of_belady_before_the_run_is_known():
    with pytest.raises(UsageError, match=r"looks ahead.*cache\.prefill to empty or hot"):
        steady(policy="belady").resident(zipf())


def test_pinned_rows_are_in_their_cache_from_the_start():
    facts = replayed(zipf(1.05), steady(policy="static_hot", window=Window(3, 2)), 60)
    found = misses(facts)
    assert abs(found[:10].mean() / found[40:].mean() - 1) < 0.05


def test_tries_double_up_to_the_most_or_all_that_there_is(tmp_path):
    session = opened(SessionTraceConfig(alpha=0.0, repeat=0.5, length=6.0, concurrent=16))
    tried = list(attempts(session, SLOTS, "table"))
    # 5,000 equal rows, 256 lookups: 1 - exp(-256 t / 5000) = 0.99 * 0.2 at t = 4.3
    assert tried[0] == 32
    assert tried == [32, 64, 128, 256, 512]
    trace = file_trace(tmp_path, np.arange(2000) % 200, place=Place(0.5, 10, 20))
    assert list(attempts(trace, (50,), "table")) == [32, 64, 90]
    assert list(attempts(trace, (50,), "table", most=20)) == [20]


def test_settled_means_full_and_still():
    still = [(100, 50)] * 20
    assert is_settled(still, 100)
    assert not is_settled(still, 101)
    assert not is_settled([(100, 50 + k) for k in range(20)], 100)
    assert not is_settled(still[:5], 100)
    assert not is_settled([], 0)
    assert is_settled([(40, 0)] * 20, 100), "nothing is missed: what is free stays free"


def test_held_misses_are_counted_from_the_same_start():
    replay = steady((2200, 1100), "fifo", window=Window(3, 2), held_misses=True)
    facts = replayed(zipf(0.8), replay, 12)
    assert all(0 <= batch["held"].rows <= batch[MISS].rows for batch in facts)
    assert sum(batch["held"].rows for batch in facts) < 0.3 * misses(facts).sum()


# as it was filled


def test_rows_as_filled_are_counted_down():
    """Slots minus first uses minus evictions of rows that were never looked up."""
    trace = opened(ZipfTraceConfig(alpha=0.9), rows=(500,), lookups=(2,), batch_size=8)
    replay = PlannedReplay((100,), "lru", "table", Window(0, 0), "hot", keep=range(30))
    facts = replayed(trace, replay, 30)
    left = set(trace.hottest(0, 100).tolist())
    for batch in facts:
        left -= set(batch["unique"].ids.tolist()) | set(batch[VICTIM].ids.tolist())
        assert batch[AS_FILLED].rows == len(left)
    assert facts[0][AS_FILLED].rows > 80
    assert AS_FILLED not in replayed(trace, replace(replay, prefill="empty"), 1)[0]
