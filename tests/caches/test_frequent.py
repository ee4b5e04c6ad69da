"""The split by frequent rows, against a plain count of each lookup."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, MISS
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.frequent import CROSSING, TRAINED, FrequentReplay
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import open_trace
from simulator.traces.cuts import TablePart

ROWS, LOOKUPS, SAMPLES = (60, 200), (1, 3), 32


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.tuples(st.integers(0, 60), st.integers(0, 200)), st.booleans())
def test_it_is_what_a_count_of_each_lookup_gives(
    gpus: int, frequent: tuple[int, int], by_row: bool
) -> None:
    trace = open_trace(
        ZipfTraceConfig(kind="zipf", alpha=0.9),
        rows=ROWS,
        lookups=LOOKUPS,
        batch_size=SAMPLES,
        seed=2,
    )
    tables = range(len(ROWS))
    cut = [TablePart(t, "row", k, gpus) for t in tables for k in range(gpus)]
    below = cut if by_row else [TablePart(t) for t in tables]
    above = [TablePart(t, "replica", k, gpus) for t in tables for k in range(gpus)]
    replay = FrequentReplay(frequent, gpus, (*below, *above))
    (facts,) = run_replays(Stream(trace, 1), [replay], threads=1)[replay].facts
    facts.check()
    assert facts.samples == SAMPLES
    batch = trace.minibatch(0)
    for number, part in enumerate(replay.parts):
        ids = batch.ids[part.table]
        hot = np.isin(ids, trace.hottest(part.table, frequent[part.table]))
        own = ids % gpus == part.index if part.cut == "row" else np.ones(len(ids), bool)
        shard = {name: flows[number] for name, flows in facts.flows.items()}
        if part.cut != "replica":
            cold = ids[own & ~hot]
            assert (shard[MISS].lookups, shard[MISS].rows) == (len(cold), len(set(cold.tolist())))
            continue
        first, last = part.samples(SAMPLES)
        each = LOOKUPS[part.table]
        mine = hot[first * each : last * each].reshape(-1, each)
        rows = set(ids[first * each : last * each][mine.ravel()].tolist())
        assert (shard[HIT].lookups, shard[HIT].rows) == (mine.sum(), len(rows))
        assert shard[CROSSING].lookups == (~mine.all(axis=1)).sum()
        trained = len(set(ids[hot].tolist())) if part.index == 0 else 0
        assert shard[TRAINED].rows == trained
