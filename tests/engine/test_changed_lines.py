"""Lines that operations of a CPU leave changed in its caches, and what drives them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, VICTIM, WRITE_BACK, BatchFacts, Flow
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.config.sections import CacheConfig
from simulator.engine.processor_caches import ProcessorCaches
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import (
    Buffer,
    Gather,
    Move,
    Operation,
    Stage,
    Store,
    Update,
    Wait,
)
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, create

PLAIN, STREAMING = (load_named("operators", name) for name in ("stock", "tuned"))
"""Rows are gathered with plain stores, and with streaming ones that pass the caches."""
HELD = 20 * 256 * 1024
"""Caches of 20 cores, 256 KiB each."""
NOTHING = BatchFacts(0, 1, {})


@cache
def machine(threads: int | None = None, pools: int = 1) -> Topology:
    return build_topology(load_machine("v100_p3"), 512, cpu_threads=threads, pools=pools)


def gather(rows: int, at: str = "cpu", row_bytes: int = 512) -> Gather:
    place = machine().memory(at).place
    store = Store("rows", place, row_bytes)
    return Gather("gather", at, store, Flow(0, rows), Buffer("staged", place, rows * row_bytes))


def update(rows: int, state: int = 0) -> Update:
    store = Store("rows", "cpu.dram", 512, state)
    gradients = Buffer("gradients", "cpu.dram", 512)
    return Update("update", "cpu", store, Flow(rows, rows), gradients, 512, True, False)


COPY = Move("copy", "cpu.dram", Buffer("b", "cpu.dram", 4096), "gpu.hbm")
WAIT = Wait("wait", "gpu")


def passed_on(
    *programs: Sequence[Operation],
    software: OperatorProfile = PLAIN,
    machine_: Topology | None = None,
) -> list[list[tuple[int, int]]]:
    """What each operation leaves and evicts; a program is one lane of one stage."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("all", (tuple(programs[facts.index]),)),)

    caches = ProcessorCaches(program, machine_ or machine(), (), False, software)
    batches = [BatchFacts(k, 1, {}) for k in range(len(programs))]
    return [
        [(word.leaves, word.evicts) for stage in stages for word in stage.operations]
        for stages in caches.programs(batches)
    ]


def test_an_operation_leaves_what_it_writes_for_the_next_one_to_drive_out() -> None:
    """The first one meets what the last one of the mini-batch before has left."""
    given = passed_on([gather(100), gather(30), gather(7)])
    assert given == [[(51_200, 3584), (15_360, 51_200), (3584, 15_360)]]


def test_the_first_mini_batch_meets_what_the_last_one_leaves() -> None:
    """As in the middle of a long run."""
    given = passed_on([gather(1)], [gather(2)], [gather(3)])
    assert given == [[(512, 1536)], [(1024, 512)], [(1536, 1024)]]


