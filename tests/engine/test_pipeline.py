"""Stages of consecutive mini-batches: order, overlap, closed forms, the critical path."""

from __future__ import annotations

import itertools

import pytest
import simpy

from simulator.engine.pipeline import Span, critical_path, run_pipeline, window_of
from simulator.errors import InvariantError
from simulator.hardware.demand import Demand, Service, StageDemand
from simulator.hardware.machine import Machine
from simulator.systems.cached import STAGES

NAMES = ("a", "b", "c")


def batch(*times: int, shared: bool = False) -> tuple[StageDemand, ...]:
    """Stages that take `times` ps each, on devices of their own or all on one."""
    return tuple(
        StageDemand(name, ((Demand(name, {"hbm" if shared else name: Service(ps)}),),))
        for name, ps in zip(NAMES, times, strict=False)
    )


def run(batches: list[tuple[StageDemand, ...]], mode: str) -> tuple[Span, ...]:
    machine = Machine(simpy.Environment(), {}, check=True)
    return run_pipeline(machine, batches, mode)  # type: ignore[arg-type]


def ends(spans: tuple[Span, ...], stage: int = 2) -> list[int]:
    return [span.end_ps for span in sorted(spans, key=lambda s: s.batch) if span.stage == stage]


@pytest.mark.parametrize("mode", ["serial", "async", "lockstep"])
def test_one_mini_batch_takes_the_sum_of_its_stages(mode: str) -> None:
    assert ends(run([batch(10, 20, 30)], mode)) == [60]


def test_serial_mini_batches_follow_each_other() -> None:
    assert ends(run([batch(10, 20, 30)] * 3, "serial")) == [60, 120, 180]


@pytest.mark.parametrize("mode", ["async", "lockstep"])
@pytest.mark.parametrize("times", [(30, 20, 10), (10, 30, 20), (10, 20, 30)])
def test_steady_throughput_is_that_of_the_slowest_stage(
    mode: str, times: tuple[int, int, int]
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


@pytest.mark.parametrize("mode", ["async", "lockstep"])
def test_what_the_hold_window_relies_on(mode: str) -> None:
    """Collect of i starts after Train of i - 4 and Insert of i - 3 are done, however slow."""
    slow_train = [
        tuple(
            StageDemand(name, ((Demand(name, {name: Service(ps)}),),))
            for name, ps in zip(STAGES, (1, 1, 2, 3, 50, 400), strict=True)
        )
    ] * 12
    spans = {(STAGES[s.stage], s.batch): s for s in run(slow_train, mode)}
    past, future = window_of(STAGES)
    for i in range(12):
        begin = spans["collect", i].start_ps
        if i > past:
            assert spans["train", i - past - 1].end_ps <= begin
        if i > future:
            assert spans["insert", i - future - 1].end_ps <= begin


def test_the_window_of_the_study_follows_from_its_stages() -> None:
    assert window_of(STAGES) == (3, 2)


def test_stages_of_a_mini_batch_are_in_causal_order() -> None:
    spans = {(s.batch, s.stage): s for s in run([batch(3, 9, 4)] * 10, "async")}
    for (number, stage), span in spans.items():
        if stage:
            assert spans[number, stage - 1].end_ps <= span.start_ps
        if number:
            assert spans[number - 1, stage].end_ps <= span.start_ps


@pytest.mark.parametrize("mode", ["serial", "async", "lockstep"])
def test_exposed_times_add_up_to_the_elapsed_time(mode: str) -> None:
    spans = run([batch(7 + i % 4, 20 - i % 3, 15) for i in range(20)], mode)
    done = ends(spans)
    exposed = critical_path(spans, 5, 14)
    assert sum(exposed.values()) == done[14] - done[4]


def test_serial_stages_are_all_exposed() -> None:
    exposed = critical_path(run([batch(10, 20, 30)] * 6, "serial"), 2, 4)
    assert exposed == {0: 30, 1: 60, 2: 90}


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

    machine = Stuck(simpy.Environment(), {})
    with pytest.raises(InvariantError, match="never retired"):
        run_pipeline(machine, [(endless,)], "async")
