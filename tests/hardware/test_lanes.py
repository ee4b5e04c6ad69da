"""What lanes wait for in each other, and lanes that one process of the host submits."""

from __future__ import annotations

import pytest

from simulator.errors import InvariantError
from simulator.hardware.demand import Demand, Service, StageDemand
from simulator.hardware.lanes import by_workers, in_one_process, waits_of
from simulator.hardware.program import Exchange, Operation, Stage, Wait

GROUP = ("gpu0", "gpu1")


def exchange(at: str, name: str = "all_to_all", after: str = "") -> Exchange:
    return Exchange(name, at, GROUP, "all_to_all", 100, after=after)


def work(at: str, name: str = "work") -> Operation:
    return Wait(name, at)


def test_lanes_without_collectives_wait_for_nothing() -> None:
    assert waits_of(Stage("x", ((work("gpu0"),), (work("gpu1"),)))) == {}


def test_a_collective_waits_for_what_stands_before_it_in_every_other_lane() -> None:
    stage = Stage("x", tuple((work(at), exchange(at), work(at)) for at in GROUP))
    assert waits_of(stage) == {(0, 1): ((1, 0),), (1, 1): ((0, 0),)}


def test_a_collective_at_the_head_of_all_lanes_waits_for_nothing() -> None:
    assert waits_of(Stage("x", tuple((exchange(at),) for at in GROUP))) == {}


def test_collectives_of_other_names_are_others() -> None:
    names = ("forth", "back")
    stage = Stage("x", tuple(tuple(exchange(at, n) for n in names) for at in GROUP))
    assert waits_of(stage) == {(0, 1): ((1, 0),), (1, 1): ((0, 0),)}


def test_an_operation_of_another_stream_comes_after_the_one_that_it_names() -> None:
    """A collective among those that come after something comes after all of it."""
    lanes = [
        ((work(at, "mlp"), work(at, "update")), (exchange(at, "all_reduce", after="mlp"),))
        for at in GROUP
    ]
    stage = Stage("x", (*lanes[0], *lanes[1]))
    waits = waits_of(stage)
    assert set(waits) == {(1, 0), (3, 0)}
    assert all(set(spots) == {(0, 0), (2, 0)} for spots in waits.values())


def test_what_no_other_lane_has_cannot_come_before() -> None:
    lanes = ((work("gpu1", "mlp"),), (exchange("gpu0", after="mlp"),))
    with pytest.raises(InvariantError, match=r"all_to_all comes after 'mlp', which no other lane"):
        waits_of(Stage("train", lanes))


def submitted(*hosts: str) -> StageDemand:
    return StageDemand("x", tuple((Demand("k", host=host),) for host in hosts))


def hosts(stage: StageDemand) -> list[str]:
    return [lane[0].host for lane in stage.lanes]


def test_one_process_submits_with_the_thread_of_the_first_processor() -> None:
    (stage,) = in_one_process([submitted("gpu10.launch", "gpu2.launch", "")])
    assert hosts(stage) == ["gpu2.launch", "gpu2.launch", ""]
    assert stage.in_turn


def test_each_host_has_a_process_of_its_own() -> None:
    names = [f"host{h}.gpu{g}.launch" for h in (0, 1) for g in (0, 1)]
    (stage,) = in_one_process([submitted(*names)])
    assert hosts(stage) == [names[0], names[0], names[2], names[2]]


def test_one_processor_is_submitted_for_as_ever() -> None:
    stage = submitted("gpu0.launch", "gpu0.launch", "")
    assert in_one_process([stage]) == (stage,)


def test_work_of_the_cpu_is_handed_over_once_a_lane() -> None:
    """Kernels and waits of the host are not; what follows at once is handed over with it."""
    rows = Demand("rows", {"cpu.dram": Service(5.0)}, blocks=True, latency_ps=3)
    kernel = Demand("kernel", {"gpu.hbm": Service(5.0)}, host="gpu.launch")
    wait = Demand("wait", host="gpu.launch", blocks=True)
    (stage,) = by_workers([StageDemand("x", ((kernel, wait, rows, rows), (kernel,)))], 100)
    assert [[d.latency_ps for d in lane] for lane in stage.lanes] == [[0, 0, 103, 3], [0]]
    assert stage.name == "x"
