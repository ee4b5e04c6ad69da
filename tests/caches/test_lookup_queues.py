"""Queues without links are lists: the same ids in the same order, however often rings close up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._compiled import compiled
from simulator.caches.per_lookup.queues import (
    FORGOTTEN,
    SIZE,
    UNSEEN,
    Queues,
    close_up,
    empty_queues,
    pop,
    push,
    queue_bits,
)

QUEUES = 3


@compiled
def put(words, rings, spans, row, queue):
    source = words[row] >> queue_bits(rings, spans)
    if source >= 0:
        spans[source, SIZE] -= 1
    push(words, rings, spans, row, queue)


@compiled
def take(words, rings, spans, queue):
    row = pop(words, rings, spans, queue)
    words[row] = FORGOTTEN
    return row


def queues_of(rows, wide):
    queues = empty_queues(rows, QUEUES, rows)
    return Queues(queues.words.astype(np.int64), *queues[1:]) if wide else queues


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 12),
    wide=st.booleans(),
    moves=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), max_size=400),
)
def test_queues_are_lists(rows, wide, moves):
    """A move to queue 3 takes the oldest out of queue `row % 3`, if there is one."""
    queues = queues_of(rows, wide)
    lists = [[] for _ in range(QUEUES)]
    for row, queue in moves:
        if queue == QUEUES:
            if lists[row % QUEUES]:
                assert take(*queues, row % QUEUES) == lists[row % QUEUES].pop(0)
            continue
        row %= rows
        for other in lists:
            if row in other:
                other.remove(row)
        lists[queue].append(row)
        put(*queues, row, queue)
        assert queues.spans[:, SIZE].tolist() == [len(other) for other in lists]
    for queue, rest in enumerate(lists):
        assert [take(*queues, queue) for _ in range(len(rest))] == rest


def test_a_ring_that_closes_up_keeps_marks_and_order():
    queues = queues_of(6, False)
    for row in (0, 1, 2, 0, 3, 1):
        put(*queues, row, 1)
    queues.words[2] += 3
    close_up(*queues, 1)
    assert queues.spans[1].tolist() == [0, 4, 4]
    assert queues.words[2] & 3 == 3
    assert [take(*queues, 1) for _ in range(4)] == [2, 0, 3, 1]


def test_words_are_wide_where_positions_need_it(monkeypatch):
    assert empty_queues(10, 4, 10).words.dtype == np.int32
    assert (empty_queues(10, 4, 10).words == UNSEEN).all()
    monkeypatch.setattr("simulator.caches.per_lookup.queues.SHARE", 1 << 26)
    monkeypatch.setattr(np, "zeros", lambda *shape_and_type: None)
    assert empty_queues(10, 4, 10).words.dtype == np.int64
