"""What bytes ask for on their way from one memory to another, and collectives among ranks."""

from __future__ import annotations

import pytest
from benches import DRAM, HBM, PAPER, bench, price
from machines import (
    CPU,
    FLAT_RATE,
    PCIE,
    catalogue_part,
    cluster,
    host,
    server,
    socket,
    topology,
)

from simulator.config.catalogue import load_named
from simulator.hardware.devices.base import Link
from simulator.hardware.devices.nic import NicDevice
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
    assert demand.latency_ps == 6_490_000
    rate = 32 * 512 / 1.34e-6
    assert rate == link.outstanding_bandwidth < link.read_bandwidth
    assert demand.services["pcie.down"].ps == pytest.approx(8 * MB / rate * 1e12)
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
    assert demand.latency_ps == 6_490_000
    assert all(service.ps == 0.0 for service in demand.services.values())


def test_a_copy_over_two_hosts_uses_every_link_and_port_on_the_way() -> None:
    """PCIe up and down, the NIC, the network, the NIC, PCIe up and down: six links and devices of
    6.49 + 6.49 + 0.6 + 0.6 + 0.6 + 6.49 + 6.49 us."""
    demand = cluster().price(copy("host0.gpu.hbm", "host1.gpu.hbm", MB), SOFTWARE)
    assert demand.latency_ps == 27_760_000
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
    """Up carries the copy, the read requests of the copy down and its acknowledgements; down the
    copy as completions, acknowledgements of the copy up."""
    machine = topology(server(gpus=2, per=2))
    demand = machine.price(copy("gpu0.hbm", "gpu1.hbm", MB), SOFTWARE)
    services = demand.services
    back = 0.03526 * MB / 15.754e9
    posted = MB / (15.754e9 * 128 / 152 * 0.98) + MB / 512 * 24 / 15.754e9 + back
    read = MB / (32 * 512 / 1.34e-6) + back
    assert services["pcie.up"].ps == pytest.approx(posted * 1e12)
    assert services["pcie.down"].ps == pytest.approx(read * 1e12)
    assert services["pcie.up"].bytes == services["pcie.down"].bytes == MB
    assert "cpu.dram" not in services, "DRAM between them is passed by"


def test_a_nic_sends_to_the_network_and_receives_from_it() -> None:
    machine = cluster()
    nic, network, pcie = (machine.devices[n] for n in ("host0.nic", "network", "host0.pcie"))
    assert isinstance(nic, NicDevice)
    assert isinstance(network, Link)
    assert isinstance(pcie, Link)
    sent, received = nic.passing(pcie, network, 500), nic.passing(network, pcie, 500)
    assert set(sent.services or {}) == {"host0.nic.tx"}
    assert set(received.services or {}) == {"host0.nic.rx"}
    assert sent.latency_ps == received.latency_ps == 0.6 * US
    assert (sent.services or {})["host0.nic.tx"].ps == 500 / 50e9 * 1e12


# exchanges


def test_an_exchange_loads_the_ports_of_its_rank_its_memory_both_ways_and_its_sms() -> None:
    """Of 4 MB three quarters leave; 24 of 80 multiprocessors copy while they do."""
    machine, link = topology(server(gpus=4, per=1, nvlink=True)), catalogue_part("nvlink2_v100")
    group, size = machine.all("gpu"), 3 * MB
    demand = machine.price(Exchange("x", "gpu0", group, "all_to_all", 4 * MB), SOFTWARE)
    assert demand.latency_ps == round((8.4 + 3.4 + 3 * 0.68) * US), "NCCL's simple protocol"
    along = size / (link.bandwidth * link.efficiency) * 1e12
    for way in ("out", "in"):
        assert demand.services[f"nvlink.gpu0.{way}"].ps == pytest.approx(along)
        assert demand.services[f"nvlink.gpu0.{way}"].bytes == size
    assert demand.services["gpu0.hbm"].bytes == 2 * size
    assert demand.services["gpu0.sm"].ps == pytest.approx(along * 24 / 80)
    assert len(demand.services) == 4


def test_some_of_the_members_of_a_link_can_exchange() -> None:
    machine = topology(server(gpus=4, per=1, nvlink=True))
    some = Exchange("x", "gpu1", ("gpu1", "gpu3"), "all_to_all", MB)
    used = set(machine.price(some, SOFTWARE).services)
    assert used == {"gpu1.hbm", "gpu1.sm", "nvlink.gpu1.in", "nvlink.gpu1.out"}


def test_a_collective_is_submitted_with_what_its_library_adds() -> None:
    machine = topology(server(gpus=2, per=1, nvlink=True))
    demand = machine.price(Exchange("x", "gpu1", machine.all("gpu"), "all_reduce", MB), SOFTWARE)
    assert (demand.host, demand.submit_ps) == ("gpu1.launch", (3_980_000 + 12_000_000))


