"""The checker finds hazards planted by hand, and refuses programs that it cannot follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches import policy_names
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Stream, run_replays
from simulator.config.catalogue import load_named
from simulator.config.sections import CacheConfig
from simulator.config.trace import ZipfTraceConfig
from simulator.engine.checker import HazardReport, StaleRead, execute, sequential
from simulator.engine.pipeline import Mode, Span, run_pipeline
from simulator.engine.timer import Timing, time_system
from simulator.errors import InvariantError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.machine import Machine
from simulator.hardware.program import (
    Buffer,
    Flow,
    Gather,
    Move,
    Operation,
    Pool,
    Scatter,
    Sort,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, System, create
from simulator.traces import Trace, open_trace

TABLES = Store("tables", "cpu.dram", 512)
CACHE = Store("cache", "gpu.hbm", 512, slotted=True)
BELOW, ABOVE = Buffer("staged", "cpu.dram", 512), Buffer("staged", "gpu.hbm", 512)
VECTORS = Buffer("vectors", "cpu.dram", 512)
A = 6364136223846793005


def rows(*ids: int, slots: Sequence[int] | None = None) -> Flow:
    numbers = np.array(ids, np.int64)
    where = None if slots is None else np.array(slots, np.int64)
    return Flow(len(ids), len(ids), numbers, where)


def pool(flow: Flow, store: Store = TABLES) -> Pool:
    return Pool("pool", "cpu", store, flow, VECTORS, 1)


def train(flow: Flow, store: Store = TABLES) -> Update:
    return Update("update", "cpu", store, flow, VECTORS, 512, True, False)


def gather(flow: Flow, store: Store = TABLES, into: Buffer = BELOW) -> Gather:
    return Gather("gather", "cpu", store, flow, into)


def scatter(flow: Flow, store: Store = CACHE, source: Buffer = ABOVE) -> Scatter:
    return Scatter("scatter", "gpu", source, store, flow)


MOVE = Move("move", "cpu.dram", BELOW, "gpu.hbm")


def stages(*words: Operation | Sequence[Operation]) -> tuple[Stage, ...]:
    """A stage a word, or a list of words."""
    lanes = [(word,) if isinstance(word, Operation) else tuple(word) for word in words]
    return tuple(Stage(f"s{k}", (lane,)) for k, lane in enumerate(lanes))


def serial(*programs: tuple[Stage, ...]) -> list[Span]:
    """Ten picoseconds a stage, one after the other."""
    keys = [(b, s) for b, program in enumerate(programs) for s in range(len(program))]
    return [Span(b, s, 10 * k, 10 * k + 10, None) for k, (b, s) in enumerate(keys)]


def run(*programs: tuple[Stage, ...], spans: Sequence[Span] = (), slots: int = 2) -> HazardReport:
    return execute(programs, spans or serial(*programs), rows=4, slots=slots)


# values


def test_a_value_is_a_chain_over_the_mini_batches_that_trained_it() -> None:
    """Row 1: mini-batches 0 and 2; row 3: mini-batch 1; the others are what they were."""
    trained = [np.array(ids) for ids in ((1,), (3,), (1,))]
    first = (1 * A + 1) % 2**64
    assert sequential(trained, 4).tolist() == [0, (first * A + 3) % 2**64, 2, (3 * A + 2) % 2**64]


@given(st.permutations([0, 1, 2, 3]))
def test_another_order_of_the_same_updates_is_another_value(order: list[int]) -> None:
    def chained(batches: Sequence[int]) -> int:
        value = 5
        for batch in batches:
            value = (value * A + batch + 1) % 2**64
        return value

    assert (chained(order) == chained(range(4))) == (order == [0, 1, 2, 3])


# programs that are right


def test_one_mini_batch_after_the_other_trains_the_tables() -> None:
    program = stages(pool(rows(0, 1)), train(rows(0, 1)))
    report = run(program, program, program)
    assert report == HazardReport(batches=3, trained_rows=6, stale=(), tables_equal=True)


def test_rows_may_be_looked_up_more_than_once() -> None:
    program = stages(pool(rows(2, 0, 2, 2)), train(rows(2, 0)))
    report = run(program, program)
    assert (report.trained_rows, report.tables_equal) == (4, True)


def test_a_row_may_travel_to_a_cache_be_trained_there_and_come_back() -> None:
    here = rows(3, slots=(1,))
    there = [gather(rows(3)), MOVE, scatter(here)]
    back = Move("back", "gpu.hbm", ABOVE, "cpu.dram")
    home = Scatter("home", "cpu", BELOW, TABLES, rows(3))
    program = stages(*there, [pool(here, CACHE), train(here, CACHE)], gather(here, CACHE, ABOVE))
    program = (*program, *stages(back, home, [pool(rows(0)), train(rows(0))]))
    report = run(program, program)
    assert not report.stale
    assert report.tables_equal


def test_what_a_cache_still_holds_counts_as_the_newest_copy() -> None:
    here = rows(3, slots=(0,))
    program = stages(gather(rows(3)), MOVE, scatter(here), [pool(here, CACHE), train(here, CACHE)])
    assert run(program).tables_equal


def test_what_lies_in_a_cache_before_the_first_mini_batch_is_found_there() -> None:
    here = rows(3, slots=(1,))
    program = stages([pool(here, CACHE), train(here, CACHE)])
    resident = np.array([-1, 3])
    found = execute([program], serial(program), rows=4, slots=2, resident=resident)
    assert not found.stale
    assert found.tables_equal
    assert run(program).stale == (StaleRead(0, 3, -1),), "an empty slot is another row"


def test_words_that_touch_no_store_change_nothing() -> None:
    sort = Sort("sort", "cpu", rows(0), 1, 4, 4)
    ids = Move("ids", "cpu.dram", Buffer("ids", "cpu.dram", 8), "gpu.hbm")
    program = stages(ids, pool(rows(0)), [sort, train(rows(0))])
    assert run(program, program).tables_equal


def test_nothing_at_all_is_right() -> None:
    assert execute([], [], rows=4, slots=0) == HazardReport(0, 0, (), True)


# hazards


def test_a_row_pooled_before_the_mini_batch_before_has_trained_it() -> None:
    program = stages(pool(rows(0, 1)), train(rows(0, 1)))
    overlapped = [
        Span(0, 0, 0, 10, None),
        Span(1, 0, 5, 15, None),
        Span(0, 1, 10, 20, None),
        Span(1, 1, 20, 30, None),
    ]
    report = run(program, program, spans=overlapped)
    assert report.stale == (StaleRead(1, 0, 0), StaleRead(1, 1, 0))
    assert not report.tables_equal, "the first update is lost"


def test_a_row_pooled_when_the_update_ends_is_fresh() -> None:
    """Ends come before starts of the same moment."""
    program = stages(pool(rows(0)), train(rows(0)))
    touching = [
        Span(0, 0, 0, 10, None),
        Span(0, 1, 10, 20, None),
        Span(1, 0, 20, 30, None),
        Span(1, 1, 30, 40, None),
    ]
    assert not run(program, program, spans=touching).stale


def test_a_row_of_another_in_the_slot() -> None:
    """Row 2 was put where the program looks for row 3."""
    put, looked = rows(2, slots=(0,)), rows(3, slots=(0,))
    program = stages(
        gather(rows(2)), MOVE, scatter(put), [pool(looked, CACHE), train(looked, CACHE)]
    )
    assert run(program).stale == (StaleRead(0, 3, -1),)


def test_a_victim_overwritten_before_it_was_saved() -> None:
    """Mini-batch 1 puts row 1 over row 0, which mini-batch 0 trained and nobody wrote back."""
    first, second = rows(0, slots=(0,)), rows(1, slots=(0,))
    programs = [
        stages(gather(f), MOVE, scatter(f), [pool(f, CACHE), train(f, CACHE)])
        for f in (first, second)
    ]
    again = stages(pool(rows(0)), train(rows(0)))
    report = run(*programs, again)
    assert report.stale == (StaleRead(2, 0, 0),), "counted once, at the next reader"
    assert not report.tables_equal


def test_a_stale_read_is_counted_once() -> None:
    """The readers after it are compared with the mini-batch that read stale data."""
    late = stages(pool(rows(0)), train(rows(0)))
    spans = [
        Span(0, 0, 0, 10, None),
        Span(1, 0, 5, 15, None),
        Span(0, 1, 15, 20, None),
        Span(1, 1, 20, 30, None),
        Span(2, 0, 30, 40, None),
        Span(2, 1, 40, 50, None),
    ]
    assert run(late, late, late, spans=spans).stale == (StaleRead(1, 0, 0),)


def test_rows_that_were_written_back_too_late() -> None:
    """Mini-batch 1 gathers row 0 while mini-batch 0's copy of it is still on its way home."""
    here = rows(0, slots=(0,))
    home = [gather(here, CACHE, ABOVE), Move("back", "gpu.hbm", ABOVE, "cpu.dram")]
    home.append(Scatter("home", "cpu", BELOW, TABLES, rows(0)))
    there = [gather(rows(0)), MOVE, scatter(here)]
    program = stages(*there, [pool(here, CACHE), train(here, CACHE)], *home)
    spans = serial(program, program)
    early = [Span(1, s.stage, 41, 42, None) if (s.batch, s.stage) == (1, 0) else s for s in spans]
    assert not run(program, program, spans=spans).stale
    assert run(program, program, spans=early).stale == (StaleRead(1, 0, 0),)


