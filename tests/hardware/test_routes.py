"""Ways between the memories of a machine, and loads over the links on them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import (
    CPU,
    GPU,
    PCIE,
    catalogue_part,
    changed,
    cluster,
    host,
    server,
    socket,
    topology,
)

from simulator.config.catalogue import load_named
from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.program import Buffer, Move
from simulator.hardware.topology import Topology

MB = 10**6


def way(machine: Topology, source: str, target: str) -> list[tuple[str, str, str]]:
    """(link, from, to) of each hop."""
    return [(h.link.name, h.source, h.target) for h in machine.route(source, target)]


def copy(source: str, target: str, size: int) -> Move:
    return Move("copy", source, Buffer("rows", source, size), target)


SOFTWARE = load_named("operators", "tuned")


# routes


def test_one_hop_lies_between_a_processor_and_what_is_below_it() -> None:
    machine = topology(server(gpus=2, per=1))
    assert way(machine, "cpu.dram", "gpu1.hbm") == [("pcie1", "cpu", "gpu1")]
    assert way(machine, "gpu1", "cpu") == [("pcie1", "gpu1", "cpu")]


def test_no_hop_lies_between_a_device_and_its_memory() -> None:
    assert way(topology(server()), "gpu", "gpu.hbm") == []


def test_two_hops_lead_over_the_root() -> None:
    machine = topology(server(gpus=2, per=1))
    assert way(machine, "gpu0", "gpu1") == [("pcie0", "gpu0", "cpu"), ("pcie1", "cpu", "gpu1")]


def test_the_shorter_way_is_taken() -> None:
    machine = topology(server(gpus=2, per=1, nvlink=True))
    assert way(machine, "gpu0", "gpu1") == [("nvlink", "gpu0", "gpu1")]


def test_two_below_one_uplink_meet_at_its_root() -> None:
    machine = topology(server(gpus=2, per=2))
    assert way(machine, "gpu0", "gpu1") == [("pcie", "gpu0", "cpu"), ("pcie", "cpu", "gpu1")]


def test_a_way_over_two_hosts() -> None:
    assert way(cluster(), "host0.gpu", "host1.cpu") == [
        ("host0.pcie", "host0.gpu", "host0.cpu"),
        ("host0.pcie", "host0.cpu", "host0.nic"),
        ("network", "host0.nic", "host1.nic"),
        ("host1.pcie", "host1.nic", "host1.cpu"),
    ]


def test_no_way_is_an_error_that_names_both_ends_and_what_each_is_joined_to() -> None:
    machine = topology(
        host(
            cpu=socket(CPU, count=2),
            gpu=socket(GPU, count=2),
            lone="ddr4_2400",
            pcie=socket(PCIE, join=("cpu", "gpu")),
        )
    )
    with pytest.raises(ConfigError) as caught:
        machine.route("gpu0", "gpu1.hbm")
    assert str(caught.value) == (
        "bench: no links lead from gpu0 to gpu1; gpu0 is joined to cpu0, gpu1 to cpu1"
    )
    with pytest.raises(ConfigError, match="lone to nothing"):
        machine.route("gpu0", "lone")


def test_two_ways_of_one_length_are_an_error_that_names_both() -> None:
    """Two roots above both GPUs: over the CPU, or over the memory."""
    machine = topology(
        host(
            cpu=CPU,
            far="ddr4_2400",
            gpu=socket(GPU, count=2),
            pcie=socket(PCIE, join=("cpu", "gpu"), per=1),
            switch=socket(PCIE, join=("far", "gpu"), per=2),
        )
    )
    with pytest.raises(ConfigError) as caught:
        machine.route("gpu0", "gpu1")
    assert str(caught.value) == (
        "bench: two ways lead from gpu0 to gpu1, over pcie0-pcie1 and over switch-switch: "
        "leave one out"
    )


def test_two_links_between_the_same_two_are_ambiguous() -> None:
    links: dict[str, Any] = dict.fromkeys(("left", "right"), socket(PCIE, join=("cpu", "gpu")))
    with pytest.raises(ConfigError, match="over left and over right"):
        topology(host(cpu=CPU, gpu=GPU, **links)).route("cpu", "gpu")


@given(st.integers(1, 9), st.integers(1, 9))
def test_routes_are_chains_and_back_is_forth_reversed(gpus: int, per: int) -> None:
    machine = topology(server(gpus=gpus, per=per))
    for source in machine.all("gpu"):
        for target in ("cpu", *machine.all("gpu")[-1:]):
            hops, back = machine.route(source, target), machine.route(target, source)
            ends = [source, *(hop.target for hop in hops)]
            assert [hop.source for hop in hops] == ends[:-1]
            assert ends[-1] == target
            assert [h.link.name for h in back] == [h.link.name for h in reversed(hops)]


# memories in sockets of their own, loads over links


def far(load_latency: int | None) -> Topology:
    """A CPU with a second memory behind a link."""
    link = changed(PCIE, load_latency=load_latency)
    return topology(host(cpu=CPU, far="ddr4_2400", bridge=socket(link, join=("cpu", "far"))))


def test_a_memory_in_a_socket_of_its_own_is_a_place() -> None:
    machine = far(None)
    assert machine.memory("far").place == "far.dram"
    assert machine.resources["far.dram"].kind == "dram"
    assert machine.memory("far").capacity == catalogue_part("ddr4_2400").usable


def test_copies_reach_a_memory_that_loads_do_not() -> None:
    machine = far(None)
    assert set(machine.price(copy("cpu.dram", "far.dram", MB), SOFTWARE).services) == {
        "cpu.dram",
        "bridge.down",
        "bridge.up",
        "far.dram",
    }
    path = machine.reach("cpu", "far.dram")
    with pytest.raises(ConfigError) as caught:
        path.services([Access("far.dram", 1, MB)])
    assert str(caught.value) == (
        "cpu cannot load from far.dram: bridge (PCIe 3.0 x16) carries copies and stores alone "
        "(no load_latency)"
    )


def test_stores_pass_a_link_that_loads_do_not() -> None:
    path = far(None).reach("cpu", "far.dram")
    services = path.services([Access("far.dram", 1, MB, write=True)])
    assert services["bridge.down"].bytes == services["far.dram"].bytes == MB
    assert path.load_latency_ps == 0
    assert all(s.ps == 0.0 for s in path.services([]).values()), "nothing is no load"


def test_loads_pass_a_link_that_says_how_late_they_arrive() -> None:
    path = far(150_000).reach("cpu", "far.dram")
    assert path.load_latency_ps == 150_000
    read = path.services([Access("far.dram", 1, MB)])
    assert read["far.dram"].bytes == read["bridge.up"].bytes == MB, "towards the CPU"
    assert read["bridge.down"].bytes == 0
    written = path.services([Access("far.dram", 1, MB, write=True)])
    assert written["bridge.down"].bytes == MB
    assert written["bridge.up"].bytes == 0


LINE_RATE = 15.754e9
ACKNOWLEDGED = 0.03526 * MB / LINE_RATE * 1e12
"""What goes back for a megabyte."""
ASKED = MB / 512 * 24 / LINE_RATE * 1e12
"""Requests of 24 B for 512 B each."""
READ = MB / (LINE_RATE * 128 / 148 * 0.98) * 1e12
WRITTEN = MB / (LINE_RATE * 128 / 152 * 0.98) * 1e12
"""Packets of 128 B with 20 B around a completion, 24 B around a posted write; 2 % credits."""


@pytest.mark.parametrize(
    ("at", "to", "away", "towards"),
    [
        ("cpu", "far.dram", "bridge.down", "bridge.up"),
        ("far", "cpu.dram", "bridge.up", "bridge.down"),
    ],
)
def test_loads_are_asked_for_and_stores_are_posted_at_either_end(
    at: str, to: str, away: str, towards: str
) -> None:
    """Loads come as completions and load the way to the memory with requests; stores do not. Both
    are acknowledged. No copy's limit of outstanding reads holds for loads."""
    link = changed(PCIE, load_latency=150_000)
    machine = topology(host(cpu=CPU, far=CPU, bridge=socket(link, join=("cpu", "far"))))
    path = machine.reach(at, to)
    loads = path.services([Access(to, 1, MB)])
    assert loads[towards].ps == pytest.approx(READ)
    assert loads[away].ps == pytest.approx(ASKED + ACKNOWLEDGED)
    stores = path.services([Access(to, 1, MB, write=True)])
    assert stores[away].ps == pytest.approx(WRITTEN)
    assert stores[towards].ps == pytest.approx(ACKNOWLEDGED)
    both = path.services([Access(to, 1, MB), Access(to, 1, MB, write=True)])
    assert both[towards].ps == pytest.approx(READ + ACKNOWLEDGED)
    assert both[away].ps == pytest.approx(WRITTEN + ASKED + ACKNOWLEDGED)


def test_the_own_memory_of_a_processor_needs_no_link() -> None:
    path = far(None).reach("cpu", "cpu.dram")
    assert (path.hops, path.load_latency_ps) == ((), 0)
