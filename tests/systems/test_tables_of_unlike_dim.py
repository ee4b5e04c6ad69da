"""Tables of unlike dim: a store, a kernel and staging buffers for those of each dim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobs import facts_of, job, machine, model

from simulator.caches.replays import Stream, run_replays
from simulator.config.trace import ZipfTraceConfig
from simulator.engine import parse_experiment, simulate
from simulator.engine.checker import execute
from simulator.engine.orders import random_order
from simulator.engine.pipeline import Mode
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Move, Operation, Pool, Stage, Update
from simulator.systems import System, create, pooled_bytes, tables_in
from simulator.systems.groups import groups_of
from simulator.traces import open_trace

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only")
KEYS: dict[str, Any] = {
    "tables": 4,
    "rows_per_table": [3000, 1000, 2000, 500],
    "dim": [16, 128, 16, 64],
    "lookups_per_table": [4, 2, 1, 1],
    "interaction": "cat",
    "batch_size": 2048,
}
CACHE = {"fraction": 0.5}


def made(name: str, **changes: Any) -> System:
    platform = machine("p3_16xlarge" if name == "gpu_only" else "v100_p3")
    gpus = 1 if name == "gpu_only" else None
    return create(name, job("tuned", cache=CACHE, gpus=gpus, **KEYS | changes), platform)


def words(stages: tuple[Stage, ...]) -> list[Operation]:
    return [word for stage in stages for word in stage.operations]


def test_groups_are_tables_of_one_dim_in_the_order_of_their_first() -> None:
    groups = groups_of(job(**KEYS))
    assert [group.tables for group in groups] == [(0, 2), (1,), (3,)]
    assert [group.job.model.width for group in groups] == [16, 128, 64]
    assert [group.job.model.rows_per_table for group in groups] == [(3000, 2000), (1000,), (500,)]
    assert groups[0].named("tables") == "tables_dim16"


def test_tables_of_one_dim_are_one_group_with_the_names_that_they_had() -> None:
    (group,) = groups_of(job())
    assert group.job == job()
    assert group.named("tables") == "tables"


def test_sizes_are_those_of_each_table() -> None:
    adagrad = model(**KEYS, optimizer="adagrad")
    assert adagrad.table_bytes == (3000 * 128, 1000 * 1024, 2000 * 128, 500 * 512)
    assert adagrad.common_row_bytes == 512, "2 x 128 elements of 5 x 16, 2 x 128 and 64"
    assert pooled_bytes(adagrad) == 2048 * (16 + 128 + 16 + 64) * 4
    with pytest.raises(ConfigError, match="tables of dim 16, 64, 128"):
        _ = adagrad.row_bytes


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_dim_is_pooled_and_trained_with_rows_of_its_own_size(name: str) -> None:
    """Lookups of each dim times its row bytes, whatever does it."""
    facts = facts_of(4)
    done = words(made(name).stages(facts))
    pools = [word for word in done if isinstance(word, Pool)]
    each = facts["lookup"].lookups // 4
    read = sum(word.rows.lookups * word.reads.row_bytes for word in pools)
    assert read == each * (16 + 128 + 16 + 64) * 4
    assert {word.reads.row_bytes for word in pools} == {64, 512, 256}
    updates = [word for word in done if isinstance(word, Update)]
    trained = sum(word.rows.rows * word.gradient_bytes for word in updates)
    assert trained == facts["unique"].rows // 4 * (16 + 128 + 16 + 64) * 4


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
def test_staged_rows_are_as_long_as_they_are(name: str) -> None:
    facts = facts_of(4)
    done = words(made(name, optimizer="adagrad").stages(facts))
    missed = facts["miss"].rows // 4
    gathered = [word for word in done if isinstance(word, Gather) and word.name == "gather"]
    assert sum(word.into.bytes for word in gathered) == missed * (16 + 128 + 16 + 64) * 8
    moved = [word for word in done if isinstance(word, Move) and word.name == "missed_rows"]
    assert sum(word.bytes for word in moved) == missed * (16 + 128 + 16 + 64) * 8
    assert len({word.what.name for word in moved}) == 3


@pytest.mark.parametrize("name", SYSTEMS)
def test_stages_are_those_of_tables_of_one_dim(name: str) -> None:
    alike = made(name, dim=64)
    assert made(name).schedule.names == alike.schedule.names
    stages = made(name).stages(facts_of(4))
    assert tuple(stage.name for stage in stages) == alike.schedule.names


def test_a_cache_in_bytes_has_as_many_rows_as_fit_in_the_mean() -> None:
    """960,000 B of 6,500 rows are 148 B a row, rounded up: 3,243 rows in half of them."""
    system = create("straw_man", job(cache={"bytes": "480 kB"}, **KEYS), machine())
    slots = tuple(system.replay.slots)
    assert sum(slots) == 480_000 // 148
    assert slots == (1497, 499, 998, 249)
    assert 478_000 < sum(n * 4 * dim for n, dim in zip(slots, KEYS["dim"], strict=True)) <= 480_000


def test_a_global_pool_of_unlike_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cache.scope is global, but rows have 64 to 512 B"):
        create("scratchpipe", job(cache=CACHE | {"scope": "global"}, **KEYS), machine())


def test_one_store_of_unlike_rows_is_refused_and_chosen_tables_of_one_dim_are_not() -> None:
    with pytest.raises(ConfigError, match="works on tables of one dim"):
        tables_in(job(**KEYS), machine(), "cpu")
    assert tables_in(job(**KEYS), machine(), "cpu", [0, 2]).row_bytes == 64


def test_tables_without_room_are_told_with_all_their_sizes() -> None:
    big = KEYS | {"rows_per_table": 10**9}
    with pytest.raises(CapacityError, match=r"4,000,000,000 rows of 64 to 512 B need 896 GB"):
        create("hybrid", job(**big), machine())


@pytest.mark.parametrize(
    ("name", "gpus"), [(n, 1) for n in SYSTEMS] + [(n, g) for n in SYSTEMS[:-1] for g in (2, 3)]
)
def test_programs_on_values_train_as_one_mini_batch_after_the_other(name: str, gpus: int) -> None:
    """In an order drawn at random out of those that the schedule allows."""
    small = {"rows_per_table": [300, 100, 200, 50], "batch_size": 4}
    batches = 60
    platform = machine("p3_16xlarge")
    work = job("tuned", cache=CACHE, gpus=gpus, **KEYS | small)
    system = create(name, replace(work, keep=range(batches), check=True), platform)
    shape = work.model
    trace = open_trace(
        ZipfTraceConfig(alpha=0.9),
        rows=shape.rows_per_table,
        lookups=shape.lookups_per_table,
        batch_size=shape.batch_size,
        seed=3,
    )
    facts = run_replays(Stream(trace, batches), [system.replay], threads=1)[system.replay].facts
    mode: Mode = "lockstep" if system.schedule.overlaps else "serial"
    report = execute(
        [system.stages(each) for each in facts],
        random_order(batches, len(system.schedule.names), mode, 0),
        rows=shape.rows,
        slots=sum(system.replay.slots),
        resident=system.replay.resident(trace),
    )
    assert report.stale == ()
    assert report.tables_equal


def test_every_system_is_simulated_and_no_faster_than_with_the_narrowest_rows() -> None:
    """The column `dim` is empty."""
    data = {
        "config_version": 1,
        "platform": "h100",
        "trace": {"kind": "zipf", "alpha": 0.9},
        "systems": list(SYSTEMS),
        "cache": CACHE,
        "run": {"batches": 2, "warmup_batches": 1, "check": True},
    }
    small = KEYS | {"base": "default", "batch_size": 64, "interaction": "cat"}
    both = [
        simulate(parse_experiment(data | {"model": small | {"dim": dim}})).metrics()
        for dim in ([16, 128, 16, 64], 16)
    ]
    for mixed, narrow in zip(*both, strict=True):
        assert (mixed["dim"], narrow["dim"]) == (None, 16)
        assert mixed["lookups_per_batch"] == narrow["lookups_per_batch"] == 64 * 8
        assert mixed["misses_per_batch"] == narrow["misses_per_batch"]
        assert mixed["iteration_time_us"] >= narrow["iteration_time_us"]
