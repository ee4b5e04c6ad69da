"""The way of devices' copies through a socket: what it carries, and what cores lose beside it."""

from __future__ import annotations

import pytest
from benches import DRAM, HBM, bench, buffer, price
from machines import GB, Flat, catalogue_part, changed, host, socket, topology
from test_cpu_prices import operator
from test_devices_side_by_side import ends

from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, loaded_latency
from simulator.hardware.devices.cpu import CpuPass, DevicePath
from simulator.hardware.program import Move
from simulator.hardware.topology import Topology

PATH = "cpu.device_path"
READ, WRITE = 200 * GB, 160 * GB
LIMITS = DevicePath(read="200 GB/s", write="160 GB/s")
MB = 10**6


def server(gpus: int = 1, rate: int = 10**5 * GB) -> Topology:
    """The H200 server with `gpus` on links of their own, its DRAM at `rate`."""
    cpu = changed("h200_vm_xeon", device_path=LIMITS)
    return topology(
        host(
            cpu=cpu,
            gpu=socket("h200_sxm5_141gb", count=gpus),
            pcie=socket("h200_vm_pcie5_x16", join=("cpu", "gpu"), per=1),
        ),
        rates={cpu.memory.name: Flat(rate)},
    )


def copy(machine: Topology, source: str, target: str, size: int = GB) -> Demand:
    return price(machine, Move("copy", source, buffer(source, size), target))


@pytest.mark.parametrize(("source", "target", "rate"), [(DRAM, HBM, READ), (HBM, DRAM, WRITE)])
def test_a_copy_takes_it_at_the_rate_of_its_direction(source: str, target: str, rate: int) -> None:
    demand = copy(server(), source, target)
    assert demand.services[PATH].ps == pytest.approx(GB / rate * 1e12)
    assert demand.services[PATH].bytes == 0, "the link and the memories count them"


def test_what_stays_within_a_memory_does_not_pass_it() -> None:
    machine = server()
    assert PATH not in copy(machine, DRAM, DRAM).services
    assert PATH not in copy(machine, HBM, HBM).services
    work = CpuPass("x", "cpu", operator(), (Access(DRAM, 1000, 512),), 0, 1)
    assert PATH not in price(machine, work).services


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_gpus_that_copy_at_once_share_it(gpus: int) -> None:
    """Four of 55 GB/s want more than the 160 GB/s that it takes in."""
    machine = server(gpus)
    names = ["gpu"] if gpus == 1 else [f"gpu{k}" for k in range(gpus)]
    demands = [copy(machine, f"{name}.hbm", DRAM) for name in names]
    alone = demands[0].alone_ps(machine.resources)
    bound = gpus * GB / WRITE * 1e12
    assert ends(machine, demands) == [pytest.approx(max(alone, bound), abs=4)] * gpus
    assert (bound > alone) == (gpus == 4)


@pytest.mark.parametrize(("source", "target"), [(DRAM, HBM), (HBM, DRAM)])
def test_misses_of_the_cores_queue_behind_what_passes_it(source: str, target: str) -> None:
    """M/D/1: a DRAM of endless rate adds nothing, and the path between cores and DRAM is apart."""
    machine = server()
    rows = price(machine, CpuPass("x", "cpu", operator(), (Access(DRAM, MB, 512),), 0, 1))
    beside = copy(machine, source, target)
    busy = beside.services[PATH].ps / beside.alone_ps(machine.resources)
    alone = ends(machine, [rows])[0]
    _, end = ends(machine, [beside, rows])
    assert end == pytest.approx(alone * loaded_latency(busy), rel=1e-3)
    assert 0.2 < busy < 0.5


def test_where_nobody_measured_it_there_is_none() -> None:
    """A null in the part: DRAM alone is shared and waited for."""
    machine = bench(cpu={"device_path": DevicePath(read=None, write=None)})
    assert PATH not in machine.resources
    assert PATH not in copy(machine, HBM, DRAM).services
    rows = price(machine, CpuPass("x", "cpu", operator(), (Access(DRAM, MB, 512),), 0, 1))
    assert rows.loaded == {DRAM: 1.0}


def test_a_wider_path_is_never_slower() -> None:
    def end(factor: int) -> int:
        wide = DevicePath(read=f"{factor * 200} GB/s", write=f"{factor * 160} GB/s")
        machine = bench(cpu={"device_path": wide})
        rows = price(machine, CpuPass("x", "cpu", operator(), (Access(DRAM, MB, 512),), 0, 1))
        return ends(machine, [copy(machine, HBM, DRAM), rows])[1]

    times = [end(factor) for factor in (1, 2, 4, 100)]
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


def test_both_ways_of_four_gpus_as_measured() -> None:
    """Four H200 of one host copy 208 GB/s when all do both at once, where their links would carry
    400 (micro_links.csv, 16 MiB): nothing was fitted to that."""
    part = catalogue_part("h200_vm_xeon")
    cpu = part.model_copy(update={"device_path": DevicePath(read="189 GB/s", write="164 GB/s")})
    machine = topology(
        host(
            cpu=cpu,
            gpu=socket("h200_sxm5_141gb", count=4),
            pcie=socket("h200_vm_pcie5_x16", join=("cpu", "gpu"), per=1),
        ),
        rates={cpu.memory.name: Flat(10**5 * GB)},
    )
    pairs = [(f"gpu{k}.hbm", DRAM) for k in range(4)]
    demands = [copy(machine, *way) for pair in pairs for way in (pair, pair[::-1])]
    last = max(ends(machine, demands))
    assert 8 * GB / (last / 1e12) / 1e9 == pytest.approx(208, rel=0.2)
