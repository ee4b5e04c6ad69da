"""Hits of the processors' own caches: counted on samples, means for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.engine.processor_caches import ProcessorCaches, Program
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Buffer, Pool, Stage, Store, Wait
from simulator.hardware.topology import Topology, build_topology

LARGE = 8_000_000
"""Rows so large that 50 MB of last level hold 6 of them, and 5 beside their ids and sums (6 MB of
L2: 2 of 2 MB)."""
FUSED, UNFUSED = (load_named("operators", name) for name in ("tuned", "paper"))
"""One kernel for all tables with ids of 4 bytes; one a table with ids of 8."""


@cache
def machine() -> Topology:
    return build_topology(load_machine("v100_p3"), 512)


def pool(
    facts: BatchFacts, at: str = "cpu", row_bytes: int = LARGE, slotted: bool = False, sums: int = 1
) -> Pool:
    store = Store("rows", machine().memory(at).place, row_bytes, slotted=slotted)
    return Pool("pool", at, store, facts[LOOKUP], Buffer("sums", store.memory, sums), 1)


def one_pool(facts: BatchFacts) -> tuple[Stage, ...]:
    return (Stage("pool", ((pool(facts), Wait("wait", "gpu")),)),)


def batch(index: int, ids: Sequence[int] | None, slots: Sequence[int] | None = None) -> BatchFacts:
    """A mini-batch that looks these rows up; None: their numbers were not kept."""
    rows = None if ids is None else np.array(ids, np.int64)
    where = None if slots is None else np.array(slots, np.int64)
    return BatchFacts(index, 1, {LOOKUP: (Flow(len(ids or ()), 1, rows, where),)})


def shares(programs: Sequence[tuple[Stage, ...]]) -> list[list[float]]:
    """Hit shares of the lookups of each program."""
    return [
        [word.hit_share for stage in stages for word in stage.operations if isinstance(word, Pool)]
        for stages in programs
    ]


def caches(
    program: Program = one_pool,
    samples: tuple[int, ...] = (0,),
    keep_rows: bool = False,
    software: OperatorProfile = FUSED,
) -> ProcessorCaches:
    return ProcessorCaches(program, machine(), samples, keep_rows, software)


def counted(batches: Sequence[BatchFacts], samples: tuple[int, ...]) -> list[list[float]]:
    return shares(caches(samples=samples).programs(batches))


def test_rows_that_repeat_within_a_mini_batch_hit() -> None:
    assert counted([batch(0, (1, 2, 1, 1))], (0,)) == [[0.5]]


def test_rows_of_the_mini_batch_before_are_still_there() -> None:
    """Three of four: rows 2 and 3 from before, and row 2 again."""
    assert counted([batch(0, (1, 2, 3)), batch(1, (2, 3, 4, 2))], (1,))[1] == [0.75]


def test_a_row_whose_five_followers_fill_the_cache_is_gone() -> None:
    """Row 0, five others, row 0 again: evicted; after four others it is still there."""
    assert counted([batch(0, (0, 1, 2, 3, 4, 5, 0))], (0,)) == [[0.0]]
    assert counted([batch(0, (0, 1, 2, 3, 4, 0))], (0,)) == [[pytest.approx(1 / 6)]]


def test_the_first_mini_batch_finds_a_cold_cache() -> None:
    assert counted([batch(0, (1, 2))], (0,)) == [[0.0]]


def test_a_mini_batch_before_that_kept_no_rows_leaves_the_cache_cold() -> None:
    assert counted([batch(0, None), batch(1, (1, 1))], (1,))[1] == [0.5]


def test_other_mini_batches_have_the_mean_of_the_samples() -> None:
    batches = [batch(0, (1, 1)), batch(1, (2, 3)), batch(2, None), batch(3, (4, 4, 4, 4))]
    # 1/2, 0 (rows 2 and 3 are new), 3/4 after rows that were not kept
    assert counted(batches, (0, 1, 3)) == [[0.5], [0.0], [pytest.approx(1.25 / 3)], [0.75]]


def test_without_samples_nothing_hits() -> None:
    assert counted([batch(0, (1, 1))], ()) == [[0.0]]


def test_a_sample_without_lookups_hits_nothing() -> None:
    assert counted([batch(0, ())], (0,)) == [[0.0]]


def test_rows_of_a_slotted_store_are_its_slots() -> None:
    """Two rows one after the other in one slot: the second finds the first one's place."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("pool", ((pool(facts, slotted=True),),)),)

    facts = [batch(0, (1, 2, 3), slots=(7, 7, 8))]
    assert shares(caches(program).programs(facts)) == [[pytest.approx(1 / 3)]]


