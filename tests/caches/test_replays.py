"""Replays of one trace: run once where they are equal, together as alone, rows only where asked."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import Window, policy_names
from simulator.caches.facts import (
    HELD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
)
from simulator.caches.plan.planning import together
from simulator.caches.replays import (
    Kept,
    PlannedReplay,
    Replay,
    StaticReplay,
    Stream,
    UniqueReplay,
    run_replays,
    slots_for,
)
from simulator.caches.replays import deduped as deduped_module
from simulator.caches.replays.base import bases, joined, slots_of_lookups
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.caches.size import CacheSize
from simulator.config.trace import ZipfTraceConfig
from simulator.errors import CapacityError
from simulator.traces import MiniBatch, Trace, open_trace
from simulator.traces.cuts import Parts, TablePart

ROOT = Path(__file__).parents[2]
BATCHES = 12
ALL: Kept = range(BATCHES)


def trace(seed: int = 3) -> Trace:
    return open_trace(
        ZipfTraceConfig(alpha=0.9), rows=(2000, 500), lookups=(5, 3), batch_size=16, seed=seed
    )


def run(*replays: Replay, threads: int = 1, seed: int = 3) -> dict[Replay, list[BatchFacts]]:
    done = run_replays(Stream(trace(seed), BATCHES), replays, threads=threads)
    return {replay: replayed.facts for replay, replayed in done.items()}


def as_lists(facts: list[BatchFacts]) -> list[object]:
    """Every number, rows as lists."""
    return [
        {
            name: [
                [f.lookups, f.rows, *(None if a is None else a.tolist() for a in arrays(f))]
                for f in flows
            ]
            for name, flows in batch.flows.items()
        }
        | {"index": batch.index, "samples": batch.samples}
        for batch in facts
    ]


def arrays(flow: object) -> tuple[np.ndarray | None, ...]:
    return tuple(getattr(flow, name) for name in ("ids", "slots", "offsets"))


# together as alone


def planned(scope: str, **changes: object) -> PlannedReplay:
    base = PlannedReplay(
        (900,) if scope == "global" else (450, 250),
        scope=scope,
        window=Window(3, 2),
        prefill="hot",
        keep=(2, 3),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["table", "global"])
def test_replays_together_give_what_each_gives_alone(scope: str) -> None:
    sizes = [(700,), (900,), (1200,)] if scope == "global" else [(450, 250), (600, 300)]
    replays: list[Replay] = [
        planned(scope, capacities=size, replacement=policy, held_misses=held)
        for size in sizes
        for policy, held in (("lru", False), ("belady", False), ("lfu", True))
    ]
    replays += [UniqueReplay(), StaticReplay((100, 50))]
    together = run(*replays, threads=2)
    for replay in replays:
        assert as_lists(together[replay]) == as_lists(run(replay)[replay])


def test_scopes_are_prepared_apart() -> None:
    both = planned("table"), planned("global")
    together = run(*both)
    for replay in both:
        assert as_lists(together[replay]) == as_lists(run(replay)[replay])


@pytest.mark.parametrize("policy", policy_names())
def test_every_policy_gives_facts_that_add_up(policy: str) -> None:
    replay = planned("table", replacement=policy, keep=ALL, check=True)
    for facts in run(replay)[replay]:
        facts.check()


class Counting(UniqueReplay):
    """Counts how often it runs."""

    runs = 0

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        type(self).runs += 1
        return super().run(trace, batches, threads)


def test_equal_replays_run_once() -> None:
    Counting.runs = 0
    done = run(Counting(), Counting(), Counting((1,)))
    assert len(done) == Counting.runs == 2


def test_equal_replays_are_equal_values() -> None:
    assert planned("table") == planned("table")
    assert hash(planned("table")) == hash(planned("table"))
    assert len({planned("table"), planned("table"), planned("global")}) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"window": Window(3, 1)},
        {"capacities": (450, 251)},
        {"keep": ()},
        {"replacement": "lfu"},
        {"held_misses": True},
        {"prefill": "empty"},
    ],
)
def test_whatever_changes_facts_is_in_the_value(changes: dict[str, object]) -> None:
    assert planned("table", **changes) != planned("table")


def test_mini_batches_are_drawn_once_for_all_replays() -> None:
    drawn: list[int] = []

    class Drawing:
        rows = trace().rows
        batches = None
        has_time_order = False
        hottest = staticmethod(trace().hottest)

        def minibatch(self, index: int) -> MiniBatch:
            drawn.append(index)
            return trace().minibatch(index)

        def fingerprint(self) -> str:
            return ""

    replays = [UniqueReplay(), StaticReplay((10, 10)), planned("table"), planned("global")]
    run_replays(Stream(Drawing(), BATCHES), replays, threads=1)
    assert drawn == list(range(BATCHES))


def test_distinct_rows_are_found_once_for_replays_of_one_scope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[object] = []
    real = deduped_module.distinct_batches

    def count(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deduped_module, "distinct_batches", count)
    run(UniqueReplay(), StaticReplay((10, 10)), *(planned("table", seed=seed) for seed in range(4)))
    assert len(calls) == 1


COLUMNS: Parts = (
    *(TablePart(0, "column", index, 3) for index in range(3)),
    TablePart(1, "row", 0, 2),
    TablePart(1, "row", 1, 2),
    *(TablePart(0, "column", index, 3) for index in range(2)),
)
"""The last two with fewer slots than the first three."""
SLOTS_OF_COLUMNS = (450, 450, 450, 130, 130, 300, 300)


@pytest.mark.parametrize(
    "replay",
    [
        UniqueReplay(ALL, COLUMNS),
        StaticReplay(SLOTS_OF_COLUMNS, ALL, parts=COLUMNS),
        planned("table", capacities=SLOTS_OF_COLUMNS, parts=COLUMNS, keep=ALL, window=Window(1, 1)),
    ],
)
def test_parts_by_columns_that_do_the_same_are_replayed_once(
    monkeypatch: pytest.MonkeyPatch, replay: Replay
) -> None:
    """As if each were replayed: counts, rows and slots."""
    assert len(set(replay.twins)) < len(COLUMNS)
    once = run(replay)[replay]
    monkeypatch.setattr(type(replay), "twins", property(lambda r: tuple(range(len(r.parts)))))
    each = run(replay)[replay]
    assert as_lists(once) == as_lists(each)
    starts = bases([part.rows(trace().rows[part.table]) for part in COLUMNS])
    for facts in once:
        for number, flow in enumerate(facts.flows[UNIQUE]):
            assert flow.ids is not None
            assert flow.ids.min() >= starts[number]


@pytest.mark.parametrize("replays", [1, 3])
def test_mini_batches_are_dropped_once_all_have_them(
    monkeypatch: pytest.MonkeyPatch, replays: int
) -> None:
    """But for those of the hold window, of a group that is planned at a time and of the next: what
    waits may not grow with the run."""
    drawn: list[weakref.ref[np.ndarray]] = []
    most = 0
    draw = Stream.__iter__

    def watched(stream: Stream) -> Iterator[MiniBatch]:
        nonlocal most
        for batch in draw(stream):
            drawn.append(weakref.ref(batch.ids[0]))
            yield batch
            del batch
            most = max(most, sum(ids() is not None for ids in drawn))

    monkeypatch.setattr(Stream, "__iter__", watched)
    window = Window(past=3, future=2)
    chosen = [UniqueReplay(), planned("table", window=window), planned("global", window=window)]
    done = run_replays(Stream(trace(), 40), chosen[:replays], threads=1)
    assert all(len(replayed.facts) == 40 for replayed in done.values())
    assert most <= window.future + 2 + 2 * len(next(together(Stream(trace(), 40))))


def test_progress_tells_mini_batches_one_by_one() -> None:
    told: list[int] = []
    run_replays(Stream(trace(), 5), [UniqueReplay()], threads=1, progress=told.append)
    assert told == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("replay", [UniqueReplay(ALL), StaticReplay((100, 50), ALL)])
def test_no_mini_batch_gives_no_facts(replay: Replay) -> None:
    assert run_replays(Stream(trace(), 0), [replay], threads=1)[replay].facts == []


def test_threads_change_nothing() -> None:
    replays = [planned("table", keep=ALL, replacement="s3fifo"), planned("global", keep=ALL)]
    serial, parallel = run(*replays), run(*replays, threads=4)
    for replay in replays:
        assert as_lists(serial[replay]) == as_lists(parallel[replay])


_SCRIPT = """
import hashlib, json
from test_replays import ALL, StaticReplay, UniqueReplay, as_lists, planned, run
replays = [planned("table", keep=ALL, replacement=p) for p in ("lru", "random", "lfu", "clock")]
replays += [planned("global", keep=ALL), StaticReplay((100, 50), ALL), UniqueReplay(ALL)]
facts = run(*replays)
text = json.dumps([as_lists(facts[replay]) for replay in replays])
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_hash_seed_of_the_interpreter_changes_nothing() -> None:
    """Also not the order of names in facts."""
    told = set()
    for seed in ("1", "2"):
        path = os.pathsep.join((str(ROOT), str(Path(__file__).parent)))
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1


