"""Stages of consecutive mini-batches: order, overlap, closed forms, the critical path."""

from __future__ import annotations

import itertools

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.invariants import check_order, check_stage_times
from simulator.engine.pipeline import Mode, Span, StageTime, run_pipeline, stage_times
from simulator.errors import InvariantError
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.machine import Machine
from simulator.systems import Pipeline, Role
from simulator.systems.cached import STAGES

NAMES = ("a", "b", "c")
OVERLAPPING: tuple[Mode, ...] = ("async", "lockstep")
MODES: tuple[Mode, ...] = ("serial", *OVERLAPPING)


def machine(*names: str) -> Machine:
    """A machine of plain resources."""
    resources = {name: Resource(name, name, "other") for name in (*NAMES, "hbm", *names)}
    return Machine(simpy.Environment(), resources, check=True)


def batch(*times: int, shared: bool = False) -> tuple[StageDemand, ...]:
    """Stages that take `times` ps each, on devices of their own or all on one."""
    return tuple(
        StageDemand(name, ((Demand(name, {"hbm" if shared else name: Service(ps)}),),))
        for name, ps in zip(NAMES, times, strict=False)
    )


def run(batches: list[tuple[StageDemand, ...]], mode: Mode) -> tuple[Span, ...]:
    return run_pipeline(
        machine(*(stage.name for stage in batches[0]) if batches else ()), batches, mode
    )


def ends(spans: tuple[Span, ...], stage: int = 2) -> list[int]:
    return [span.end_ps for span in sorted(spans, key=lambda s: s.batch) if span.stage == stage]


@pytest.mark.parametrize("mode", MODES)
def test_one_mini_batch_takes_the_sum_of_its_stages(mode: Mode) -> None:
    assert ends(run([batch(10, 20, 30)], mode)) == [60]


def test_serial_mini_batches_follow_each_other() -> None:
    assert ends(run([batch(10, 20, 30)] * 3, "serial")) == [60, 120, 180]


@pytest.mark.parametrize("mode", OVERLAPPING)
@pytest.mark.parametrize("times", [(30, 20, 10), (10, 30, 20), (10, 20, 30)])
def test_steady_throughput_is_that_of_the_slowest_stage(
    mode: Mode, times: tuple[int, int, int]
) -> None:
    done = ends(run([batch(*times)] * 20, mode))
    gaps = [later - earlier for earlier, later in itertools.pairwise(done[5:])]
    assert set(gaps[:-3]) == {30}


def test_stages_on_one_device_gain_nothing_from_overlap() -> None:
    done = ends(run([batch(10, 20, 30, shared=True)] * 20, "async"))
    assert done[-1] == 20 * 60


def test_async_is_never_behind_lockstep() -> None:
    mixed = [batch(5 + 7 * (i % 3), 20 - 3 * (i % 5), 10 + i % 2) for i in range(30)]
    assert ends(run(mixed, "async"))[-1] <= ends(run(mixed, "lockstep"))[-1]


def test_lockstep_ends_a_cycle_with_its_longest_stage() -> None:
    spans = {(s.batch, s.stage): s for s in run([batch(10, 20, 30)] * 4, "lockstep")}
    # cycles: (10), (20, 10), (30, 20, 10), ...
    assert spans[1, 0].start_ps == 10
    assert spans[2, 0].start_ps == 30
    assert spans[3, 0].start_ps == 60
    assert spans[3, 1].start_ps == 90


@pytest.mark.parametrize("mode", OVERLAPPING)
def test_what_the_hold_window_relies_on(mode: Mode) -> None:
    """Collect of i starts after Train of i - 4 and Insert of i - 3 are done, however slow."""
    names = [name for name, _ in STAGES]
    slow_train = [
        tuple(
            StageDemand(name, ((Demand(name, {name: Service(ps)}),),))
            for name, ps in zip(names, (1, 1, 2, 3, 50, 400), strict=True)
        )
    ] * 12
    spans = {(names[s.stage], s.batch): s for s in run(slow_train, mode)}
    for i in range(12):
        begin = spans["collect", i].start_ps
        if i > 3:
            assert spans["train", i - 4].end_ps <= begin
        if i > 2:
            assert spans["insert", i - 3].end_ps <= begin


roles: st.SearchStrategy[list[Role]] = st.lists(
    st.sampled_from(["load", "plan", "read", "move", "write", "train"]), min_size=1, max_size=7
)