def pinning(rows: int, *, in_turn: bool = False) -> OperatorProfile:
    """A pooled gather that pins so many rows of 2 MB: L2 has room for three of them, 6 MB."""
    base = UNFUSED if in_turn else FUSED
    return base.model_copy(
        update={"gpu_pool": base.gpu_pool.model_copy(update={"pinned_rows": rows})}
    )


def on_gpu(software: OperatorProfile, *batches: BatchFacts, tables: int = 1) -> list[list[float]]:
    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        word = pool(facts, "gpu", 2_000_000)
        word = replace(word, reads=replace(word.reads, tables=tables))
        return (Stage("pool", ((word,),)),)

    return shares(caches(program, (0, 1), software=software).programs(batches))


def test_rows_that_are_pinned_hit_however_far_apart_they_are_looked_up() -> None:
    """Rows 1 and 2, the most looked up before, are pinned; others have no room: 5 of 8 hit."""
    first = batch(0, (1, 2, 1, 2, 3, 4, 5, 6))
    second = batch(1, (1, 3, 4, 2, 5, 1, 2, 1))
    plain, pinned = (on_gpu(pinning(rows), first, second) for rows in (0, 2))
    assert pinned[1] == [5 / 8]
    assert plain[1] < pinned[1]
    assert pinned[0] == plain[0], "nothing is known before the first mini-batch"


def test_a_cpu_pins_nothing() -> None:
    facts = [batch(0, (1, 2, 3)), batch(1, (2, 3, 4, 2))]
    assert shares(caches(samples=(0, 1), software=pinning(2)).programs(facts)) == shares(
        caches(samples=(0, 1)).programs(facts)
    )


def test_kernels_one_a_table_pin_as_many_rows_each() -> None:
    """Two tables one after the other: a row of each is pinned."""
    first, second = (batch(k, (1, 2, 1, 3, 101, 102, 101, 103)) for k in (0, 1))
    software = pinning(1, in_turn=True)
    assert on_gpu(software, first, second, tables=2)[1] == [4 / 8]


def test_each_processor_has_its_own_cache() -> None:
    """Of rows of 2 MB L2 holds 2, the last level 24: four rows twice over hit there alone."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        lanes = tuple((pool(facts, at, 2_000_000),) for at in ("cpu", "gpu"))
        return (Stage("pool", lanes),)

    twice = batch(0, (1, 2, 3, 4, 1, 2, 3, 4))
    assert shares(caches(program).programs([twice])) == [[0.5, 0.0]]


def test_rows_of_the_mini_batch_before_are_gone_from_a_gpu() -> None:
    """Gradients and updates pass L2 in between; within the mini-batch row 1 is found again."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("pool", ((pool(facts, "gpu", 2_000_000),),)),)

    batches = [batch(0, (1, 2)), batch(1, (1, 2, 2, 1))]
    assert shares(caches(program, (1,)).programs(batches))[1] == [0.5]


