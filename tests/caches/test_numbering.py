"""Replays that take one row for as good as another are given popularity ranks, and tell rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import Window, policy_names
from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays import (
    Kept,
    PlannedReplay,
    Replay,
    StaticReplay,
    Stream,
    UniqueReplay,
    run_replays,
)
from simulator.caches.replays.numbering import by_popularity
from simulator.config.trace import DriftTraceConfig, PowerLawTraceConfig, ZipfTraceConfig
from simulator.traces import Trace, open_trace
from simulator.traces.cuts import TablePart

BATCHES = 10
SHAPE = {"rows": (1500, 400), "lookups": (5, 3), "batch_size": 16}
KEPT: Kept = (0, 4, 9)


def drawn(seed: int, *, drifts: bool = False) -> Trace:
    config = ZipfTraceConfig(alpha=0.9)
    if drifts:
        config = DriftTraceConfig(alpha=0.9, hot_fraction=0.1, replaced=0.3, period_batches=2)
    return open_trace(config, **SHAPE, seed=seed)


def planned(policy: str, prefill: str = "steady", **options: object) -> PlannedReplay:
    values: dict[str, object] = {
        "capacities": (600, 200),
        "replacement": policy,
        "window": Window(1, 2),
        "prefill": prefill,
        "keep": KEPT,
    }
    return PlannedReplay(**(values | options))  # type: ignore[arg-type]


def told(trace: Trace, replay: Replay, monkeypatch: pytest.MonkeyPatch, *, ranked: bool) -> object:
    """All that the facts of a replay say, rows as lists."""
    with monkeypatch.context() as patch:
        if not ranked:
            name = "simulator.caches.replays.running.by_popularity"
            patch.setattr(name, lambda trace, replays: trace)
        stream = Stream(trace, BATCHES, counts_repeats=True)
        facts = run_replays(stream, [replay], threads=2)[replay].facts
    assert ranked == (stream.source is not trace)
    return [_plain(each) for each in facts]


def _plain(facts: BatchFacts) -> object:
    flows = {
        name: [
            [v.tolist() if isinstance(v, np.ndarray) else v for v in dataclasses.astuple(flow)]
            for flow in facts.flows[name]
        ]
        for name in facts.flows
    }
    return facts.index, facts.start, flows


REPLAYS: Sequence[Replay] = (
    UniqueReplay(KEPT),
    StaticReplay((300, 100), KEPT),
    planned("lru", held_misses=True),
)


@pytest.mark.parametrize("drifts", [False, True])
@pytest.mark.parametrize("replay", REPLAYS, ids=lambda replay: type(replay).__name__)
def test_facts_are_those_of_rows(
    replay: Replay, drifts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = drawn(5, drifts=drifts)
    ranked = told(trace, replay, monkeypatch, ranked=True)
    assert ranked == told(trace, replay, monkeypatch, ranked=False)


@pytest.mark.parametrize("prefill", ["steady", "hot", "empty"])
@pytest.mark.parametrize("policy", policy_names())
def test_facts_of_every_policy_are_those_of_rows(
    policy: str, prefill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, replay = drawn(6), planned(policy, prefill)
    ranked = told(trace, replay, monkeypatch, ranked=True)
    assert ranked == told(trace, replay, monkeypatch, ranked=False)


def test_kept_rows_are_those_of_the_trace() -> None:
    trace, replay = drawn(7), planned("lru")
    facts = run_replays(Stream(trace, BATCHES), [replay], threads=1)[replay].facts
    for number in KEPT:
        batch, flows = trace.minibatch(number), facts[number].flows[LOOKUP]
        assert flows[0].ids is not None
        assert flows[1].ids is not None
        assert np.array_equal(flows[0].ids, batch.ids[0])
        assert np.array_equal(flows[1].ids, batch.ids[1] + trace.rows[0])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(-3, 3), st.booleans())
def test_unscattered_mini_batches_are_the_same_rows(seed: int, number: int, drifts: bool) -> None:
    trace = drawn(seed, drifts=drifts)
    twin = by_popularity(trace, [])
    rows, ranks = trace.minibatch(number), twin.minibatch(number)
    for table in range(2):
        assert np.array_equal(trace.scattered(table, ranks.ids[table]), rows.ids[table])  # type: ignore[attr-defined]
        assert np.array_equal(rows.offsets[table], ranks.offsets[table])


def test_hot_ranks_are_small_numbers() -> None:
    assert by_popularity(drawn(8), []).hottest(0, 50).tolist() == list(range(50))


@pytest.mark.parametrize(
    "replay",
    [
        planned("lru", capacities=(800,), scope="global"),
        planned("tests/somebody.py:Theirs"),
        planned("lru", capacities=(600,), parts=(TablePart(0, "row", 1, 2),)),
        UniqueReplay(parts=(TablePart(0),)),
    ],
    ids=["one pool", "a policy from outside", "planned parts", "parts"],
)
def test_rows_keep_their_numbers_where_one_replay_minds(replay: Replay) -> None:
    trace = drawn(9)
    assert by_popularity(trace, [UniqueReplay(), replay]) is trace


def test_rows_that_are_not_scattered_keep_their_numbers() -> None:
    trace = open_trace(PowerLawTraceConfig(alpha=1.2), **SHAPE, seed=3)
    assert by_popularity(trace, [UniqueReplay()]) is trace


def test_ranges_are_of_rows() -> None:
    trace = drawn(10)
    stream = Stream(trace, BATCHES, range_bits=3)
    facts = run_replays(stream, [UniqueReplay()], threads=1)[UniqueReplay()].facts
    assert stream.source is None
    assert all(flow.ranges is not None for each in facts for flow in each.flows[UNIQUE])
