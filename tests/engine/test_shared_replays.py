"""Replays that share a trace are what each would be on its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from simulator.engine.replay import ReplayRequest, Stream, replay_all

from simulator.caches import Window
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import open_trace


def as_lists(counts):
    """Every field, rows as lists."""
    return [
        {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in {
                **dataclasses.asdict(one),
                **dataclasses.asdict(one.moved),
                "moved": None,
            }.items()
        }
        for one in counts
    ]


@pytest.mark.parametrize("scope", ["table", "global"])
def test_requests_together_replay_what_each_replays_alone(scope):
    trace = open_trace(
        ZipfTraceConfig(alpha=0.9), rows=(2000, 500), lookups=(5, 3), batch_size=16, seed=3
    )
    base = ReplayRequest(
        "planned",
        policy="lru",
        scope=scope,
        window=Window(3, 2),
        prefill="hot",
        keep=frozenset({2, 3}),
    )
    slots = [(700,), (900,), (1200,)] if scope == "global" else [(450, 250), (600, 300)]
    requests = [
        dataclasses.replace(base, slots=size, policy=policy, held_misses=held)
        for size in slots
        for policy, held in (("lru", False), ("belady", False), ("lfu", True))
    ]
    requests += [ReplayRequest("none"), ReplayRequest("static", slots=(100, 50))]
    together = replay_all(Stream(trace, 12), requests, threads=2)
    for request in requests:
        alone = replay_all(Stream(trace, 12), [request], threads=1)[request]
        assert as_lists(together[request].counts) == as_lists(alone.counts)
