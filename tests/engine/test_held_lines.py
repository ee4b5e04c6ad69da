"""Copies into buffers whose lines cores hold: who holds what, how long, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import SYSTEMS

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, VICTIM, WRITE_BACK, BatchFacts, Flow
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.catalogue import load_named
from simulator.config.experiment import CacheConfig
from simulator.config.operators import OperatorProfile
from simulator.engine.processor_caches import ProcessorCaches
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import (
    Accumulate,
    Buffer,
    Move,
    Operation,
    Scatter,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, create

TUNED = load_named("operators", "tuned")
ONE = TUNED.model_copy(update={"staging_buffers": 1})
TABLES = Store("tables", "cpu.dram", 512)
MB = 10**6
CORE_CACHES = 16 * 2 * 2**20
"""L2 of 16 cores."""
LAST_LEVEL = 300 * 2**20
POSTED = 370_000
"""Bytes that are written before lines which are held slow a copy down."""


@cache
def machine(name: str = "h100_vm", threads: int | None = None) -> Topology:
    return build_topology(load_machine(name), 512, cpu_threads=threads)


def copy(size: int, name: str = "rows", source: str = "gpu.hbm") -> Move:
    return Move("copy", source, Buffer(name, source, size), "cpu.dram")


def scatter(size: int, name: str = "rows") -> Scatter:
    rows = size // 512
    return Scatter("scatter", "cpu", Buffer(name, "cpu.dram", size), TABLES, Flow(rows, rows))


def update(vectors: int, lookups: int) -> Update:
    source = Buffer("rows", "cpu.dram", vectors * 512)
    return Update("update", "cpu", TABLES, Flow(lookups, lookups), source, 512, True, False)


def copies(
    *programs: Sequence[Operation], software: OperatorProfile = ONE, threads: int | None = None
) -> list[tuple[int, int]]:
    """Held and shared bytes of every copy; a program is one lane of a mini-batch."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("all", (tuple(programs[facts.index]),)),)

    caches = ProcessorCaches(program, machine(threads=threads), (), False, software)
    given = caches.programs([BatchFacts(k, 1, {}) for k in range(len(programs))])
    words = [word for stages in given for stage in stages for word in stage.operations]
    return [(word.held, word.shared) for word in words if isinstance(word, Move)]


def test_rows_that_were_scattered_are_held_by_the_core_that_read_each() -> None:
    """The first copy meets what the last mini-batch leaves, as in the middle of a long run."""
    words = [copy(MB), scatter(MB)]
    assert copies(words, words) == [(MB, 0), (MB, 0)]


def test_gradients_that_are_read_for_several_lookups_are_shared() -> None:
    assert copies([copy(512 * 1000), update(1000, 5000)]) == [(0, 512_000)]
    assert copies([copy(512 * 1000), update(1000, 1000)]) == [(512_000, 0)]
    assert copies([copy(512 * 1000), update(1000, 10)]) == [(5120, 0)], "those alone that are read"


def test_sums_of_gradients_share_them_as_fused_updates_do() -> None:
    source = Buffer("rows", "cpu.dram", 512_000)
    word = Accumulate("sum", "cpu", source, Flow(5000, 5000), 512, False, 1)
    assert copies([copy(512_000), word]) == [(0, 512_000)]
    assert copies([copy(512_000), replace(word, expanded=True)]) == [(0, 0)], "it reads others"


def test_one_thread_shares_lines_with_nobody() -> None:
    assert copies([copy(512_000), update(1000, 5000)], threads=1) == [(512_000, 0)]


def test_a_thread_a_table_shares_lines_with_nobody() -> None:
    """A vector is of one table."""
    operator = ONE.accumulate.model_copy(update={"threads": "tables"})
    software = ONE.model_copy(update={"accumulate": operator})
    assert copies([copy(512_000), update(1000, 5000)], software=software) == [(512_000, 0)]


def test_what_was_written_since_is_held_by_nobody() -> None:
    """A second copy finds it as the first one left it; other buffers are none of its business."""
    assert copies([copy(MB), copy(MB), scatter(MB)]) == [(MB, 0), (0, 0)]
    assert copies([copy(MB, "other"), scatter(MB)]) == [(0, 0)]


