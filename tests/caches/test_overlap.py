"""What neighbouring mini-batches share, told as plain sets tell it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_nodes import ROWS, SAMPLES, batches, given_bags, pools

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.nodes import Homes, NodeCache
from simulator.caches.reference.overlap import overlaps
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.nodes import NodesReplay
from simulator.caches.replays.overlap import (
    AGAIN_LOOKUP,
    ALONE,
    FRESH_LOOKUP,
    SHARED,
    OverlapReplay,
)


def flat(bags):
    """All rows of each table, sample after sample."""
    return [[row for bag in table for row in bag] for table in bags]


@settings(max_examples=100, deadline=None)
@given(looked_up=batches, homes=st.just(()) | pools())
def test_rows_are_those_of_plain_sets(looked_up, homes: tuple[Homes, ...]) -> None:
    keep = range(0, len(looked_up), 2)
    replay = OverlapReplay(keep, homes=homes)
    facts = run_replays(Stream(given_bags(looked_up), len(looked_up)), [replay], threads=1)[
        replay
    ].facts
    for own, wanted in zip(facts, overlaps([flat(bags) for bags in looked_up]), strict=True):
        own.check()
        for table, plain in enumerate(wanted):
            start = sum(ROWS[:table])
            flows = {name: own.flows[name][table] for name in own.flows}
            assert flows[FRESH_LOOKUP].lookups == len(plain.fresh)
            assert flows[AGAIN_LOOKUP].lookups == len(plain.again)
            assert flows[FRESH_LOOKUP].rows == len(set(plain.fresh))
            assert flows[AGAIN_LOOKUP].rows == len(set(plain.again))
            assert (flows[SHARED].lookups, flows[SHARED].rows) == (plain.covered, len(plain.shared))
            assert flows[ALONE].lookups == flows[LOOKUP].lookups - plain.covered
            assert flows[ALONE].rows == len(plain.alone)
            if own.index not in keep:
                assert all(flow.ids is None for flow in flows.values())
                continue
            lists = {name: (flow.ids - start).tolist() for name, flow in flows.items()}
            assert lists[FRESH_LOOKUP] == plain.fresh
            assert lists[AGAIN_LOOKUP] == plain.again
            assert set(lists[SHARED]) == plain.shared
            assert set(lists[ALONE]) == plain.alone
            assert sorted(lists[UNIQUE]) == sorted(plain.shared | plain.alone)


@settings(max_examples=60, deadline=None)
@given(looked_up=batches, homes=pools())
def test_nodes_do_together_what_they_do_of_the_whole(looked_up, homes: tuple[Homes, ...]) -> None:
    mine, plain = OverlapReplay(homes=homes), NodesReplay(homes=homes)
    replayed = run_replays(Stream(given_bags(looked_up), len(looked_up)), [mine, plain], threads=1)
    for own, other in zip(replayed[mine].facts, replayed[plain].facts, strict=True):
        for table, whole in enumerate(flow.nodes for flow in other.flows[LOOKUP]):
            assert own.flows[LOOKUP][table].nodes == own.flows[UNIQUE][table].nodes == whole
            fresh, again, shared, alone = (
                own.flows[name][table].nodes for name in (FRESH_LOOKUP, AGAIN_LOOKUP, SHARED, ALONE)
            )
            assert shared + alone == whole_of(whole, 2)
            both = fresh + again
            assert both.lookups == whole.lookups
            assert both.read == whole.read
            assert both.homes >= whole.homes  # a vector may have rows of both


def whole_of(spread, times: int):
    """`spread`, its vectors counted so many times."""
    return replace(spread, vectors=times * spread.vectors)


def test_caches_are_asked_once() -> None:
    rng = np.random.default_rng(2)
    looked_up = [
        tuple([rng.integers(0, rows, 4).tolist() for _ in range(SAMPLES)] for rows in ROWS)
        for _ in range(12)
    ]
    homes = (Homes(2, 2, 2),) * 2
    replay = OverlapReplay(homes=homes, cache=NodeCache(100))
    facts = run_replays(Stream(given_bags(looked_up), 12), [replay], threads=1)[replay].facts
    seen: set[int] = set()
    for own, bags in zip(facts, looked_up, strict=True):
        start = 0
        for table, rows in enumerate(flat(bags)):
            numbered = {row + start for row in rows}
            assert sum(own.flows[LOOKUP][table].nodes.read) == len(numbered - seen)
            seen |= numbered
            start += ROWS[table]