# rows only where they are asked for


@pytest.mark.parametrize("keep", [(), (0,), (3, 7), ALL])
@pytest.mark.parametrize("kind", ["unique", "static", "planned"])
def test_rows_are_kept_of_the_mini_batches_asked_for(kind: str, keep: Kept) -> None:
    replay: Replay = {
        "unique": UniqueReplay(keep),
        "static": StaticReplay((100, 50), keep),
        "planned": planned("table", keep=keep),
    }[kind]
    facts = run(replay)[replay]
    assert [batch.index for batch in facts if batch.keeps_rows] == list(keep)
    bare = run(dataclasses.replace(replay, keep=()))  # type: ignore[type-var]
    ((_, counts),) = bare.items()
    assert as_lists([batch.without_rows() for batch in facts]) == as_lists(counts)


# what each replay says


def first_seen(ids: np.ndarray) -> list[int]:
    """Distinct ids in order of first lookup."""
    return list(dict.fromkeys(ids.tolist()))


def test_unique_rows_come_in_order_of_first_lookup() -> None:
    for replay in (UniqueReplay(ALL), planned("table", keep=ALL)):
        for facts in run(replay)[replay]:
            for lookup, unique in zip(facts.flows[LOOKUP], facts.flows[UNIQUE], strict=True):
                assert lookup.ids is not None
                assert unique.ids is not None
                assert unique.ids.tolist() == first_seen(lookup.ids)


