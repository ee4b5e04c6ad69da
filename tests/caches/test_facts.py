"""Facts of a mini-batch: conservation shard by shard, and what is left of them in parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches import Window
from simulator.caches import facts as names
from simulator.caches.facts import (
    COLD,
    HELD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
    total,
)
from simulator.caches.replays import (
    PlannedReplay,
    Replay,
    StaticReplay,
    Stream,
    UniqueReplay,
    run_replays,
)
from simulator.config.trace import ZipfTraceConfig
from simulator.errors import InvariantError
from simulator.traces import open_trace

BATCHES, SAMPLES = 6, 16
TRACE = open_trace(
    ZipfTraceConfig(alpha=0.9), rows=(2000, 500), lookups=(5, 3), batch_size=SAMPLES, seed=3
)
REPLAYS: dict[str, Replay] = {
    "unique": UniqueReplay(range(BATCHES)),
    "static": StaticReplay((100, 50), range(BATCHES)),
    "planned": PlannedReplay((500, 250), window=Window(3, 2), keep=range(BATCHES)),
}


@cache
def replayed(name: str) -> list[BatchFacts]:
    """Facts of the mini-batches of the trace under one kind of replay, rows kept."""
    replay = REPLAYS[name]
    return run_replays(Stream(TRACE, BATCHES), [replay], threads=1)[replay].facts


def array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# conservation


SHARD = {
    LOOKUP: Flow(100, 60),
    UNIQUE: Flow(100, 60),
    HIT: Flow(70, 40),
    MISS: Flow(30, 20),
    VICTIM: Flow(0, 15),
    WRITE_BACK: Flow(0, 10),
    COLD: Flow(0, 5),
    HELD: Flow(0, 3),
}
"""100 lookups of 60 rows; 40 rows hit in 70 lookups; 20 are missed, 15 rows make room, 10 of them
trained, 5 missed for the first time, 3 because of the window."""


def batch(*shards: Mapping[str, Flow]) -> BatchFacts:
    return BatchFacts(7, SAMPLES, {name: tuple(s[name] for s in shards) for name in shards[0]})


def test_facts_that_add_up_are_let_through() -> None:
    batch(SHARD).check()
    batch(SHARD, SHARD).check()


def test_a_mini_batch_without_lookups_has_every_flow_and_all_are_empty() -> None:
    facts = BatchFacts.of_nothing(5)
    facts.check()
    assert facts.samples == 5
    assert "of a replay from outside" in facts
    for same in (facts, facts.of_shards([3]), facts.without_rows()):
        assert same["of a replay from outside"] == same[LOOKUP] == Flow()


@pytest.mark.parametrize("name", [LOOKUP, UNIQUE])
def test_every_replay_tells_lookups_and_unique_rows(name: str) -> None:
    with pytest.raises(InvariantError, match=f"no '{name}' flows"):
        batch({k: flow for k, flow in SHARD.items() if k != name}).check()


@pytest.mark.parametrize(
    ("name", "flow", "rule"),
    [
        (UNIQUE, Flow(100, 101), "unique rows <= lookups"),
        (HIT, Flow(71, 40), "lookups = hits + misses"),
        (MISS, Flow(29, 20), "lookups = hits + misses"),
        (HIT, Flow(70, 41), "unique rows = hits + misses"),
        (MISS, Flow(30, 21), "unique rows = hits + misses"),
        (COLD, Flow(0, 21), "cold misses <= misses"),
        (HELD, Flow(0, 21), "held misses <= misses"),
        (VICTIM, Flow(0, 21), "victims <= misses"),
        (WRITE_BACK, Flow(0, 16), "write-backs <= victims"),
    ],
)
def test_a_rule_that_is_broken_names_mini_batch_shard_and_rule(
    name: str, flow: Flow, rule: str
) -> None:
    broken = SHARD | {name: flow}
    with pytest.raises(InvariantError) as caught:
        batch(SHARD, broken, SHARD).check()
    assert str(caught.value).startswith(f"mini-batch 7, shard 1: {rule} does not hold")
    assert "'lookup': (100, 60)" in str(caught.value), "the counts are listed"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({HIT: Flow(30, 40), MISS: Flow(70, 20)}, "unique hits <= lookup hits"),
        ({HIT: Flow(85, 40), MISS: Flow(15, 20)}, "missed rows <= missed lookups"),
    ],
)
def test_a_row_that_moves_was_looked_up_at_least_once(
    changes: Mapping[str, Flow], rule: str
) -> None:
    with pytest.raises(InvariantError, match=rule):
        batch(SHARD | changes).check()


def test_a_shard_cannot_make_up_for_another() -> None:
    """Sums over both shards are right."""
    more, less = SHARD | {HIT: Flow(71, 40)}, SHARD | {HIT: Flow(69, 40)}
    facts = batch(more, less)
    assert facts[HIT].lookups + facts[MISS].lookups == facts[LOOKUP].lookups
    with pytest.raises(InvariantError, match="shard 0"):
        facts.check()


def test_facts_without_a_cache_promise_only_that_rows_were_looked_up() -> None:
    batch({LOOKUP: Flow(3, 3), UNIQUE: Flow(3, 3)}).check()
    with pytest.raises(InvariantError, match="unique rows <= lookups"):
        batch({LOOKUP: Flow(3, 4), UNIQUE: Flow(3, 4)}).check()


@pytest.mark.parametrize("name", REPLAYS)
def test_every_replay_gives_facts_that_add_up(name: str) -> None:
    for index, each in enumerate(replayed(name)):
        each.check()
        assert (each.index, each.samples, each.shards) == (index, SAMPLES, 2)


# reading


def test_a_flow_over_all_shards_is_their_sum() -> None:
    facts = batch(SHARD, SHARD)
    assert facts[MISS] == Flow(60, 40)
    assert facts[VICTIM] == Flow(0, 30)


def test_a_flow_that_the_replay_does_not_tell_is_an_error_that_lists_those_it_tells() -> None:
    facts = batch({LOOKUP: Flow(3, 3), UNIQUE: Flow(3, 3)})
    with pytest.raises(InvariantError, match=r"batch 7: .* no 'victim' flows, only lookup, unique"):
        facts[VICTIM]
    assert VICTIM not in facts
    assert LOOKUP in facts
    assert BatchFacts(0, 0).shards == 0


def test_the_total_of_one_flow_is_that_flow() -> None:
    flow = Flow(3, 2, array(1, 2, 1), offsets=array(0, 3))
    assert total([flow]) is flow


def test_a_total_joins_rows_and_leaves_samples_out() -> None:
    left = Flow(3, 2, array(1, 2, 1), array(0, 1, 0), array(0, 3))
    right = Flow(2, 2, array(7, 8), array(4, 5), array(0, 2))
    both = total([left, right])
    assert (both.lookups, both.rows, both.offsets) == (5, 4, None)
    assert both.ids is not None
    assert both.slots is not None
    assert both.ids.tolist() == [1, 2, 1, 7, 8]
    assert both.slots.tolist() == [0, 1, 0, 4, 5]


@pytest.mark.parametrize("missing", ["ids", "slots"])
def test_rows_of_some_shards_are_the_rows_of_none(missing: str) -> None:
    left = Flow(2, 2, array(1, 2), array(0, 1))
    both = total([left, replace(left, **{missing: None})])
    assert getattr(both, missing) is None
    assert both.rows == 4


def test_the_total_of_nothing_is_nothing() -> None:
    assert total([]) == Flow()


def test_every_name_of_a_flow_is_a_word_of_its_own() -> None:
    words = [getattr(names, name) for name in names.__all__ if name.isupper()]
    assert len(words) == len(set(words)) == 10


# parts of a mini-batch


@pytest.mark.parametrize("name", REPLAYS)
def test_without_rows_the_counts_stay(name: str) -> None:
    for kept in replayed(name):
        bare = kept.without_rows()
        assert kept.keeps_rows
        assert not bare.keeps_rows
        assert set(bare.flows) == set(kept.flows)
        for flow, flows in bare.flows.items():
            assert all((f.ids, f.slots, f.offsets) == (None,) * 3 for f in flows)
            counts = [(f.lookups, f.rows) for f in flows]
            assert counts == [(f.lookups, f.rows) for f in kept.flows[flow]]
        assert bare == bare.without_rows()


@pytest.mark.parametrize("name", REPLAYS)
@pytest.mark.parametrize("shards", [(0,), (1,), (1, 0), ()])
def test_some_shards_are_what_happens_in_them(name: str, shards: tuple[int, ...]) -> None:
    for whole in replayed(name):
        part = whole.of_shards(shards)
        part.check()
        assert (part.index, part.samples, part.shards) == (whole.index, SAMPLES, len(shards))
        for flow, flows in whole.flows.items():
            assert part.flows[flow] == tuple(flows[k] for k in shards)


@pytest.mark.parametrize("name", REPLAYS)
def test_shards_one_by_one_add_up_to_the_whole(name: str) -> None:
    for whole in replayed(name):
        parts = [whole.of_shards((shard,)) for shard in range(whole.shards)]
        for flow in whole.flows:
            assert sum(part[flow].rows for part in parts) == whole[flow].rows
            assert sum(part[flow].lookups for part in parts) == whole[flow].lookups


SPLIT_BY_SAMPLE = (LOOKUP, UNIQUE, HIT, MISS)


def told(facts: BatchFacts) -> list[str]:
    """Flows that a batch split by samples keeps."""
    return [name for name in SPLIT_BY_SAMPLE if name in facts]


@pytest.mark.parametrize("name", REPLAYS)
def test_all_samples_are_the_whole_mini_batch(name: str) -> None:
    for whole in replayed(name):
        same = whole.of_samples(0, SAMPLES)
        same.check()
        for flow in told(whole):
            assert (same[flow].lookups, same[flow].rows) == (whole[flow].lookups, whole[flow].rows)
        assert VICTIM not in same, "what leaves the cache belongs to no sample"
        assert WRITE_BACK not in same


@pytest.mark.parametrize("name", REPLAYS)
def test_lookups_of_all_samples_add_up_and_their_rows_unite(name: str) -> None:
    for whole in replayed(name):
        parts = [whole.of_samples(sample, sample + 1) for sample in range(SAMPLES)]
        for part in parts:
            part.check()
            assert (part.samples, part[LOOKUP].lookups) == (1, 5 + 3)
        for flow in told(whole):
            assert sum(part[flow].lookups for part in parts) == whole[flow].lookups
        for flow in (UNIQUE, MISS):
            if flow in whole:
                united = np.unique(np.concatenate([part[flow].ids for part in parts]))
                assert np.array_equal(united, np.sort(whole[flow].ids))
                assert len(united) == whole[flow].rows


samples = st.integers(0, SAMPLES)


@given(st.sampled_from(sorted(REPLAYS)), samples, samples, samples, st.data())
def test_a_range_of_samples_splits_at_any_sample(
    name: str, first: int, middle: int, last: int, data: st.DataObject
) -> None:
    """Lookups add up; a row of both halves is a row of each."""
    begin, cut, end = sorted((first, middle, last))
    whole = data.draw(st.sampled_from(replayed(name)))
    left, right = whole.of_samples(begin, cut), whole.of_samples(cut, end)
    both = whole.of_samples(begin, end)
    for part in (left, right, both):
        part.check()
    for flow in both.flows:
        assert left[flow].lookups + right[flow].lookups == both[flow].lookups
        rows = np.union1d(left[flow].ids, right[flow].ids)
        assert np.array_equal(rows, np.unique(both[flow].ids))
    assert (left.samples, right.samples, both.samples) == (cut - begin, end - cut, end - begin)


def test_samples_of_samples_are_samples() -> None:
    whole = replayed("planned")[3]
    inner, direct = whole.of_samples(4, 12).of_samples(2, 5), whole.of_samples(6, 9)
    for flow in direct.flows:
        assert (inner[flow].lookups, inner[flow].rows) == (direct[flow].lookups, direct[flow].rows)
        assert np.array_equal(inner[flow].ids, direct[flow].ids)


def test_samples_are_refused_where_the_replay_kept_none() -> None:
    kept = replayed("planned")[2]
    lookup = tuple(replace(flow, offsets=None) for flow in kept.flows[LOOKUP])
    joined = replace(kept, flows={**kept.flows, LOOKUP: lookup})
    for facts in (kept.without_rows(), joined):
        with pytest.raises(InvariantError, match="mini-batch 2: its samples were not kept"):
            facts.of_samples(0, 1)


# against counting by hand


@pytest.mark.parametrize("name", REPLAYS)
def test_lookups_and_unique_rows_are_those_of_the_trace(name: str) -> None:
    starts = (0, 2000)
    for whole in replayed(name):
        drawn = TRACE.minibatch(whole.index)
        for shard, (ids, start) in enumerate(zip(drawn.ids, starts, strict=True)):
            lookup, unique = whole.flows[LOOKUP][shard], whole.flows[UNIQUE][shard]
            assert np.array_equal(lookup.ids, ids + start)
            assert np.array_equal(lookup.offsets, drawn.offsets[shard])
            assert np.array_equal(np.sort(unique.ids), np.unique(ids) + start)
            assert (lookup.lookups, unique.rows) == (len(ids), len(np.unique(ids)))
