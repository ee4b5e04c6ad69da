"""Each check of a run fails on an input that was doctored to break it, and on no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays import UniqueReplay
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.engine.invariants import (
    check_bytes,
    check_energy,
    check_order,
    check_stage_names,
    check_stage_times,
    check_utilization,
)
from simulator.engine.pipeline import Mode, Span, StageTime
from simulator.engine.timer import Timing, time_system
from simulator.errors import ConfigError, InvariantError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.demand import Demand, ResourceUse, Service, StageDemand
from simulator.hardware.known_prices import KnownPrices
from simulator.hardware.program import Add, Buffer, Move, Operation, Split, Stage
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, Serial, System, create

# names of stages


def test_a_program_with_the_stages_of_its_schedule_is_let_through() -> None:
    check_stage_names(("a", "b"), (Stage("a", ()), Stage("b", ())))


@pytest.mark.parametrize("given", [("a",), ("b", "a"), ("a", "b", "c"), ("a", "B"), ()])
def test_other_stages_than_announced_are_refused(given: tuple[str, ...]) -> None:
    stages = tuple(Stage(name, ()) for name in given)
    with pytest.raises(InvariantError, match=r"are not those of the schedule: \('a', 'b'\)"):
        check_stage_names(("a", "b"), stages)


# times of stages


def test_exposed_times_that_make_up_the_iteration_are_let_through() -> None:
    check_stage_times({0: StageTime(100, 30), 1: StageTime(70, 70)}, 100)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (StageTime(100, 29), "exposed for 99 ps, 100 ps passed"),
        (StageTime(100, 31), "exposed for 101 ps"),
        (StageTime(29, 30), "stage 0 is exposed for 30 and busy for 29 of 100 ps"),
        (StageTime(101, 30), "busy for 101 of 100"),
        (StageTime(100, -1), "exposed for -1"),
    ],
)
def test_times_of_stages_that_do_not_add_up_are_refused(first: StageTime, message: str) -> None:
    with pytest.raises(InvariantError, match=message):
        check_stage_times({0: first, 1: StageTime(70, 70)}, 100)


# bytes of moves


MOVE = Move("rows", "cpu.dram", Buffer("b", "cpu.dram", 4096), "gpu.hbm")
CARRIED = {"cpu.dram": 4096, "pcie.down": 4096, "pcie.up": 0, "gpu.hbm": 4096}


def priced(sizes: Mapping[str, int], word: Operation = MOVE) -> None:
    """Check a stage of one word whose resources carry `sizes`."""
    services = {name: Service(1.0, bytes=size) for name, size in sizes.items()}
    stage = StageDemand("x", ((Demand(word.name, services),),))
    check_bytes([Stage("x", ((word,),))], [stage])


def test_bytes_that_leave_pass_and_arrive_are_let_through() -> None:
    priced(CARRIED)


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu.dram": 4095},
        {"cpu.dram": 0},
        {"gpu.hbm": 8192},
        {"gpu.hbm": 0},
        {"pcie.down": 4160},
        {"pcie.up": 64},
        {"nic.tx": 1},
    ],
)
def test_bytes_that_are_lost_or_gained_on_the_way_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvariantError) as caught:
        priced(CARRIED | changes)
    assert str(caught.value).startswith(
        "rows moves 4,096 bytes from cpu.dram to gpu.hbm, but its resources say"
    )


def test_a_copy_within_a_memory_reads_and_writes_there() -> None:
    priced({"gpu.hbm": 8192}, Move("x", "gpu.hbm", Buffer("b", "gpu.hbm", 4096), "gpu.hbm"))


def test_other_words_than_moves_may_read_more_than_they_write() -> None:
    sums = Buffer("b", "gpu.hbm", 4096)
    priced({"gpu.hbm": 3 * 4096}, Add("x", "gpu", (sums, sums), sums))


# order


RIGHT = [Span(0, 0, 0, 10, None), Span(0, 1, 10, 30, None), Span(1, 0, 30, 40, None)]


@pytest.mark.parametrize("mode", ["serial", "lockstep", "async"])
def test_stages_in_order_are_let_through(mode: Mode) -> None:
    check_order([*RIGHT, Span(1, 1, 40, 60, None)], mode)
    check_order([], mode)


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (Span(1, 1, 39, 60, None), "stage 1 of mini-batch 1 starts at 39 ps, before stage 0 of"),
        (Span(1, 1, 29, 60, None), "before stage 0 of mini-batch 1 ends at 40"),
        (Span(1, 1, 40, 39, None), "stage 1 of mini-batch 1 ends before it starts"),
    ],
)
def test_a_stage_that_starts_too_early_or_ends_before_is_refused(late: Span, message: str) -> None:
    with pytest.raises(InvariantError, match=message):
        check_order([*RIGHT, late], "async")


def test_two_mini_batches_in_one_stage_are_refused() -> None:
    spans = [Span(0, 0, 0, 10, None), Span(1, 0, 9, 19, None)]
    for mode in ("lockstep", "async"):
        with pytest.raises(InvariantError, match="before stage 0 of mini-batch 0 ends at 10"):
            check_order(spans, mode)  # type: ignore[arg-type]


def test_mini_batches_overlap_only_where_the_mode_lets_them() -> None:
    spans = [
        Span(0, 0, 0, 10, None),
        Span(0, 1, 10, 30, None),
        Span(1, 0, 10, 20, None),
        Span(1, 1, 30, 50, None),
    ]
    check_order(spans, "lockstep")
    with pytest.raises(InvariantError, match="before stage 1 of mini-batch 0 ends at 30"):
        check_order(spans, "serial")


# utilization


@pytest.mark.parametrize("busy", [0.0, 500.0, 1000.0, 1000.9])
def test_a_resource_may_be_busy_all_the_time(busy: float) -> None:
    check_utilization({"hbm": ResourceUse(busy)}, 1000)


@pytest.mark.parametrize("busy", [1002.0, 2000.0])
def test_a_resource_that_is_busier_than_all_the_time_is_refused(busy: float) -> None:
    with pytest.raises(InvariantError, match=f"hbm was busy for {busy} of 1000 ps"):
        check_utilization({"dram": ResourceUse(1.0), "hbm": ResourceUse(busy)}, 1000)


# where they are asked


SOFTWARE = load_named("operators", "tuned")


def topology() -> Topology:
    return build_topology(load_machine("v100_p3"), 512)


def hybrid(machine: Topology) -> System:
    model = load_named("models", "default").changed(rows_per_table=(1000,) * 8)
    return create("hybrid", Job(model, SOFTWARE), machine)


FACTS = [BatchFacts(k, 16, {LOOKUP: (Flow(64, 50),), UNIQUE: (Flow(64, 50),)}) for k in range(2)]
CHECKED = Timing(SOFTWARE, "async", 0, 1, check=True)


def test_a_run_that_keeps_to_all_checks() -> None:
    machine = topology()
    timed = time_system(hybrid(machine), machine, FACTS, CHECKED)
    assert len(timed.spans) == 2 * len(hybrid(machine).schedule.names)
    assert timed.touched == {"cpu", "gpu", "pcie"}


def test_a_run_without_mini_batches_is_empty() -> None:
    machine = topology()
    timed = time_system(hybrid(machine), machine, [], CHECKED)
    assert (timed.spans, timed.touched) == ((), frozenset())


@pytest.mark.parametrize("check", [True, False])
def test_facts_that_do_not_add_up_are_always_refused(check: bool) -> None:
    machine = topology()
    broken = replace(FACTS[1], flows={LOOKUP: (Flow(64, 65),), UNIQUE: (Flow(64, 65),)})
    with pytest.raises(InvariantError, match="mini-batch 1, shard 0: unique rows <= lookups"):
        time_system(hybrid(machine), machine, [FACTS[0], broken], replace(CHECKED, check=check))


class Renamed(System):
    """Announces a stage that its program does not have."""

    def __init__(self, job: Job, machine: Topology) -> None:
        del job, machine
        self.replay, self.schedule = UniqueReplay(), Serial.of("announced")

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        del facts
        return (Stage("done", ()),)


def test_stages_other_than_announced_are_always_refused() -> None:
    machine = topology()
    renamed = Renamed(Job(load_named("models", "default"), SOFTWARE), machine)
    with pytest.raises(InvariantError, match="not those of the schedule"):
        time_system(renamed, machine, FACTS, replace(CHECKED, check=False))


class Shrinking(Renamed):
    """Leaves its stage out from the second mini-batch on."""

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return () if facts.index else (Stage("announced", ()),)


def test_every_mini_batch_has_all_stages() -> None:
    machine = topology()
    shrinking = Shrinking(Job(load_named("models", "default"), SOFTWARE), machine)
    with pytest.raises(InvariantError, match=r"stages \(\) are not those of the schedule"):
        time_system(shrinking, machine, FACTS, CHECKED)


class Misplaced(Renamed):
    """Splits ids at the CPU, which cannot."""

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("announced", ((Split("split", "cpu", 8),),)),)


def test_an_operation_that_its_device_cannot_do_is_refused_before_anything_runs() -> None:
    machine = topology()
    misplaced = Misplaced(Job(load_named("models", "default"), SOFTWARE), machine)
    with pytest.raises(ConfigError, match=r"cpu \(Intel Xeon E5-2698 v4\) cannot do Split"):
        time_system(misplaced, machine, FACTS, CHECKED)


class Leaky(Topology):
    """Loses half of what it copies."""

    def price(
        self, operation: Operation, software: OperatorProfile, known: KnownPrices | None = None
    ) -> Demand:
        demand = super().price(operation, software, known)
        if not isinstance(operation, Move):
            return demand
        services = dict(demand.services)
        services["gpu.hbm"] = replace(services["gpu.hbm"], bytes=operation.bytes // 2)
        return replace(demand, services=services)


def test_a_machine_that_loses_bytes_is_refused_under_check_alone() -> None:
    sound = topology()
    leaky = Leaky(sound.config, sound._setup)
    with pytest.raises(InvariantError, match="pooled_to_gpu moves"):
        time_system(hybrid(leaky), leaky, FACTS, CHECKED)
    assert time_system(hybrid(leaky), leaky, FACTS, replace(CHECKED, check=False)).spans


@pytest.mark.parametrize("joules", [float("nan"), float("inf"), -1.0])
def test_energies_are_finite_and_not_negative(joules: float) -> None:
    with pytest.raises(InvariantError, match=r"gpu takes .* J on gpu\.hbm"):
        check_energy("gpu", {"gpu.sm": 1.0, "gpu.hbm": joules})
    assert check_energy("gpu", {"gpu.hbm": 0.0}) == {"gpu.hbm": 0.0}
