"""Equal ranks folded take as long as all of them simulated, and move the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import CPU, GPU, PCIE, Flat, catalogue_part, cluster, host, socket, topology

from simulator.config.catalogue import load_named
from simulator.engine.pipeline import run_pipeline
from simulator.errors import ConfigError
from simulator.hardware.demand import Demand, ResourceUse, StageDemand, Turnaround
from simulator.hardware.fold import Fold
from simulator.hardware.machine import Machine
from simulator.hardware.program import (
    Buffer,
    Dense,
    Exchange,
    Flow,
    Gather,
    Interaction,
    Move,
    Operation,
    Stage,
    Store,
    Wait,
)
from simulator.hardware.topology import Topology

GB = 10**9
SOFTWARE = load_named("operators", "tuned")
DRAM = catalogue_part(CPU).memory.name
SLOW = Flat(rate=30 * GB, turnaround=Turnaround(((0.5, 0.3),)))
"""DRAM that three PCIe links fill."""

Lane = tuple[Operation, ...]
Lanes = Callable[[str], Sequence[Lane]]
"""Rank -> its lanes."""


def box(gpus: int, per: int, nvlink: bool = False) -> Topology:
    sockets = {
        "cpu": CPU,
        "gpu": socket(GPU, count=gpus),
        "pcie": socket(PCIE, join=("cpu", "gpu"), per=per),
    }
    if nvlink:
        sockets["nvlink"] = socket("nvlink2_v100", join=("gpu",))
    return topology(host(**sockets), rates={DRAM: SLOW})


def down(rank: str, size: int) -> Move:
    return Move("down", "cpu.dram", Buffer("b", "cpu.dram", size), f"{rank}.hbm")


def up(rank: str, size: int) -> Move:
    return Move("up", f"{rank}.hbm", Buffer("b", f"{rank}.hbm", size), "cpu.dram")


def dense(rank: str, flops: int) -> Dense:
    return Dense("mlp", rank, flops, "fp32", 4, GB // 20, GB // 25, Interaction(0, 0, 0))


def on_cpu(rows: int) -> Gather:
    store = Store("tables", "cpu.dram", 512)
    return Gather("gather", "cpu", store, Flow(0, rows), Buffer("g", "cpu.dram", 512 * rows))


def run(machine: Topology, stage: StageDemand) -> tuple[int, Mapping[str, ResourceUse]]:
    """End of a stage, and what went through each resource."""
    clock = Machine(simpy.Environment(), machine.resources, check=True)
    (span,) = run_pipeline(clock, [(stage,)], "serial")
    return span.end_ps, clock.use


def same(machine: Topology, lanes: Lanes, others: Sequence[Lane] = ()) -> None:
    """All ranks at once, against the first folded; `others`: lanes that no rank has."""
    ranks = machine.all("gpu")
    every = tuple(lane for rank in ranks for lane in lanes(rank))
    full = machine.price_stage(Stage("x", (*every, *others)), SOFTWARE)
    first = machine.price_stage(Stage("x", (*lanes(ranks[0]), *others)), SOFTWARE)
    fold = Fold(machine, ranks)
    end, use = run(machine, full)
    folded_end, folded_use = run(machine, fold.scaled(first))
    assert folded_end == pytest.approx(end, rel=1e-9)
    images = {i: u for name, u in folded_use.items() for i in fold.images.get(name, (name,))}
    assert set(images) == set(use)
    for name, used in use.items():
        assert images[name].bytes == pytest.approx(used.bytes, rel=1e-6), name
        assert images[name].busy_ps == pytest.approx(used.busy_ps, rel=1e-6), name
        assert images[name].energy_pj == pytest.approx(used.energy_pj, rel=1e-6), name


shapes = st.sampled_from([(2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (8, 2), (8, 8)])
"""GPUs, and how many share an uplink."""
sizes = st.integers(GB // 10, 2 * GB)
"""Tens of milliseconds: the picosecond that a moment is rounded to is below 1e-9 of them."""
fast = settings(max_examples=15)


@fast
@given(shapes, sizes)
def test_copies_from_what_all_share(shape: tuple[int, int], size: int) -> None:
    same(box(*shape), lambda rank: [(down(rank, size),)])


@fast
@given(shapes, sizes, sizes)
def test_copies_both_ways_at_once(shape: tuple[int, int], there: int, back: int) -> None:
    """DRAM reads and writes at once, more than it can: the mix of both is that of all ranks."""
    same(box(*shape), lambda rank: [(down(rank, there),), (up(rank, back),)])


@fast
@given(shapes, sizes, sizes, st.integers(10**11, 10**13))
def test_lanes_of_several_operations(
    shape: tuple[int, int], there: int, back: int, flops: int
) -> None:
    def lanes(rank: str) -> list[Lane]:
        return [(down(rank, there), dense(rank, flops), up(rank, back)), (up(rank, back),)]

    same(box(*shape), lanes)


@fast
@given(shapes, sizes, sizes)
def test_exchanges_have_ports_of_their_own(
    shape: tuple[int, int], exchanged: int, there: int
) -> None:
    machine = box(*shape, nvlink=True)
    group = machine.all("gpu")

    def lanes(rank: str) -> list[Lane]:
        return [(Exchange("x", rank, group, "all_to_all", exchanged),), (down(rank, there),)]

    same(machine, lanes)


@fast
@given(shapes, sizes, st.integers(10**6, 10**7))
def test_beside_work_of_no_rank(shape: tuple[int, int], size: int, rows: int) -> None:
    """The CPU gathers from the DRAM that the copies read, and is asked for once."""
    same(box(*shape), lambda rank: [(down(rank, size),)], others=[(on_cpu(rows),)])


def folded(machine: Topology, word: Operation) -> StageDemand:
    stage = machine.price_stage(Stage("x", ((word,),)), SOFTWARE)
    return Fold(machine, machine.all("gpu")).scaled(stage)


@pytest.mark.parametrize(("per", "sharing"), [(1, 1), (2, 2), (4, 4), (8, 8)])
def test_what_k_of_n_ranks_share_is_asked_for_k_times(per: int, sharing: int) -> None:
    machine = box(8, per)
    link = "pcie" if per == 8 else "pcie0"
    alone = machine.price(down("gpu0", GB), SOFTWARE)
    (((demand,),)) = folded(machine, down("gpu0", GB)).lanes
    services = demand.services
    assert services["cpu.dram"].bytes == 8 * GB, "all ranks"
    assert services["gpu0.hbm"].bytes == GB, "its own"
    assert services[f"{link}.down"].bytes == sharing * GB
    assert services[f"{link}.down"].ps == pytest.approx(sharing * alone.services[f"{link}.down"].ps)
    assert demand.latency_ps == alone.latency_ps, "they wait at the same time"


def test_work_of_no_rank_is_done_once() -> None:
    machine = box(4, 2)
    (((demand,),)) = folded(machine, on_cpu(1000)).lanes
    assert demand == machine.price(on_cpu(1000), SOFTWARE)


def test_images_of_the_first_rank_are_the_resources_of_all() -> None:
    fold = Fold(box(4, 2, nvlink=True), ("gpu0", "gpu1", "gpu2", "gpu3"))
    assert fold.images["gpu0.hbm"] == tuple(f"gpu{k}.hbm" for k in range(4))
    assert fold.images["pcie0.up"] == ("pcie0.up", "pcie1.up")
    assert fold.images["nvlink.gpu0.in"] == tuple(f"nvlink.gpu{k}.in" for k in range(4))
    assert (fold.copies("gpu0.hbm"), fold.copies("pcie0.up"), fold.copies("cpu.dram")) == (4, 2, 1)


def test_nobody_to_fold_changes_nothing() -> None:
    machine = box(2, 1)
    stage = machine.price_stage(Stage("x", ((down("gpu0", GB),),)), SOFTWARE)
    fold = Fold(machine, ())
    assert fold.scaled(stage) == stage
    assert fold.copies("gpu0.hbm") == 1


def test_one_rank_is_what_it_is() -> None:
    machine = box(2, 1)
    stage = machine.price_stage(Stage("x", ((down("gpu0", GB),),)), SOFTWARE)
    scaled = Fold(machine, ("gpu0",)).scaled(stage)
    assert run(machine, scaled) == run(machine, stage)


def test_ranks_that_are_not_joined_alike_are_refused() -> None:
    """gpu1 of the first host has a bridge to a memory that gpu0 has not."""
    machine = topology(
        host(
            cpu=CPU,
            gpu=socket(GPU, count=1),
            other=GPU,
            far="ddr4_2400",
            pcie=socket(PCIE, join=("cpu", "gpu", "other")),
            bridge=socket(PCIE, join=("other", "far")),
        )
    )
    with pytest.raises(ConfigError, match="bench: gpu, other are not joined alike"):
        Fold(machine, machine.all("gpu"))


def test_links_that_unequal_numbers_share_are_refused() -> None:
    """Of three ranks two share an uplink: the first would wait longer than the third."""
    machine = box(3, 2)
    with pytest.raises(ConfigError, match="gpu0, gpu1, gpu2 are not joined alike"):
        Fold(machine, machine.all("gpu"))


def test_some_ranks_of_a_machine_may_be_joined_alike() -> None:
    assert Fold(box(3, 2), ("gpu0", "gpu1")).copies("pcie0.down") == 1


def test_ranks_of_several_hosts_share_what_their_own_host_has() -> None:
    """Two hosts of two GPUs: the DRAM, NIC and port of each are asked for by its own two."""
    machine = cluster(hosts=2, gpus=2)
    ranks = machine.all("gpu")
    fold = Fold(machine, ranks)
    for name in ("host0.cpu.dram", "host0.nic.tx", "host0.pcie.up", "network.host0.nic.out"):
        assert fold.images[name] == (name, name.replace("host0", "host1"))
    assert fold.copies("host0.gpu0.hbm") == 4
    word = Move("to_dram", "host0.gpu0.hbm", Buffer("b", "host0.gpu0.hbm", GB), "host0.cpu.dram")
    (((demand,),)) = fold.scaled(machine.price_stage(Stage("x", ((word,),)), SOFTWARE)).lanes
    assert demand.services["host0.cpu.dram"].bytes == 2 * GB
    assert demand.services["host0.pcie.up"].bytes == 2 * GB
    assert demand.services["host0.gpu0.hbm"].bytes == GB


# what one process, or one for each rank, submits


def launched(machine: Topology, ranks: int, one_process: bool, word: Operation) -> Demand:
    names = machine.all("gpu")[:ranks]
    stage = machine.price_stage(Stage("x", ((word,),)), SOFTWARE)
    (((demand,),)) = Fold(machine, names, one_process=one_process).scaled(stage).lanes
    return demand


@pytest.mark.parametrize(
    ("ranks", "one_process", "turns"), [(1, True, 1), (1, False, 1), (8, True, 8), (8, False, 1)]
)
def test_one_process_submits_for_all_ranks_in_turn(
    ranks: int, one_process: bool, turns: int
) -> None:
    """V100 with PyTorch's launches: 29 us of each of four kernels, 4.25 us to notice an end."""
    machine = box(8, 1)
    eager = load_named("operators", "paper")
    stage = Stage("x", ((dense("gpu0", GB), Wait("wait", "gpu0")),))
    fold = Fold(machine, machine.all("gpu")[:ranks], one_process=one_process)
    (((mlp, wait),)) = fold.scaled(machine.price_stage(stage, eager)).lanes
    assert mlp.submit_ps == turns * 29_000_000
    assert mlp.submit_more_ps == turns * 3 * 29_000_000
    assert wait.host_ps == turns * 4_250_000
    assert (mlp.host, wait.host) == ("gpu0.launch", "gpu0.launch")


