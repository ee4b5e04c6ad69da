"""Planners: results that are known by hand or by trying everything, conservation, and room."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import job, machine, model

from simulator.caches.facts import BatchFacts
from simulator.config.catalogue import load_named
from simulator.config.model import ModelConfig
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Pool
from simulator.hardware.topology import build_topology
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.placement import (
    PLANNERS,
    Cut,
    Gpus,
    Plan,
    Sharding,
    Table,
    Task,
    gpus_of,
    place,
    place_on,
)
from simulator.systems.placement.hugectr import memory_to_link
from simulator.systems.placement.torchrec import part_time

GB = 10**9
GIB = 1024**3
H100S = Gpus(8, 80 * GB, 1, 3.35e12, 450e9)
CRITEO = load_named("models", "mlperf_dlrm")


def task(
    rows: list[int],
    lookups: list[int],
    gpus: Gpus | int,
    sharding: Sharding = "table",
    *,
    dim: int = 128,
    batch_size: int = 100,
) -> Task:
    tables = tuple(Table(r, dim, count, 8 * dim) for r, count in zip(rows, lookups, strict=True))
    where = Gpus(gpus, 80 * GB, 1, 3.35e12, 450e9) if isinstance(gpus, int) else gpus
    return Task(tables, batch_size, where, sharding)


def tables_by_gpu(plan: Plan) -> list[list[int]]:
    return [[part.table for part in parts] for parts in plan.by_gpu]


def test_the_catalogue_of_planners_is_what_a_model_can_name() -> None:
    assert get_args(ModelConfig.model_fields["placement"].annotation) == tuple(PLANNERS)
    assert get_args(ModelConfig.model_fields["sharding"].annotation) == get_args(Sharding)


# greedy


def test_the_largest_table_goes_first_to_the_emptiest_gpu() -> None:
    plan = PLANNERS["size"](task([50, 10, 40, 20], [1] * 4, 2))
    assert tables_by_gpu(plan) == [[0, 1], [2, 3]]
    assert [plan.bytes(gpu) for gpu in range(2)] == [60 * 1024, 60 * 1024]
    assert (plan.unit, plan.worst) == ("B", 60 * 1024)


def test_by_lookups_the_size_of_a_table_is_of_no_account() -> None:
    plan = PLANNERS["lookups"](task([50, 10, 40, 20], [1, 9, 2, 7], 2))
    assert tables_by_gpu(plan) == [[1, 0], [3, 2]]
    assert [plan.lookups(gpu) for gpu in range(2)] == [1000, 900]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=30), st.integers(1, 10))
def test_every_table_has_one_gpu_and_no_gpu_a_table_too_many(rows: list[int], gpus: int) -> None:
    """The largest first to the least loaded: loads differ by one table at most."""
    plan = PLANNERS["size"](task(rows, [1] * len(rows), gpus))
    placed = tables_by_gpu(plan)
    assert len(placed) == gpus
    assert sorted(t for own in placed for t in own) == list(range(len(rows)))
    loads = [sum(rows[t] for t in own) for own in placed]
    assert max(loads) - min(loads) <= max(rows)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 3))
def test_greedy_is_at_most_four_thirds_of_the_best(weights: list[int], gpus: int) -> None:
    """Graham's bound, against every assignment."""
    best = min(
        max(sum(w for w, g in zip(weights, chosen, strict=True) if g == gpu) for gpu in range(gpus))
        for chosen in itertools.product(range(gpus), repeat=len(weights))
    )
    plan = PLANNERS["lookups"](task([100] * len(weights), weights, gpus, batch_size=1))
    assert best <= plan.worst <= best * (4 / 3 - 1 / (3 * gpus)) + 1e-9


@pytest.mark.parametrize("planner", ["size", "lookups"])
def test_sharding_by_rows_gives_every_gpu_the_same(planner: str) -> None:
    plan = PLANNERS[planner](task([1000, 10], [8, 80], 4, "row"))
    assert {plan.lookups(gpu) for gpu in range(4)} == {2200.0}
    assert sorted(p.rows for p in plan.parts if p.table == 1) == [2, 2, 3, 3]


