"""Tables spread over GPUs: who has which, and what the GPUs exchange."""

from __future__ import annotations

from dataclasses import replace

import pytest
from jobs import FACTS, facts_of, job, machine, system

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.errors import ConfigError, UsageError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import (
    Exchange,
    Move,
    Operation,
    Pool,
    Stage,
    Update,
    Wait,
)
from simulator.hardware.topology import build_topology
from simulator.systems import create


def words(stages: tuple[Stage, ...]) -> list[Operation]:
    return [word for stage in stages for word in stage.operations]


def test_more_gpus_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="gpu_only asks for 9 GPUs but p3_16xlarge has 8"):
        system("gpu_only", gpus=9)


def test_an_unknown_system_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="scratchpipe"):
        system("magic")


def exchanges(gpus: int | None = None) -> dict[str, Exchange]:
    stages = system("gpu_only", gpus=gpus, rows_per_table=(1_000_000,) * 8).stages(FACTS)
    return {word.name: word for word in words(stages) if isinstance(word, Exchange)}


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_pooled_vectors_of_its_tables_go_to_all_gpus_and_back(gpus: int) -> None:
    """Whole buffers of 8 / n tables: what stays with the GPU is the collective's affair."""
    sent = exchanges(gpus)
    assert sent["all_to_all"].bytes == 2048 * 512 * (8 // gpus)
    assert sent["all_to_all_back"].bytes == sent["all_to_all"].bytes
    assert sent["all_to_all"].group == tuple(f"gpu{k}" for k in range(gpus))


def test_gradients_of_the_mlps_are_summed_over_all_gpus() -> None:
    weights = 4 * (14 * 512 + 513 * 256 + 257 * 128)
    weights += 4 * (165 * 1024 + 1025 * 1024 + 1025 * 512 + 513 * 256 + 257)
    assert exchanges(8)["all_reduce"].bytes == weights


THREE = {"tables": 3, "rows_per_table": (1,) * 3, "lookups_per_table": (1,) * 3}


def test_more_gpus_than_tables_is_an_error_that_says_how_many_there_may_be() -> None:
    with pytest.raises(ConfigError, match=r"3 tables do not reach 8 GPUs.*gpus: 3"):
        system("gpu_only", gpus=8, **THREE)
    four = build_topology(load_machine("hgx_h100", ["hosts=4"]), 512)
    with pytest.raises(ConfigError, match=r"26 tables do not reach 32 GPUs.*gpus: 24"):
        create("gpu_only", job(gpus=32, **CRITEO), four)


def test_of_all_gpus_some_may_be_without_a_table() -> None:
    assert system("gpu_only", **THREE).gpus == 8


CRITEO = {"tables": 26, "rows_per_table": (1000,) * 26, "lookups_per_table": (1,) * 26}


def test_gpus_of_several_hosts_load_from_their_own_host_and_exchange_with_all() -> None:
    hosts = build_topology(load_machine("hgx_h100", ["hosts=2"]), 512)
    program = create("gpu_only", job(**CRITEO), hosts)
    stages = words(program.stages(facts_of(26)))
    loaded = [(word.at, word.into) for word in stages if isinstance(word, Move)]
    assert loaded == [
        (f"host{h}.cpu.dram", f"host{h}.gpu{g}.hbm") for h in range(2) for g in range(8)
    ]
    groups = {word.group for word in stages if isinstance(word, Exchange)}
    assert groups == {hosts.all("gpu")}


def test_one_gpu_needs_no_collective() -> None:
    alone = system("gpu_only", "h200")
    assert alone.schedule.names == ("ids", "gather_reduce", "mlp", "sort_update")
    assert not exchanges(1)


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_the_host_waits_for_the_gpus_at_the_end_of_the_iteration_alone(gpus: int) -> None:
    """It submits all of it ahead; the wait is in the lane of the updates."""
    stages = system("gpu_only", gpus=gpus, rows_per_table=(1_000_000,) * 8).stages(FACTS)
    assert not [w for stage in stages[:-1] for w in stage.operations if isinstance(w, Wait)]
    lanes = [lane for lane in stages[-1].lanes if any(isinstance(w, Wait) for w in lane)]
    names = [f"gpu{k}" for k in range(gpus)]
    assert [lane[-1] for lane in lanes] == [Wait("synchronize", name) for name in names]
    assert all(isinstance(lane[-2], Update) for lane in lanes)


@pytest.mark.parametrize(("profile", "width"), [("paper", 8), ("tuned", 4)])
def test_each_gpu_gets_the_ids_of_its_own_tables(profile: str, width: int) -> None:
    """An eighth of them, and of the dense features."""
    program = system("gpu_only", profile=profile)
    ids = [word for word in words(program.stages(FACTS)) if isinstance(word, Move)]
    assert [word.bytes for word in ids] == [327_680 // 8 * width + 2048 * 14 * 4 // 8] * 8


@pytest.mark.parametrize(("gpus", "used"), [(None, 8), (1, 1), (3, 3), (8, 8)])
def test_gpu_only_takes_all_gpus_or_as_many_as_it_is_told(gpus: int | None, used: int) -> None:
    program = system("gpu_only", gpus=gpus, rows_per_table=(1_000_000,) * 8)
    assert program.gpus == sum(map(len, program.equal_ranks)) == used


def test_each_gpu_has_the_rows_of_its_own_tables() -> None:
    """Two GPUs: the large table alone on one, three small ones on the other, which has 30 of 31
    lookups."""
    skewed = {
        "tables": 4,
        "rows_per_table": (3_000_000, 1_000_000, 1_000_000, 1_000_000),
        "lookups_per_table": (1, 10, 10, 10),
    }
    shards = (Flow(100, 90), Flow(1000, 500), Flow(1000, 600), Flow(1000, 700))
    facts = BatchFacts(0, 100, {LOOKUP: shards, UNIQUE: shards})
    stages = words(system("gpu_only", gpus=2, **skewed).stages(facts))
    pools = [word for word in stages if isinstance(word, Pool)]
    updates = [word for word in stages if isinstance(word, Update)]
    assert [pool.reads.tables for pool in pools] == [1, 3]
    assert [pool.rows.lookups for pool in pools] == [100, 3000]
    assert [update.rows.rows for update in updates] == [90, 1800]


def test_vectors_in_half_precision_are_half_of_what_crosses_the_links() -> None:
    """Pooled vectors and their gradients, and the gradients of MLPs."""
    keys = {"rows_per_table": (1_000_000,) * 8}
    work = job("paper", gpus=4, **keys)
    gpu = work.software.gpu.model_copy(update={"exchange_bytes": 2})
    half = replace(work, software=work.software.model_copy(update={"gpu": gpu}))
    full = exchanges(4)
    stages = create("gpu_only", half, machine("p3_16xlarge")).stages(FACTS)
    sent = {word.name: word.bytes for word in words(stages) if isinstance(word, Exchange)}
    assert sent == {
        "all_to_all": full["all_to_all"].bytes // 2,
        "all_to_all_back": full["all_to_all_back"].bytes // 2,
        "all_reduce": full["all_reduce"].bytes // 2,
    }
