"""Where nobody asks which rows move, facts keep the rows of lookups alone; results are the same."""

from __future__ import annotations

from typing import Any

import pytest
from small import points, told

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.engine import replay_key, simulate_points
from simulator.engine.sharing import build

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "scratchpipe": ("scratchpipe", {}),
    "one pool": ("scratchpipe", {"cache": {"scope": "global"}}),
    "fused kernels": ("scratchpipe", {"operators": "tuned"}),
    "straw_man": ("straw_man", {}),
    "cached_embedding": ("cached_embedding", {}),
    "several GPUs": ({"name": "scratchpipe", "gpus": 4}, {"platform": "p3_16xlarge"}),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_of_what_moves_change_no_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, changes = CASES[name]
    found = points(system, run={"batches": 5, "check": False}, **changes)
    asked: list[BatchFacts] = []
    alone = BatchFacts.with_lookups_alone

    def noted(facts: BatchFacts) -> BatchFacts:
        asked.append(alone(facts))
        return asked[-1]

    monkeypatch.setattr(BatchFacts, "with_lookups_alone", noted)
    results = list(map(told, simulate_points(found, threads=1)))
    kept = [facts for facts in asked if facts.keeps_rows]
    assert kept
    for facts in kept:
        assert all(flow.ids is not None for flow in facts.flows[LOOKUP])
        assert all(flow.ids is None for flow in facts.flows[UNIQUE])
    monkeypatch.setattr(BatchFacts, "with_lookups_alone", lambda facts: facts)
    assert list(map(told, simulate_points(found, threads=1))) == results


def test_points_that_replay_rows_in_memories_have_a_replay_of_their_own() -> None:
    found = points(
        "scratchpipe",
        run={"batches": 5, "check": False},
        sweep={"run.memory_fidelity": ["table", "sampled"]},
    )
    table, sampled = found
    assert replay_key(table) != replay_key(sampled)
    assert build(table)[0].replay.keep == build(sampled)[0].replay.keep
    assert [build(point)[0].replay.lookups_alone for point in found] == [True, False]  # type: ignore[attr-defined]