def test_pinned_rows_hit_and_no_others() -> None:
    replay = StaticReplay((100, 50), ALL)
    hottest = [
        set((trace().hottest(t, n) + s).tolist()) for t, n, s in ((0, 100, 0), (1, 50, 2000))
    ]
    for facts in run(replay)[replay]:
        for table, pinned in enumerate(hottest):
            ids = facts.flows[LOOKUP][table].ids
            assert ids is not None
            hits = [row for row in ids.tolist() if row in pinned]
            hit, miss = facts.flows[HIT][table], facts.flows[MISS][table]
            assert (hit.lookups, miss.lookups) == (len(hits), len(ids) - len(hits))
            assert set(hit.ids.tolist()) == set(hits)
            assert not set(miss.ids.tolist()) & pinned
            assert facts.flows[HIT_LOOKUP][table].ids.tolist() == hits
            cold = [row for row in ids.tolist() if row not in pinned]
            assert facts.flows[MISS_LOOKUP][table].ids.tolist() == cold


def test_slots_of_pinned_rows_are_where_they_lie_from_the_start() -> None:
    replay = StaticReplay((100, 50), ALL)
    resident = replay.resident(trace())
    assert len(resident) == 150
    for facts in run(replay)[replay]:
        for name in (HIT, HIT_LOOKUP):
            flow = facts[name]
            assert np.array_equal(resident[flow.slots], flow.ids)


def place_rows(replay: PlannedReplay) -> None:
    """Follow every row through the slots: rows are where facts say, victims were there."""
    where = replay.resident(trace())
    assert len(where) == sum(replay.slots)
    for facts in run(replay)[replay]:
        victim, miss, unique, lookup = (facts[n] for n in (VICTIM, MISS, UNIQUE, LOOKUP))
        assert np.array_equal(where[victim.slots], victim.ids), "a victim lies in its slot"
        assert set(facts[WRITE_BACK].slots.tolist()) <= set(victim.slots.tolist())
        assert not set(miss.ids.tolist()) & set(where.tolist()), "a missed row is not resident"
        where[victim.slots] = -1
        assert (where[miss.slots] == -1).all(), "a missed row takes a free slot"
        where[miss.slots] = miss.ids
        for flow in (unique, lookup):
            assert np.array_equal(where[flow.slots], flow.ids)
        held = where[where >= 0]
        assert len(held) == len(set(held.tolist())), "a row lies in one slot"


