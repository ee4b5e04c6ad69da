"""The split by tiers of rows, against a plain walk over each lookup."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.reference.tiered_rows import Piece, served
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.caches.replays.tiered_rows import (
    BELOW,
    CROSSING,
    TRAINED,
    WANTED,
    Tier,
    TieredReplay,
)
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import MiniBatch, Trace, open_trace
from simulator.traces.cuts import TablePart, parted

ROWS, LOOKUPS, SAMPLES = (60, 200), (1, 3), 32
TABLES = range(len(ROWS))
Drawn = tuple[tuple[int, int], int, int]
drawn = st.tuples(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 30), st.integers(0, 100)),
    st.tuples(st.integers(0, 30), st.integers(0, 100)),
    st.booleans(),
)


def opened() -> Trace:
    zipf = ZipfTraceConfig(kind="zipf", alpha=0.9)
    return open_trace(zipf, rows=ROWS, lookups=LOOKUPS, batch_size=SAMPLES, seed=2)


def replayed(case: Any, keep: bool) -> tuple[TieredReplay, BatchFacts]:
    """A mini-batch on `runs` runs of `size` GPUs, of tiers on each GPU and on each run."""
    (runs, size), copied, shared, by_row = case
    gpus = runs * size
    cut = [TablePart(t, "row", k, gpus) for t in TABLES for k in range(gpus)]
    below = cut if by_row else [TablePart(t) for t in TABLES]
    above = [TablePart(t, "replica", k, gpus) for t in TABLES for k in range(gpus)]
    tiers = (Tier(copied), Tier(shared, size))
    replay = TieredReplay(tiers, gpus, (*below, *above, *above), range(keep))
    (facts,) = run_replays(Stream(opened(), 1), [replay], threads=1)[replay].facts
    facts.check()
    return replay, facts


def pieces_of(replay: TieredReplay, batch: MiniBatch, trace: Trace) -> list[Piece]:
    """Of each shard of upper tiers, by the plain walk."""
    walked = []
    for table in TABLES:
        counts = np.cumsum([0, *(tier.rows[table] for tier in replay.upper)])
        hot = trace.hottest(table, int(counts[-1]))
        split = np.split(hot, counts[1:-1])
        tiers = [(set(rows.tolist()), t.gpus) for rows, t in zip(split, replay.upper, strict=True)]
        bags = [b.tolist() for b in np.split(batch.ids[table], batch.offsets[table][1:-1])]
        walked.append(served(bags, tiers, replay.gpus))
    return [piece for own in zip(*walked, strict=True) for gpus in own for piece in gpus]


@settings(max_examples=60, deadline=None)
@given(drawn)
def test_it_is_what_a_walk_over_each_lookup_gives(case: Any) -> None:
    replay, facts = replayed(case, keep=False)
    trace = opened()
    batch = trace.minibatch(0)
    walked = pieces_of(replay, batch, trace)
    assert facts.samples == SAMPLES
    assert facts.shards == replay.first + len(walked) == len(replay.parts)
    for number, piece in enumerate(walked):
        told = {name: flows[replay.first + number] for name, flows in facts.flows.items()}
        tier = replay.upper[number // (len(ROWS) * replay.gpus)]
        distinct = len(set(piece.lookups))
        for name in (LOOKUP, UNIQUE, HIT, HIT_LOOKUP):
            assert (told[name].lookups, told[name].rows) == (len(piece.lookups), distinct)
        assert told[WANTED].lookups == piece.wanted
        if tier.gpus == 1:
            assert told[CROSSING].lookups == piece.crossing
        if tier is replay.upper[0]:
            assert told[BELOW].lookups == piece.below
        first = number % replay.gpus < tier.gpus
        assert told[TRAINED].rows == (len(piece.trained) if first else 0)


@settings(max_examples=40, deadline=None)
@given(drawn)
def test_each_lookup_and_row_is_in_one_tier(case: Any) -> None:
    """Rows of no upper tier too: those that the walk leaves, part by part."""
    replay, facts = replayed(case, keep=False)
    trace = opened()
    batch = trace.minibatch(0)
    upper = [trace.hottest(t, sum(tier.rows[t] for tier in replay.upper)) for t in TABLES]
    for number, part in enumerate(replay.parts[: replay.first]):
        ids = batch.ids[part.table]
        own = ids % part.parts == part.index
        cold = ids[own & ~np.isin(ids, upper[part.table])]
        counts = (len(cold), len(set(cold.tolist())))
        for name in (MISS, MISS_LOOKUP):
            flow = facts.flows[name][number]
            assert (flow.lookups, flow.rows) == counts
    assert facts[WANTED].lookups == facts[HIT].lookups
    assert facts[BELOW].lookups == facts[MISS].lookups
    assert facts[HIT].lookups + facts[MISS].lookups == sum(map(len, batch.ids))


@settings(max_examples=40, deadline=None)
@given(drawn)
def test_kept_rows_are_those_counted_and_lie_in_their_slots(case: Any) -> None:
    replay, facts = replayed(case, keep=True)
    _, counted = replayed(case, keep=False)
    tables = parted(opened(), replay.parts)
    resident = replay.resident(tables)
    assert len(resident) == sum(replay.slots)
    for name, flows in facts.flows.items():
        for flow, other in zip(flows, counted.flows[name], strict=True):
            assert (flow.lookups, flow.rows) == (other.lookups, other.rows)
    for name in (HIT, HIT_LOOKUP, TRAINED):
        ids, slots = facts[name].ids, facts[name].slots
        assert ids is not None
        assert slots is not None
        assert np.array_equal(resident[slots], ids)
    assert set(facts[HIT].ids.tolist()) == set(facts[TRAINED].ids.tolist())  # type: ignore[union-attr]
