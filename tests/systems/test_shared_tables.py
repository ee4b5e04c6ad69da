"""Tables that several features look up: rows count once, pooled vectors count by feature."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobs import PROFILES, facts_of, job, machine, model

from simulator.caches.replays import Stream, run_replays
from simulator.config.trace import ZipfTraceConfig
from simulator.engine.checker import execute
from simulator.engine.orders import random_order
from simulator.engine.pipeline import Mode
from simulator.errors import ConfigError
from simulator.hardware.devices.gpu import KERNELS
from simulator.hardware.devices.gpu_words import Board
from simulator.hardware.program import (
    Accumulate,
    Dense,
    Exchange,
    Expand,
    Gather,
    Move,
    Operation,
    Plan,
    Pool,
    Scatter,
    Sort,
    Stage,
    Update,
)
from simulator.systems import System, create, pooled_bytes, pooled_vectors, tables_in
from simulator.systems.mlp import mlp_flops, side_by_side, top_inputs
from simulator.systems.placement import PLANNERS, Gpus, Table, Task, place, tables_of
from simulator.systems.placement.torchrec import part_time
from simulator.traces import open_trace

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only")
WHOLE = [20, 20, 20, 20, 20, 20, 20, 20]
SHARED = [[5, 15], 20, 20, [10, 6, 4], 20, 20, 20, 20]
"""The same lookups of each table, of 11 features."""
VECTOR = 2048 * 512
"""Bytes of one pooled vector of each sample."""


def made(name: str, lookups: Any, profile: str = "tuned", gpus: int = 1, **keys: Any) -> System:
    keys = {"rows_per_table": 10**6, "lookups_per_table": lookups} | keys
    work = job(profile, gpus=gpus, cache={"fraction": 0.1}, **keys)
    return create(name, work, machine("p3_16xlarge"))


def words(stages: tuple[Stage, ...], kind: type[Operation]) -> list[Any]:
    return [word for stage in stages for word in stage.operations if isinstance(word, kind)]


def programs(name: str, profile: str = "tuned", gpus: int = 1) -> list[tuple[Stage, ...]]:
    """Of tables that are shared, and of the same lookups by one feature a table."""
    return [made(name, each, profile, gpus).stages(facts_of()) for each in (SHARED, WHOLE)]


# the model


def test_lookups_of_features_are_written_as_lists() -> None:
    shared = model(lookups_per_table=SHARED)
    assert shared.table_lookups == tuple(WHOLE)
    assert shared.features_per_table == (2, 1, 1, 3, 1, 1, 1, 1)
    assert (shared.features, shared.tables) == (11, 8)
    assert shared.model_dump(mode="json")["lookups_per_table"] == SHARED
    assert shared.changed(batch_size=7).lookups_per_table == shared.lookups_per_table
    assert shared.of_tables([3, 1]).lookups_per_table == ((10, 6, 4), (20,))


@pytest.mark.parametrize("written", [20, [[1, 10]], [[1, 10], *[[2, 3]] * 7], [*WHOLE[:-1], 1]])
def test_lookups_are_written_as_they_were(written: Any) -> None:
    assert model(lookups_per_table=written).model_dump()["lookups_per_table"] == written


def test_one_list_stands_for_all_tables() -> None:
    assert model(lookups_per_table=[[1, 10]]).lookups_per_table == ((1, 10),) * 8
    assert model(lookups_per_table=[[4]] * 8) == model(lookups_per_table=4)


def test_what_rows_take_does_not_depend_on_features() -> None:
    shared, whole = (model(lookups_per_table=each, optimizer="adagrad") for each in (SHARED, WHOLE))
    for name in ("rows", "table_bytes", "entry_bytes", "lookups_per_batch", "common_row_bytes"):
        assert getattr(shared, name) == getattr(whole, name), name


def test_vectors_that_meet_are_one_a_feature() -> None:
    """Two features of one table: exactly one pooled vector a sample more than one of all their
    lookups."""
    two, one = model(lookups_per_table=[[1, 10]] + [4] * 7), model(lookups_per_table=[11] + [4] * 7)
    assert pooled_bytes(two) - pooled_bytes(one) == VECTOR
    assert len(two.vector_widths) - len(one.vector_widths) == 1
    assert (top_inputs(one), top_inputs(two)) == (128 + 9 * 8 // 2, 128 + 10 * 9 // 2)
    wider = 45 - 36
    assert mlp_flops(two, 1) - mlp_flops(one, 1) == 6 * (wider * 1024 + 128 * (100 - 81))


@pytest.mark.parametrize(
    ("keys", "elements"),
    [
        ({"interaction": "cat"}, 128 + 9 * 128),
        ({"interaction": "cross"}, 128 + 9 * 128),
        ({"interaction": "cat", "average_stride": 7}, 128 + -(-9 * 128 // 7)),
        ({"interaction": "cat", "bottom_mlp": None}, 13 + 9 * 128),
    ],
)
def test_vectors_side_by_side_are_one_a_feature(keys: dict[str, Any], elements: int) -> None:
    assert side_by_side(model(lookups_per_table=[[1, 10]] + [4] * 7, **keys)) == elements


def test_a_store_of_other_tables_is_refused() -> None:
    work, platform = job(), machine()
    store = tables_in(work, platform, "cpu", [0, 1])
    with pytest.raises(ConfigError, match="tables holds 2 tables, the model has 8"):
        pooled_vectors(work.model, platform, "cpu", store, facts_of()["lookup"])


# programs


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_rows_are_those_of_one_feature_of_all_lookups(name: str, profile: str) -> None:
    """Whatever moves, caches or trains rows is the same; pooled vectors are 11 in place of 8."""
    shared, whole = programs(name, profile)
    for kind in (Plan, Gather, Scatter, Sort):
        assert words(shared, kind) == words(whole, kind), kind
    for kind in (Update, Accumulate):
        for one, other in zip(words(shared, kind), words(whole, kind), strict=True):
            assert one.rows == other.rows
            assert (one.source.bytes, other.source.bytes) == (11 * VECTOR, 8 * VECTOR)
    for one, other in zip(words(shared, Pool), words(whole, Pool), strict=True):
        assert (one.rows, one.reads) == (other.rows, other.reads)
        assert (one.into.bytes, other.into.bytes) == (11 * VECTOR, 8 * VECTOR)
        assert (one.features, other.features) == (11, 8)
    for one, other in zip(words(shared, Expand), words(whole, Expand), strict=True):
        assert (one.features, other.features, one.rows) == (11, 8, other.rows)


@pytest.mark.parametrize("name", SYSTEMS)
def test_moved_bytes_grow_by_the_vectors_of_the_second_features(name: str) -> None:
    shared, whole = programs(name)
    vectors = {"pooled_to_gpu", "gradients_to_cpu", "partial_sums"}
    for one, other in zip(words(shared, Move), words(whole, Move), strict=True):
        more = 3 * VECTOR if one.name in vectors else 0
        assert one.bytes - other.bytes == more, one.name
    (one, *_), (other, *_) = words(shared, Dense), words(whole, Dense)
    assert one.flops > other.flops


def test_kernels_of_a_pool_are_one_a_feature_where_software_has_one_a_table() -> None:
    """`stock`: an EmbeddingBag call a feature; the sort and the update are one a table."""
    software, board = job("stock").software, Board("gpu0", "gpu0.hbm", 6 << 20)
    kernels = {
        kind: [
            KERNELS[kind](words(stages, kind)[0], software, board).kernels
            for stages in programs("gpu_only", "stock")
        ]
        for kind in (Pool, Expand, Update)
    }
    each = {Pool: 4, Expand: 3, Update: 8}
    sets = {Pool: [11, 8], Expand: [11, 8], Update: [8, 8]}
    assert kernels == {kind: [n * each[kind] for n in sets[kind]] for kind in sets}


@pytest.mark.parametrize("name", ["static_cache", "straw_man", "scratchpipe", "gpu_only"])
def test_gpus_exchange_the_vectors_of_all_features_of_their_tables(name: str) -> None:
    """Tables of one size over 8 GPUs: one each; the first has two features, the fourth three."""
    (stages, _) = programs(name, gpus=8)
    sent = {w.bytes for w in words(stages, Exchange) if w.pattern == "all_to_all"}
    held = {w.held for w in words(stages, Exchange) if w.pattern == "all_to_all"}
    assert held == {tuple(n * VECTOR for n in (2, 1, 1, 3, 1, 1, 1, 1))}
    assert sent == {VECTOR, 2 * VECTOR, 3 * VECTOR}


@pytest.mark.parametrize(
    ("name", "gpus"), [*((name, 1) for name in SYSTEMS), *((name, 2) for name in SYSTEMS[:-1])]
)
@pytest.mark.parametrize("pooling", ["fixed", "poisson"])
def test_programs_on_values_train_as_one_mini_batch_after_the_other(
    name: str, gpus: int, pooling: Any
) -> None:
    keys: dict[str, Any] = {
        "tables": 3,
        "rows_per_table": [300, 100, 200],
        "lookups_per_table": [[1, 3], 2, [2, 1]],
        "dim": 16,
        "batch_size": 4,
    }
    batches, platform = 40, machine("p3_16xlarge")
    work = job("tuned", cache={"fraction": 0.6}, gpus=gpus, **keys)
    trace = open_trace(
        ZipfTraceConfig(alpha=0.9, pooling=pooling),
        rows=work.model.rows_per_table,
        lookups=work.model.lookups_per_table,
        batch_size=4,
        seed=3,
    )
    system = create(name, replace(work, keep=range(batches), check=True), platform)
    facts = run_replays(Stream(trace, batches), [system.replay], threads=1)[system.replay].facts
    mode: Mode = "lockstep" if system.schedule.overlaps else "serial"
    report = execute(
        [system.stages(each) for each in facts],
        random_order(batches, len(system.schedule.names), mode, 0),
        rows=work.model.rows,
        slots=sum(system.replay.slots),
        resident=system.replay.resident(trace),
    )
    assert report.stale == ()
    assert report.tables_equal


# placement

GPUS = Gpus(4, 80 * 10**9, memory_rate=3.2e12, link_rate=450e9)


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_a_shared_table_lies_on_one_gpu_with_all_its_features(planner: str) -> None:
    shared = model(lookups_per_table=SHARED, placement=planner)
    plan = place(shared, GPUS)
    assert sorted(part.table for part in plan.parts) == list(range(8))
    assert sum(map(plan.lookups, range(4))) == 2048 * 160
    assert [table.features for table in tables_of(shared)] == [2, 1, 1, 3, 1, 1, 1, 1]


def test_torchrec_counts_a_bag_of_each_feature() -> None:
    """Forward three times, the exchange twice: of one more vector a sample."""
    tables = tuple(Table(10**6, 128, 11, 512, features) for features in (1, 2))
    one, two = (part_time(Task(tables, 4096, GPUS), t, "table", 128) for t in (0, 1))
    vector, gib = 4 * 4096 * 128, 1024**3
    assert two - one == pytest.approx(3 * vector / (897 * gib) + 2 * vector / (600 * gib))


def test_hugectr_weighs_a_shared_table_as_so_many_parts() -> None:
    """Memory to link is 7, so that each vector costs 7 / 4 lookups."""
    plan = place(model(lookups_per_table=SHARED, placement="hugectr"), GPUS)
    costs = {part.table: part.cost for part in plan.parts}
    assert costs == {t: 20 + 1.75 * n for t, n in enumerate((2, 1, 1, 3, 1, 1, 1, 1))}
