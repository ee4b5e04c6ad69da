"""Facts that are packed are those that were put in."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.run_facts import BLOCK, RunFacts
from simulator.caches.totals import in_pieces, totals_of

COUNT = 2 * BLOCK + 5


def counted(number: int) -> BatchFacts:
    """Two shards, of which nothing but counts is told."""
    lookups = tuple(Flow(100 + number % 7, 0, longest=9) for _ in range(2))
    rows = tuple(Flow(100 + number % 7, 50 + number % 5) for _ in range(2))
    hits, missed = Flow(90 + number % 3, 40), Flow(10, 10 + number % 5)
    flows = {LOOKUP: lookups, UNIQUE: rows, HIT: (hits, hits), MISS: (missed, missed)}
    facts = BatchFacts(number, 8, flows, Start("hot"), True, number % 4, by_sample=True)
    return facts.packed()


def hottest(number: int) -> BatchFacts:
    """Flows that say more than counts."""
    flow = Flow(6, 3, hottest=(number % 4,), tiers=(2, 1))
    return BatchFacts(number, 2, {LOOKUP: (flow,), UNIQUE: (flow,)})


def with_some_rows(number: int) -> BatchFacts:
    """A few mini-batches keep row numbers, one has a count of more than 32 bits."""
    if number in (3, BLOCK + 1, COUNT - 1):
        ids = np.arange(4) + number
        return BatchFacts(number, 8, {LOOKUP: (Flow(4, 0, ids),), UNIQUE: (Flow(4, 4, ids),)})
    facts = counted(number)
    return (
        facts
        if number != 7
        else replace(facts, flows=dict.fromkeys(facts.flows, (Flow(1 << 40, 1),))).packed()
    )


@pytest.mark.parametrize("make", [counted, hottest, with_some_rows])
@pytest.mark.parametrize("count", [0, 5, BLOCK, COUNT])
def test_packed_facts_are_those_that_were_put_in(
    make: Callable[[int], BatchFacts], count: int
) -> None:
    wanted = [make(number) for number in range(count)]
    run = RunFacts(wanted)
    for own in (run, pickle.loads(pickle.dumps(run))):
        assert len(own) == count
        told = list(own)
        for mine, other in zip(told, wanted, strict=True):
            assert (mine.index, mine.samples, mine.start) == (
                other.index,
                other.samples,
                other.start,
            )
            assert (mine.pooled, mine.popular, mine.by_sample) == (
                other.pooled,
                other.popular,
                other.by_sample,
            )
            assert str(dict(mine.flows)) == str(dict(other.flows))
        assert [each.index for first in own.starts for each in own.block(first)] == list(
            range(count)
        )
    if count > BLOCK:
        assert run[BLOCK].index == BLOCK
        assert run[-1].index == count - 1
        assert [each.index for each in run[BLOCK - 1 : BLOCK + 2]] == [BLOCK - 1, BLOCK, BLOCK + 1]
    kept = [each for each in wanted if each.keeps_rows]
    assert all(mine is other for mine, other in zip(run.with_rows(), kept, strict=True))


def test_counts_take_tens_of_bytes() -> None:
    run = RunFacts(map(counted, range(4 * BLOCK + 1)))
    assert len(run._open) == 1
    assert sum(map(len, run._packed)) < 40 * 4 * BLOCK


@pytest.mark.parametrize("make", [counted, hottest])
def test_totals_are_those_of_each_mini_batch(make: Callable[[int], BatchFacts]) -> None:
    run, names = RunFacts(map(make, range(COUNT))), (UNIQUE, LOOKUP)
    totals = np.concatenate([totals_of(piece, names) for piece in in_pieces(run)])
    wanted = [[(facts[n].lookups, facts[n].rows) for n in names] for facts in run]
    assert totals.tolist() == [[list(pair) for pair in own] for own in wanted]
