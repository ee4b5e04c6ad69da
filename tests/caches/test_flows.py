"""Flows in an array: what is asked of them is what the flows themselves say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, VICTIM, BatchFacts, check_all
from simulator.caches.flows import Counted, Flow
from simulator.errors import InvariantError

COUNTS = st.lists(st.tuples(*[st.integers(0, 2**40)] * 6), min_size=1, max_size=4)


def facts_of(shards):
    """Facts that add up, of (hit rows, more hits, missed rows, more misses, victims, bag)."""
    flows = {name: [] for name in (LOOKUP, UNIQUE, HIT, MISS, VICTIM)}
    for hit, more, missed, others, victims, _ in shards:
        lookups = hit + more + missed + others
        flows[LOOKUP].append(Flow(lookups, hit + missed))
        flows[UNIQUE].append(Flow(lookups, hit + missed))
        flows[HIT].append(Flow(hit + more, hit))
        flows[MISS].append(Flow(missed + others, missed))
        flows[VICTIM].append(Flow(0, min(victims, missed)))
    facts = BatchFacts(3, 7, {name: tuple(each) for name, each in flows.items()})
    return facts.with_bags([bag for *_, bag in shards])


@given(COUNTS)
@settings(deadline=None)
def test_packed_facts_say_the_same(shards):
    plain = facts_of(shards)
    packed = plain.packed()
    assert isinstance(packed.flows, Counted)
    assert packed == plain
    assert packed.packed().flows is packed.flows
    assert [packed[name] for name in packed.flows] == [plain[name] for name in plain.flows]
    assert packed.without_rows() is packed
    assert not packed.keeps_rows
    bags = range(len(shards))
    assert packed.with_bags(bags) == plain.with_bags(bags)
    packed.check()


def test_facts_that_say_more_stay_as_they_are():
    rows = np.arange(3)
    for flow in (
        Flow(3, 3, rows),
        Flow(3, 3, hottest=(1,)),
        Flow(3, 3, tiers=(1, 2)),
        Flow(3, 3, chunks=2),
    ):
        facts = BatchFacts(0, 1, {LOOKUP: (flow,), UNIQUE: (flow,)})
        assert facts.packed() is facts
    bag = Flow(3, 3, longest=2)
    facts = BatchFacts(0, 1, {LOOKUP: (Flow(3, 3),), UNIQUE: (bag,)})
    assert facts.packed() is facts


@pytest.mark.parametrize("name", [UNIQUE, HIT, MISS, VICTIM])
def test_packed_facts_that_do_not_add_up_are_refused_as_others_are(name):
    plain = facts_of([(5, 1, 4, 2, 3, 2), (50, 10, 40, 20, 30, 2)])
    flows = dict(plain.flows)
    flows[name] = (flows[name][0], Flow(1, 99))
    refused = []
    for facts in (BatchFacts(0, 1, flows), BatchFacts(0, 1, flows).packed()):
        with pytest.raises(InvariantError, match="shard 1") as error:
            facts.check()
        refused.append(str(error.value))
    assert refused[0] == refused[1]


@pytest.mark.parametrize("broken", [(), (1,), (2, 3), (4,)])
@pytest.mark.parametrize("pooled", [(), (0, 4)])
def test_all_at_once_are_refused_as_one_by_one(broken, pooled):
    """The first that does not add up is named, whether packed, pooled or with rows."""
    batches = []
    for index in range(5):
        whole = facts_of([(5, 1, 4, 2, 3, 2), (50, 10, 40, 20, 30, 2)])
        wrong = {UNIQUE: (whole.flows[UNIQUE][0], Flow(1, 99))} if index in broken else {}
        plain = BatchFacts(index, 7, {**whole.flows, **wrong}, pooled=index in pooled)
        batches.append(plain if index == 3 else plain.packed())
    check_all([])
    if not broken:
        check_all(batches)
        return
    with pytest.raises(InvariantError) as wanted:
        batches[broken[0]].check()
    with pytest.raises(InvariantError, match=f"mini-batch {broken[0]}, shard 1") as error:
        check_all(batches)
    assert str(error.value) == str(wanted.value)


def test_an_unknown_name_is_refused():
    packed = facts_of([(5, 1, 4, 2, 3, 2)]).packed()
    with pytest.raises(KeyError):
        packed.flows["else"]
    with pytest.raises(InvariantError, match="tells no 'else' flows"):
        packed["else"]


@pytest.mark.parametrize("shards", [[], [1], [2, 0], [0, 1, 2]])
@pytest.mark.parametrize("bags", [(), (4, 0, 9)])
def test_some_shards_are_those_of_the_whole(shards: list[int], bags: tuple[int, ...]) -> None:
    counts = np.arange(12, dtype=np.int64).reshape(2, 3, 2)
    flows = Counted((LOOKUP, MISS), counts, bags)
    some = flows.of_shards(shards)
    assert dict(some) == {name: tuple(flows[name][k] for k in shards) for name in flows}
    whole = BatchFacts(0, 8, flows)
    assert whole.of_shards(shards).flows == dict(some)


@pytest.mark.parametrize("largest", [2**31 - 1, 2**31, 2**40])
def test_counts_take_32_bits_where_these_hold_them(largest: int) -> None:
    """What is told of them does not depend on it, sums over 32 bits included."""
    counts = np.array([[[largest, 7], [largest, 5]]], np.int64)
    flows = Counted((LOOKUP,), counts)
    assert flows.counts.dtype == (np.int32 if largest < 2**31 else np.int64)
    assert flows.total(LOOKUP) == Flow(2 * largest, 12)
    assert flows[LOOKUP] == (Flow(largest, 7), Flow(largest, 5))
    whole = flows.by_shard(LOOKUP)
    assert (whole.lookups + whole.lookups).tolist() == [2 * largest] * 2