# programs that are wrong


def test_a_scatter_before_its_gather_finds_nothing() -> None:
    program = stages(scatter(rows(0, slots=(0,)), source=ABOVE), gather(rows(0)), MOVE)
    with pytest.raises(InvariantError) as caught:
        run(program)
    assert str(caught.value) == (
        "batch 0: scatter reads staged in gpu.hbm, but nothing was put there"
    )


def test_a_buffer_that_was_never_moved_is_not_where_it_is_looked_for() -> None:
    program = stages(gather(rows(0)), scatter(rows(0, slots=(0,))))
    with pytest.raises(InvariantError, match=r"reads staged in gpu\.hbm, but nothing"):
        run(program)


def test_a_buffer_is_used_up() -> None:
    program = stages(
        gather(rows(0)), MOVE, scatter(rows(0, slots=(0,))), scatter(rows(0, slots=(1,)))
    )
    with pytest.raises(InvariantError, match="nothing was put there"):
        run(program)


def test_buffers_belong_to_their_mini_batch() -> None:
    first, second = stages(gather(rows(0)), MOVE), stages(scatter(rows(0, slots=(0,))))
    with pytest.raises(InvariantError, match="batch 1: scatter reads staged"):
        run(first, second)


def test_rows_that_were_not_pooled_cannot_be_trained() -> None:
    with pytest.raises(InvariantError) as caught:
        run(stages(train(rows(0))))
    assert str(caught.value) == (
        "batch 0: update trains rows of tables in cpu.dram that nothing pooled before"
    )
    with pytest.raises(InvariantError, match="nothing pooled before"):
        run(stages(pool(rows(0, 2)), train(rows(0, 1))))


