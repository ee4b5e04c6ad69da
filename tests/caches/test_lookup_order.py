"""Lookups as kernels make them: the longest bag, and one sample after the other over all tables."""

from __future__ import annotations

import numpy as np
import pytest
from test_facts import REPLAYS, SAMPLES, TRACE, replayed

from simulator.caches.facts import COLD, LOOKUP, MISS, BatchFacts, Flow
from simulator.caches.flows import total
from simulator.caches.replays import Stream, UniqueReplay, run_replays

# the longest bag


@pytest.mark.parametrize("name", REPLAYS)
def test_the_longest_bag_is_that_of_any_sample_in_any_table(name: str) -> None:
    """Five lookups of each sample in the first table, three in the second."""
    for facts in replayed(name):
        if facts.shards == 1:
            assert facts[LOOKUP].longest == 5
            continue
        assert [flow.longest for flow in facts.flows[LOOKUP]] == [5, 3]
        assert facts[LOOKUP].longest == 5
        assert facts.of_shards((1,))[LOOKUP].longest == 3
        assert facts.without_rows()[LOOKUP].longest == 5


def test_a_mini_batch_whose_rows_are_not_kept_tells_its_longest_bag() -> None:
    replay = UniqueReplay()
    facts = run_replays(Stream(TRACE, 1), [replay], threads=1)[replay].facts[0]
    assert (facts[LOOKUP].longest, facts[LOOKUP].ids) == (5, None)


def test_no_flow_has_no_bag() -> None:
    assert total(()).longest is None
    assert total((Flow(3, 2), Flow(4, 1, longest=2))).longest == 2


# the hottest row


@pytest.mark.parametrize("name", REPLAYS)
def test_the_hottest_row_is_that_of_each_table_as_far_as_a_flow_has_it(name: str) -> None:
    counted = run_replays(Stream(TRACE, 2, counts_repeats=True), [REPLAYS[name]], threads=1)
    for facts in counted[REPLAYS[name]].facts:
        ids = TRACE.minibatch(facts.index).ids
        most = [max(np.bincount(each)) for each in ids]
        assert facts[LOOKUP].hottest == tuple(most)
        for name_of, flows in facts.flows.items():
            if name_of in (MISS, COLD):  # a cache keeps the hottest rows
                assert all(flow.hottest == () for flow in flows)
                continue
            for flow, hottest in zip(flows, most, strict=False):
                limits = [hottest] if len(flows) == len(most) else most
                assert flow.hottest == tuple(min(flow.lookups, limit) for limit in limits)
        assert facts.without_rows()[LOOKUP].hottest == tuple(most)


def test_nobody_counts_repeats_unasked() -> None:
    facts = run_replays(Stream(TRACE, 1), [UniqueReplay()], threads=1)[UniqueReplay()].facts[0]
    assert facts[LOOKUP].hottest == ()


# the order of kernels that are fused over tables


def looked_up(*shards: tuple[int, ...], slots: bool = False) -> BatchFacts:
    flows = tuple(
        Flow(
            len(rows), 1, np.array(rows, np.int64), np.array(rows, np.int64) + 50 if slots else None
        )
        for rows in shards
    )
    return BatchFacts(0, 1, {LOOKUP: flows})


@pytest.mark.parametrize(
    ("shards", "order"),
    [
        (((1, 2, 3),), [1, 2, 3]),
        (((1, 2), (11, 12)), [1, 11, 2, 12]),
        (((1, 2, 3, 4), (11, 12)), [1, 11, 2, 3, 12, 4]),
        (((), (11, 12)), [11, 12]),
        (((1,), (), (21,)), [1, 21]),
        (((), ()), []),
    ],
)
def test_lookups_sample_by_sample(shards: tuple[tuple[int, ...], ...], order: list[int]) -> None:
    """By their relative place within each table: the same sample's come one after the other."""
    flow = looked_up(*shards).in_sample_order()[LOOKUP]
    assert flow.ids is not None
    assert flow.ids.tolist() == order
    assert flow.lookups == len(order)


def test_slots_follow_their_rows_sample_by_sample() -> None:
    flow = looked_up((1, 2), (11, 12), slots=True).in_sample_order()[LOOKUP]
    assert flow.slots is not None
    assert flow.slots.tolist() == [51, 61, 52, 62]


def test_lookups_whose_rows_are_not_kept_have_no_order() -> None:
    facts = BatchFacts(0, 1, {LOOKUP: (Flow(3, 2), Flow(4, 1))}).in_sample_order()
    assert facts[LOOKUP] == Flow(7, 3)


@pytest.mark.parametrize("name", REPLAYS)
def test_the_order_changes_no_count_and_no_shard(name: str) -> None:
    for facts in replayed(name):
        ordered = facts.in_sample_order()
        for flow in facts.flows:
            before, after = facts[flow], ordered[flow]
            assert (after.lookups, after.rows) == (before.lookups, before.rows)
            assert ordered.flows[flow] is facts.flows[flow]
            if before.ids is not None and after.ids is not None:
                assert np.array_equal(np.sort(after.ids), np.sort(before.ids))


def test_each_sample_of_the_trace_is_looked_up_before_the_next_one() -> None:
    """Sixteen samples of five and three lookups: the first eight are those of the first."""
    (facts, *_) = replayed("unique")
    first, second = (flow.ids for flow in facts.flows[LOOKUP])
    ids = facts.in_sample_order()[LOOKUP].ids
    assert first is not None
    assert second is not None
    assert ids is not None
    for sample in range(SAMPLES):
        own = {*first[5 * sample : 5 * sample + 5], *second[3 * sample : 3 * sample + 3]}
        assert {*ids[8 * sample : 8 * sample + 8]} == own
