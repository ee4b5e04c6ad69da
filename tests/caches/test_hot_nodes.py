"""Pinned rows in the nodes of a pool, counted as plain lists count them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS
from simulator.caches.nodes import Homes
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.hot_nodes import HotNodesReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.traces import MiniBatch

ROWS, SAMPLES = (17, 9), 4


@dataclass(frozen=True)
class Given:
    """A trace of given mini-batches: of each table, the rows of every sample; every second row is
    hot, the first ones most."""

    looked_up: list[tuple[list[list[int]], ...]]
    rows: tuple[int, ...] = ROWS
    past = 0
    has_time_order = False

    @property
    def batches(self) -> int:
        return len(self.looked_up)

    def minibatch(self, index: int) -> MiniBatch:
        bags = self.looked_up[index]
        ids = tuple(np.array([row for bag in own for row in bag], np.int64) for own in bags)
        edges = tuple(np.cumsum([0, *map(len, own)], dtype=np.int64) for own in bags)
        return MiniBatch(index, ids, edges)

    def hottest(self, table: int, count: int, share: float = 1.0) -> np.ndarray:
        return np.arange(0, 2 * count, 2)

    def fingerprint(self) -> str:
        return ""


bags = st.tuples(
    *(
        st.lists(st.lists(st.integers(0, rows - 1), max_size=5), min_size=SAMPLES, max_size=SAMPLES)
        for rows in ROWS
    )
)


@settings(max_examples=80, deadline=None)
@given(
    looked_up=st.lists(bags, min_size=1, max_size=4),
    homes=st.integers(1, 5),
    pinned=st.tuples(st.integers(0, 8), st.integers(0, 4)),
)
def test_pinned_rows_are_counted_by_their_slots(
    looked_up: list[tuple[list[list[int]], ...]], homes: int, pinned: tuple[int, int]
) -> None:
    replay = HotNodesReplay(pinned, range(0, 9, 2), homes=(Homes(homes, homes, 1),) * 2)
    facts = run_replays(Stream(Given(looked_up), len(looked_up)), [replay], threads=1)[replay].facts
    for own, tables in zip(facts, looked_up, strict=True):
        own.check()
        for table, bags in enumerate(tables):
            first = pinned[0] * table
            slot = {2 * k: first + k for k in range(pinned[table])}
            hot = [[slot[row] % homes for row in bag if row in slot] for bag in bags]
            distinct = [slot[row] % homes for row in {r for bag in bags for r in bag} & set(slot)]
            spread = own.flows[HIT_LOOKUP][table].nodes
            assert spread is not None
            assert spread == own.flows[HIT][table].nodes
            assert spread.lookups == tuple(sum(b.count(k) for b in hot) for k in range(homes))
            assert spread.rows == tuple(distinct.count(k) for k in range(homes))
            assert spread.homes == sum(len(set(bag)) for bag in hot)
            assert spread.channels == sum(bool(bag) for bag in hot)
            whole = own.flows[LOOKUP][table].lookups
            assert sum(spread.lookups) + own.flows[MISS_LOOKUP][table].lookups == whole
            kept = own.flows[MISS][table].ids is not None
            assert kept == (own.index in replay.keep)