def test_a_row_that_is_trained_where_it_does_not_lie_loses_what_was_there() -> None:
    """Pooled in the table, trained in a slot that holds nothing: the update is lost."""
    report = run(stages(pool(rows(0)), train(rows(0, slots=(0,)), CACHE)))
    assert not report.tables_equal
    assert not report.stale


@dataclass(frozen=True, slots=True)
class Prune(Operation):
    """A word of another package."""

    writes: Store
    kept: Store


def test_a_word_that_names_a_store_and_has_no_rule_is_refused_before_anything_runs() -> None:
    program = stages(scatter(rows(0, slots=(0,))), Prune("prune", "cpu", TABLES, CACHE))
    with pytest.raises(InvariantError) as caught:
        run(program)
    assert str(caught.value) == (
        "the checker has no rule for Prune ('prune'), which touches writes, kept"
    )


@pytest.mark.parametrize(
    "word", [pool(rows(0)), gather(rows(0)), MOVE], ids=["pool", "gather", "move"]
)
def test_a_stage_of_no_time_that_moves_rows_has_no_order(word: Operation) -> None:
    with pytest.raises(InvariantError, match="stage s0 of batch 0 takes no time"):
        run(stages(word), spans=[Span(0, 0, 7, 7, None)])


def test_a_stage_of_no_time_that_touches_nothing_is_let_through() -> None:
    program = (*stages(pool(rows(0)), train(rows(0))), Stage("idle", ()))
    spans = [Span(0, 0, 0, 5, None), Span(0, 1, 5, 7, None), Span(0, 2, 7, 7, None)]
    assert run(program, spans=spans).tables_equal


