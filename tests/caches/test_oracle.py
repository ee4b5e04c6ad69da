"""Bagpipe's oracle: its rule of gaps against times to live, what trainers move, Belady's bound."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.plan.oracle import OracleCacher, Read
from simulator.caches.reference.oracle import reference_oracle
from simulator.caches.replays import PlannedReplay, Stream, run_replays
from simulator.caches.replays.oracle import OracleReplay
from simulator.caches.replays.oracle_facts import ALONE, FETCHED, LATER, LEAVING, NOW
from simulator.caches.replays.oracle_tables import Reading, TableReader
from simulator.caches.replays.owned import Owned, by_row, rows_of
from simulator.caches.replays.samples import of_trainer
from simulator.config.trace import ZipfTraceConfig
from simulator.errors import CapacityError
from simulator.traces import Trace, open_trace
from simulator.traces.base import MiniBatch

ROWS = 12


def zipf(rows: int = 4000, alpha: float = 0.9) -> Trace:
    config = ZipfTraceConfig(kind="zipf", alpha=alpha)
    return open_trace(config, rows=(rows, rows), lookups=(2, 1), batch_size=64, seed=3)


def told(replay: OracleReplay, batches: int, trace: Trace | None = None) -> list[BatchFacts]:
    stream = Stream(trace or zipf(), batches)
    return run_replays(stream, [replay], threads=1)[replay].facts


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 7),
    st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8), min_size=1, max_size=14),
)
def test_gaps_say_what_times_to_live_do(look_ahead: int, batches: list[list[int]]) -> None:
    cacher = OracleCacher(ROWS, look_ahead)
    reads: list[Read] = [cacher.read(np.array(list(dict.fromkeys(b)), np.int64)) for b in batches]
    cacher.end()
    for read, lookups, wanted in zip(
        reads, batches, reference_oracle(batches, look_ahead), strict=True
    ):
        once = np.array([lookups.count(row) == 1 for row in read.rows.tolist()], np.bool_)
        alone = once & ~read.kept & ~read.again
        assert set(read.rows[read.fetched].tolist()) == wanted.fetch
        assert set(read.rows[read.kept].tolist()) == set(wanted.keep)
        assert set(read.rows[read.again].tolist()) == wanted.now
        assert set(read.rows[alone].tolist()) == wanted.no_sync
        assert set(read.rows[~read.again & ~alone].tolist()) == wanted.later


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 7),
    st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=8), min_size=1, max_size=14),
    st.booleans(),
    st.booleans(),
)
def test_what_is_counted_of_a_table_is_what_trainers_are_told(
    look_ahead: int, batches: list[list[int]], lists: bool, slots: bool
) -> None:
    """Two trainers, the first of which has a sample of the first lookup alone."""
    reader = TableReader(0, ROWS, look_ahead, (1, 1))
    for number, lookups in enumerate(batches):
        offsets = np.array([0, 1, len(lookups)])
        batch = MiniBatch(number, (np.array(lookups, np.int64),), (offsets,))
        reader.read(batch, Reading(lookups=lists, lists=lists, slots=slots))
    reader.end()
    for use, lookups, wanted in zip(
        reader.uses, batches, reference_oracle(batches, look_ahead), strict=True
    ):
        unique = set(lookups)
        owner = dict.fromkeys(unique, 0)
        owner |= {row: 1 if row == lookups[0] else 2 for row in wanted.no_sync}
        chosen = [unique, unique - wanted.fetch, wanted.fetch, wanted.now, wanted.later]
        told = [[sum(map(lookups.count, rows)), len(rows)] for rows in chosen]
        entries = len(unique) + sum(map(len, (wanted.fetch, wanted.keep)))
        assert use.lists.tolist() == [*told, [0, entries]]
        left = unique - set(wanted.keep)
        for counts, rows in zip(use.counts, (wanted.no_sync, wanted.fetch, left), strict=True):
            owners = [owner[row] for row in rows]
            assert counts.tolist() == [owners.count(k) for k in range(3)]
        for packed, rows in ((use.fetched, wanted.fetch), (use.left, left)):
            in_order = [row for row in dict.fromkeys(lookups) if row in rows and slots]
            assert packed.tolist() == [row << 16 | owner[row] for row in in_order]
            assert by_row(packed.copy(), ROWS).tolist() == sorted(packed.tolist())
        assert use.shared.rows.tolist() == (list(dict.fromkeys(lookups)) if lists else [])


@given(st.lists(st.integers(0, 2**40 - 1), unique=True, max_size=99), st.integers(0, 40))
def test_packed_rows_are_put_in_order(rows: list[int], bits: int) -> None:
    packed = np.array([(row >> (40 - bits)) << 16 | row % 2**16 for row in rows], np.int64)
    whole = np.array([row << 16 | 7 for row in rows], np.int64)
    ordered = by_row(packed.copy(), 1 << bits)
    assert rows_of(ordered).tolist() == sorted(rows_of(packed).tolist())
    assert by_row(whole.copy(), 2**40).tolist() == sorted(whole.tolist())


def test_stamps_that_run_out_are_renumbered() -> None:
    """8 bits are enough for 117 mini-batches with a look-ahead of 9."""
    trace = zipf(300)
    narrow, wide = OracleCacher(300, 9, np.int8), OracleCacher(300, 9, np.int32)
    for number in range(400):
        rows = np.unique(trace.minibatch(number).ids[0])
        narrow.read(rows)
        wide.read(rows)
        if number >= 9:
            queues = (cacher._queue[number - 8] for cacher in (narrow, wide))
            one, two = ((each.fetched, each.again, each.kept) for each in queues)
            assert np.array_equal(one, two)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 2), st.booleans()), min_size=ROWS, max_size=ROWS),
    st.integers(0, ROWS),
)
def test_shares_of_rows_are_those_that_are_counted(rows: list[tuple[int, bool]], edge: int) -> None:
    owners, chosen = (np.array(each) for each in zip(*rows, strict=True))
    numbers, edges = np.arange(ROWS), (0, edge, ROWS)
    tables, counts = [], np.zeros((2, 4), np.int64)
    for table, (first, last) in enumerate(pairwise(edges)):
        own = numbers[first:last][chosen[first:last]]
        np.add.at(counts[table], owners[own] + 1, 1)
        tables.append((own - first) << 16 | (owners[own] + 1))
    mine = Owned.of_tables(tables, (0, edge), counts)
    slots = 100 + mine.rows
    dealt: list[int] = []
    for trainer in range(3):
        for flows, bare in (
            (mine.of(trainer, slots), Owned.counted(counts).of(trainer, None)),
            (mine.dealt(trainer, slots), Owned.counted(counts).dealt(trainer, None)),
        ):
            for flow, count, first, last in zip(flows, bare, edges, edges[1:], strict=False):
                assert flow.ids is not None
                assert flow.slots is not None
                assert len(flow.ids) == flow.rows == count.rows
                assert all(first <= row < last for row in flow.ids.tolist())
                assert flow.slots.tolist() == (100 + flow.ids).tolist()
        has = [row for flow in mine.of(trainer, slots) for row in flow.ids.tolist()]  # type: ignore[union-attr]
        assert has == [k for k, (who, is_in) in enumerate(rows) if is_in and who in (-1, trainer)]
        dealt += [row for flow in flows for row in flow.ids.tolist()]  # type: ignore[union-attr]
    assert sorted(dealt) == numbers[chosen].tolist()
    everyone = [k for k, (who, is_in) in enumerate(rows) if is_in and who < 0]
    assert [row for row in dealt if row in everyone] == [
        *everyone[2::3],
        *everyone[0::3],
        *everyone[1::3],
    ]


@pytest.mark.parametrize("prefill", ["empty", "steady"])
@pytest.mark.parametrize("keep", [(), (0, 4, 5, 6, 13)])
def test_what_is_counted_is_what_is_kept(prefill: str, keep: tuple[int, ...]) -> None:
    whole, some = (
        told(OracleReplay(8000, 6, 2, (22, 21, 21), prefill, keep=kept), 20)
        for kept in (range(20), keep)
    )
    for each, other in zip(whole, some, strict=True):
        assert dict(each.without_rows().flows) == dict(other.without_rows().flows)
        for name in each.flows if each.index in keep else ():
            for one, two in zip(each.flows[name], other.flows[name], strict=True):
                assert np.array_equal(one.ids, two.ids)  # type: ignore[arg-type]
                assert np.array_equal(one.slots, two.slots)  # type: ignore[arg-type]


def test_lookups_alone_are_those_of_all_that_is_told() -> None:
    """Slots end with the last mini-batch that is kept."""
    whole, some = (
        told(OracleReplay(8000, 6, 2, (22, 21, 21), keep=(0, 3, 11), lookups_alone=alone), 30)
        for alone in (False, True)
    )
    for each, other in zip(whole, some, strict=True):
        wanted = each.with_lookups_alone()
        assert {*wanted.flows} == {*other.flows}
        assert other.keeps_rows == (other.index in (0, 3, 11))
        for name, flows in wanted.flows.items():
            for one, two in zip(flows, other.flows[name], strict=True):
                assert (one.lookups, one.rows) == (two.lookups, two.rows)
                for mine, theirs in ((one.ids, two.ids), (one.slots, two.slots)):
                    assert (mine is None) == (theirs is None)
                    assert mine is None or np.array_equal(mine, theirs)  # type: ignore[arg-type]


@pytest.mark.parametrize("look_ahead", [1, 2, 7, 20, 40])
def test_rows_fetched_are_those_with_a_gap_of_the_look_ahead_or_more(look_ahead: int) -> None:
    """1: all unique rows; as many as there are mini-batches: cold misses alone."""
    trace, last = zipf(), {}
    for facts in told(OracleReplay(8000, look_ahead, 1, (32, 32)), 40):
        ids = trace.minibatch(facts.index).ids
        rows = {(table, row) for table, each in enumerate(ids) for row in each.tolist()}
        gaps = [facts.index - last.get(row, -(10**9)) for row in rows]
        assert facts[MISS].rows == sum(gap >= look_ahead for gap in gaps)
        assert facts[UNIQUE].rows == len(rows)
        if look_ahead == 40:
            assert facts[MISS].rows == sum(row not in last for row in rows)
        last |= dict.fromkeys(rows, facts.index)


def test_no_cache_with_as_many_slots_as_it_holds_in_the_mean_misses_less() -> None:
    """The rule is that of fewest misses for its mean residency, so Belady's policy misses as many
    or more at that number of slots; mean residency: g mini-batches for a gap g below the
    look-ahead, 1 for others."""
    batches, look_ahead, trace = 300, 12, zipf(1500)
    facts = told(OracleReplay(3000, look_ahead, 3, (64,), keep=range(batches)), batches, trace)
    last: dict[int, int] = {}
    held = 0
    for batch in facts:
        ids = batch[UNIQUE].ids
        assert ids is not None
        for row in ids.tolist():
            gap = batch.index - last.get(row, -(10**9))
            held += gap if gap < look_ahead else 1
            last[row] = batch.index
    slots = round(held / batches)
    belady = PlannedReplay((slots,), "belady", "global")
    other = run_replays(Stream(trace, batches), [belady], threads=1)[belady].facts
    late = range(50, batches)
    mine, least = (sum(f[k][MISS].rows for k in late) for f in (facts, other))
    assert mine <= least


@pytest.mark.parametrize("prefill", ["empty", "steady"])
@pytest.mark.parametrize(("look_ahead", "chunk"), [(1, 1), (5, 1), (9, 2), (8, 8), (20, 5)])
def test_rows_are_conserved(look_ahead: int, chunk: int, prefill: str) -> None:
    """What is fetched in a chunk is missed in it; what came in and did not leave is resident; every
    row is synchronised now, later, or with one trainer alone."""
    replay = OracleReplay(8000, look_ahead, chunk, (22, 21, 21), prefill, keep=range(30))
    trace = zipf()
    resident = set(replay.resident(trace).tolist())
    slot = {row: number for number, row in enumerate(replay.resident(trace).tolist())}
    for facts in told(replay, 30, trace):
        facts.check()
        for name, change in ((LEAVING, "out"), (FETCHED, "in")):
            flows = [facts[of_trainer(t, name)] for t in range(3)]
            rows = [row for flow in flows for row in flow.ids.tolist()]  # type: ignore[union-attr]
            if change == "out":
                assert len(rows) == len(set(rows))
                assert set(rows) <= resident
                resident -= set(rows)
            else:
                assert not set(rows) & resident
                resident |= set(rows)
                for flow in flows:
                    slot |= zip(flow.ids.tolist(), flow.slots.tolist(), strict=True)  # type: ignore[union-attr]
        unique = facts[UNIQUE]
        assert set(unique.ids.tolist()) <= resident  # type: ignore[union-attr]
        pairs = zip(unique.ids.tolist(), unique.slots.tolist(), strict=True)  # type: ignore[union-attr]
        assert all(slot[row] == where for row, where in pairs)
        assert len({slot[row] for row in resident}) == len(resident)
        alone = sum(facts[of_trainer(t, ALONE)].rows for t in range(3))
        assert facts[NOW].rows + facts[LATER].rows + alone == unique.rows
        assert sum(facts[of_trainer(t, LOOKUP)].lookups for t in range(3)) == facts[LOOKUP].lookups
        assert facts[HIT].rows + facts[MISS].rows == unique.rows
        times = Counter(facts[LOOKUP].ids.tolist())  # type: ignore[union-attr]
        for name in (UNIQUE, HIT, MISS, NOW, LATER):
            for flow, first in zip(facts.flows[name], (0, 4000), strict=True):
                told_rows = flow.ids.tolist()  # type: ignore[union-attr]
                assert len(told_rows) == flow.rows
                assert all(first <= row < first + 4000 for row in told_rows)
                assert flow.lookups == sum(times[row] for row in told_rows)


def test_a_steady_cache_starts_where_a_long_run_ends() -> None:
    cold, steady = (told(OracleReplay(8000, 10, 2, (64,), how), 60) for how in ("empty", "steady"))
    late = np.mean([facts[MISS].rows for facts in cold[30:]])
    early = np.mean([facts[MISS].rows for facts in steady[:30]])
    assert steady[0].start is not None
    assert steady[0].start.kind == "sampled"
    assert early == pytest.approx(late, rel=0.05)
    assert [f[MISS].rows for f in cold[10:]] == [f[MISS].rows for f in steady[10:]]


def test_a_cache_below_the_rows_of_a_look_ahead_is_refused() -> None:
    with pytest.raises(
        CapacityError, match=r"need a slot, but there are 200: .*: grow, or lower look_ahead"
    ):
        told(OracleReplay(200, 20, 5, (64,)), 40)


@pytest.mark.parametrize("keep", [(), (3,)])
def test_a_cache_below_the_rows_that_are_there_before_is_refused(keep: tuple[int, ...]) -> None:
    replay = OracleReplay(200, 20, 5, (64,), "steady", keep=keep)
    assert len(replay.resident(zipf())) > 200
    with pytest.raises(CapacityError, match=r"need a slot, but there are 200: .*mini-batch 0"):
        told(replay, 40)


@pytest.mark.parametrize("look_ahead", [8, 20])
def test_slots_are_taken_a_look_ahead_longer_than_rows_are_kept(look_ahead: int) -> None:
    """A quarter of the look-ahead at a time: a row comes in three quarters of a look-ahead to a
    whole one before its first use and leaves within a quarter after its last, so that slots are
    those of the rule's mean residency and, for each row that is fetched, a look-ahead more."""
    chunk, batches = look_ahead // 4, 20 * look_ahead
    trace, uses = zipf(1500), dict[int, list[int]]()
    for number in range(batches):
        for table, ids in enumerate(trace.minibatch(number).ids):
            for row in np.unique(ids + 1500 * table).tolist():
                uses.setdefault(row, []).append(number)
    replay = OracleReplay(3000, look_ahead, chunk, (64,), keep=range(batches))
    inside, leads, lags, held = set[int](), list[int](), list[int](), list[int]()
    middle = range(3 * look_ahead, batches - 3 * look_ahead)
    for batch in told(replay, batches, trace):
        clean_up = batch.index - look_ahead + chunk
        if not replay.begins_chunk(batch.index):
            continue
        gone, came = (batch[of_trainer(0, name)].ids.tolist() for name in (LEAVING, FETCHED))  # type: ignore[union-attr]
        inside = (inside - set(gone)) | set(came)
        if clean_up in middle:
            lags += [clean_up - max(n for n in uses[row] if n < clean_up) for row in gone]
            leads += [min(n for n in uses[row] if n >= batch.index) - clean_up for row in came]
            held.append(len(inside))
    assert look_ahead - chunk == min(leads) < max(leads) == look_ahead - 1
    assert 1 == min(lags) < max(lags) == chunk
    kept = fetched = 0
    for each in uses.values():
        for before, use in zip([-(10**9), *each], each, strict=False):
            gap = use - before
            kept += (gap if gap < look_ahead else 1) * (use in middle)
            fetched += gap >= look_ahead and use in middle
    longer = float(np.mean(leads) + np.mean(lags)) - 1
    assert longer == pytest.approx(look_ahead - 1, abs=0.5)
    assert np.mean(held) == pytest.approx((kept + longer * fetched) / len(middle), rel=0.02)
    assert np.mean(held) > 1.5 * kept / len(middle)
