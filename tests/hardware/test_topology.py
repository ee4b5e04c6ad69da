"""A machine of named parts: names by rule, routes, joins, and what moves over them."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import (
    CPU,
    FLAT_RATE,
    GPU,
    PCIE,
    Flat,
    catalogue_part,
    cluster,
    host,
    server,
    socket,
    topology,
)

from simulator.config.catalogue import load_named
from simulator.config.machine import Part
from simulator.errors import ConfigError
from simulator.hardware.demand import Resource
from simulator.hardware.devices.base import Device, Setup
from simulator.hardware.program import Buffer, Plan, Split, Stage, Wait
from simulator.hardware.topology import Topology, build_topology, member_groups

MB = 10**6
US = 10**6
"""Picoseconds."""


def names(machine: Topology, kind: str) -> tuple[str, ...]:
    return machine.all(kind)


SOFTWARE = load_named("operators", "tuned")


# names


def test_a_lone_part_has_no_number_and_a_lone_host_no_prefix() -> None:
    assert list(topology(server()).devices) == ["cpu", "gpu", "pcie"]


def test_several_parts_of_a_socket_are_numbered() -> None:
    machine = topology(server(gpus=3, per=1))
    assert names(machine, "gpu") == ("gpu0", "gpu1", "gpu2")
    assert names(machine, "pcie") == ("pcie0", "pcie1", "pcie2")
    assert names(machine, "cpu") == ("cpu",)


def test_a_shared_link_is_one_link() -> None:
    assert names(topology(server(gpus=4, per=4)), "pcie") == ("pcie",)


def test_hosts_are_numbered_and_begin_the_names_of_their_parts() -> None:
    machine = cluster(hosts=2)
    assert names(machine, "gpu") == ("host0.gpu", "host1.gpu")
    assert names(machine, "nic") == ("host0.nic", "host1.nic")
    assert names(machine, "network") == ("network",)


def test_the_name_of_a_lone_host_begins_no_name() -> None:
    assert "cpu" in topology(host("box", cpu=CPU)).devices


def test_blocks_of_hosts_have_names_of_their_own() -> None:
    sockets = {"cpu": CPU, "nic": "connectx7_ndr", "pcie": socket(PCIE, join=("cpu", "nic"))}
    machine = topology(
        host("big", 2, **sockets),
        host("small", 1, **sockets),
        network=socket("infiniband_ndr", join=("nic",)),
    )
    assert names(machine, "cpu") == ("big0.cpu", "big1.cpu", "small.cpu")
    assert machine.devices["network"].members == ("big0.nic", "big1.nic", "small.nic")


def test_resources_say_what_they_are_of_their_device() -> None:
    resources = topology(server(gpus=2, per=2, nvlink=True)).resources
    assert list(resources) == [
        *("cpu.dram", "cpu.cores", "cpu.path", "cpu.threads"),
        *("gpu0.hbm", "gpu0.sm", "gpu0.cache", "gpu0.launch"),
        *("gpu1.hbm", "gpu1.sm", "gpu1.cache", "gpu1.launch"),
        *("pcie.down", "pcie.up"),
        *("nvlink.gpu0.out", "nvlink.gpu0.in", "nvlink.gpu1.out", "nvlink.gpu1.in"),
    ]
    assert {r.device for r in resources.values()} == {"cpu", "gpu0", "gpu1", "pcie", "nvlink"}


def test_a_port_on_a_host_is_named_host_link_member_way() -> None:
    machine = topology(
        host(count=2, gpu=socket(GPU, count=2), nvlink=socket("nvlink2_v100", join=("gpu",)))
    )
    assert "host1.nvlink.gpu0.out" in machine.resources
    assert all("host1.gpu0" not in name for name in machine.resources if "nvlink" in name)


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("host0.cpu.dram", "dram"),
        ("host0.cpu.cores", "cpu"),
        ("host0.cpu.threads", "pool"),
        ("host0.cpu.path", "path"),
        ("host0.gpu.hbm", "hbm"),
        ("host0.gpu.sm", "gpu"),
        ("host0.gpu.cache", "l2"),
        ("host0.gpu.launch", "host"),
        ("host0.pcie.down", "link"),
        ("host0.nic.tx", "network"),
        ("network.host0.nic.out", "network"),
    ],
)
def test_kinds_of_resources(resource: str, kind: str) -> None:
    assert cluster().resources[resource].kind == kind


def test_memories_move_bytes_at_the_peak_of_their_bus() -> None:
    machine = topology(server(), rates={catalogue_part(GPU).memory.name: Flat(900 * 10**9)})
    assert machine.resources["gpu.hbm"].peak_bytes_per_s == 900 * 10**9
    assert machine.resources["cpu.dram"].peak_bytes_per_s == FLAT_RATE
    still = (
        "cpu.cores",
        "cpu.path",
        "cpu.threads",
        "gpu.sm",
        "gpu.cache",
        "gpu.launch",
    )
    assert not any(machine.resources[name].moves_bytes for name in still)


class Twin(Part):
    """A part with two resources of one name."""

    kind: Literal["twin"] = "twin"

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> Device:
        return TwinDevice(name, self, setup, members)


class TwinDevice(Device):
    @property
    def resources(self) -> tuple[Resource, ...]:
        return (Resource(f"{self.name}.port", self.name, "other"),) * 2


def test_two_resources_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"bench has two resources called 'twin\.port'"):
        _ = topology(host(twin=Twin(name="twin"))).resources


def test_two_devices_of_one_name_are_refused() -> None:
    """`gpu: {count: 2}` names gpu0 and gpu1; a socket called gpu0 names one of them again."""
    with pytest.raises(ConfigError, match="bench has two devices called 'gpu0'"):
        topology(host(gpu=socket(GPU, count=2), gpu0=GPU))


def test_two_hosts_whose_numbers_run_into_each_other_are_refused() -> None:
    """Twelve hosts `a` are a0 to a11; two hosts `a1` are a10 and a11."""
    with pytest.raises(ConfigError, match=r"two devices called 'a10\.cpu'"):
        topology(host("a", 12, cpu=CPU), host("a1", 2, cpu=CPU))


class Bare(Part):
    """A part that nothing makes a device of."""

    kind: Literal["bare"] = "bare"


def test_a_part_that_is_no_device_cannot_stand_in_a_socket() -> None:
    with pytest.raises(ConfigError, match="thing: a part of kind 'bare' cannot stand in a socket"):
        topology(host(thing=Bare(name="bare")))


# what systems ask


def test_the_first_and_the_only_device_of_a_kind() -> None:
    machine = topology(server(gpus=2, per=2))
    assert machine.first("gpu", "x") == "gpu0"
    assert machine.only("cpu", "x") == "cpu"
    with pytest.raises(ConfigError, match="x uses one gpu, but bench has 2"):
        machine.only("gpu", "x")
    with pytest.raises(ConfigError, match=r"x needs a nic, but bench has none \(it has cpu, gpu"):
        machine.first("nic", "x")


@pytest.mark.parametrize("place", ["gpu", "gpu.hbm"])
def test_a_memory_is_found_by_its_own_name_and_by_that_of_its_device(place: str) -> None:
    memory = topology(server()).memory(place)
    assert (memory.place, memory.device, memory.kind) == ("gpu.hbm", "gpu", "hbm")
    assert memory.capacity == 32 * 10**9


@pytest.mark.parametrize("place", ["gpu1", "pcie", "hbm"])
def test_a_place_without_memory_is_an_error_that_lists_the_memories(place: str) -> None:
    with pytest.raises(ConfigError, match=rf"no memory '{place}': cpu\.dram, gpu\.hbm"):
        topology(server()).memory(place)


@pytest.mark.parametrize("place", ["cpu.dram", "pcie", "tpu"])
def test_a_place_that_does_no_operations_is_an_error_that_lists_those_that_do(place: str) -> None:
    with pytest.raises(ConfigError, match=rf"no processor '{place}': cpu, gpu"):
        topology(server()).processor(place)


def test_every_memory_once() -> None:
    assert [m.place for m in topology(server(gpus=2, per=2)).memories] == [
        "cpu.dram",
        "gpu0.hbm",
        "gpu1.hbm",
    ]


# joins


def test_one_socket_is_joined_by_one_link() -> None:
    groups = member_groups(socket("nvlink2_v100", join=("gpu",)), [["gpu0", "gpu1", "gpu2"]])
    assert groups == [("gpu0", "gpu1", "gpu2")]


@pytest.mark.parametrize(
    ("roots", "leaves", "per", "links"),
    [
        (1, 2, None, [("r0", "a0"), ("r0", "a1")]),
        (1, 2, 2, [("r0", "a0", "a1")]),
        (2, 4, 2, [("r0", "a0", "a1"), ("r1", "a2", "a3")]),
        (1, 3, 2, [("r0", "a0", "a1"), ("r0", "a2")]),
        (2, 4, 1, [("r0", "a0"), ("r0", "a1"), ("r1", "a2"), ("r1", "a3")]),
        (2, 6, 2, [("r0", "a0", "a1"), ("r0", "a2", "a3"), ("r1", "a4", "a5")]),
    ],
)
def test_leaves_are_divided_over_links_and_links_over_roots(
    roots: int, leaves: int, per: int | None, links: list[tuple[str, ...]]
) -> None:
    joined = [[f"r{k}" for k in range(roots)], [f"a{k}" for k in range(leaves)]]
    assert member_groups(socket(PCIE, join=("r", "a"), per=per), joined) == links


def test_a_third_socket_takes_its_share_of_the_links() -> None:
    """Four GPUs under four links, two NICs: one for the first two links, one for the others."""
    joined = [["cpu0", "cpu1"], [f"gpu{k}" for k in range(4)], ["nic0", "nic1"]]
    assert member_groups(socket(PCIE, join=("cpu", "gpu", "nic"), per=1), joined) == [
        ("cpu0", "gpu0", "nic0"),
        ("cpu0", "gpu1"),
        ("cpu1", "gpu2", "nic1"),
        ("cpu1", "gpu3"),
    ]


@given(
    roots=st.integers(1, 8),
    leaves=st.integers(1, 40),
    per=st.integers(1, 8) | st.none(),
    others=st.integers(1, 20),
)
def test_every_device_is_under_one_link_and_roots_share_evenly(
    roots: int, leaves: int, per: int | None, others: int
) -> None:
    joined = [
        [f"{kind}{k}" for k in range(count)]
        for kind, count in (("r", roots), ("a", leaves), ("b", others))
    ]
    groups = member_groups(socket(PCIE, join=("r", "a", "b"), per=per), joined)
    below = [name for group in groups for name in group[1:]]
    assert sorted(below) == sorted([*joined[1], *joined[2]]), "each once"
    assert all(group[0] in joined[0] for group in groups)
    assert all("a" in group[1] for group in groups), "no link without a leaf"
    most = max(sum(name[0] == "a" for name in group) for group in groups)
    assert most <= (per or 1)
    shares = Counter(group[0] for group in groups)
    assert max(shares.values()) - min(shares.get(root, 0) for root in joined[0]) <= 1


# words without a rule


SUMS = Buffer("sums", "cpu.dram", MB)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (Plan("plan", "cpu", 1, 1, 1, 1), "cannot do Plan ('plan'): it has no rule for it"),
        (Split("split", "cpu", 1, SUMS), "cannot do Split ('split')"),
        (Wait("synchronize", "cpu"), "cannot do Wait ('synchronize')"),
    ],
)
def test_a_word_without_a_rule_names_device_part_and_word(word: Any, message: str) -> None:
    machine = topology(server())
    with pytest.raises(ConfigError) as caught:
        machine.price_stage(Stage("x", ((word,),)), SOFTWARE)
    assert str(caught.value).startswith(f"cpu (Intel Xeon E5-2698 v4) {message}")


def test_a_word_at_no_processor_names_the_processors() -> None:
    with pytest.raises(ConfigError, match="no processor 'pcie': cpu, gpu"):
        topology(server()).price(Wait("synchronize", "pcie"), SOFTWARE)


# from the catalogue


def test_a_machine_of_the_catalogue_is_built_with_its_memories_timed() -> None:
    from simulator.hardware.catalogue import load_machine

    machine = build_topology(load_machine("p3_16xlarge"), 512, cpu_threads=8, pools=2)
    assert machine.name == "p3_16xlarge"
    assert len(machine.all("gpu")) == len(machine.all("pcie")) == 8
    assert getattr(machine.processor("cpu"), "threads", None) == 4, "8 threads in 2 pools"
    assert machine.memory("gpu7").capacity == 16 * 2**30


@pytest.mark.parametrize("fidelity", ["table", "exact", "sampled"])
def test_every_fidelity_is_a_timing_of_the_same_memory(fidelity: str) -> None:
    from simulator.hardware.catalogue import load_machine

    memory = build_topology(load_machine("v100_p3"), 512, fidelity=fidelity).memory("cpu")
    assert memory.timing.peak_bandwidth == 76_800_000_000
