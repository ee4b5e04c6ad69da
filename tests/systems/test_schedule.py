"""What a schedule asks of a cache follows from the roles of its stages."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jobs import job

from simulator.caches import Window
from simulator.engine.sharing import SHARED_TAIL, tail_of
from simulator.systems import Pipeline, Role, Schedule, Serial, StageSpec, hold_window
from simulator.systems.cached import STAGES

ROLES: tuple[Role, ...] = get_args(Role)
roles = st.lists(st.sampled_from(ROLES), min_size=1, max_size=12)


def pipeline(*given: Role) -> Schedule:
    return Pipeline.of(*((f"s{k}", role) for k, role in enumerate(given)))


def test_the_window_of_the_study_follows_from_its_stages() -> None:
    """Collect to Train is 3, Collect to Insert 2: six mini-batches with the planned one."""
    study = Pipeline.of(*STAGES)
    assert study.window == Window(3, 2)
    assert study.window.batches == study.depth == 6


@pytest.mark.parametrize(
    ("given", "window"),
    [
        (("read", "write", "train"), Window(2, 1)),
        (("plan", "read", "move", "write", "train"), Window(3, 2)),
        (("read", "move", "move", "move", "write", "train"), Window(5, 4)),
        (("read", "train", "write"), Window(1, 2)),
        (("read", "train"), Window(1, 0)),
        (("read", "write"), Window(0, 1)),
        (("read", "read", "write", "train"), Window(3, 2)),
        (("read", "train", "write", "train"), Window(3, 2)),
        (("train", "read"), Window(0, 0)),
        (("load", "plan", "train"), Window(0, 0)),
        (("train",), Window(0, 0)),
    ],
)
def test_windows_of_pipelines(given: tuple[Role, ...], window: Window) -> None:
    """First read to last train, first read to last write."""
    assert pipeline(*given).window == window


@given(roles)
def test_the_window_of_any_pipeline(given: list[Role]) -> None:
    schedule = pipeline(*given)
    reads, trains, writes = (
        [k for k, role in enumerate(given) if role == wanted]
        for wanted in ("read", "train", "write")
    )
    if not reads:
        assert schedule.window == Window(0, 0)
        return
    after = [stage - reads[0] for stage in trains if stage > reads[0]]
    written = [stage - reads[0] for stage in writes if stage > reads[0]]
    assert schedule.window == Window(max(after, default=0), max(written, default=0))
    assert schedule.window.past < schedule.depth
    assert schedule.window.future < schedule.depth


@given(roles, st.integers(0, 11), st.sampled_from(["load", "plan", "move"]))
def test_stages_that_touch_no_rows_count_only_between_those_that_do(
    given: list[Role], where: int, idle: Role
) -> None:
    """One before the first read changes nothing; one later on pushes what comes after it."""
    assume("read" in given)
    read = given.index("read")
    longer = [*given[:where], idle, *given[where:]]
    before, after = pipeline(*given).window, pipeline(*longer).window
    assert 0 <= after.past - before.past <= 1
    assert 0 <= after.future - before.future <= 1
    if where <= read:
        assert after == before


@given(roles)
def test_stages_overlap_as_many_as_there_are(given: list[Role]) -> None:
    schedule = pipeline(*given)
    assert schedule.overlaps
    assert schedule.depth == len(given)
    assert tail_of(schedule.depth) == max(6, len(given))


@given(roles)
def test_one_mini_batch_at_a_time_needs_no_window(given: list[Role]) -> None:
    schedule = Serial.of(*((f"s{k}", role) for k, role in enumerate(given)))
    assert schedule.window == Window(0, 0)
    assert (schedule.depth, schedule.overlaps) == (1, False)
    assert tail_of(schedule.depth) == SHARED_TAIL


def test_a_stage_without_a_role_trains() -> None:
    schedule = Pipeline.of("a", ("b", "read"), "c")
    assert schedule.names == ("a", "b", "c")
    assert [stage.role for stage in schedule.stages] == ["train", "read", "train"]
    assert schedule.stages[1] == StageSpec("b", "read")


def test_schedules_are_values() -> None:
    assert Serial.of("a", "b") == Serial.of("a", "b")
    assert Serial.of("a") != Pipeline.of("a")
    assert hash(Pipeline.of(*STAGES)) == hash(Pipeline.of(*STAGES))


@pytest.mark.parametrize(
    ("pipeline", "window"),
    [
        ({}, Window(3, 2)),
        ({"window_past": 5}, Window(5, 2)),
        ({"window_future": 0}, Window(3, 0)),
        ({"window_past": 0, "window_future": 7}, Window(0, 7)),
    ],
)
def test_either_side_of_the_window_may_be_set(pipeline: dict[str, int], window: Window) -> None:
    wanted = job(pipeline=pipeline)
    assert hold_window(wanted, Pipeline.of(*STAGES)) == window
    assert hold_window(wanted, Serial.of(*STAGES)) == Window(0, 0), "nothing to hold"
