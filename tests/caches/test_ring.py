"""Where the rows of a ring of buffers come from, as plain sets tell it, and where they lie."""

from __future__ import annotations

from hypothesis import given, settings
from test_nodes import ROWS, batches, given_bags
from test_overlap import flat

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.reference.ring import filled
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.overlap import AGAIN_LOOKUP
from simulator.caches.replays.ring import (
    BUFFERS,
    FETCHED_ROWS,
    IN_OLD,
    IN_PREVIOUS,
    OF_OLD,
    OF_PREVIOUS,
    RingReplay,
)


@settings(max_examples=100, deadline=None)
@given(looked_up=batches)
def test_rows_come_from_where_plain_sets_have_them(looked_up) -> None:
    replay = RingReplay(range(len(looked_up)), ROWS)
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[
        replay
    ].facts
    held: dict[int, int] = {}
    """What lies in which slot."""
    for table, size in enumerate(ROWS):
        start, first = sum(ROWS[:table]), BUFFERS * sum(ROWS[:table])
        plain = filled([flat(bags)[table] for bags in looked_up])
        for own, wanted in zip(facts, plain, strict=True):
            flows = {name: own.flows[name][table] for name in own.flows}
            lists = {name: [row - start for row in flow.ids] for name, flow in flows.items()}
            assert set(lists[FETCHED_ROWS]) == wanted.fetched
            assert set(lists[OF_PREVIOUS]) == set(lists[IN_PREVIOUS]) == wanted.previous
            assert set(lists[OF_OLD]) == set(lists[IN_OLD]) == wanted.old
            assert lists[AGAIN_LOOKUP] == wanted.again
            parts = [FETCHED_ROWS, OF_PREVIOUS, OF_OLD]
            assert sum(flows[name].rows for name in parts) == flows[UNIQUE].rows
            for name in (IN_PREVIOUS, IN_OLD):
                for row, slot in zip(flows[name].ids, flows[name].slots, strict=True):
                    assert held[slot] == row
            buffer = first + own.index % BUFFERS * size
            for row, slot in zip(flows[UNIQUE].ids, flows[UNIQUE].slots, strict=True):
                assert buffer <= slot < buffer + size
                held[slot] = row
            for name in (*parts, LOOKUP):
                for row, slot in zip(flows[name].ids, flows[name].slots, strict=True):
                    assert held[slot] == row


def test_row_numbers_are_kept_of_the_mini_batches_that_are_asked_for_alone() -> None:
    looked_up = [tuple([[0], [0]] for _ in ROWS)] * 4
    replay = RingReplay((1,), ROWS)
    facts = run_replays(Stream(given_bags(looked_up), 4), [replay], threads=1)[replay].facts
    kept = [flow.ids is not None for own in facts for flow in own.flows[UNIQUE]]
    assert kept == [own.index == 1 for own in facts for _ in ROWS]