@pytest.mark.parametrize("policy", policy_names())
@pytest.mark.parametrize("scope", ["table", "global"])
def test_rows_lie_in_the_slots_that_facts_name(policy: str, scope: str) -> None:
    place_rows(planned(scope, replacement=policy, keep=ALL))


@settings(max_examples=10)
@given(
    st.integers(300, 450),
    st.integers(200, 300),
    st.sampled_from(["empty", "hot"]),
    st.sampled_from([Window(0, 0), Window(1, 1), Window(3, 2)]),
)
def test_rows_lie_there_whatever_the_cache(
    first: int, second: int, prefill: str, window: Window
) -> None:
    place_rows(
        planned("table", capacities=(first, second), prefill=prefill, window=window, keep=ALL)
    )


def test_an_empty_cache_holds_nothing_and_a_prefilled_one_the_hottest_rows() -> None:
    empty, hot = (planned("table", prefill=p).resident(trace()) for p in ("empty", "hot"))
    assert (empty == -1).all()
    assert set(hot[:450].tolist()) == set(trace().hottest(0, 450).tolist())
    assert set(hot[450:].tolist()) == set((trace().hottest(1, 250) + 2000).tolist())


def test_a_global_pool_starts_from_the_hottest_of_all_tables_by_share() -> None:
    """900 slots for 2500 rows: 36 % of each table, 720 and 180."""
    hot = planned("global", prefill="hot").resident(trace())
    assert sorted(hot[hot < 2000].tolist()) == sorted(trace().hottest(0, 720).tolist())
    assert (hot >= 2000).sum() == 180


def test_a_replay_without_a_cache_holds_nothing() -> None:
    assert len(UniqueReplay().resident(trace())) == 0


def test_what_a_replay_says_of_its_cache() -> None:
    none, static, cache = UniqueReplay(), StaticReplay((100, 50)), planned("table", enlarged=True)
    assert (none.slots, none.policy, none.grown, none.feed) == ((), None, None, "table")
    assert (static.slots, static.policy, static.grown) == ((100, 50), "static_hot", None)
    assert (cache.slots, cache.policy, cache.grown, cache.feed) == (
        (450, 250),
        "lru",
        True,
        "table",
    )
    assert planned("table").grown is False
    assert planned("table", prefill="empty", replacement="static_hot").fills_hot


def test_misses_that_only_the_window_caused_are_counted_where_asked_for() -> None:
    plain, counted = planned("table"), planned("table", held_misses=True)
    facts = run(plain, counted)
    assert all(HELD not in batch for batch in facts[plain])
    assert all(HELD in batch for batch in facts[counted])
    for left, right in zip(facts[plain], facts[counted], strict=True):
        assert left[MISS].rows == right[MISS].rows


def test_a_larger_cache_misses_no_more_under_lru() -> None:
    """LRU keeps the rows of every smaller LRU cache."""
    sizes = [(450, 250), (600, 300), (1500, 400)]
    replays = [planned("table", capacities=size, window=Window(0, 0)) for size in sizes]
    facts = run(*replays)
    misses = [sum(batch[MISS].rows for batch in facts[replay]) for replay in replays]
    assert misses == sorted(misses, reverse=True)
    assert misses[0] > misses[-1]


# numbering


def test_tables_follow_each_other_in_one_numbering() -> None:
    assert bases((2000, 500, 7)).tolist() == [0, 2000, 2500]
    assert bases(()).tolist() == [0]
    parts = [np.array([0, 1]), np.array([3])]
    assert joined(bases((2000, 500)), parts).tolist() == [0, 1, 2003]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_each_lookup_has_the_slot_of_its_row(ids: list[int]) -> None:
    rows = np.array(first_seen(np.array(ids)), np.int64)
    slots = np.arange(100, 100 + len(rows), dtype=np.int64)
    known = dict(zip(rows.tolist(), slots.tolist(), strict=True))
    expected = [known[row] for row in ids]
    assert slots_of_lookups(rows, slots, np.array(ids, np.int64)).tolist() == expected


# slots for a share of the rows


ROWS, LOOKUPS, WINDOW = (1000, 400), (20, 10), Window(3, 2)
"""Six mini-batches hold at most 120 and 60 distinct rows."""


def asked() -> tuple[int, ...]:
    raise AssertionError("the window is counted only where it might not fit")


