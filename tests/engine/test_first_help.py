"""What a faster part changes, right after a run: as simulating it does, from the kept replay."""

from __future__ import annotations

import pytest
from small import points, time_us

from simulator.engine import replaying, simulate_points
from simulator.engine.first_help import first_help, parts_of
from simulator.engine.levers import with_speed
from simulator.engine.replaying import Kept, keeping

LONG_S = 1e9


def test_changes_are_those_of_the_machine_with_faster_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (point,) = points("scratchpipe", cache={"prefill": "steady"})
    with keeping() as kept:
        (result,) = simulate_points([point])
    expected = {}
    for part, levers in parts_of(point).items():
        faster = point
        for lever in levers:
            faster = with_speed(faster, lever, 2.0)
        expected[part] = time_us(simulate_points([faster])[0]) / time_us(result) - 1

    def not_again(*_: object, **__: object) -> None:
        raise AssertionError("its replay is at hand")

    monkeypatch.setattr(replaying, "run_replays", not_again)
    helps = first_help(point, result.metrics, kept, LONG_S)
    assert {help.part: help.change for help in helps} == expected
    assert [help.change for help in helps] == sorted(expected.values())
    assert {"cpu", "cpu.memory", "gpu", "gpu.memory", "pcie"} <= set(expected)


def test_nothing_is_told_that_would_take_too_long_or_was_not_kept() -> None:
    (point,), (other,) = points("hybrid"), points("straw_man")
    with keeping() as kept:
        (result,) = simulate_points([point])
    assert kept.has(point)
    assert not kept.has(other)
    assert first_help(point, result.metrics, kept, 0.0) == ()
    assert first_help(point, result.metrics, Kept(), LONG_S) == ()
    assert first_help(point, result.metrics, kept, LONG_S)


def test_the_replays_of_one_trace_are_kept_at_a_time() -> None:
    first, second = points("hybrid"), points("hybrid", run={"seed": 7})
    with keeping() as kept:
        simulate_points([*first, *second])
        assert kept.has(second[0])
        assert not kept.has(first[0])
        assert len(kept.ahead.replays) == 1
    simulate_points(first)
    assert kept.has(second[0])