@settings(max_examples=60)
@given(roles, st.sampled_from(OVERLAPPING), st.data())
def test_any_pipeline_keeps_what_its_window_relies_on(
    given_roles: list[Role], mode: Mode, data: st.DataObject
) -> None:
    """The first read of mini-batch i starts after every train of i - past - 1 and every write of
    i - future - 1 has ended, whatever each stage of each mini-batch takes."""
    schedule = Pipeline.of(*((f"s{k}", role) for k, role in enumerate(given_roles)))
    times = st.lists(
        st.lists(st.integers(1, 1000), min_size=schedule.depth, max_size=schedule.depth),
        min_size=schedule.depth + 3,
        max_size=schedule.depth + 3,
    )
    batches = [
        tuple(
            StageDemand(name, ((Demand(name, {name: Service(ps)}),),))
            for name, ps in zip(schedule.names, each, strict=True)
        )
        for each in data.draw(times)
    ]
    spans = {(s.batch, s.stage): s for s in run(batches, mode)}
    if "read" not in given_roles:
        return
    read, window = given_roles.index("read"), schedule.window
    for stage, role in enumerate(given_roles):
        behind = {"train": window.past, "write": window.future}.get(role)
        if behind is None or stage < read:
            continue
        for batch in range(behind + 1, len(batches)):
            assert spans[batch - behind - 1, stage].end_ps <= spans[batch, read].start_ps


def test_stages_of_a_mini_batch_are_in_causal_order() -> None:
    spans = {(s.batch, s.stage): s for s in run([batch(3, 9, 4)] * 10, "async")}
    for (number, stage), span in spans.items():
        if stage:
            assert spans[number, stage - 1].end_ps <= span.start_ps
        if number:
            assert spans[number - 1, stage].end_ps <= span.start_ps


@pytest.mark.parametrize("mode", MODES)
def test_exposed_times_add_up_to_the_elapsed_time(mode: Mode) -> None:
    spans = run([batch(7 + i % 4, 20 - i % 3, 15) for i in range(20)], mode)
    done = ends(spans)
    check_stage_times(stage_times(spans, 5, 14), done[14] - done[4])


@pytest.mark.parametrize("mode", MODES)
def test_time_of_the_host_is_exposed_in_the_stage_that_waits_for_it(mode: Mode) -> None:
    """Submissions of 40 before each stage of 10, 20 and 5."""
    stages = tuple(
        StageDemand(name, ((Demand(name, {name: Service(ps)}, host="h", submit_ps=40),),))
        for name, ps in zip(NAMES, (10, 20, 5), strict=True)
    )
    clock = machine("h")
    spans = run_pipeline(clock, [stages] * 12, mode)
    check_order(spans, mode)
    done = ends(spans)
    check_stage_times(stage_times(spans, 3, 8), done[8] - done[2])
    assert clock.use["h"].busy_ps == 12 * 3 * 40
    if mode != "lockstep":
        gaps = [after - before for before, after in itertools.pairwise(done[4:9])]
        assert set(gaps) == {120}, "one thread submits three stages a mini-batch"


def test_serial_stages_are_all_exposed() -> None:
    times = stage_times(run([batch(10, 20, 30)] * 6, "serial"), 2, 4)
    assert times == {k: StageTime(3 * ps, 3 * ps) for k, ps in enumerate((10, 20, 30))}
    assert {time.hidden_ps for time in times.values()} == {0}


@pytest.mark.parametrize(
    ("mode", "slowest", "exposed"),
    [
        ("async", 0, (380, 10, 10)),
        ("async", 1, (0, 390, 10)),
        ("async", 2, (0, 0, 400)),
        ("lockstep", 0, (390, 0, 10)),
        ("lockstep", 1, (0, 390, 10)),
        ("lockstep", 2, (0, 0, 400)),
    ],
)
def test_a_steady_pipeline_waits_for_its_slowest_stage(
    mode: Mode, slowest: int, exposed: tuple[int, int, int]
) -> None:
    """Ten mini-batches, 40 ps in the slowest stage and 10 in each other: those are hidden, but
    for what follows the slowest in the last mini-batch."""
    each = [40 if stage == slowest else 10 for stage in range(3)]
    times = stage_times(run([batch(*each)] * 20, mode), 6, 15)
    assert times == {k: StageTime(10 * each[k], exposed[k]) for k in range(3)}


def test_a_barrier_is_waited_for_in_the_stage_that_ends_last_whatever_its_mini_batch() -> None:
    """Lock-step, all stages of 10 ps but a of mini-batch 6, 70 ps, which runs beside c of 4: c of 5
    waits for its end. The window leads from the end of c of 4 (70) to that of c of 5 (140)."""
    batches = [batch(70 if number == 6 else 10, 10, 10) for number in range(9)]
    spans = run(batches, "lockstep")
    assert ends(spans)[4:6] == [70, 140]
    assert stage_times(spans, 5, 5) == {
        0: StageTime(60 + 10, 60),  # of 6 from 70 on, and of 7
        1: StageTime(10, 0),
        2: StageTime(10, 10),
    }