@pytest.mark.parametrize(
    ("fraction", "scope", "slots"),
    [(0.25, "table", (250, 100)), (1.0, "table", (1000, 400)), (0.25, "global", (350,))],
)
def test_a_cache_with_room_for_the_worst_window_has_its_share(
    fraction: float, scope: str, slots: tuple[int, ...]
) -> None:
    given = slots_for(ROWS, CacheSize(fraction), scope, WINDOW, LOOKUPS, need=asked, grow=False)
    assert given == (slots, False)


def test_a_share_below_one_slot_is_one_slot() -> None:
    slots, _ = slots_for(
        (3, 9), CacheSize(0.01), "table", Window(0, 0), (9, 9), need=None, grow=False
    )
    assert slots == (1, 1)


def test_before_the_trace_is_open_a_cache_is_taken_to_be_large_enough() -> None:
    slots, grown = slots_for(ROWS, CacheSize(0.01), "table", WINDOW, LOOKUPS, need=None, grow=True)
    assert (slots, grown) == ((10, 4), False)


@pytest.mark.parametrize(
    ("need", "slots", "grown"),
    [
        ((90, 30), (100, 40), False),
        ((80, 40), (100, 40), False),
        ((100, 41), (100, 41), True),
        ((117, 60), (117, 60), True),
    ],
)
def test_a_pool_grows_to_what_its_window_holds_on_the_trace(
    need: tuple[int, ...], slots: tuple[int, ...], grown: bool
) -> None:
    """A tenth of the rows: 100 and 40 slots, for up to 120 and 60 rows."""
    given = slots_for(ROWS, CacheSize(0.1), "table", WINDOW, LOOKUPS, need=lambda: need, grow=True)
    assert given == (slots, grown)


def test_a_window_that_does_not_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(CapacityError) as caught:
        slots_for(
            ROWS, CacheSize(0.1), "table", WINDOW, LOOKUPS, need=lambda: (110, 58), grow=False
        )
    text = str(caught.value)
    for share in (
        "cache.fraction 0.1 gives 40 slots for 400 rows (pool 1)",
        "the window of 6 mini-batches (past 3, this one, future 2)",
        "holds up to 58 distinct rows",
        "at least 0.145",
        "cache.if_too_small: grow",
    ):
        assert share in text


@pytest.mark.parametrize("fraction", [0.0101, 0.02, 0.0999])
def test_the_fraction_that_the_message_asks_for_is_enough(fraction: float) -> None:
    with pytest.raises(CapacityError) as caught:
        slots_for(
            ROWS, CacheSize(fraction), "table", WINDOW, LOOKUPS, need=lambda: (107, 43), grow=False
        )
    enough = float(str(caught.value).split("at least ")[1].split(",")[0])
    slots, grown = slots_for(
        ROWS, CacheSize(enough), "table", WINDOW, LOOKUPS, need=lambda: (107, 43), grow=False
    )
    assert not grown
    assert all(s >= n for s, n in itertools.zip_longest(slots, (107, 43)))


def test_planners_alone_are_given_lookups_as_they_are_drawn(monkeypatch):
    """Where one of them, or another kind, asks for distinct ids, all are given those."""
    made = []
    dedupe = deduped_module.distinct_batches
    monkeypatch.setattr(deduped_module, "distinct_batches", lambda *a: made.append(1) or dedupe(*a))
    rows, slots = (300, 200), (60, 50)
    config = ZipfTraceConfig(alpha=1.0)
    trace = open_trace(config, rows=rows, lookups=(4, 3), batch_size=16, seed=1)
    lru, larger = (PlannedReplay(sizes, "lru") for sizes in (slots, (200, 150)))
    others = (
        StaticReplay((9, 9)),
        PlannedReplay(slots, "belady"),
        PlannedReplay((150,), scope="global"),
    )

    def told(*replays):
        made.clear()
        found = run_replays(Stream(trace, 9), replays, threads=1)
        return [[b[MISS].rows for b in found[replay].facts] for replay in replays], len(made)

    alone = [told(replay)[0][0] for replay in (lru, larger, *others)]
    assert told(lru, larger) == (alone[:2], 0)
    assert told(lru, larger, others[0]) == (alone[:3], 1)
    assert told(lru, others[1]) == ([alone[0], alone[3]], 1)
    assert told(lru, others[2])[0] == [alone[0], alone[4]]
