"""Tables and samples over several GPUs: who has what, what moves, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobs import FACTS, PROFILES, facts_of, job, machine, system

from simulator.caches.facts import MISS, UNIQUE
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import (
    Dense,
    Exchange,
    Gather,
    Move,
    Operation,
    Plan,
    Pool,
    Scatter,
    Stage,
    Update,
)
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import create, placement
from simulator.systems.mlp import interaction_flops, mlp_flops
from simulator.systems.placement import base
from simulator.systems.shards import Shards

BOX = "p3_16xlarge"
NVLINKS = ("nvlink", "mesh")
SHARDED = ("hybrid", "static_cache", "straw_man", "scratchpipe")
SMALL = {"rows_per_table": (1_000_000,) * 8}
sharded = pytest.mark.parametrize("name", SHARDED)


def stages(name: str, gpus: int | None, profile: str = "paper", **keys: Any) -> tuple[Stage, ...]:
    return system(name, BOX, profile, gpus=gpus, **(SMALL | keys)).stages(FACTS)


def words(program: tuple[Stage, ...], kind: type[Operation]) -> list[Any]:
    return [w for stage in program for w in stage.operations if isinstance(w, kind)]


@sharded
@pytest.mark.parametrize("profile", PROFILES)
def test_one_gpu_has_the_program_of_a_system_that_was_not_asked(name: str, profile: str) -> None:
    assert stages(name, 1, profile) == stages(name, None, profile)


@sharded
@pytest.mark.parametrize("gpus", [2, 3, 8])
@pytest.mark.parametrize("profile", PROFILES)
def test_stages_bear_the_names_of_the_schedule(name: str, gpus: int, profile: str) -> None:
    program = system(name, BOX, profile, gpus=gpus, **SMALL)
    assert tuple(stage.name for stage in program.stages(FACTS)) == program.schedule.names
    assert program.gpus == gpus


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
@pytest.mark.parametrize("gpus", [2, 3, 8])
def test_ranks_together_move_and_train_the_rows_of_one_gpu(name: str, gpus: int) -> None:
    one, many = stages(name, 1), stages(name, gpus)
    for kind in (Gather, Scatter, Pool, Update):
        assert sum(w.rows.rows for w in words(many, kind)) == sum(
            w.rows.rows for w in words(one, kind)
        )
    assert sum(w.rows.rows for w in words(many, Gather) if w.at == "cpu") == FACTS[MISS].rows
    assert sum(w.rows.rows for w in words(many, Update)) == FACTS[UNIQUE].rows
    for name_of_move in ("ids_to_gpu", "missed_rows", "victim_rows", "lists_to_cpu"):
        sizes = [
            sum(w.bytes for w in words(p, Move) if w.name == name_of_move) for p in (one, many)
        ]
        assert sizes[0] == sizes[1], name_of_move
    assert sum(w.slots for w in words(many, Plan)) == sum(w.slots for w in words(one, Plan))


@pytest.mark.parametrize("name", ["hybrid", "static_cache"])
@pytest.mark.parametrize("gpus", [2, 3, 8])
def test_vectors_of_all_samples_cross_the_links_once_each_way(name: str, gpus: int) -> None:
    one, many = stages(name, 1), stages(name, gpus)
    for moved in {w.name for w in words(one, Move)}:
        sizes = [sum(w.bytes for w in words(p, Move) if w.name == moved) for p in (one, many)]
        assert sizes[0] == sizes[1], moved
    for kind in (Pool, Update):
        rows = [sum(w.rows.rows for w in words(p, kind)) for p in (one, many)]
        assert rows[0] == rows[1]


@sharded
def test_samples_are_split_as_evenly_as_they_can_be(name: str) -> None:
    """2,048 over 3: 683, 683, 682."""
    steps = words(stages(name, 3), Dense)
    assert [step.at for step in steps] == ["gpu0", "gpu1", "gpu2"]
    assert [step.flops for step in steps] == [
        mlp_flops(job().model, samples) - interaction_flops(job().model, samples)
        for samples in (683, 683, 682)
    ]


@pytest.mark.parametrize("gpus", [2, 4, 8])
@pytest.mark.parametrize("name", ["static_cache", "straw_man", "scratchpipe"])
def test_vectors_are_exchanged_by_table_and_by_sample(name: str, gpus: int) -> None:
    """Those of 8 / n tables for all samples, there and back."""
    collectives = words(stages(name, gpus), Exchange)
    sizes = {(w.name, w.bytes, w.held) for w in collectives if w.pattern == "all_to_all"}
    own = 2048 * 512 * (8 // gpus)
    assert sizes == {("all_to_all", own, ()), ("all_to_all_back", own, ())}
    assert len(collectives) == 3 * gpus


@sharded
def test_gradients_of_the_mlps_are_summed_over_all_gpus(name: str) -> None:
    reduced = [w for w in words(stages(name, 4), Exchange) if w.pattern == "all_reduce"]
    weights = 4 * (14 * 512 + 513 * 256 + 257 * 128)
    weights += 4 * (165 * 1024 + 1025 * 1024 + 1025 * 512 + 513 * 256 + 257)
    assert [w.bytes for w in reduced] == [weights] * 4
    assert [w.at for w in reduced] == ["gpu0", "gpu1", "gpu2", "gpu3"]


def test_uneven_shares_say_what_each_gpu_holds() -> None:
    """8 tables over 3 GPUs: 3, 3, 2."""
    collectives = [w for w in words(stages("scratchpipe", 3), Exchange) if w.name == "all_to_all"]
    held = tuple(tables * 2048 * 512 for tables in (3, 3, 2))
    assert [w.held for w in collectives] == [held] * 3
    assert tuple(w.bytes for w in collectives) == held


def test_each_gpu_caches_its_own_tables() -> None:
    program = system("scratchpipe", BOX, gpus=3, **SMALL)
    plans = words(program.stages(FACTS), Plan)
    assert [plan.slots for plan in plans] == [300_000, 300_000, 200_000]
    assert len(program.replay.slots) == 8, "a pool a table, whoever has it"


def test_staging_buffers_of_gpus_are_told_apart_in_the_memory_that_they_share() -> None:
    moved = [w for w in words(stages("scratchpipe", 2), Move) if w.name == "missed_rows"]
    assert [w.what.name for w in moved] == ["missed_rows.gpu0", "missed_rows.gpu1"]


# what is refused


@sharded
def test_more_gpus_than_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} asks for 9 GPUs but {BOX} has 8: lower gpus"):
        system(name, BOX, gpus=9, **SMALL)


@pytest.mark.parametrize("name", ["static_cache", "straw_man", "scratchpipe"])
def test_more_gpus_than_tables(name: str) -> None:
    few = {"tables": 3, "rows_per_table": (1000,) * 3, "lookups_per_table": (1,) * 3}
    with pytest.raises(ConfigError) as caught:
        system(name, BOX, gpus=4, **few)
    assert str(caught.value) == (
        f"{name} spreads 3 tables over 4 GPUs, so that 1 have none: gpus 3 at most, or "
        "model.sharding: row or column"
    )


def test_the_cpu_of_hybrid_has_all_tables_however_many_gpus() -> None:
    few = {"tables": 3, "rows_per_table": (1000,) * 3, "lookups_per_table": (1,) * 3}
    assert system("hybrid", BOX, gpus=8, **few).gpus == 8


@sharded
def test_more_gpus_than_samples(name: str) -> None:
    with pytest.raises(ConfigError, match=r"spreads 2 samples a mini-batch over 4 GPUs"):
        system(name, BOX, gpus=4, batch_size=2, **SMALL)


def test_a_pool_of_all_tables_has_no_shards() -> None:
    with pytest.raises(ConfigError, match=r"on each of 2 GPUs.*cache\.scope must be 'table'"):
        system("scratchpipe", BOX, gpus=2, cache={"scope": "global"}, **SMALL)
    assert system("scratchpipe", BOX, gpus=1, cache={"scope": "global"}, **SMALL).gpus == 1


def test_a_scratchpad_beyond_a_gpu_is_refused_with_the_arithmetic_of_that_gpu() -> None:
    """A table of 20 million rows, all cached, takes 10.24 GB; of three one GPU of two has two."""
    large = {"tables": 3, "rows_per_table": (20_000_000,) * 3, "lookups_per_table": (1,) * 3}
    with pytest.raises(CapacityError) as caught:
        system("scratchpipe", BOX, gpus=2, cache={"fraction": 1.0}, **large)
    assert str(caught.value) == (
        "40,000,000 cache slots of 512 B for the 2 tables of gpu0 need 20.48 GB but one NVIDIA "
        "V100 SXM2 holds 17.18 GB: lower cache.fraction"
    )
    assert system("scratchpipe", BOX, gpus=3, cache={"fraction": 1.0}, **large).gpus == 3


def without(*kinds: str) -> Topology:
    """The machine less its links of these kinds."""
    config = load_machine(BOX)
    (host,) = config.hosts
    sockets = {name: s for name, s in host.sockets.items() if s.part.kind not in kinds}
    apart = config.model_copy(update={"hosts": (host.model_copy(update={"sockets": sockets}),)})
    return build_topology(apart, 512)


def test_gpus_without_nvlink_exchange_over_pcie() -> None:
    shards = Shards.of(job(gpus=2, **SMALL), without(*NVLINKS), "scratchpipe")
    assert [shard.gpu for shard in shards] == ["gpu0", "gpu1"]


def test_gpus_that_no_links_lead_between_cannot_exchange() -> None:
    with pytest.raises(ConfigError, match="no links lead from gpu0 to gpu1; gpu0 is joined to no"):
        Shards.of(job(gpus=2, **SMALL), without(*NVLINKS, "pcie"), "scratchpipe")


def test_every_table_has_one_gpu() -> None:
    shards = Shards.of(job(gpus=3, **SMALL), machine(BOX), "scratchpipe")
    assert sorted(table for shard in shards for table in shard.tables) == list(range(8))
    assert sum(shard.samples for shard in shards) == 2048
    assert sum(shard.dense_bytes for shard in shards) == 2048 * 14 * 4


# tables of unlike dim, planners

UNLIKE = {
    "tables": 5,
    "rows_per_table": (3000, 1000, 2000, 500, 4000),
    "dim": (16, 128, 16, 64, 16),
    "lookups_per_table": (4, 2, 1, 1, 1),
    "interaction": "cat",
}
UNLIKE_FACTS = facts_of(5)


@sharded
@pytest.mark.parametrize("gpus", [2, 3, 5])
def test_tables_of_unlike_dim_move_and_train_the_rows_of_one_gpu(name: str, gpus: int) -> None:
    """As many bytes over each link, rows trained at the size of their own table."""
    programs = [system(name, BOX, gpus=n, **UNLIKE) for n in (1, gpus)]
    one, many = (program.stages(UNLIKE_FACTS) for program in programs)
    assert tuple(stage.name for stage in many) == programs[1].schedule.names
    for moved in {w.name for w in words(one, Move)}:
        sizes = [sum(w.bytes for w in words(p, Move) if w.name == moved) for p in (one, many)]
        assert sizes[0] == sizes[1], moved
    for kind in (Pool, Update):
        trained = [sum(_touched(w) for w in words(p, kind)) for p in (one, many)]
        assert trained[0] == trained[1] > 0


def _touched(word: Pool | Update) -> int:
    """Bytes of the rows that a word pools or trains."""
    if isinstance(word, Pool):
        return word.rows.lookups * word.reads.row_bytes
    return word.rows.rows * word.writes.row_bytes


def test_buffers_and_stores_of_unlike_tables_are_told_apart() -> None:
    """Of 512 kB, 256, 192, 128 and 128, the largest first: gpu0 has two dims, gpu1 one."""
    program = system("scratchpipe", BOX, gpus=2, **UNLIKE)
    tables = [shard.tables for shard in program.shards]  # type: ignore[attr-defined]
    assert tables == [(1, 3), (0, 2, 4)]
    moved = [w for w in words(program.stages(UNLIKE_FACTS), Move) if w.name == "missed_rows"]
    assert [w.what.name for w in moved] == [
        "missed_rows_dim128.gpu0",
        "missed_rows_dim64.gpu0",
        "missed_rows.gpu1",
    ]
    assert [w.bytes for w in moved] == [36_000 * 512, 36_000 * 256, 3 * 36_000 * 64]


def test_unlike_vectors_are_exchanged_in_the_bytes_of_their_elements() -> None:
    work = job("tuned", gpus=2, **UNLIKE)
    gpu = work.software.gpu.model_copy(update={"exchange_bytes": 2})
    half = replace(work, software=work.software.model_copy(update={"gpu": gpu}))
    for asked, element in ((work, 4), (half, 2)):
        program = create("straw_man", asked, machine(BOX)).stages(UNLIKE_FACTS)
        collectives = words(program, Exchange)
        held = tuple(2048 * elements * element for elements in (128 + 64, 3 * 16))
        assert {w.held for w in collectives if w.pattern == "all_to_all"} == {held}


def test_tables_go_where_the_planner_of_the_model_says() -> None:
    """By lookups: the table with 4, then that with 2, then each of 1 to the GPU with fewer."""
    placed = Shards.of(job(gpus=2, placement="lookups", **UNLIKE), machine(BOX), "scratchpipe")
    assert [shard.tables for shard in placed] == [(0, 4), (1, 2, 3)]


def test_tables_that_lie_on_the_host_do_not_bound_a_planner() -> None:
    """Eight tables of 10.24 GB: four of them are beyond a GPU of 16 GiB, their cache is not."""
    large = {"rows_per_table": (20_000_000,) * 8}
    for planner in ("size", "hugectr", "torchrec"):
        shards = system("scratchpipe", BOX, gpus=2, placement=planner, **large)
        assert shards.gpus == 2


def test_a_planner_that_leaves_a_gpu_without_tables_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def all_on_the_first(task: base.Task) -> base.Plan:
        tables = range(len(task.tables))
        parts = [base.cut_table(task, table, "table", 1, 1.0)[0] for table in tables]
        return base.Plan("first", "B", task, tuple(replace(part, gpu=0) for part in parts))

    monkeypatch.setattr(placement, "PLANNERS", {"size": all_on_the_first})
    with pytest.raises(ConfigError, match="placement first leaves gpu1, gpu2 without: lower gpus"):
        system("scratchpipe", BOX, gpus=3, **SMALL)
