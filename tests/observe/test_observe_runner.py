"""The order of stages, waits and launches, and what is timed how."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from deferred import Deferred, defer_dense
from training import experiment, trainer_of

from simulator.config.expand import expand
from simulator.engine.pipeline import conditions
from simulator.observe.accelerator import CpuTensors
from simulator.observe.clock import Clock
from simulator.observe.inputs import count_distinct
from simulator.observe.runner import Lanes, run_cycles, run_serial
from simulator.observe.steps import AWAIT, Launch, OnHost, RowCopy
from simulator.systems import Pipeline, Serial

pytestmark = pytest.mark.usefixtures("torch_there")

PIPELINE = Pipeline.of(("load", "load"), ("fetch", "read"), ("store", "write"), "train")
BATCHES = 5


def noted(gpu: CpuTensors, log: list[tuple[int, int]]) -> list[list[Lanes]]:
    """Programs whose stages note (mini-batch, stage); reads on the host, all else launched."""
    stages = range(len(PIPELINE.stages))

    def lane(number: int, s: int) -> list[Launch | OnHost]:
        note = partial(log.append, (number, s))
        return [OnHost(note)] if s == 1 else [Launch(lambda: gpu.captured(note) and None)]

    return [[[lane(number, s)] for s in stages] for number in range(BATCHES)]


def test_cycles_keep_the_conditions_of_the_simulated_pipeline() -> None:
    """What the engine's lock-step asks for is done before; on CPU tensors stages go up."""
    gpu, log = CpuTensors(1), []
    run_cycles(noted(gpu, log), PIPELINE.stages, Clock(gpu), gpu, lambda _: None)()
    assert len(log) == BATCHES * 4
    for modelled in ("lockstep", "async"):
        wanted = partial(conditions, modelled, len(PIPELINE.stages))
        for position, key in enumerate(log):
            before = {other for other in wanted(*key) if other[0] < BATCHES}
            assert before <= set(log[:position]), (modelled, key)
    by_cycle = [[s for n, s in log if n + s == c] for c in range(BATCHES + 3)]
    assert all(stages == sorted(stages) for stages in by_cycle)
    assert by_cycle[3] == [0, 1, 2, 3]


def test_serial_programs_finish_a_mini_batch_first() -> None:
    gpu, log, done = CpuTensors(1), [], []
    run_serial(noted(gpu, log), PIPELINE.stages, Clock(gpu), gpu, done.append)()
    assert log == [(number, s) for number in range(BATCHES) for s in range(4)]
    assert done == list(range(BATCHES))


