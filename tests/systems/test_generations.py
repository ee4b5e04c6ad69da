"""Software generations: what overlaps, what is launched, how ids and vectors are exchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import simpy
from jobs import facts_of, job, machine

from simulator.config.catalogue import load_named
from simulator.engine.pipeline import Mode, conditions, run_pipeline, submitted
from simulator.engine.timer import Timed, Timing, time_system
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.lanes import as_graphs
from simulator.hardware.machine import Machine
from simulator.hardware.program import Dense, Exchange, Move, Operation, Stage
from simulator.systems import GpuOnly, create, mlp_step
from simulator.systems.mlp import bottom_beside, dense_bytes
from simulator.systems.schedule import Ahead, Serial

BOX = "hgx_h100"
SMALL = {"rows_per_table": (1_000_000,) * 8}
GENERATIONS = ("hugectr_2021", "hugectr_2022", "hugectr_2023", "torchrec_serial", "torchrec_eager")
IDS = 8 * 40_960
"""Lookups of a mini-batch of `facts_of()`."""


def made(gpus: int = 4, profile: str = "tuned", sharding: str = "table", **keys: Any) -> GpuOnly:
    work = job(profile, gpus=gpus, sharding=sharding, **SMALL)
    gpu = work.software.gpu.model_copy(update=keys)
    work = replace(work, software=work.software.model_copy(update={"gpu": gpu}))
    system = create("gpu_only", work, machine(BOX))
    assert isinstance(system, GpuOnly)
    return system


def stages(system: GpuOnly) -> tuple[Stage, ...]:
    return system.stages(facts_of(len(system.replay.parts) or 8))


def words(program: tuple[Stage, ...], kind: type[Operation]) -> list[Any]:
    return [w for stage in program for w in stage.operations if isinstance(w, kind)]


def timed(system: GpuOnly, batches: int = 4) -> Timed:
    software = system._job.software
    facts = [replace(facts_of(), index=index) for index in range(batches)]
    timing = Timing(software, "async", 0, batches - 1, check=True)
    return time_system(system, machine(BOX), facts, timing)


def end_ps(**keys: Any) -> int:
    return max(span.end_ps for span in timed(made(**keys)).spans)


# ids


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_ids_of_samples_are_loaded_once_and_exchanged(gpus: int) -> None:
    """Over PCIe all ids and dense features once; between GPUs whole buffers of a share each."""
    program = stages(made(gpus, ids="exchanged"))
    moved = sum(word.bytes for word in words(program, Move))
    assert moved == IDS * 4 + dense_bytes(job().model)
    sent = [word for word in words(program, Exchange) if word.name == "ids_exchange"]
    assert [word.bytes for word in sent] == [IDS * 4 // gpus] * gpus


def test_ids_go_to_the_owner_of_a_row_and_to_all_pieces_of_columns() -> None:
    for sharding, pieces in (("row", 1), ("column", 4)):
        system = made(4, sharding=sharding, ids="exchanged")
        flows = facts_of(32)
        program = system.stages(flows)
        whole = flows["lookup"].lookups
        sent = [w.bytes for w in words(program, Exchange) if w.name == "ids_exchange"]
        assert sum(sent) == whole * 4
        loaded = sum(w.bytes for w in words(program, Move)) - dense_bytes(job().model)
        assert loaded == whole * 4 // pieces


def test_one_gpu_has_nobody_to_exchange_with() -> None:
    keys = {"ids": "exchanged", "bottom_mlp": "beside_exchange", "all_reduce": "in_turn"}
    assert stages(made(1, **keys)) == stages(made(1))


# overlaps


def test_the_bottom_mlp_beside_the_exchange_is_the_same_work() -> None:
    model = job().model
    step = mlp_step(model, "gpu0", 512)
    parts = bottom_beside(step, model, 512)
    for key in ("flops", "kernels", "bytes_read", "bytes_written"):
        assert sum(getattr(part, key) for part in parts) == getattr(step, key), key
    assert all(part.flops > 0 for part in parts)
    assert parts[0].flops * 2 == parts[2].flops
    program = stages(made(bottom_mlp="beside_exchange"))
    beside = {s.name: [w.name for w in s.operations if isinstance(w, Dense)] for s in program}
    assert beside["all_to_all"] == ["bottom_mlp"] * 4
    assert beside["mlp"] == ["mlp"] * 4
    assert beside["all_to_all_back"] == ["bottom_mlp_back"] * 4


def test_the_all_reduce_has_a_lane_of_its_own_or_comes_first() -> None:
    beside, in_turn = (stages(made(all_reduce=w))[-1].lanes for w in ("beside_update", "in_turn"))
    assert (len(beside), len(in_turn)) == (8, 4)
    assert {lane[0].name for lane in in_turn} == {"all_reduce"}


def test_the_all_reduce_goes_beside_the_exchange_once_the_bottom_mlp_is_done() -> None:
    program = stages(made(all_reduce="beside_exchange", bottom_mlp="beside_exchange"))
    back = program[-2]
    assert back.name == "all_to_all_back"
    assert [lane[0].after for lane in back.lanes[2::3]] == ["bottom_mlp_back"] * 4
    assert not [w for w in program[-1].operations if isinstance(w, Exchange)]
    programs = [words(stages(made(exchange_bytes=size)), Exchange) for size in (4, 2)]
    whole, half = (next(w.bytes for w in each if w.name == "all_reduce") for each in programs)
    assert whole == 2 * half, "gradients of the MLPs cross links in half precision too"


@pytest.mark.parametrize(("ids", "train", "total"), [(10, 30, 130), (40, 30, 190)])
def test_ids_ahead_hide_behind_the_mini_batch_before(ids: int, train: int, total: int) -> None:
    """Four mini-batches: the first ids, then the longer of both, the last one trains."""
    resources = {name: Resource(name, name, "other") for name in ("link", "gpu")}
    work = tuple(
        StageDemand(name, ((Demand(name, {name: Service(ps)}),),))
        for name, ps in (("link", ids), ("gpu", train))
    )
    clock = Machine(simpy.Environment(), resources, check=True)
    spans = run_pipeline(clock, [work] * 4, "ahead")
    assert max(span.end_ps for span in spans) == total


def test_ids_ahead_wait_until_those_before_were_taken_over() -> None:
    assert conditions("ahead", 3, 2, 0) == [(1, 0), (0, 2)]
    assert conditions("ahead", 3, 2, 1) == [(2, 0), (1, 2)]
    assert conditions("ahead", 3, 2, 2) == [(2, 1), (1, 2)]
    order = list(submitted("ahead", 2, range(3)))
    assert order == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    assert list(submitted("serial", 2, range(2))) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_schedule_with_ids_ahead_is_what_the_profile_asks_for() -> None:
    assert isinstance(made(next_ids="ahead").schedule, Ahead)
    assert isinstance(made().schedule, Serial)


# launches


def test_a_graph_is_submitted_once_from_one_wait_to_the_next() -> None:
    def of(name: str, **keys: Any) -> Demand:
        return Demand(name, host="gpu.launch", submit_ps=5, submit_more_ps=15, **keys)

    lane = (of("a"), of("b"), of("wait", blocks=True), of("c"))
    (stage,) = as_graphs((StageDemand("x", (lane,)),))
    assert [(d.submit_ps, d.submit_more_ps) for d in stage.lanes[0]] == [
        (5, 0),
        (0, 0),
        (5, 15),
        (5, 0),
    ]


@pytest.mark.parametrize(
    ("slow", "fast"),
    [
        (
            {"profile": "torchrec_serial", "iteration": "launches"},
            {"profile": "torchrec_serial", "iteration": "graph"},
        ),
        ({"next_ids": "in_turn"}, {"next_ids": "ahead"}),
        ({"exchange_bytes": 4}, {"exchange_bytes": 2}),
        ({"all_reduce": "in_turn"}, {"all_reduce": "beside_update"}),
    ],
)
def test_what_later_software_does_is_never_slower(
    slow: dict[str, Any], fast: dict[str, Any]
) -> None:
    assert end_ps(**fast) < end_ps(**slow)


# profiles


@pytest.mark.parametrize("name", GENERATIONS)
@pytest.mark.parametrize("gpus", [1, 4])
def test_a_generation_runs(name: str, gpus: int) -> None:
    system = made(gpus, name)
    spans = timed(system).spans
    mode: Mode = "ahead" if system._job.software.gpu.next_ids == "ahead" else "serial"
    ends = {(span.batch, span.stage): span.end_ps for span in spans}
    for span in spans:
        before = conditions(mode, len(system.schedule.names), span.batch, span.stage)
        assert all(ends[key] <= span.start_ps for key in before)


def test_a_generation_says_what_it_has_from_where() -> None:
    for name in GENERATIONS:
        gpu = load_named("operators", name).gpu
        assert "assumed" in gpu.source or "MLPerf" in gpu.source
        assert load_named("operators", name).name == name
    old, new = (load_named("operators", f"hugectr_{year}").gpu for year in (2021, 2022))
    changed = {"indices", "all_reduce", "weight_gradients", "source"}
    assert {
        key for key in type(old).model_fields if getattr(old, key) != getattr(new, key)
    } == changed
