"""What bytes ask for on their way from one memory to another, and collectives among ranks."""

from __future__ import annotations

import pytest
from benches import DRAM, HBM, LINK, bench, price
from machines import (
    CPU,
    FLAT_RATE,
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
from simulator.hardware.devices.base import Link
from simulator.hardware.devices.nic import NicDevice
from simulator.hardware.devices.pcie import READ_REQUEST_HEADER_BYTES, Interference
from simulator.hardware.program import Buffer, Exchange, Move

MB = 10**6
US = 10**6
"""Picoseconds."""
SOFTWARE = load_named("operators", "tuned")


def copy(source: str, target: str, size: int) -> Move:
    return Move("copy", source, Buffer("rows", source, size), target)


# moves


def test_a_copy_takes_the_latency_and_the_direction_of_its_link() -> None:
    machine, link = topology(server()), catalogue_part(PCIE)
    demand = machine.price(copy("cpu.dram", "gpu.hbm", 8 * MB), SOFTWARE)
    assert demand.latency_ps == 10 * US
    assert demand.services["pcie.down"].ps == pytest.approx(8 * MB / link.bandwidth * 1e12)
    assert {n: s.bytes for n, s in demand.services.items()} == {
        "cpu.dram": 8 * MB,
        "gpu.hbm": 8 * MB,
        "pcie.down": 8 * MB,
        "pcie.up": 0,
    }


def test_a_copy_within_a_memory_reads_and_writes_it() -> None:
    demand = topology(server()).price(copy("gpu.hbm", "gpu.hbm", MB), SOFTWARE)
    (service,) = demand.services.values()
    assert (service.bytes, demand.latency_ps) == (2 * MB, 0)
    assert service.read_ps == service.write_ps == MB * 1e12 / FLAT_RATE


def test_nothing_to_copy_takes_the_latency_of_the_way() -> None:
    demand = topology(server()).price(copy("cpu.dram", "gpu.hbm", 0), SOFTWARE)
    assert demand.latency_ps == 10 * US
    assert all(service.ps == 0.0 for service in demand.services.values())


def test_a_copy_over_two_hosts_uses_every_link_and_port_on_the_way() -> None:
    """PCIe up and down, the NIC, the network, the NIC, PCIe up and down: six links and devices of
    10 + 10 + 1 + 1 + 1 + 10 + 10 us."""
    demand = cluster().price(copy("host0.gpu.hbm", "host1.gpu.hbm", MB), SOFTWARE)
    assert demand.latency_ps == 43 * US
    carried = {name for name, service in demand.services.items() if service.bytes == MB}
    assert carried == {
        "host0.gpu.hbm",
        *("host0.pcie.up", "host0.pcie.down", "host0.nic.tx"),
        *("network.host0.nic.out", "network.host1.nic.in"),
        *("host1.nic.rx", "host1.pcie.up", "host1.pcie.down"),
        "host1.gpu.hbm",
    }
    assert set(demand.services) == carried


def test_two_hops_over_one_link_add_up_there() -> None:
    """Up carries the copy and the read requests of the copy down; neither hides the other."""
    machine, link = topology(server(gpus=2, per=2)), catalogue_part(PCIE)
    services = machine.price(copy("gpu0.hbm", "gpu1.hbm", MB), SOFTWARE).services
    requests = MB / link.read_request_size * READ_REQUEST_HEADER_BYTES
    along, asked = MB / link.bandwidth * 1e12, requests / link.raw_bandwidth * 1e12
    assert services["pcie.up"].ps == pytest.approx(along + asked)
    assert services["pcie.down"].ps == pytest.approx(along)
    assert services["pcie.up"].bytes == services["pcie.down"].bytes == MB


def test_a_memory_pays_for_the_link_that_it_is_joined_to_alone() -> None:
    """HBM of both ends at its own cost; the DRAM between them is passed by."""
    cost = Interference(dram_read=3.0, dram_write=5.0, hbm_read=1.5, hbm_write=4.0)
    link = changed(PCIE, interference=cost)
    sockets = {"cpu": CPU, "gpu": socket(GPU, count=2)}
    machine = topology(host(**sockets, pcie=socket(link, join=("cpu", "gpu"), per=1)))
    services = machine.price(copy("gpu0.hbm", "gpu1.hbm", MB), SOFTWARE).services
    alone = MB * 1e12 / FLAT_RATE
    assert services["gpu0.hbm"].ps == pytest.approx(1.5 * alone)
    assert services["gpu1.hbm"].ps == pytest.approx(4.0 * alone)
    assert "cpu.dram" not in services


def test_a_nic_sends_to_the_network_and_receives_from_it() -> None:
    machine = cluster()
    nic, network, pcie = (machine.devices[n] for n in ("host0.nic", "network", "host0.pcie"))
    assert isinstance(nic, NicDevice)
    assert isinstance(network, Link)
    assert isinstance(pcie, Link)
    sent, received = nic.passing(pcie, network, 500), nic.passing(network, pcie, 500)
    assert set(sent.services or {}) == {"host0.nic.tx"}
    assert set(received.services or {}) == {"host0.nic.rx"}
    assert sent.latency_ps == received.latency_ps == US
    assert (sent.services or {})["host0.nic.tx"].ps == 500 / 50e9 * 1e12


# exchanges


def test_an_exchange_loads_the_ports_of_its_rank_and_its_memory_both_ways() -> None:
    machine, link = topology(server(gpus=4, per=1, nvlink=True)), catalogue_part("nvlink2_v100")
    group = machine.all("gpu")
    demand = machine.price(Exchange("x", "gpu0", group, "all_to_all", MB), SOFTWARE)
    assert demand.latency_ps == link.latency
    along = MB / (link.bandwidth * link.efficiency) * 1e12
    for way in ("out", "in"):
        assert demand.services[f"nvlink.gpu0.{way}"].ps == pytest.approx(along)
        assert demand.services[f"nvlink.gpu0.{way}"].bytes == MB
    assert demand.services["gpu0.hbm"].bytes == 2 * MB
    assert len(demand.services) == 3


def test_an_exchange_needs_a_link_that_joins_the_whole_group() -> None:
    machine = topology(server(gpus=2, per=2))
    with pytest.raises(ConfigError, match="bench: no link joins gpu0, gpu1 with each other"):
        machine.price(Exchange("x", "gpu0", ("gpu0", "gpu1"), "all_to_all", MB), SOFTWARE)


def test_some_of_the_members_of_a_link_can_exchange() -> None:
    machine = topology(server(gpus=4, per=1, nvlink=True))
    assert machine.joining(("gpu1", "gpu3")).name == "nvlink"
    with pytest.raises(ConfigError, match="no link joins gpu0, cpu"):
        machine.joining(("gpu0", "cpu"))


# what a copy costs the link and both memories


def between(down: bool, size: int) -> Move:
    source, target = (DRAM, HBM) if down else (HBM, DRAM)
    return Move("copy", source, Buffer("b", source, size), target)


def test_copies_cost_memories_what_interference_says() -> None:
    size = 10**9
    cost = Interference(dram_read=0.5, dram_write=2.0, hbm_read=1.0, hbm_write=4.0)
    machine = bench(link={"interference": cost})
    down, up = (price(machine, between(way, size)).services for way in (True, False))
    alone = size * 1e12 / FLAT_RATE
    assert down[DRAM].ps == pytest.approx(0.5 * alone)
    assert down[HBM].ps == pytest.approx(4.0 * alone)
    assert up[DRAM].ps == pytest.approx(2.0 * alone)
    assert up[HBM].ps == pytest.approx(alone)
    assert up[DRAM].bytes == size


def test_acknowledgements_load_the_opposite_direction() -> None:
    services = price(bench(link={"acknowledgements": 0.1}), between(False, 10**9)).services
    raw, payload = LINK.raw_bandwidth, LINK.bandwidth
    assert services["pcie.down"].ps == pytest.approx(0.1 * 10**9 / raw * 1e12)
    assert services["pcie.up"].ps == pytest.approx(10**9 / payload * 1e12)


def test_a_copy_down_is_asked_for_by_requests_up() -> None:
    services = price(bench(link={"acknowledgements": None}), between(True, 2**30)).services
    requests = 2**30 / 512 * READ_REQUEST_HEADER_BYTES
    assert services["pcie.up"].ps == pytest.approx(requests / LINK.raw_bandwidth * 1e12)
    up = price(bench(link={"acknowledgements": None}), between(False, 2**30)).services
    assert "pcie.down" not in up, "a posted write"


def test_packets_leave_a_link_less_than_its_line_rate() -> None:
    """PCIe 3.0: 256 of 280 bytes are payload, 2 % is flow control."""
    assert catalogue_part("pcie3_x16").bandwidth == pytest.approx(15.754e9 * 256 / 280 * 0.98)