@pytest.mark.parametrize(
    ("system", "waits"), [("hybrid", 1), ("static_cache", 4), ("straw_man", 5), ("gpu_only", 1)]
)
def test_the_host_waits_where_the_program_says(
    system: str, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits of an iteration beside the one at its end.

    Hybrid: gradients. Static: split, forward, gradients, and the end of its lanes backward.
    Straw-man: every stage but Load. GPU-only: the updates.
    """
    gpu = Deferred()
    defer_dense(monkeypatch, gpu)
    trainer = trainer_of(expand(experiment(systems=[system], cache={"fraction": 0.3}))[0], gpu)
    gpu.log.clear()
    trainer.run()
    batches = len(trainer.inputs.batches)
    assert gpu.log.count("wait") == batches * (waits + 1) + 2  # before and after all


def test_a_cycle_launches_train_first_and_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Deferred()
    defer_dense(monkeypatch, gpu)
    point = expand(experiment(systems=["scratchpipe"], cache={"fraction": 0.3}))[0]
    trainer = trainer_of(point, gpu)
    gpu.log.clear()
    trainer.run()
    cycles = " ".join(gpu.log).split("wait")
    assert len(cycles) == len(trainer.inputs.batches) + 5 + 2 + 1
    middle = list(dict.fromkeys(cycles[12].split()))
    assert middle == ["train0", "load0", "exchange0", "exchange1", "insert0", "collect1", "plan0"]


def test_nothing_is_counted_while_training_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting between mini-batches would cool the caches of the next one."""
    gpu = Deferred()
    defer_dense(monkeypatch, gpu)
    point = expand(experiment(systems=["static_cache"], cache={"fraction": 0.3}))[0]
    plain = trainer_of(point, gpu)

    def counted(ids: np.ndarray[Any, Any]) -> int:
        gpu.log.append("count")
        return count_distinct(ids)

    monkeypatch.setattr("simulator.observe.trainer.count_distinct", counted)
    gpu.log.clear()
    seen = plain.run().counts
    batches = plain.inputs.batches
    assert gpu.log.count("count") == len(seen) == len(batches)
    assert "wait" not in gpu.log[gpu.log.index("count") :]
    misses = [len(np.setdiff1d(b.ids, plain.inputs.preload.rows)) for b in batches]
    assert [seen[number].misses for number in range(len(batches))] == misses


@pytest.mark.parametrize("ids", [[], [7], [3, 1, 3, 3, 2, 1], [5, 5, 5]])
def test_distinct_ids_are_counted(ids: list[int]) -> None:
    assert count_distinct(np.array(ids, np.int64)) == len(set(ids))


def test_a_gather_and_a_scatter_of_a_table_share_the_pool() -> None:
    """In one cycle on one table both count the same time; the host's lanes really run."""
    gpu = Deferred()
    table = np.arange(12, dtype=np.float32).reshape(6, 2)
    out, new = np.zeros((2, 2), np.float32), np.full((1, 2), 9, np.float32)
    gather = RowCopy(table, lambda: np.array([1, 2]), out, 1, to=False)
    scatter = RowCopy(table, lambda: np.array([5]), new, 1, to=True)
    programs: list[list[Lanes]] = [[[[gather]], [[scatter]]] for _ in range(2)]
    schedule = Pipeline.of(("fetch", "read"), ("store", "write"))
    clock = Clock(gpu)
    run_cycles(programs, schedule.stages, clock, gpu, lambda _: None)()
    assert out.tolist() == [[2, 3], [4, 5]]
    assert table[5].tolist() == [9, 9]
    times = clock.finish().stage_us
    assert times[1, "fetch"] == times[0, "store"] > 0


def test_a_stage_lasts_as_long_as_its_longest_lane() -> None:
    gpu = CpuTensors(1)
    clock = Clock(gpu)
    clock.add_host(0, "s", 0, 3.0)
    clock.add_host(0, "s", 1, 2.0)
    clock.add_host(0, "s", 1, 2.5)
    assert clock.finish().stage_us == {(0, "s"): 4.5}


def test_the_host_times_what_it_waits_for_and_events_the_rest() -> None:
    """The second stage goes on while the third is launched: neither is timed with the other's
    work, though the host waits at the end of the third alone."""
    gpu = Deferred()
    slow, fast = partial(time.sleep, 0.02), partial(time.sleep, 0.0)
    program: list[Lanes] = [
        [[Launch(lambda: gpu.later(slow)), AWAIT]],
        [[Launch(lambda: gpu.later(slow))]],
        [[Launch(lambda: gpu.later(fast)), AWAIT]],
    ]
    clock = Clock(gpu)
    stages = Serial.of("waits", "goes_on", "ends").stages
    run_serial([program], stages, clock, gpu, lambda _: None)()
    assert {stage for _, stage, _ in clock._host} == {"waits"}
    assert [moment[1] for moment in clock._moments] == ["goes_on", "ends"]
    assert clock.finish().stage_us[0, "waits"] >= 20_000


def test_a_host_lane_waits_for_the_stage_before_it() -> None:
    """Though the program has no wait there: a stage ends when its lanes end."""
    gpu, log = Deferred(), []
    program: list[Lanes] = [
        [[Launch(lambda: gpu.later(lambda: log.append("gpu")))]],
        [[OnHost(lambda: log.append("host"))]],
    ]
    run_serial([program], Serial.of("a", "b").stages, Clock(gpu), gpu, lambda _: None)()
    assert log == ["gpu", "host"]


def test_a_lane_may_go_on_after_a_wait() -> None:
    """In a pipeline too: the host's part, then a copy, or a launch after a wait."""
    for arrange in (run_serial, run_cycles):
        gpu, log = Deferred(), []

        def later(name: str, gpu: Deferred = gpu, log: list[str] = log) -> Launch:
            return Launch(lambda: gpu.later(lambda: log.append(name)))

        program: list[Lanes] = [
            [[later("a"), AWAIT, later("b"), AWAIT]],
            [[OnHost(partial(log.append, "c")), later("d"), OnHost(partial(log.append, "e"))]],
        ]
        schedule = Pipeline.of(("fetch", "read"), "train")
        arrange([program], schedule.stages, Clock(gpu), gpu, lambda _: None)()
        assert log == ["a", "b", "c", "d", "e"]