# what a copy costs the link and both memories


def between(down: bool, size: int) -> Move:
    source, target = (DRAM, HBM) if down else (HBM, DRAM)
    return Move("copy", source, Buffer("b", source, size), target)


def test_a_copy_asks_each_memory_for_its_bytes_once() -> None:
    """Nothing beside them: what they cost others is the latency of the load."""
    alone = 10**9 * 1e12 / FLAT_RATE
    for down in (True, False):
        services = price(bench(), between(down, 10**9)).services
        read, written = (DRAM, HBM) if down else (HBM, DRAM)
        assert (services[read].read_ps, services[read].write_ps) == (alone, 0.0)
        assert (services[written].read_ps, services[written].write_ps) == (0.0, alone)


def test_a_copy_up_is_posted_and_acknowledged() -> None:
    demand = price(
        bench(link={"acknowledgements": 0.1, "flow_control": 0.04}), between(False, 10**9)
    )
    raw = 63.015e9
    payload = raw * 256 / 280 * (1 - 0.04)
    assert demand.services["pcie.down"].ps == pytest.approx(0.1 * 10**9 / raw * 1e12)
    assert demand.services["pcie.up"].ps == pytest.approx(10**9 / payload * 1e12)
    assert demand.loaded == {}, "it waits for no answer"
    quiet = price(bench(link={"acknowledgements": 0.0}), between(False, 10**9))
    assert quiet.services["pcie.down"].ps == 0.0


def test_a_copy_down_is_asked_for_by_requests_up() -> None:
    link = {"acknowledgements": 0.0, "flow_control": 0.04}
    services = price(bench(link=link), between(True, 2**30)).services
    requests = 2**30 / 512 * 24
    assert services["pcie.up"].ps == pytest.approx(requests / 63.015e9 * 1e12)
    payload = 63.015e9 * 256 / 276 * (1 - 0.04)
    assert services["pcie.down"].ps == pytest.approx(2**30 / payload * 1e12)


@pytest.mark.parametrize(("outstanding", "slack"), [(136, 1.1282), (240, 1.9909), (60, 1.0)])
def test_outstanding_reads_bound_a_copy_down_and_what_is_spare_is_its_slack(
    outstanding: int, slack: float
) -> None:
    """512 B each in 1.1 us: 136 are 63.30 GB/s and 240 are 111.71, where the link carries
    63.015 x 256 / 276 x 0.96 = 56.111 GB/s; 60 are 27.9."""
    link = {"outstanding_reads": outstanding, "read_latency": 1_100_000, "flow_control": 0.04}
    demand = price(bench(link=link), between(True, 10**9))
    rate = min(56.1108e9, outstanding * 512 / 1.1e-6)
    assert demand.services["pcie.down"].ps == pytest.approx(10**9 / rate * 1e12, rel=1e-5)
    assert demand.loaded == {DRAM: pytest.approx(slack, abs=1e-4)}


def test_host_threads_submit_copies_both_ways_and_none_where_no_gpu_is() -> None:
    """4 us of the driver, and 6 us that the software adds."""
    server = bench(gpu={"launch": 4_000_000})
    for down in (True, False):
        demand = price(server, between(down, 1))
        assert (demand.host, demand.submit_ps) == ("gpu.launch", 4_000_000)
        assert demand.submit_more_ps == 0
        assert price(server, between(down, 1), PAPER).submit_ps == 10_000_000
        assert (demand.fetched, demand.blocks) == ({}, False)
    machine = topology(host(cpu=CPU, far="ddr4_2400", b=socket(PCIE, join=("cpu", "far"))))
    lone = machine.price(copy("cpu.dram", "far.dram", MB), SOFTWARE)
    assert (lone.host, lone.submit_ps) == ("", 0)


@pytest.mark.parametrize(
    ("name", "bandwidth", "read"),
    [("pcie3_x16", 128 / 152, 128 / 148), ("pcie4_x16", 256 / 280, 256 / 276)],
)
def test_packets_leave_a_link_less_than_its_line_rate(
    name: str, bandwidth: float, read: float
) -> None:
    """Payload of 24 B around a write and 20 B around a completion; 2 % is flow control."""
    link = catalogue_part(name)
    assert link.bandwidth == pytest.approx(link.raw_bandwidth * bandwidth * 0.98)
    assert link.read_bandwidth == pytest.approx(link.raw_bandwidth * read * 0.98)


def test_only_those_below_fetch_over_a_link() -> None:
    """326.5 KiB at what completions leave of 15.754 GB/s."""
    pcie = topology(server()).devices["pcie"]
    assert isinstance(pcie, Link)
    queue = 326.5 * 1024 / (15.754e9 * 128 / 148 * 0.98) * 1e12
    assert pcie.fetch_wait("gpu") == ("pcie.down", round(queue))
    assert pcie.fetch_wait("cpu") is None
