"""Lines that an operation leaves changed in a CPU's caches: the next one there drives them out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.engine.processor_caches import ProcessorCaches
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import (
    Buffer,
    Gather,
    Move,
    Operation,
    Scatter,
    Stage,
    Store,
    Wait,
)
from simulator.hardware.topology import Topology, build_topology

DRAM, HBM = "cpu.dram", "gpu.hbm"
PAPER: OperatorProfile = load_named("operators", "paper")
TUNED: OperatorProfile = load_named("operators", "tuned")
HELD = 20 * 256 * 1024
"""20 cores with 256 KiB each: 10,240 rows of 512 B."""


@cache
def machine() -> Topology:
    return build_topology(load_machine("v100_p3"), 512)


def gather(rows: int, at: str = "cpu", place: str = DRAM) -> Gather:
    into = Buffer("staged", place, rows * 512)
    return Gather("gather", at, Store("rows", place, 512), Flow(0, rows), into)


def scatter(rows: int) -> Scatter:
    source = Buffer("staged", DRAM, rows * 512)
    return Scatter("scatter", "cpu", source, Store("rows", DRAM, 512), Flow(0, rows))


def stages(facts: BatchFacts) -> tuple[Stage, ...]:
    """A gather and a scatter of the CPU with other work between them and beside."""
    rows = facts[LOOKUP].rows
    copy = Move("copy", DRAM, Buffer("staged", DRAM, rows * 512), HBM)
    return (
        Stage("collect", ((gather(rows),), (gather(rows, "gpu", HBM), Wait("wait", "gpu")))),
        Stage("exchange", ((copy,),)),
        Stage("insert", ((scatter(rows),),)),
    )


def programs(rows: Sequence[int], software: OperatorProfile = PAPER) -> list[tuple[Stage, ...]]:
    """Of mini-batches with so many rows each."""
    batches = [BatchFacts(k, 1, {LOOKUP: (Flow(n, n),)}) for k, n in enumerate(rows)]
    return ProcessorCaches(stages, machine(), (), False, software).programs(batches)


def words(ran: Sequence[tuple[Stage, ...]], at: str = "cpu") -> list[Operation]:
    """Operations at a place, mini-batch by mini-batch."""
    return [w for batch in ran for stage in batch for w in stage.operations if w.at == at]


@pytest.mark.parametrize(("rows", "left"), [(0, 0), (1, 512), (10_240, HELD), (50_000, HELD)])
def test_each_operation_drives_out_what_the_one_before_left(rows: int, left: int) -> None:
    """From the first: a mini-batch like the last came before it."""
    for word in words(programs([rows] * 3)):
        assert (word.leaves, word.evicts) == (left, left)


def test_it_is_the_one_before_in_the_order_of_the_program() -> None:
    """Rows of 1, 2 and 3 mini-batches; the first follows the last."""
    sizes = [(w.leaves // 512, w.evicts // 512) for w in words(programs([1, 2, 3]))]
    assert sizes == [(1, 3), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]


def test_streaming_stores_leave_nothing() -> None:
    assert all(w.leaves == w.evicts == 0 for w in words(programs([1000] * 2, TUNED)))


def test_other_processors_copies_and_waits_stay_as_they_are() -> None:
    ran = programs([1000])
    for word in (*words(ran, "gpu"), *words(ran, DRAM)):
        assert word.leaves == word.evicts == 0


def test_no_mini_batch_is_no_program() -> None:
    assert programs([]) == []


def written(ran: Sequence[tuple[Stage, ...]]) -> int:
    """Bytes that operations of the CPU move to and from DRAM."""
    demands = [machine().price(word, PAPER) for word in words(ran)]
    return sum(demand.services[DRAM].bytes for demand in demands)


@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=6))
def test_bytes_of_all_mini_batches_are_the_same_wherever_they_are_paid(rows: list[int]) -> None:
    """What stays is what goes, to the byte: reads, ownership and writes of each row and buffer."""
    ran = programs(rows)
    assert sum(w.leaves for w in words(ran)) == sum(w.evicts for w in words(ran))
    plain = [
        machine().price(word, PAPER).services[DRAM].bytes
        for n in rows
        for word in (gather(n), scatter(n))
    ]
    assert written(ran) == sum(plain)