def test_one_process_that_launches_for_eight_is_what_a_small_step_takes() -> None:
    """Four kernels of next to nothing: 8 x 29 us each, then the start and drain of the last."""
    machine = box(8, 1)
    word = replace(dense("gpu0", 1000), bytes_read=0, bytes_written=0)
    stage = machine.price_stage(Stage("x", ((word,),)), load_named("operators", "paper"))
    ends = [
        run(machine, Fold(machine, machine.all("gpu"), one_process=way).scaled(stage))[0]
        for way in (False, True)
    ]
    assert ends == [4 * 29_000_000, 8 * 4 * 29_000_000], "longer than the kernels themselves"


def test_work_of_no_rank_is_submitted_by_nobody() -> None:
    machine = box(4, 2)
    assert launched(machine, 4, True, on_cpu(1000)) == machine.price(on_cpu(1000), SOFTWARE)


@pytest.mark.parametrize(("per", "uplink"), [(1, 1), (2, 2), (8, 8)])
def test_ranks_that_share_a_resource_load_it_for_each_other(per: int, uplink: int) -> None:
    demand = launched(box(8, per), 8, False, down("gpu0", GB))
    link = "pcie" if per == 8 else "pcie0"
    assert demand.alike["cpu.dram"] == 8
    assert demand.alike[f"{link}.down"] == uplink
    assert demand.alike["gpu0.hbm"] == 1
    assert set(demand.loaded) == {"cpu.dram"}