def test_columns_are_cut_four_together_and_every_part_serves_all_lookups() -> None:
    plan = PLANNERS["size"](task([1000], [8], 4, "column", dim=8))
    assert [(p.columns, p.lookups, p.bytes) for p in plan.parts] == [(4, 800, 1000 * 32)] * 2


def test_auto_cuts_what_is_more_than_an_equal_share() -> None:
    """70 of 100 rows: three parts of four GPUs' shares of 25; the others stay whole."""
    plan = PLANNERS["size"](task([70, 20, 10], [1, 1, 1], 4, "auto"))
    assert {p.table: p.parts for p in plan.parts} == {0: 3, 1: 1, 2: 1}
    assert len({p.gpu for p in plan.parts if p.table == 0}) == 3


# HugeCTR


@pytest.mark.parametrize(
    ("rates", "hosts", "ratio"),
    [
        ((3.35e12, 450e9, 50e9), 1, 7),
        ((3.35e12, 450e9, 50e9), 16, 67),
        ((4.8e12, 450e9, 50e9), 1, 11),
        ((8.0e12, 900e9, 50e9), 1, 9),
    ],
)
def test_the_ratio_of_rates_is_what_submissions_set(
    rates: tuple[float, float, float], hosts: int, ratio: int
) -> None:
    gpus = Gpus(8 * hosts, 80 * GB, hosts, *rates)
    assert memory_to_link(task([1], [1], gpus)) == ratio


def test_hugectr_on_two_gpus_by_hand() -> None:
    """Ratio 7, so 1.75 a part. Whole: gpu0 has 10, gpu1 4 + 3: 11.75 and 10.5. Table 0 in two
    halves: 5 and 5, then 4 and 3: 12.5 and 11.5. So the tables stay whole."""
    plan = PLANNERS["hugectr"](task([10**6] * 3, [10, 4, 3], 2, "auto"))
    assert tables_by_gpu(plan) == [[0], [1, 2]]
    assert [plan.cost(gpu) for gpu in range(2)] == [11.75, 10.5]


def test_hugectr_cuts_a_table_that_is_hotter_than_all_others() -> None:
    """100 lookups on one of two GPUs against 50 and one more part on each."""
    plan = PLANNERS["hugectr"](task([10**6] * 3, [100, 4, 3], 2, "auto"))
    assert [sorted(tables) for tables in tables_by_gpu(plan)] in (
        [[0, 1], [0, 2]],
        [[0, 2], [0, 1]],
    )
    assert plan.worst == 50 + 4 + 2 * 1.75


def test_hugectr_copies_tables_below_eight_megabytes_with_their_state() -> None:
    """8,000,000 / 1024 = 7812.5 rows of dim 128."""
    plan = PLANNERS["hugectr"](task([10**6, 7812, 7813], [2, 2, 2], 2, "auto"))
    assert {p.table: p.cut for p in plan.parts} == {0: "table", 1: "replica", 2: "table"}
    copies = [part for part in plan.parts if part.table == 1]
    assert [(c.gpu, c.rows, c.lookups, c.cost) for c in copies] == [
        (0, 7812, 100.0, 0.0),
        (1, 7812, 100.0, 0.0),
    ]


def test_hugectr_cuts_what_fits_on_no_gpu() -> None:
    """A table of 102 GB on two GPUs with 60 GB each for tables: two halves."""
    plan = PLANNERS["hugectr"](task([10**8, 10**6, 10**6], [1, 1, 1], 2, "auto"))
    assert {p.table: p.parts for p in plan.parts} == {0: 2, 1: 1, 2: 1}
    assert all(plan.bytes(gpu) <= 60 * GB for gpu in range(2))


def test_hugectr_over_hosts_cuts_by_rows_within_each() -> None:
    gpus = Gpus(4, 80 * GB, 2, 3.35e12, 450e9, 50e9)
    plan = PLANNERS["hugectr"](task([10**6] * 4, [3, 3, 3, 3], gpus, "auto"))
    assert {p.parts for p in plan.parts} == {2}
    assert [tables[0] for tables in tables_by_gpu(plan)] == [0, 0, 1, 1]