def test_part_of_a_stage_that_lies_outside_of_the_window_does_not_count() -> None:
    """Free-running a (90 ps) and b (10 ps): the window opens with the end of b of 0 at 100, which
    is 10 ps into a of 1, and closes at 190."""
    spans = run([batch(90, 10)] * 4, "async")
    assert ends(spans, 1) == [100, 190, 280, 370]
    assert stage_times(spans, 1, 1) == {0: StageTime(90, 80), 1: StageTime(10, 10)}


def test_nothing_to_run_is_no_span() -> None:
    assert run([], "async") == ()


def test_a_mini_batch_that_never_retires_is_named() -> None:
    endless = StageDemand("b", ((Demand("b", {"hbm": Service(10)}),),))

    class Stuck(Machine):
        def execute(self, demand: Demand):
            if demand.name == "b":
                yield self.env.event()
            else:
                yield from super().execute(demand)

    stuck = Stuck(simpy.Environment(), machine().resources)
    with pytest.raises(InvariantError, match=r"never retired: \[0\] of 1"):
        run_pipeline(stuck, [(endless,)], "async")


def test_lanes_run_side_by_side_and_a_stage_ends_with_its_last() -> None:
    lanes = tuple((Demand(name, {name: Service(ps)}),) for name, ps in (("a", 10), ("b", 35)))
    spans = run([(StageDemand("both", lanes),)], "serial")
    assert [(s.start_ps, s.end_ps) for s in spans] == [(0, 35)]


def test_operations_of_a_lane_follow_each_other() -> None:
    lane = tuple(Demand(name, {name: Service(ps)}) for name, ps in (("a", 10), ("b", 35)))
    assert ends(run([(StageDemand("all", (lane,)),)], "serial"), 0) == [45]


def test_a_stage_without_operations_takes_no_time() -> None:
    spans = run([(StageDemand("a", ()), *batch(10)), (StageDemand("a", ()), *batch(10))], "async")
    assert ends(spans, 0) == [0, 0]
    assert ends(spans, 1) == [10, 20]


def test_async_stages_run_ahead_by_one_output_buffer() -> None:
    """Stage a (1 ps) of mini-batch 2 starts when b of 0 has ended, not before."""
    spans = {(s.batch, s.stage): s for s in run([batch(1, 100, 1)] * 4, "async")}
    assert spans[1, 0].start_ps == 1
    assert spans[2, 0].start_ps == 101
    assert spans[3, 0].start_ps == 201


@pytest.mark.parametrize("mode", MODES)
def test_the_end_that_let_a_stage_start_is_told(mode: Mode) -> None:
    """The latest of what it waited for; nothing for the very first."""
    spans = {(s.batch, s.stage): s for s in run([batch(10, 20, 30)] * 5, mode)}
    assert spans[0, 0].after is None
    for key, span in spans.items():
        if span.after is not None:
            assert spans[span.after].end_ps == span.start_ps, key


def test_retired_mini_batches_are_told_in_order_at_their_time() -> None:
    told: list[tuple[int, float]] = []
    clock = machine()
    run_pipeline(
        clock, [batch(10, 20, 30)] * 3, "serial", watch=lambda b: told.append((b, clock.env.now))
    )
    assert told == [(0, 60), (1, 120), (2, 180)]


times_of_stages = st.lists(st.tuples(*[st.integers(0, 500)] * 3), min_size=1, max_size=8)


@settings(max_examples=60)
@given(times_of_stages, st.sampled_from(MODES), st.booleans())
def test_any_run_is_in_order_and_its_path_explains_the_whole_time(
    times: list[tuple[int, int, int]], mode: Mode, shared: bool
) -> None:
    spans = run([batch(*each, shared=shared) for each in times], mode)
    assert len(spans) == 3 * len(times)
    check_order(spans, mode)
    last = len(times) - 1
    for first in range(last + 1):
        since = ends(spans)[first - 1] if first else 0
        parts = stage_times(spans, first, last)
        check_stage_times(parts, ends(spans)[last] - since)
        if mode == "serial":
            assert all(part.hidden_ps == 0 for part in parts.values())
    total = sum(sum(each) for each in times)
    assert ends(spans)[last] <= total
    if mode == "serial" or shared:
        assert ends(spans)[last] >= total - 3 * len(times)
    slowest = max(sum(each[stage] for each in times) for stage in range(3))
    assert ends(spans)[last] >= slowest, "a stage works on one mini-batch at a time"


@settings(max_examples=40)
@given(times_of_stages)
def test_no_mode_is_behind_one_with_more_barriers(times: list[tuple[int, int, int]]) -> None:
    batches = [batch(*each) for each in times]
    serial, lockstep, free = (ends(run(batches, m))[-1] for m in ("serial", "lockstep", "async"))
    assert free <= lockstep <= serial
