"""Replays that were made before, in another process, give what those made on the spot give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import (
    Ahead,
    parse_experiment,
    read_ahead,
    replaying,
    replays_ahead,
    simulate_each,
    write_ahead,
)
from simulator.results.record import PointResult

WALL = "wall_", "realtime_factor"


def points(**changes: Any) -> tuple[PointConfig, ...]:
    data: dict[str, Any] = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": {"base": "default", "tables": 2, "rows_per_table": 4000, "batch_size": 32},
        "trace": {"kind": "zipf", "alpha": 0.9},
        "systems": ["hybrid", "static_cache", "scratchpipe"],
        "cache": {"fraction": 0.3, "if_too_small": "grow"},
        "run": {"batches": 6, "warmup_batches": 2},
        "sweep": {"platform.host.cpu.memory_latency": ["70 ns", "90 ns"]},
    }
    return expand(parse_experiment(data | changes))


def told(result: Any) -> tuple[Any, ...]:
    assert isinstance(result, PointResult), result
    metrics = {k: v for k, v in result.metrics.items() if not k.startswith(WALL)}
    return metrics, result.stages, result.devices, list(result.timeline), result.trace_fingerprint


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("a replay that was there")


@pytest.mark.parametrize("changes", [{}, {"operators": "stock"}, {"run": {"mode": "inference"}}])
def test_points_are_timed_as_with_replays_of_their_own(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = points(**changes)
    alone = [told(outcome) for _, outcome in simulate_each(every)]
    write_ahead(tmp_path / "replays", replays_ahead(every))
    ahead = read_ahead(tmp_path / "replays")
    monkeypatch.setattr(replaying, "run_replays", refuse)
    assert [told(outcome) for _, outcome in simulate_each(every, ahead=ahead)] == alone


def test_what_was_not_replayed_ahead_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    every = points()
    alone = [told(outcome) for _, outcome in simulate_each(every)]
    ahead = replays_ahead([point for point in every if point.system.name == "hybrid"])
    (key,) = ahead.replays
    assert len(ahead.replays[key]) == 1
    assert [told(outcome) for _, outcome in simulate_each(every, ahead=ahead)] == alone


def kept_rows(ahead: Ahead) -> list[np.ndarray[Any, Any]]:
    """Every array of row numbers and of slots, in order."""
    return [
        array
        for replays in ahead.replays.values()
        for replayed in replays.values()
        for facts in replayed.facts
        for flows in facts.flows.values()
        for flow in flows
        for array in (flow.ids, flow.slots)
        if array is not None
    ]


def test_arrays_lie_in_the_file_and_may_be_written(tmp_path: Path) -> None:
    file = tmp_path / "replays"
    made = replays_ahead(points())
    write_ahead(file, made)
    own, read = kept_rows(made), kept_rows(read_ahead(file))
    assert len(own) == len(read) > 0
    assert all(map(np.array_equal, own, read))
    assert all(array.flags.aligned for array in read)
    for array in read:
        array[:] = -1
    assert all(map(np.array_equal, own, kept_rows(read_ahead(file))))


def test_a_replay_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = replaying.run_replays

    def fail(stream: Any, replays: Any, **options: Any) -> Any:
        if any(replay.policy for replay in replays):
            raise MemoryError
        return real(stream, replays, **options)

    monkeypatch.setattr(replaying, "run_replays", fail)
    every = points()
    ahead = replays_ahead(every)
    (known,) = ahead.replays.values()
    assert known
    assert not any(replay.policy for replay in known)
    outcomes = dict(simulate_each(every, ahead=ahead))
    failed = {every[k].system.name for k, o in outcomes.items() if isinstance(o, MemoryError)}
    assert failed == {"static_cache", "scratchpipe"}