def test_hugectr_splits_the_table_of_dlrm_dcnv2_that_has_half_of_its_lookups() -> None:
    """100 of 214 lookups in four parts of 25; the dearest GPU serves a part or the table of 27, of
    31 lookups that an equal share would be with 1.75 for each of 16 parts; small tables on all."""
    dcn = load_named("models", "mlperf_dcnv2")
    plan = place(dcn.changed(placement="hugectr", sharding="auto"), H100S)
    assert {p.table: p.parts for p in plan.parts if p.cut == "row"} == {20: 4}
    assert plan.worst == 29.0
    small = {t for t, rows in enumerate(dcn.rows_per_table) if rows * 1024 < 8_000_000}
    assert {p.table for p in plan.parts if p.cut == "replica"} == small
    plan.require_room()


# TorchRec


def test_time_of_a_part_is_torchrecs_formula() -> None:
    """B 100, L 10, D 64 on four GPUs."""
    problem = task([1000], [10], 4, dim=64)
    read = (8 * 1000 + 4 * 1000 * 64 + 4 * 100 * 64) * 1.15
    vectors = 4 * 100 * 64
    whole = 3 * read / (897 * GIB) + 2 * vectors / (600 * GIB)
    assert part_time(problem, 0, "table", 64) == pytest.approx(whole)
    fewer = (8 * 250 + 4 * 250 * 64 + vectors) * 1.15
    rows = 3 * fewer / (897 * GIB) + 2 * vectors / (600 * GIB) + 2.455 * vectors / (897 * GIB)
    assert part_time(problem, 0, "row", 64) == pytest.approx(rows)
    own = (8 * 250 + 4 * 250 * 64 + vectors / 4) * 1.15
    table = 4 * 1000 * 64
    copies = 3 * own / (897 * GIB) + table / (600 * GIB) + 9.22 * table / (897 * GIB)
    assert part_time(problem, 0, "replica", 64) == pytest.approx(copies)


@given(
    st.lists(st.tuples(st.integers(10, 10**6), st.integers(1, 50)), min_size=1, max_size=3),
    st.sampled_from([32, 64, 256]),
)
@settings(max_examples=40, deadline=None)
def test_few_tables_get_the_best_of_all_combinations(
    tables: list[tuple[int, int]], dim: int
) -> None:
    """No assignment of whole tables to two GPUs, and no table-by-table choice of rows or copies,
    is faster than the plan by more than the partition's greed (one part)."""
    problem = task([r for r, _ in tables], [n for _, n in tables], 2, "auto", dim=dim)
    plan = PLANNERS["torchrec"](problem)
    plan.check()
    cuts: tuple[Cut, ...] = ("row", "replica")
    for chosen in itertools.product(cuts, repeat=len(tables)):
        alike = sum(part_time(problem, t, cut, dim) for t, cut in enumerate(chosen))
        assert plan.worst <= alike * (1 + 1e-9)
    whole = [part_time(problem, t, "table", dim) for t in range(len(tables))]
    assert plan.worst <= sum(whole) * (1 + 1e-9)
    assert plan.worst == pytest.approx(max(plan.cost(gpu) for gpu in range(2)))


def test_many_tables_are_placed_without_trying_everything() -> None:
    rows = [10**3, 10**5, 10**6, 10**7] * 10
    plan = PLANNERS["torchrec"](task(rows, [1, 5, 10, 20] * 10, 8, "auto"))
    plan.check()
    assert plan.worst < PLANNERS["torchrec"](task(rows, [1, 5, 10, 20] * 10, 8)).worst * 1.0001
    assert {p.cut for p in plan.parts if p.rows == 10**3} <= {"table", "replica", "row"}


# all


@pytest.mark.parametrize("planner", sorted(PLANNERS))
@pytest.mark.parametrize("sharding", ["table", "row", "auto"])
@given(
    tables=st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 100)), min_size=1, max_size=8),
    gpus=st.integers(1, 5),
)
@settings(max_examples=15, deadline=None)
def test_rows_and_lookups_are_conserved(
    planner: str, sharding: Sharding, tables: list[tuple[int, int]], gpus: int
) -> None:
    """Each row once, or on every GPU; lookups of a mini-batch add up over GPUs."""
    rows, lookups = [r for r, _ in tables], [n for _, n in tables]
    plan = PLANNERS[planner](task(rows, lookups, gpus, sharding))
    plan.check()
    served = sum(plan.lookups(gpu) for gpu in range(gpus))
    columns = sum(p.lookups * (p.parts - 1) / p.parts for p in plan.parts if p.cut == "column")
    assert served - columns == pytest.approx(100 * sum(lookups))


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_one_gpu_gets_all(planner: str) -> None:
    plan = PLANNERS[planner](task([10, 20, 30], [1, 2, 3], 1, "auto"))
    assert plan.whole
    assert sorted(tables_by_gpu(plan)[0]) == [0, 1, 2]


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_tables_that_do_not_fit_are_refused_with_what_each_gpu_needs(planner: str) -> None:
    """Three tables of 102.4 GB on two GPUs of 80 GB."""
    big = task([10**8] * 3, [1] * 3, 2, "auto")
    with pytest.raises(CapacityError, match=r"307\.2 GB of tables on 2 GPUs.*gpu0 \d{3}"):
        PLANNERS[planner](big).require_room()


