"""Points that share a replay have what they need of its facts made once."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.row_filter import row_hits
from simulator.caches.run_facts import RunFacts
from simulator.engine import shared_facts
from simulator.engine.shared_facts import SharedFacts
from simulator.errors import InvariantError

IDS = np.array([3, 1, 3, 2, 1, 3], np.int64)


def facts(unique: int = 3) -> BatchFacts:
    lookups = Flow(6, 0, IDS, offsets=np.array([0, 3, 6]))
    return BatchFacts(0, 2, {LOOKUP: (lookups,), UNIQUE: (Flow(6, unique),)})


def test_the_same_facts_give_the_same_object() -> None:
    shared, own = SharedFacts(), facts()
    assert shared.without_rows(own) is shared.without_rows(own)
    assert shared.without_rows(own) == own.without_rows()
    assert shared.in_sample_order(own) is shared.in_sample_order(own)
    assert shared.without_rows(facts()) is not shared.without_rows(own)


def test_facts_that_tell_counts_alone_are_not_copied() -> None:
    bare = facts().without_rows()
    assert bare.without_rows() is bare


def test_facts_that_do_not_add_up_are_refused_each_time() -> None:
    shared, broken = SharedFacts(), facts(unique=7)
    for _ in range(2):
        with pytest.raises(InvariantError, match="unique rows <= lookups"):
            shared.check(RunFacts([facts(), broken]))


def test_hits_are_counted_once_for_each_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def counting(before: np.ndarray, lookups: np.ndarray, capacity: int) -> np.ndarray:
        counted.append(capacity)
        return row_hits(before, lookups, capacity)

    monkeypatch.setattr(shared_facts, "row_hits", counting)
    shared, nothing = SharedFacts(), np.empty(0, np.int64)
    for capacity in (1, 2, 1, 2):
        hits = shared.row_hits(nothing, IDS, capacity)
        assert hits.tolist() == row_hits(nothing, IDS, capacity).tolist()
    assert counted == [1, 2]


def test_what_was_asked_for_long_ago_is_made_again() -> None:
    shared = SharedFacts()
    every = [facts() for _ in range(40)]
    first = shared.in_sample_order(every[0])
    for each in every[1:]:
        shared.in_sample_order(each)
    assert shared.in_sample_order(every[0]) is not first
    assert len(shared._kept) == shared_facts._MOST
