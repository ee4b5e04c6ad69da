"""Batches deduped once plan what batches of lookups plan, and share the index of next uses."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import Window, build_planners, plan_batches, policy_names
from simulator.caches.plan.distinct import Deduper, distinct_batches, pool_shapes, with_next_uses
from simulator.caches.plan.renumber import Numbering
from simulator.caches.policies.base import NEVER
from simulator.caches.reference import per_batch as plain
from simulator.errors import TraceError, UsageError
from simulator.traces.base import MiniBatch

ROWS = (60, 30)
WINDOW = Window(1, 1)

batches_of_ids = st.lists(st.lists(st.integers(0, 29), max_size=12), min_size=1, max_size=12)


def minibatches(batches):
    for index, ids in enumerate(batches):
        table = np.array(ids, dtype=np.int64)
        yield MiniBatch(index, (table, table[::-1].copy()), (np.array([0, len(ids)]),) * 2)


@given(batches_of_ids)
def test_dedupe_equals_its_reference(batches):
    deduper = Deduper(30)
    for ids in batches:
        found = deduper(np.array(ids, dtype=np.int64))
        expected = plain.distinct(ids)
        assert found.ids.tolist() == list(expected)
        assert found.times.tolist() == list(expected.values())
        places = np.empty(len(ids), np.int32)
        assert deduper(np.array(ids, dtype=np.int64), places).ids.tolist() == list(expected)
        assert found.ids[places].tolist() == ids


@given(batches_of_ids)
def test_next_uses_equal_their_reference(batches):
    shapes = pool_shapes(ROWS, "table")
    found = with_next_uses(list(distinct_batches(minibatches(batches), shapes)), shapes)
    for batch, expected in zip(found, plain.next_uses(batches), strict=True):
        later = dict(zip(batch.pools[0].ids.tolist(), batch.pools[0].next_use, strict=True))
        assert later == {k: NEVER if n == float("inf") else n for k, n in expected.items()}


@pytest.mark.parametrize("scope", ["table", "global"])
@pytest.mark.parametrize("policy", policy_names())
@settings(max_examples=15, deadline=None)
@given(batches=batches_of_ids, threads=st.integers(1, 3))
def test_deduped_batches_give_the_same_plans(policy, scope, batches, threads):
    def plans(feed):
        hottest = [np.arange(n) for n in ([90] if scope == "global" else ROWS)]
        slots = [90] if scope == "global" else [40, 30]
        made = [
            build_planners(policy, ROWS, slots, window, scope=scope, hottest=hottest)
            for window in (WINDOW, Window(0, 0))
        ]
        return [
            {name: np.asarray(value).tolist() for name, value in asdict(pool).items()}
            for plan in plan_batches(feed, made[0], WINDOW, shadows=made[1])
            for pool in plan.pools
        ]

    shapes = pool_shapes(ROWS, scope)
    distinct = list(distinct_batches(minibatches(batches), shapes, threads))
    expected = plans(list(minibatches(batches)))
    assert plans(distinct) == expected
    assert plans(with_next_uses(distinct, shapes)) == expected


@pytest.mark.parametrize("bad", [-1, 30, 2**62])
def test_an_id_outside_of_the_pool_is_refused(bad):
    deduper = Deduper(30)
    deduper(np.array([1]))
    with pytest.raises(TraceError, match=rf"batch 1, lookup 2: id {bad} outside of 0..29"):
        deduper(np.array([0, 29, bad, 3]))
    assert deduper(np.array([29, 0, 29])).ids.tolist() == [29, 0]


def test_a_small_batch_after_a_large_one_is_deduped_in_a_small_table():
    deduper, batches = Deduper(10**6), ([5, 7, 5], [], list(range(0, 10**6, 999)), [3], [9, 9])
    for ids in (*batches, *batches):
        found = deduper(np.array(ids, dtype=np.int64))
        assert found.ids.tolist() == list(dict.fromkeys(ids))
        assert found.times.sum() == len(ids)
        assert not deduper._table.any()
    with pytest.raises(UsageError, match="places of 1 of 2 ids"):
        deduper(np.array([1, 2]), np.empty(1, np.int32))


@given(st.lists(st.integers(0, 2**62) | st.integers(0, 9), max_size=60), st.integers(0, 40))
def test_numbers_count_up_in_order_of_first_occurrence(ids, expected):
    numbering = Numbering(expected)
    ranks = {row: number for number, row in enumerate(dict.fromkeys(ids))}
    assert numbering.of(np.array(ids, dtype=np.int64)).tolist() == [ranks[row] for row in ids]
    assert numbering.distinct == len(ranks)
