"""Rows that are handed on from buffer to buffer: the rules in plain Python, and counts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE
from simulator.caches.plan.recent import RecentRows
from simulator.caches.reference.recent import ReferenceRecent
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.recent import MATCHED, NEWEST, RecentReplay
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import open_trace

ROWS = 40


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.lists(st.integers(0, ROWS - 1), max_size=20, unique=True), max_size=12),
)
def test_it_equals_the_reference(buffers: int, batches: list[list[int]]) -> None:
    ring, reference = RecentRows(buffers, 20), ReferenceRecent(buffers, 20)
    for rows in batches:
        assert ring.rows == sum(map(len, reference.rings))
        where, wanted = ring.load(np.array(rows, np.int64)), reference.load(rows)
        assert (where.slots.tolist(), where.newest.tolist()) == wanted


def test_what_is_handed_on_is_in_both_mini_batches() -> None:
    """|U(i) & U(i - 1)| rows, from the slots that they had to those that they get."""
    config = ZipfTraceConfig(kind="zipf", alpha=0.9)
    trace = open_trace(config, rows=(3000, 500), lookups=(2, 1), batch_size=128, seed=3)
    replay = RecentReplay((256, 128), 2, keep=range(10))
    facts = run_replays(Stream(trace, 10), [replay], threads=1)[replay].facts
    assert sum(replay.slots) == 2 * (256 + 128)
    before: dict[int, int] = {}
    for batch in facts:
        batch.check()
        unique = batch[UNIQUE]
        own = dict(zip(unique.ids.tolist(), unique.slots.tolist(), strict=True))
        shared = own.keys() & before.keys()
        assert batch[HIT].rows == batch[NEWEST].rows == len(shared)
        assert batch[HIT].rows + batch[MISS].rows == unique.rows
        assert batch[MATCHED].lookups == len(own) + len(before)
        assert set(batch[HIT].ids.tolist()) == shared
        assert batch[HIT].slots.tolist() == [own[row] for row in batch[HIT].ids.tolist()]
        assert batch[NEWEST].slots.tolist() == [before[row] for row in batch[NEWEST].ids.tolist()]
        looked_up = batch[LOOKUP]
        assert looked_up.slots.tolist() == [own[row] for row in looked_up.ids.tolist()]
        assert not set(own.values()) & set(before.values())
        before = own
