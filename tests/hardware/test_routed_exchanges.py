"""Exchanges of GPUs that no link joins directly: PCIe, bridges, switches; closed forms, limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import CPU, GB, GPU, PCIE, catalogue_part, changed, host, socket, topology

from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.engine.pipeline import run_pipeline
from simulator.errors import ConfigError
from simulator.hardware.demand import Demand, StageDemand
from simulator.hardware.devices.mesh import Mesh
from simulator.hardware.fold import Fold
from simulator.hardware.machine import Machine
from simulator.hardware.program import Buffer, Exchange, Move, Stage
from simulator.hardware.topology import Topology

SOFTWARE: OperatorProfile = load_named("operators", "tuned")
US, MB = 10**6, 10**6
LINK = catalogue_part(PCIE)
POSTED = LINK.bandwidth
"""Bytes per second of kernels that write through a link."""


def machine(gpus: int = 4, per: int = 1, *, forwards: int = 0, **sockets: Any) -> Topology:
    """GPUs below PCIe alone, `per` to an uplink."""
    return topology(
        host(
            cpu=changed(CPU, forwards=forwards),
            gpu=socket(GPU, count=gpus),
            pcie=socket(PCIE, join=("cpu", "gpu"), per=per),
            **sockets,
        )
    )


def price(where: Topology, pattern: str, size: int, at: int = 0, **keys: Any) -> Demand:
    ranks = keys.pop("ranks", where.all("gpu"))
    word = Exchange("x", ranks[at], ranks, pattern, size, **keys)  # type: ignore[arg-type]
    return where.price(word, SOFTWARE)


def used(demand: Demand) -> dict[str, int]:
    """Bytes over what is not the GPU's own."""
    return {n: s.bytes for n, s in demand.services.items() if s.bytes and ".hbm" not in n}