@pytest.mark.parametrize(
    ("rows", "left"), [(0, 0), (1, 512), (HELD // 512, HELD), (HELD // 512 + 1, HELD)]
)
def test_the_caches_of_all_cores_hold_so_much(rows: int, left: int) -> None:
    assert passed_on([gather(rows)]) == [[(left, left)]]


@pytest.mark.parametrize(("threads", "pools", "cores"), [(3, 1, 3), (1, 1, 1), (6, 2, 6)])
def test_only_cores_whose_threads_work_hold_lines(threads: int, pools: int, cores: int) -> None:
    """Of two pools each has its own, and lines of both wait."""
    few = machine(threads, pools)
    assert passed_on([gather(10**6)], machine_=few)[0][0][0] == cores * 256 * 1024


def test_a_row_that_is_no_whole_line_leaves_its_lines() -> None:
    """In order: 10 rows of 100 B are 16 lines of 64 B. In place and anywhere: two lines a row."""
    store = Store("rows", "cpu.dram", 100)
    gradients = Buffer("gradients", "cpu.dram", 512)
    anywhere = Update("update", "cpu", store, Flow(10, 10), gradients, 100, True, False)
    assert passed_on([gather(10, row_bytes=100)])[0][0][0] == 16 * 64
    assert passed_on([anywhere])[0][0][0] == 10 * 128


def test_optimizer_state_is_left_with_its_row() -> None:
    assert passed_on([update(10, state=512)])[0][0][0] == 10 * 1024


def test_streaming_stores_leave_nothing_and_drive_out_what_was_left() -> None:
    given = passed_on([update(10), gather(5), gather(6)], software=STREAMING)
    assert given == [[(5120, 0), (0, 5120), (0, 0)]]


def test_what_does_not_pass_the_caches_of_the_cores_leaves_them_alone() -> None:
    """Copies, waits and all that a GPU does: lines of the CPU wait on."""
    far = gather(9, "gpu")
    given = passed_on([gather(10), COPY, far, WAIT, gather(20)])
    assert given == [[(5120, 10_240), (0, 0), (0, 0), (0, 0), (10_240, 5120)]]


def test_lanes_follow_each_other_in_the_order_of_the_program() -> None:
    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        del facts
        return (Stage("a", ((gather(1),), (gather(2),))), Stage("b", ((gather(3),),)))

    (stages,) = ProcessorCaches(program, machine(), (), False, PLAIN).programs([NOTHING])
    words = [word for stage in stages for word in stage.operations]
    assert [(w.leaves, w.evicts) for w in words] == [(512, 1536), (1024, 512), (1536, 1024)]


def test_no_mini_batch_is_no_program() -> None:
    assert passed_on() == []


ANY = st.one_of(
    st.integers(0, 20_000).map(gather),
    st.integers(0, 20_000).map(update),
    st.sampled_from([COPY, WAIT]),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(ANY, max_size=5), min_size=1, max_size=4),
    st.integers(0, 20_000),
    st.sampled_from([PLAIN, STREAMING]),
)
def test_what_is_left_is_driven_out_once(
    begins: list[list[Operation]], last: int, software: OperatorProfile
) -> None:
    """Every mini-batch has work of the CPU: here, at least a gather at its end."""
    programs = [[*words, gather(last)] for words in begins]
    words = [each for given in passed_on(*programs, software=software) for each in given]
    assert sum(leaves for leaves, _ in words) == sum(evicts for _, evicts in words)
    assert all(0 <= leaves <= HELD for leaves, _ in words)


# bytes of DRAM


def dram_bytes(stages: Sequence[Stage], software: OperatorProfile) -> tuple[int, int]:
    """Bytes of DRAM by all operations of a CPU, and by all others."""
    sizes = {True: 0, False: 0}
    for word in (word for stage in stages for word in stage.operations):
        service = machine().price(word, software).services.get("cpu.dram")
        sizes[word.at == "cpu"] += service.bytes if service else 0
    return sizes[True], sizes[False]


FLOWS = (LOOKUP, UNIQUE, HIT, MISS, VICTIM, WRITE_BACK, HIT_LOOKUP, MISS_LOOKUP)
SOME = BatchFacts(0, 512, {name: (Flow(30_000, 20_000),) for name in FLOWS})


@pytest.mark.parametrize("software", [PLAIN, STREAMING])
@pytest.mark.parametrize("name", ["hybrid", "static_cache", "straw_man"])
def test_all_operations_together_move_what_they_would_move_without_caches(
    name: str, software: OperatorProfile
) -> None:
    """From one operation to the next, from the last one to the first: but for a row of each
    operation, which stays in part."""
    small = {"rows_per_table": (100_000,) * 8, "batch_size": 512}
    model = load_named("models", "default").changed(**small)
    system = create(name, Job(model, software, CacheConfig(fraction=0.5)), machine())
    (passed,) = ProcessorCaches(system.stages, machine(), (), False, software).programs([SOME])
    plain = system.stages(SOME)
    worked, others = dram_bytes(passed, software)
    alone, same = dram_bytes(plain, software)
    count = sum(word.at == "cpu" for stage in plain for word in stage.operations)
    assert others == same
    assert worked == pytest.approx(alone, abs=512 * count)


def test_lines_that_wait_move_from_one_operation_to_the_next() -> None:
    """Of 1000 rows gathered with plain stores DRAM sees the row, the line read to own it and the
    line that is written: the last one stays, and what was left before comes out."""
    read, owned, written = 512_000, 512_000, 512_000
    word = gather(1000)
    sizes = {
        (leaves, evicts): dram_bytes(
            [Stage("s", ((replace(word, leaves=leaves, evicts=evicts),),))], PLAIN
        )[0]
        for leaves, evicts in ((0, 0), (512_000, 0), (512_000, 1024), (51_200, 512_000))
    }
    assert sizes[0, 0] == read + owned + written
    assert sizes[512_000, 0] == read + owned
    assert sizes[512_000, 1024] == read + owned + 1024
    assert sizes[51_200, 512_000] == read + owned + written - 51_200 + 512_000


def test_rows_of_a_memory_behind_a_link_are_not_taken_for_lines_of_its_own() -> None:
    """They are written there and then."""
    store = Store("rows", "far.dram", 512)
    gradients = Buffer("gradients", "cpu.dram", 512)
    word = Update("update", "cpu", store, Flow(10, 10), gradients, 512, True, False)
    assert machine().processor("cpu").left_changed(word, PLAIN) == 0