@pytest.mark.parametrize(
    ("sums", "hits"), [(1, 0.5), (8 * LARGE // 5, 0.5), (8 * LARGE, 0.0), (10**12, 0.0)]
)
def test_pooled_vectors_take_their_part_of_the_cache(sums: int, hits: float) -> None:
    """Of what passes with four rows twice over, rows are nearly all, 5 of 6, half, or nothing: of
    six places they have 5, 4 (just under 5), 2 and none. Four are needed."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("pool", ((pool(facts, sums=sums),),)),)

    assert shares(caches(program).programs([batch(0, (1, 2, 3, 4) * 2)])) == [[hits]]


@pytest.mark.parametrize(("software", "hits"), [(FUSED, 0.5), (UNFUSED, 0.0)])
def test_ids_take_their_part_of_the_cache(software: OperatorProfile, hits: float) -> None:
    """Rows of 16 B beside ids of 4 B have 4 of 5 parts, beside ids of 8 B 2 of 3: of 6 MB of L2
    300,000 and 250,000 places. 280,000 rows twice over find themselves in the former alone."""
    rows = np.tile(np.arange(280_000), 2)
    facts = BatchFacts(0, 1, {LOOKUP: (Flow(len(rows), 280_000, rows),)})

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("pool", ((pool(facts, "gpu", 16),),)),)

    assert shares(caches(program, software=software).programs([facts])) == [[hits]]


def two_tables(*ids: Sequence[int]) -> BatchFacts:
    """A mini-batch with a shard a table."""
    flows = tuple(Flow(len(own), 1, np.array(own, np.int64)) for own in ids)
    return BatchFacts(0, 1, {LOOKUP: flows})


@pytest.mark.parametrize(("software", "hits"), [(UNFUSED, 0.5), (FUSED, 0.0)])
def test_rows_repeat_sooner_table_by_table_than_sample_by_sample(
    software: OperatorProfile, hits: float
) -> None:
    """One place (of two, less ids). Table by table: 0, 0, 9, 9; fused: 0, 9, 0, 9."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage("pool", ((pool(facts, row_bytes=20_000_000),),)),)

    facts = two_tables((0, 0), (9, 9))
    assert shares(caches(program, software=software).programs([facts])) == [[hits]]


def test_rows_that_are_replayed_lie_in_the_order_of_the_kernels() -> None:
    """The second table has half the lookups: one for every two of the first."""
    facts = two_tables((0, 1, 2, 3), (8, 9))
    for software, order in ((UNFUSED, [0, 1, 2, 3, 8, 9]), (FUSED, [0, 8, 1, 2, 9, 3])):
        ids = lookups(caches(keep_rows=True, software=software).programs([facts]), 0).ids
        assert ids is not None
        assert ids.tolist() == order


def lookups(programs: Sequence[tuple[Stage, ...]], number: int) -> Flow:
    (word,) = [w for w in programs[number][0].operations if isinstance(w, Pool)]
    return word.rows


def test_rows_are_left_out_of_programs_that_are_not_replayed_in_memory() -> None:
    batches = [batch(0, (1, 2, 1)), batch(1, (1, 1))]
    programs = caches(samples=(0, 1)).programs(batches)
    assert [lookups(programs, k).ids for k in (0, 1)] == [None, None]
    assert lookups(programs, 0).lookups == 3


def test_rows_that_hit_never_reach_the_memory_that_is_replayed() -> None:
    """Counts stay: the share says how many of them hit."""
    batches = [batch(0, (1, 2, 1, 3), slots=(4, 5, 4, 6)), batch(1, (9, 9))]
    programs = caches(keep_rows=True).programs(batches)
    sample = lookups(programs, 0)
    assert sample.ids is not None
    assert sample.slots is not None
    assert sample.ids.tolist() == [1, 2, 3]
    assert sample.slots.tolist() == [4, 5, 6]
    assert sample.lookups == 4
    assert lookups(programs, 1).ids is None, "no sample"


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=5))
def test_shares_are_those_of_an_lru_list(ids: list[list[int]]) -> None:
    """Every mini-batch a sample, each warmed by the one before alone."""
    batches = [batch(k, each) for k, each in enumerate(ids)]
    expected = []
    for number, each in enumerate(ids):
        held: list[int] = []
        hits = 0
        for position, row in enumerate([*(ids[number - 1] if number else ()), *each]):
            warm = number and position < len(ids[number - 1])
            hits += row in held and not warm
            held = [row, *(other for other in held if other != row)][:5]
        expected.append([pytest.approx(hits / len(each))])
    assert counted(batches, tuple(range(len(ids)))) == expected


def test_a_kind_that_no_sample_has_is_counted_where_rows_were_kept() -> None:
    """Mini-batches of two kinds, samples of one: the other gets the share of its own last one."""

    def program(facts: BatchFacts) -> tuple[Stage, ...]:
        at = "gpu" if facts.index % 2 else "cpu"
        return (Stage("pool", ((pool(facts, at, 2_000_000),),)),)

    facts = [batch(0, (1, 1)), batch(1, (1, 1, 1, 2)), batch(2, (3, 4)).without_rows()]
    facts.append(batch(3, (5, 6)).without_rows())
    found = shares(caches(program, (0,)).programs(facts))
    assert found == [[0.5], [0.5], [0.5], [0.5]]
    facts[1] = batch(1, (1, 1, 1, 1))
    assert shares(caches(program, (0,)).programs(facts)) == [[0.5], [0.75], [0.5], [0.75]]
