"""Pinned rows in the nodes of a pool, counted as plain lists count them."""

from __future__ import annotations

from given_bags import GivenBags
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS
from simulator.caches.nodes import Homes
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.hot_nodes import HotNodesReplay
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP

ROWS, SAMPLES = (17, 9), 4


def given_bags(looked_up: list[tuple[list[list[int]], ...]]) -> GivenBags:
    return GivenBags(looked_up, ROWS, 2)


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
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[
        replay
    ].facts
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