def test_hugectr_knows_no_columns() -> None:
    with pytest.raises(ConfigError, match="cuts by rows alone"):
        PLANNERS["hugectr"](task([10], [1], 2, "column"))


# on machines


def test_rates_and_memory_come_from_the_machine() -> None:
    server = machine("p3_16xlarge")
    gpus = gpus_of(server, server.all("gpu"))
    assert (gpus.count, gpus.hosts, gpus.link_rate) == (8, 1, 150e9)
    assert gpus.memory == server.memory("gpu0").capacity
    assert gpus.network_rate == 0.0
    assert gpus_of(server, server.all("gpu"), rates=False).link_rate == 0.0


HOSTS = (
    "host.count=2",
    "host.gpu.count=4",
    "host.nvlink={part: nvlink4_h100, join: gpu, by: switch}",
)
NETWORK = ("host.nic={part: connectx7_ndr, count: 2}", "host.pcie.join=[cpu, gpu, nic]")
SPINE = "network={part: infiniband_ndr, join: nic, by: switch}"


def test_gpus_of_several_hosts_share_their_interfaces() -> None:
    """Two interfaces of 50 GB/s for four GPUs: 25 GB/s each."""
    server = build_topology(load_machine("h100", (*HOSTS, *NETWORK, SPINE)), 512)
    gpus = gpus_of(server, server.all("gpu"))
    assert (gpus.count, gpus.hosts, gpus.on_host) == (8, 2, 4)
    assert (gpus.link_rate, gpus.network_rate) == (450e9, 25e9)


def test_several_hosts_without_interfaces_are_refused_by_who_weighs_them() -> None:
    server = build_topology(load_machine("h100", HOSTS), 512)
    with pytest.raises(ConfigError, match="on several hosts but no interface"):
        place_on(model(placement="hugectr"), server, server.all("gpu"))
    assert place_on(model(), server, server.all("gpu")).whole


def test_gpu_only_runs_the_plan_of_its_model() -> None:
    skewed = {
        "rows_per_table": (3_000_000, 1_000_000, 1_000_000, 1_000_000),
        "lookups_per_table": (1, 10, 10, 10),
        "tables": 4,
    }
    by_size = GpuOnly(job(gpus=2, **skewed), machine("p3_16xlarge"))
    by_lookups = GpuOnly(job(gpus=2, placement="lookups", **skewed), machine("p3_16xlarge"))
    assert [pooled(each) for each in (by_size, by_lookups)] == [[1, 3], [2, 2]]


def pooled(system: GpuOnly) -> list[int]:
    """Tables of each GPU."""
    stages = system.stages(BatchFacts.of_nothing(2048))
    words = [word for stage in stages for word in stage.operations]
    return [word.reads.tables for word in words if isinstance(word, Pool)]


def test_gpu_only_refuses_more_gpus_than_whole_tables() -> None:
    few = {"tables": 2, "rows_per_table": (10, 10), "lookups_per_table": (1, 1)}
    with pytest.raises(ConfigError, match="2 tables do not reach 4 GPUs"):
        GpuOnly(job(gpus=4, **few), machine("p3_16xlarge"))


@pytest.mark.parametrize("planner", sorted(PLANNERS))
def test_every_planner_places_the_models_of_the_catalogue(planner: str) -> None:
    place(model(placement=planner, sharding="auto"), H100S).require_room()
    place(CRITEO.model_copy(update={"placement": planner, "sharding": "auto"}), H100S)
