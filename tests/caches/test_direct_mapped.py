"""A direct-mapped cache, told as a dictionary tells it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nodes import ROWS, batches, given_bags
from test_overlap import flat

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE
from simulator.caches.reference.direct_mapped import missed
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.direct_mapped import DirectMappedReplay


@settings(max_examples=100, deadline=None)
@given(looked_up=batches, places=st.integers(1, 40))
def test_rows_are_missed_as_a_dictionary_misses_them(looked_up, places: int) -> None:
    replay = DirectMappedReplay(range(len(looked_up)), places)
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[
        replay
    ].facts
    in_order = []  # tables one after the other
    for bags in looked_up:
        for table, rows in enumerate(flat(bags)):
            in_order.append([row + sum(ROWS[:table]) for row in rows])
    wanted = iter(missed(in_order, places))
    for own in facts:
        own.check()
        for table in range(len(ROWS)):
            flows = {name: own.flows[name][table] for name in own.flows}
            plain = next(wanted)
            assert flows[MISS].ids.tolist() == plain
            assert flows[MISS].lookups == flows[MISS].rows == len(plain)
            assert flows[HIT].lookups == flows[LOOKUP].lookups - len(plain)
            assert flows[HIT].rows == flows[UNIQUE].rows - len(plain)


def test_with_a_place_a_row_each_is_missed_once() -> None:
    looked_up = [tuple([[0, 1], [1]] for _ in ROWS)] * 3
    replay = DirectMappedReplay((), sum(ROWS))
    facts = run_replays(Stream(given_bags(looked_up), 3), [replay], threads=1)[replay].facts
    assert [own[MISS].rows for own in facts] == [2 * len(ROWS), 0, 0]
    assert facts[0][MISS].ids is None


@pytest.mark.parametrize("places", [1])
def test_rows_of_one_place_drive_each_other_out(places: int) -> None:
    looked_up = [tuple([[0, 1], [0, 1]] for _ in ROWS)] * 2
    replay = DirectMappedReplay((), places)
    facts = run_replays(Stream(given_bags(looked_up), 2), [replay], threads=1)[replay].facts
    assert [own[MISS].rows for own in facts] == [2 * len(ROWS)] * 2