def test_a_smaller_copy_takes_so_many_lines_away() -> None:
    assert copies([copy(MB // 2), scatter(MB)]) == [(MB // 2, 0)]


def test_lines_are_gone_once_the_caches_were_filled_again() -> None:
    """`scatter` brings its buffer into the caches (rows pass them by streaming stores): of 1 MB
    all is left after 30 MB, half after the room of all cores less half of it, then nothing."""
    for after, left in (
        (30 * MB, MB),
        ((CORE_CACHES - MB // 2) // 512 * 512, MB // 2),
        (CORE_CACHES, 0),
    ):
        other = scatter(after, "other")
        ((held, shared),) = copies([copy(MB), scatter(MB), other])
        assert (held, shared) == (pytest.approx(left, abs=512), 0), after


def test_shared_lines_are_known_to_the_last_level_cache() -> None:
    """After 64 MB that all cores have read, twice what their own caches hold, they still are."""
    passed = scatter(64 * MB, "other")
    assert copies([copy(512_000), update(1000, 5000), passed]) == [(0, 512_000)]
    passed = scatter(LAST_LEVEL + 40 * 2**20, "other")  # of which copies have filled 40 MiB there
    assert copies([copy(512_000), update(1000, 5000), passed]) == [(0, 0)]


@pytest.mark.parametrize("turns", [1, 2, 8])
def test_buffers_that_are_taken_in_turn_are_written_as_many_mini_batches_later(turns: int) -> None:
    """Each mini-batch scatters 1 MB and passes 6 MB more: 7 MB a turn, of 33.5 MB."""
    words = [copy(MB), scatter(MB), scatter(6 * MB, "other")]
    software = TUNED.model_copy(update={"staging_buffers": turns})
    held = copies(*[words] * 10, software=software)
    assert set(held) == {(MB if turns <= 4 else 0, 0)}


# what it costs


def seconds(word: Move, name: str = "h100_vm") -> float:
    demand = machine(name).price(word, TUNED)
    return demand.alone_ps(machine(name).resources) / 1e12


@pytest.mark.parametrize(("name", "gbps"), [("h100_vm", 8.7), ("h200", 16.2), ("h100_x2", 24.0)])
def test_copies_into_shared_lines_run_at_the_measured_rate(name: str, gbps: float) -> None:
    """Beyond what is posted."""
    size, source = 8 * 2**20, "gpu0.hbm" if name == "h100_x2" else "gpu.hbm"
    cold = copy(size, source=source)
    share = POSTED / size
    expected = (size - POSTED) / gbps / 1e9 + share * seconds(cold, name)
    assert seconds(replace(cold, shared=size), name) == pytest.approx(expected)
    assert seconds(cold, name) < 0.7 * size / gbps / 1e9


@pytest.mark.parametrize("size", [64 * 1024, POSTED])
def test_small_copies_are_posted_before_they_are_slowed_down(size: int) -> None:
    """Measured: 64 KiB into lines that all cores hold take 0.4 to 0.9 us more of 14 to 17 us."""
    assert seconds(replace(copy(size), shared=size)) == seconds(copy(size))
    assert seconds(replace(copy(MB), shared=MB)) > 1.5 * seconds(copy(MB))


@given(st.integers(0, 4 * MB), st.integers(0, 4 * MB))
def test_more_lines_that_are_held_never_make_a_copy_faster(held: int, shared: int) -> None:
    """Nor does one that is held by more."""
    size = 8 * MB
    word = replace(copy(size), held=held, shared=shared)
    assert seconds(copy(size)) <= seconds(word) + 1e-12
    assert seconds(word) <= seconds(replace(word, held=0, shared=held + shared)) + 1e-12


@pytest.mark.parametrize(
    ("state", "size", "gbps"),
    [
        ("held", 2**20, (29.5, 33.1)),
        ("held", 2**23, (24.8, 21.3)),
        ("shared", 2**20, (8.9, 9.8)),
        ("shared", 2**23, (8.6, 8.7)),
        ("shared", 2**26, (8.6, 8.2)),
    ],
)
def test_rates_are_those_that_were_measured(
    state: str, size: int, gbps: tuple[float, float]
) -> None:
    """On two H100 hosts, the latency of a copy included; within a third."""
    demand = machine().price(replace(copy(size), **{state: size}), TUNED)
    took = (demand.latency_ps + demand.alone_ps(machine().resources)) / 1e12
    assert size / took / 1e9 == pytest.approx(sum(gbps) / 2, rel=0.33)


def test_copies_to_the_gpu_and_machines_whose_links_are_slower_pay_nothing() -> None:
    """23 GB/s is faster than PCIe 3 takes it."""
    assert seconds(replace(copy(MB), held=MB), "v100_p3") == seconds(copy(MB), "v100_p3")
    down = Move("down", "cpu.dram", Buffer("b", "cpu.dram", MB), "gpu.hbm", shared=MB)
    assert seconds(down) == seconds(replace(down, shared=0))


# where systems meet it


def facts(index: int, lookups: int) -> BatchFacts:
    names = (LOOKUP, UNIQUE, HIT, MISS, VICTIM, WRITE_BACK, HIT_LOOKUP, MISS_LOOKUP)
    return BatchFacts(index, 512, {name: (Flow(lookups, lookups),) for name in names})


def met(name: str, software: OperatorProfile, samples: int) -> int:
    """Bytes of held lines that the copies of a mini-batch of `name` overwrite."""
    small = {"rows_per_table": (10**6,) * 8, "batch_size": samples}
    model = load_named("models", "default").model_copy(update=small)
    system = create(name, Job(model, software, CacheConfig(fraction=0.5)), machine())
    batches = [facts(k, samples * 8 * 20) for k in range(3)]
    programs = ProcessorCaches(system.stages, machine(), (), False, software).programs(batches)
    moves = [w for stage in programs[-1] for w in stage.operations if isinstance(w, Move)]
    return sum(word.held + word.shared for word in moves)


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "gpu_only"])
def test_training_of_the_usual_size_finds_its_buffers_cold(name: str) -> None:
    assert met(name, TUNED, 2048) == 0


def test_small_mini_batches_meet_their_own_lines() -> None:
    """With one buffer always. With eight, gradients in lines that the last level knows of: until
    eight mini-batches pass more than it holds."""
    assert met("hybrid", ONE, 64) == 64 * 8 * 512
    assert met("straw_man", ONE, 64) == 64 * 8 * 20 * 512
    for name in ("hybrid", "static_cache"):
        assert [met(name, TUNED, n) for n in (64, 192, 256)] == [64 * 4096, 192 * 4096, 0]
    assert met("straw_man", TUNED, 64) == 0, "the cores' own caches are smaller"
