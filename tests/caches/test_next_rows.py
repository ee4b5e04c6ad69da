"""Rows of the next mini-batch, told as plain sets tell them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.reference.next_rows import next_rows
from simulator.caches.replays import Stream, UniqueReplay, run_replays
from simulator.caches.replays.next_rows import NEXT, NEXT_ALONE, NextRowsReplay
from simulator.traces import MiniBatch

ROWS = (7, 4)


@dataclass(frozen=True)
class Given:
    """A trace of given mini-batches, one sample to a lookup."""

    looked_up: list[tuple[list[int], ...]]
    rows: tuple[int, ...] = ROWS
    past = 0
    has_time_order = False

    @property
    def batches(self) -> int:
        return len(self.looked_up)

    def minibatch(self, index: int) -> MiniBatch:
        ids = tuple(np.array(own, np.int64) for own in self.looked_up[index])
        return MiniBatch(index, ids, tuple(np.array([0, len(own)]) for own in ids))

    def hottest(self, table: int, count: int, share: float = 1.0) -> np.ndarray:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return ""


batches = st.lists(
    st.tuples(*(st.lists(st.integers(0, rows - 1), max_size=9) for rows in ROWS)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(looked_up=batches)
def test_rows_are_those_of_plain_sets(looked_up: list[tuple[list[int], ...]]) -> None:
    trace, keep = Given(looked_up), range(0, len(looked_up), 2)
    mine, plain = NextRowsReplay(keep), UniqueReplay(keep)
    replayed = run_replays(Stream(trace, len(looked_up)), [mine, plain], threads=1)
    for facts, other, wanted in zip(
        replayed[mine].facts, replayed[plain].facts, next_rows(looked_up), strict=True
    ):
        for table, (after, alone) in enumerate(wanted):
            for name, rows in ((NEXT, after), (NEXT_ALONE, alone)):
                flow = facts.flows[name][table]
                assert flow.rows == len(rows)
                if facts.index in keep:
                    assert flow.ids is not None
                    assert set(flow.ids - sum(ROWS[:table])) == rows
                else:
                    assert flow.ids is None
        for name in (LOOKUP, UNIQUE):
            for flow, same in zip(facts.flows[name], other.flows[name], strict=True):
                assert (flow.lookups, flow.rows) == (same.lookups, same.rows)
        follows = looked_up[facts.index + 1 : facts.index + 2]
        assert facts[NEXT].lookups == sum(len(own) for bags in follows for own in bags)