def carried(where: Topology, pattern: str, size: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for at in range(len(where.all("gpu"))):
        total.update(used(price(where, pattern, size, at)))
    return total


def busy_ps(where: Topology, demand: Demand) -> float:
    return demand.alone_ps(where.resources)


# the way


def test_bytes_between_root_ports_pass_the_memory_of_the_host() -> None:
    """Three quarters of a buffer leave: written there by the sender, read by the receiver."""
    where = machine(4)
    demand = price(where, "all_to_all", 4 * MB)
    assert used(demand) == {"pcie0.up": 3 * MB, "pcie0.down": 3 * MB, "cpu.dram": 6 * MB}
    assert demand.services["cpu.dram"].written == 3 * MB
    assert demand.services["gpu0.hbm"].bytes == 6 * MB


def test_a_processor_that_forwards_leaves_its_memory_out() -> None:
    where = machine(4, forwards=4)
    demand = price(where, "all_to_all", 4 * MB)
    assert used(demand) == {"pcie0.up": 3 * MB, "pcie0.down": 3 * MB}
    acknowledged = 3 * MB * LINK.acknowledgements / LINK.raw_bandwidth
    for way in ("up", "down"):
        expected = (3 * MB / POSTED + acknowledged) * 1e12
        assert demand.services[f"pcie0.{way}"].ps == pytest.approx(expected)


def test_it_forwards_for_so_many_gpus_of_a_host_and_no_more() -> None:
    pair, four = machine(2, forwards=2), machine(4, forwards=2)
    assert "cpu.dram" not in used(price(pair, "all_gather", MB))
    assert "cpu.dram" in used(price(four, "all_gather", MB))


def test_gpus_below_one_uplink_exchange_in_its_switch() -> None:
    """All-to-all among eight: 7/8 of the buffer over the lanes of each, nothing over the uplink."""
    where = machine(8, per=8)
    demand = price(where, "all_to_all", 8 * MB)
    assert not used(demand)
    assert busy_ps(where, demand) == pytest.approx(7 * MB / POSTED * 1e12, rel=1e-6)


@pytest.mark.parametrize(("per", "leaving"), [(1, 3 / 3), (2, 2 / 3)])
def test_an_uplink_carries_what_its_gpus_have_for_others(per: int, leaving: float) -> None:
    """Of three peers two are below another uplink, where two GPUs share one."""
    where, size = machine(4, per), 4 * MB
    total = carried(where, "all_to_all", size)
    up = sum(n for name, n in total.items() if name.endswith(".up"))
    assert up == pytest.approx(4 * 3 * MB * leaving, abs=8)
    assert up == sum(n for name, n in total.items() if name.endswith(".down"))
    assert total["cpu.dram"] == pytest.approx(2 * up, abs=8)


def test_a_ring_crosses_each_uplink_once() -> None:
    """All-reduce of S among eight, two to an uplink: 2 (n - 1) / n S over each, once each way."""
    where, size = machine(8, per=2), 8 * MB
    total = carried(where, "all_reduce", size)
    for link in range(4):
        for way in ("up", "down"):
            assert total[f"pcie{link}.{way}"] == pytest.approx(2 * 7 * MB, abs=8)


def test_sums_take_the_steps_of_pcie() -> None:
    """Two ranks, small: LL in two steps of 1 us."""
    assert price(machine(2), "all_reduce", 256).latency_ps == round((6.6 + 2 * 1.0) * US)


def test_a_switch_that_sums_is_none() -> None:
    with pytest.raises(ConfigError, match=r"no all_reduce by switch among 4 ranks over PCIe 3\.0"):
        price(machine(4), "all_reduce", MB, algorithm="switch")


def test_gpus_that_no_links_lead_between_are_refused() -> None:
    apart = topology(host(gpu=socket(GPU, count=2)))
    with pytest.raises(ConfigError, match="no links lead from gpu0 to gpu1"):
        price(apart, "all_to_all", MB)


# bridges and switches


def bridges(*joins: tuple[int, int, int]) -> Mesh:
    mesh: Mesh = changed("nvlink2_cube_mesh", joins=joins)
    return mesh


def test_bridged_pairs_exchange_over_bridges_and_between_them_over_pcie() -> None:
    nvlink = socket(bridges((0, 2, 4), (1, 3, 4)), join=("gpu",))
    where = machine(4, forwards=4, nvlink=nvlink)
    total = carried(where, "all_to_all", 4 * 3 * MB)
    assert total["nvlink.gpu0.gpu2"] == total["nvlink.gpu3.gpu1"] == 3 * MB
    assert total["pcie0.up"] == total["pcie2.down"] == 6 * MB
    ring = carried(where, "all_gather", 4 * MB)
    assert ring["nvlink.gpu0.gpu2"] == 3 * MB, "the ring goes by way of its bridge"
    assert ring["pcie0.up"] + ring["pcie1.up"] + ring["pcie2.up"] + ring["pcie3.up"] == 2 * 3 * MB


def test_some_gpus_of_a_mesh_use_the_links_of_others() -> None:
    """GPUs 0 and 5 of the cube mesh have no link of their own: GPU 1 relays, over two links."""
    where = machine(8, nvlink=socket("nvlink2_cube_mesh", join=("gpu",)))
    demand = price(where, "all_to_all", 2 * MB, ranks=("gpu0", "gpu5"))
    over = {name for name in demand.services if name.startswith("nvlink")}
    assert over == {"nvlink.gpu0.gpu1", "nvlink.gpu1.gpu5"}
    assert "pcie0.up" not in demand.services


def test_gpus_of_a_star_exchange_by_way_of_the_first() -> None:
    """Three GPUs around one: the bytes of two others each pass its links too."""
    star = bridges((0, 1, 2), (0, 2, 2), (0, 3, 2))
    where = machine(4, nvlink=socket(star, join=("gpu",)))
    spoke = 2 * star.rate
    spread = price(where, "all_to_all", 4 * 3 * MB)
    assert busy_ps(where, spread) == pytest.approx(3 * 3 * MB / spoke * 1e12, rel=1e-6)
    summed = price(where, "all_reduce", GB, algorithm="ring")
    assert busy_ps(where, summed) == pytest.approx(GB / spoke * 1e12, rel=1e-6)


def below_switches(switches: int = 2, gpus: int = 4) -> Topology:
    """GPUs below PCIe switches with names, each with an uplink."""
    return topology(
        host(
            cpu=CPU,
            gpu=socket(GPU, count=gpus),
            plx=socket("pcie_switch", count=switches),
            pcie=socket(PCIE, join=("plx", "gpu"), per=1),
            uplink=socket(PCIE, join=("cpu", "plx"), per=1),
        )
    )


@pytest.mark.parametrize("pattern", ["all_to_all", "all_reduce"])
def test_a_switch_with_a_name_is_an_uplink_that_gpus_share(pattern: str) -> None:
    """As `per: 2`: the same bytes over the uplinks, in the same time."""
    named, shared = below_switches(), machine(4, per=2)
    up = [carried(where, pattern, 4 * 3 * MB) for where in (named, shared)]
    for link in range(2):
        assert up[0][f"uplink{link}.up"] == pytest.approx(up[1][f"pcie{link}.up"], abs=8)
    assert up[0]["pcie0.up"] > 0, "lanes of a GPU"
    folded = [
        end_ps(where, Fold(where, where.all("gpu")).scaled(lanes(where, ("gpu0",), pattern, GB)))
        for where in (named, shared)
    ]
    assert folded[0] == pytest.approx(folded[1], rel=1e-6)


def test_a_copy_through_a_switch_is_set_up_once() -> None:
    copies = [
        where.price(Move("rows", "gpu0", Buffer("b", "gpu0.hbm", GB), "cpu.dram"), SOFTWARE)
        for where in (below_switches(), machine(4, per=2))
    ]
    assert copies[0].latency_ps == copies[1].latency_ps + 150_000
    assert {"pcie0.up", "uplink0.up"} <= set(copies[0].services)


def test_a_star_around_a_switch_gives_its_gpus_their_ports() -> None:
    """As NVLink behind switches, at the port of each: (n - 1) / n of a buffer."""
    where = topology(
        host(
            gpu=socket(GPU, count=4),
            nvswitch="nvswitch",
            nvlink=socket("nvlink3_a100", join=("nvswitch", "gpu"), per=1),
        )
    )
    demand = price(where, "all_to_all", 4 * MB)
    port = catalogue_part("nvlink3_a100").rate()
    assert busy_ps(where, demand) == pytest.approx(3 * MB / port * 1e12, rel=1e-6)
    assert demand.services["nvlink0.gpu0.out"].bytes == 3 * MB
    assert demand.services["nvlink0.gpu0.in"].bytes == 3 * MB


def test_boards_that_a_trunk_joins_share_it() -> None:
    """Two switches of two GPUs: of three peers two are across."""
    where = topology(
        host(
            gpu=socket(GPU, count=4),
            board=socket("nvswitch", count=2),
            nvlink=socket("nvlink3_a100", join=("board", "gpu"), per=1),
            trunk=socket("nvlink3_a100", join=("board",)),
        )
    )
    total = carried(where, "all_to_all", 4 * 3 * MB)
    assert total["trunk.board0.out"] == total["trunk.board1.in"] == 2 * 2 * 3 * MB


# properties


def lanes(where: Topology, ranks: Sequence[str], pattern: str, size: int) -> StageDemand:
    group = where.all("gpu")
    words = [Exchange("x", rank, group, pattern, size) for rank in ranks]  # type: ignore[arg-type]
    return where.price_stage(Stage("x", tuple((word,) for word in words)), SOFTWARE)


def end_ps(where: Topology, stage: StageDemand) -> int:
    clock = Machine(simpy.Environment(), where.resources, check=True)
    (span,) = run_pipeline(clock, [(stage,)], "serial")
    return span.end_ps


@pytest.mark.parametrize("pattern", ["all_to_all", "all_reduce", "all_gather"])
@pytest.mark.parametrize("shape", [(4, 1), (4, 2), (8, 2), (8, 4), (8, 8)])
def test_equal_ranks_folded_are_all_of_them(pattern: str, shape: tuple[int, int]) -> None:
    for forwards in (0, 8):
        where, size = machine(*shape, forwards=forwards), GB
        every = end_ps(where, lanes(where, where.all("gpu"), pattern, size))
        first = lanes(where, where.all("gpu")[:1], pattern, size)
        folded = end_ps(where, Fold(where, where.all("gpu")).scaled(first))
        assert folded == pytest.approx(every, rel=1e-6)


@settings(max_examples=25)
@given(
    st.sampled_from(["all_to_all", "all_reduce", "reduce_scatter", "all_gather", "broadcast"]),
    st.integers(0, GB),
    st.sampled_from([(2, 1), (4, 2), (8, 4)]),
    st.sampled_from([0, 8]),
)
def test_more_bandwidth_is_never_slower(
    pattern: str, size: int, shape: tuple[int, int], forwards: int
) -> None:
    before = machine(*shape, forwards=forwards)
    wide = changed(PCIE, raw_bandwidth=2 * LINK.raw_bandwidth)
    cpu = changed(CPU, forwards=forwards)
    gpu = socket(GPU, count=shape[0])
    after = topology(host(cpu=cpu, gpu=gpu, pcie=socket(wide, join=("cpu", "gpu"), per=shape[1])))
    slow, fast = (m.price(_word(m, pattern, size), SOFTWARE) for m in (before, after))
    assert busy_ps(after, fast) <= busy_ps(before, slow) * (1 + 1e-9)


def _word(where: Topology, pattern: str, size: int) -> Exchange:
    return Exchange("x", "gpu0", where.all("gpu"), pattern, size)  # type: ignore[arg-type]


def test_an_exchange_and_a_copy_share_the_uplink() -> None:
    """Both at once take as long as one after the other, but for what they start with."""
    where = machine(2)
    copy = Move("rows", "gpu0", Buffer("b", "gpu0.hbm", GB), "cpu.dram")
    exchange = lanes(where, where.all("gpu"), "all_to_all", GB)
    alone = [end_ps(where, StageDemand("x", ((where.price(copy, SOFTWARE),),)))]
    alone.append(end_ps(where, exchange))
    both = StageDemand("x", (*exchange.lanes, (where.price(copy, SOFTWARE),)))
    assert max(alone) < 0.75 * sum(alone)
    assert end_ps(where, both) == pytest.approx(sum(alone), rel=0.02)
