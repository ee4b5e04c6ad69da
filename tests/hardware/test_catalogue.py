"""The catalogue of parts and machines: all of it is valid, short, and gives its sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from simulator.config import catalogue
from simulator.config.machine import Part
from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_machine, load_part, machine_names, part_names
from simulator.hardware.devices import part_kinds
from simulator.hardware.devices.dram import Dram
from simulator.hardware.fold import Fold
from simulator.hardware.topology import build_topology

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "cpus": {"cpu"},
    "gpus": {"gpu"},
    "computational_ssds": {"computational_ssd"},
    "cxl": {"cxl_memory"},
    "drives": {"nvme_drive", "flash_array"},
    "links": {"cxl", "pcie", "nvlink", "mesh", "network"},
    "memories": {"dram"},
    "near_memory": {"near_memory"},
    "near_pmem": {"near_pmem"},
    "nics": {"nic"},
    "pmem": {"pmem"},
    "switches": {"switch"},
}
SHAPE = ("kind", "name", "sources", "standard", "simulated_channels", "calibrated", "reported_as")
"""Keys that are no measured or published number."""


def numbers(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys of the numbers that a part gives, those of parts within it left out."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Part) or value is None or (not prefix and name in SHAPE):
            continue
        if isinstance(value, BaseModel):
            yield from numbers(value, f"{prefix}{name}.")
        elif name in model.model_fields_set:
            yield f"{prefix}{name}"


def with_parts(part: Part) -> Iterator[Part]:
    yield part
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from with_parts(value)


def sourced(key: str, sources: dict[str, str]) -> bool:
    heads = key.split(".")
    return any(".".join(heads[: n + 1]) in sources for n in range(len(heads)))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_holds_its_kind_of_part(folder: str) -> None:
    assert part_names(folder)
    assert {load_part(name).kind for name in part_names(folder)} <= FOLDERS[folder]


def test_every_kind_is_in_the_catalogue() -> None:
    assert {load_part(name).kind for name in part_names()} == set(part_kinds())


@pytest.mark.parametrize("name", part_names())
def test_every_number_of_a_part_has_a_source(name: str) -> None:
    for part in with_parts(load_part(name)):
        missing = [key for key in numbers(part) if not sourced(key, part.sources)]
        assert not missing, part.name
        assert all(len(source) >= 7 for source in part.sources.values())


@pytest.mark.parametrize("name", part_names())
def test_every_source_is_that_of_a_key(name: str) -> None:
    for part in with_parts(load_part(name)):
        for source in part.sources:
            value: object = part
            for key in source.split("."):
                value = getattr(value, key)


def test_the_machines_that_users_rely_on() -> None:
    known = set(machine_names())
    assert {"v100_p3", "p3_16xlarge", "a100", "h100", "h200", "gh200"} <= known


@pytest.mark.parametrize("name", machine_names())
def test_a_machine_is_valid_and_short(name: str) -> None:
    assert load_machine(name).name == name
    lines = catalogue.files("platforms")[name].read_text(encoding="utf-8").splitlines()
    assert sum(not line.lstrip().startswith("#") for line in lines) <= 25


def test_the_machine_of_the_study() -> None:
    """Numbers that the paper gives."""
    host = load_machine("v100_p3").hosts[0]
    cpu, gpu, pcie = (host.sockets[name].part for name in ("cpu", "gpu", "pcie"))
    assert cpu.memory.peak_bytes_per_s == 76_800_000_000
    assert (cpu.memory.usable, gpu.memory.usable) == (256 * 10**9, 32 * 10**9)
    assert pcie.raw_bandwidth == 15_754_000_000


def test_eight_gpus_have_a_link_each_and_a_mesh() -> None:
    host = load_machine("p3_16xlarge").hosts[0]
    assert (host.sockets["gpu"].count, host.sockets["pcie"].per) == (8, 1)
    nvlink = host.sockets["nvlink"]
    assert (nvlink.join, nvlink.by, nvlink.part.kind) == (("gpu",), None, "mesh")


def test_a_memory_without_capacity_has_what_the_address_map_reaches() -> None:
    memory = load_part("ddr4_2400", {"organization.channels": 2}, Dram)
    assert memory.usable == memory.capacity_bytes == 2 * 16 * 65536 * 8192
    assert load_part("ddr4_2400", {"capacity": "1 GiB"}, Dram).usable == 2**30


def test_a_part_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected another kind"):
        load_part("pcie3_x16", None, Dram)


def test_an_unknown_machine_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'h200'"):
        load_machine("h20")


@pytest.mark.parametrize(
    "file", sorted((ROOT / "experiments" / "validation").glob("h200_own.yaml")), ids=str
)
def test_a_machine_of_an_experiment_is_valid(file: Path) -> None:
    """Its HBM is that of the shipped machine, of the capacity that the device itself says."""
    own, shipped = load_machine(str(file)), load_machine("h200")
    assert own.name == "h200_own"
    memory, other = (m.socket("gpu").part.memory for m in (own, shipped))
    said = {key: getattr(memory, key) for key in ("capacity", "sources", "name")}
    assert memory == other.model_copy(update=said)
    assert memory.usable == pytest.approx(139.8 * 2**30)


def test_the_rented_machine_is_an_eighth_of_the_large_one() -> None:
    """AWS p3.2xlarge and p3.16xlarge: cores, memory, channels, power, GPUs and price."""
    small, large = load_machine("p3_2xlarge"), load_machine("p3_16xlarge")
    (_, less), (_, more) = small.parts("cpu")[0], large.parts("cpu")[0]
    assert more.cores == 8 * less.cores
    assert more.memory.usable == 8 * less.memory.usable
    assert more.memory.organization.channels == 8 * less.memory.organization.channels
    assert more.last_level_cache == 8 * less.last_level_cache
    assert more.active_power == pytest.approx(8 * less.active_power, rel=0.05)
    assert small.price_usd_per_hour is not None
    assert large.price_usd_per_hour == pytest.approx(8 * small.price_usd_per_hour)
    sockets = [machine.hosts[0].sockets["gpu"] for machine in (small, large)]
    assert [socket.count for socket in sockets] == [1, 8]
    assert sockets[0].part == sockets[1].part
    assert load_machine("v100_p3").price_usd_per_hour is None, "nobody rents the study's server"


BOXES = {
    "dgx1_v100": (8, "mesh", 2, 4),
    "dgx2_v100": (16, "nvlink", 2, 8),
    "dgx_a100": (8, "nvlink", 2, 8),
    "hgx_h100": (8, "nvlink", 1, 8),
    "hgx_h200": (8, "nvlink", 1, 8),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("hosts", [1, 3])
def test_a_box_of_gpus_stands_alone_or_in_a_rack(name: str, hosts: int) -> None:
    """GPUs, what joins them, how many share an uplink, interfaces: all GPUs exchange."""
    gpus, kind, per, nics = BOXES[name]
    config = load_machine(name, [f"hosts={hosts}"])
    sockets = config.hosts[0].sockets
    assert (sockets["gpu"].count, sockets["nic"].count) == (gpus, nics)
    assert (sockets["nvlink"].part.kind, sockets["pcie"].per) == (kind, per)
    machine = build_topology(config, 512)
    ranks = machine.all("gpu")
    assert len(ranks) == hosts * gpus
    group = machine.groups.of(ranks, ranks[0])
    assert (len(group.hosts), group.sharing) == (hosts, 1 if hosts == 1 else gpus // nics)
    assert Fold(machine, ranks).copies(f"{ranks[0]}.hbm") == len(ranks)


def test_the_count_of_hosts_has_two_names_and_a_network_its_oversubscription() -> None:
    short, long = (
        load_machine("hgx_h100", [change, "network.oversubscription=4"])
        for change in ("hosts=16", "host.count=16")
    )
    assert short == long
    assert short.hosts[0].count == 16
    assert short.network is not None
    assert "network.spine" in build_topology(short, 512).resources
    assert "network.spine" not in build_topology(load_machine("hgx_h100"), 512).resources


def test_between_hosts_bytes_take_the_interfaces_of_both_ends() -> None:
    machine = build_topology(load_machine("dgx_a100", ["hosts=2"]), 512)
    way = machine.route("host0.gpu3", "host1.gpu6")
    assert [hop.target for hop in way][1:4] == ["host0.nic3", "host1.nic6", "host1.cpu"]
    assert [hop.target for hop in machine.route("host0.cpu.dram", "host1.cpu.dram")] == [
        *("host0.nic0", "host1.nic0", "host1.cpu")
    ]