@pytest.mark.parametrize("store", [TABLES, CACHE])
def test_rows_must_have_been_kept(store: Store) -> None:
    with pytest.raises(InvariantError, match=f"kept no rows for {store.name} in"):
        run(stages(pool(Flow(1, 1), store)))


# every schedule that keeps the holds gives the same values


BATCHES = 24


@cache
def trace() -> Trace:
    return open_trace(
        ZipfTraceConfig(alpha=0.6), rows=(80, 40), lookups=(3, 2), batch_size=2, seed=5
    )


@cache
def machine() -> Topology:
    return build_topology(load_machine("v100_p3"), 512)


@cache
def made(name: str, policy: str) -> tuple[System, list[BatchFacts]]:
    """A system with a cache just large enough, and its facts with rows."""
    model = load_named("models", "default").changed(
        tables=2, rows_per_table=(80, 40), lookups_per_table=(3, 2), batch_size=2
    )
    prefill: Literal["steady", "empty"] = "empty" if policy == "belady" else "steady"
    cache = CacheConfig(policy=policy, fraction=0.5, prefill=prefill)
    job = Job(model, load_named("operators", "tuned"), cache, keep=range(BATCHES), check=True)
    system = create(name, job, machine())
    facts = run_replays(Stream(trace(), BATCHES), [system.replay], threads=1)
    return system, facts[system.replay].facts


def executed(system: System, facts: list[BatchFacts], spans: Sequence[Span]) -> HazardReport:
    return execute(
        [system.stages(batch) for batch in facts],
        spans,
        rows=120,
        slots=sum(system.replay.slots),
        resident=system.replay.resident(trace()),
    )


MODES: tuple[Mode, ...] = ("serial", "lockstep", "async")
CASES = [("scratchpipe", policy) for policy in policy_names()]
CASES += [("straw_man", policy) for policy in policy_names()]
CASES += [(name, "lru") for name in ("hybrid", "static_cache", "gpu_only")]


@pytest.mark.parametrize(("name", "policy"), CASES)
def test_values_are_the_same_under_every_schedule(name: str, policy: str) -> None:
    system, facts = made(name, policy)
    software = load_named("operators", "tuned")
    reports = []
    for mode in MODES:
        timing = Timing(software, mode, 0, BATCHES - 1, check=True)
        spans = time_system(system, machine(), facts, timing).spans
        reports.append(executed(system, facts, spans))
    assert reports[0].tables_equal
    assert not reports[0].stale
    assert reports[0].trained_rows > 0
    assert reports[1] == reports[2] == reports[0]


@settings(max_examples=12)
@given(
    st.sampled_from(["lru", "random", "belady"]),
    st.sampled_from(["lockstep", "async"]),
    st.lists(st.lists(st.integers(1, 1000), min_size=6, max_size=6), min_size=5, max_size=5),
)
def test_values_do_not_depend_on_how_long_stages_take(
    policy: str, mode: Mode, times: list[list[int]]
) -> None:
    """Any durations at all: the holds alone keep the order that matters."""
    system, facts = made("scratchpipe", policy)
    names = system.schedule.names
    resources = {name: Resource(name, name, "other") for name in names}
    demands = [
        tuple(
            StageDemand(name, ((Demand(name, {name: Service(ps)}),),))
            for name, ps in zip(names, times[batch % 5], strict=True)
        )
        for batch in range(BATCHES)
    ]
    spans = run_pipeline(Machine(simpy.Environment(), resources), demands, mode)
    report = executed(system, facts, spans)
    assert not report.stale
    assert report.tables_equal
