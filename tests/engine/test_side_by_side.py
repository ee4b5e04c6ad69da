"""Operations of a whole machine beside each other: multiprocessors, memories, lists, hosts."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any

import pytest
import simpy
from small import BOX, simulated, stages, time_us

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.config.sections import CacheConfig
from simulator.engine.timer import Timed, Timing, time_system
from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_machine
from simulator.hardware.demand import Demand, Service
from simulator.hardware.devices.cpu import CpuPass
from simulator.hardware.devices.gpu import GpuKernels
from simulator.hardware.machine import Machine
from simulator.hardware.program import Buffer, Plan, Split
from simulator.hardware.topology import Topology, build_topology
from simulator.systems import Job, create
from simulator.systems.base import move

SOFTWARE = load_named("operators", "tuned")
THREADS = 80 * 2048
"""Of all multiprocessors of a V100."""
MB = 10**6


@cache
def machine(*overrides: str) -> Topology:
    return build_topology(load_machine("v100_p3", overrides), 512)


def ends_us(*demands: Demand, server: Topology | None = None) -> list[float]:
    """When each ends, all started at 0."""
    env = simpy.Environment()
    clock = Machine(env, (server or machine()).resources, check=True)
    ends = [0.0] * len(demands)

    def run(number: int, demand: Demand) -> Generator[simpy.Event, Any, None]:
        yield from clock.execute(demand)
        ends[number] = env.now / 1e6

    for number, demand in enumerate(demands):
        env.process(run(number, demand))
    env.run()
    return ends


# multiprocessors


def kernel(threads: int | None, chain: int = 1000) -> Demand:
    """1000 accesses of 685 ns one after the other, after 5.287 us to start."""
    word = GpuKernels("kernel", "gpu", 1, chain=chain, threads=threads)
    return machine().price(word, SOFTWARE)


ALONE = 685.0
START = 5.287


@pytest.mark.parametrize("threads", [None, THREADS, 10 * THREADS])
def test_two_kernels_that_fill_the_gpu_take_the_sum_of_their_times(threads: int | None) -> None:
    assert ends_us(kernel(threads), kernel(threads)) == pytest.approx([START + 2 * ALONE] * 2)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.75, 0.25), (0.9, 0.1), (0.1, 0.2), (0.0, 1.0)])
def test_kernels_that_fit_side_by_side_hold_each_other_up_in_nothing(
    shares: tuple[float, float],
) -> None:
    ends = ends_us(*(kernel(round(share * THREADS)) for share in shares))
    assert ends == pytest.approx([START + ALONE] * 2)


def test_kernels_that_nearly_fit_slow_down_by_what_does_not() -> None:
    """Three quarters each: one and a half GPUs' worth of work."""
    share = round(0.75 * THREADS)
    assert ends_us(kernel(share), kernel(share)) == pytest.approx([START + 1.5 * ALONE] * 2)


def test_a_short_kernel_delays_a_long_one_by_its_own_time() -> None:
    """At half speed until the short one has done its 68.5 us."""
    short, long = ends_us(kernel(None, 100), kernel(None, 1000))
    assert short == pytest.approx(START + 2 * 68.5)
    assert long == pytest.approx(START + 685.0 + 68.5)


# a memory under load


def background(load: float) -> Demand:
    """Something that takes a share of DRAM for a second."""
    second = 1e12
    return Demand("other", {"cpu.dram": Service(load * second)}, minimum_ps=round(second))


def seconds_beside(demand: Demand, load: float, server: Topology | None = None) -> float:
    """Time beside that load over the time alone, latency left out."""
    at = server or machine()
    alone = demand.alone_ps(at.resources) / 1e6
    first, _ = ends_us(demand, background(load), server=at)
    return (first - demand.latency_ps / 1e6) / alone


def copy(down: bool, server: Topology | None = None) -> Demand:
    ends = ("cpu.dram", "gpu.hbm") if down else ("gpu.hbm", "cpu.dram")
    return (server or machine()).price(move("copy", *ends, 10 * MB), SOFTWARE)


LOADS = pytest.mark.parametrize(("load", "latency"), [(0.0, 1.0), (0.2, 1.125), (0.5, 1.5)])
"""1 + u / (2 (1 - u))."""


@LOADS
def test_copies_that_a_device_reads_wait_for_a_loaded_memory(load: float, latency: float) -> None:
    """Outstanding reads are the limit of PCIe 3.0: 16 KiB over the latency."""
    assert seconds_beside(copy(down=True), load) == pytest.approx(latency, rel=1e-6)


@LOADS
def test_posted_copies_wait_for_nothing(load: float, latency: float) -> None:
    del latency
    assert seconds_beside(copy(down=False), load) == pytest.approx(1.0, rel=1e-6)


@LOADS
def test_operators_of_the_cpu_wait_for_a_loaded_memory(load: float, latency: float) -> None:
    """On one thread, whose own use of DRAM is small."""
    server = build_topology(load_machine("v100_p3"), 512, cpu_threads=1)
    rows = Access("cpu.dram", 10_000, 512)
    word = CpuPass("read", "cpu", SOFTWARE.gather, (rows,), count=10_000, tables=1)
    demand = server.price(word, SOFTWARE)
    assert seconds_beside(demand, load, server) == pytest.approx(latency, rel=1e-6)


@pytest.mark.parametrize(("load", "slowdown"), [(0.2, 1.0), (0.5, 1.0), (0.8, 3.0 / 1.83138)])
def test_reads_to_spare_hide_some_of_it(load: float, slowdown: float) -> None:
    """64 reads of 512 B over 1.34 us are 24.45 GB/s, 1.831 x what completions leave of the line
    (15.754 GB/s x 128 / 148 x 0.98 = 13.353). At a load of 0.8 latency is 3 x."""
    spare = machine("host.pcie.outstanding_reads=64")
    assert seconds_beside(copy(True, spare), load, spare) == pytest.approx(slowdown, rel=1e-4)


def test_a_memory_that_is_full_makes_waits_of_finite_length() -> None:
    """From a load of 0.95 on they grow no more: 1 + 0.95 / 0.1 = 10.5; DRAM itself has room for
    the rest: 4 reads of 512 B over 1.34 us are 1.5 GB/s, 2 % of it."""
    few = machine("host.pcie.outstanding_reads=4")
    full = seconds_beside(copy(True, few), 0.96, few)
    assert full == pytest.approx(10.5, rel=1e-6)


# lists


def plan(lists: Buffer | None) -> Demand:
    return machine().price(Plan("plan", "gpu", 1000, 900, 500, 10_000, lists), SOFTWARE)


def split(lists: Buffer | None) -> Demand:
    return machine().price(Split("split", "gpu", 1000, lists), SOFTWARE)


@pytest.mark.parametrize(
    ("make", "beside_us"), [(plan, 4 * 5.287 + 2.9 / 2.852), (split, 5.287 + 1 / 2.852)]
)
@pytest.mark.parametrize("size", [0, 4, 4096, 100 * MB])
def test_mapped_lists_cross_the_link_without_the_set_up_of_a_copy(
    make: Any, beside_us: float, size: int
) -> None:
    """The start of the first kernel is the only latency; the list is on the link while the scans
    of HBM run, in posted packets (24 B around 128 B): nothing is asked for on the way down. Beside
    both: four (one) more kernels of 5.287 us, and 1000 + 4 x 500 (1000) probes at 2.852 G/s."""
    own, mapped = make(None), make(Buffer("lists", "cpu.dram", size))
    assert mapped.latency_ps == own.latency_ps == 5_287_000
    assert "pcie.up" not in own.services
    assert {name: mapped.services[name].bytes for name in ("pcie.up", "cpu.dram")} == {
        "pcie.up": size,
        "cpu.dram": size,
    }
    down_us = mapped.services["pcie.down"].ps / 1e6
    assert down_us == pytest.approx(0.03526 * size / 15.754e9 * 1e6), "acknowledgements"
    assert mapped.services["gpu.hbm"] == own.services["gpu.hbm"]
    up_us = size / (15.754e9 * 128 / 152 * 0.98) * 1e6
    scans_us = machine().memory("gpu").alone_ps(own.services["gpu.hbm"]) / 1e6
    assert own.alone_ps(machine().resources) / 1e6 == pytest.approx(beside_us + scans_us, rel=1e-6)
    alone_us = mapped.alone_ps(machine().resources) / 1e6
    assert alone_us == pytest.approx(beside_us + max(scans_us, up_us), rel=1e-6)


@pytest.mark.parametrize(("system", "stage"), [("straw_man", "plan"), ("static_cache", "split")])
def test_mapped_lists_save_a_copy_and_its_submission(system: str, stage: str) -> None:
    """At least the 6.49 us of its set-up. The same bytes go up."""
    copied, mapped = (
        simulated(system, operators={"base": "tuned", "lists": lists})[system]
        for lists in ("copied", "mapped")
    )
    saved = stages(copied)[stage] - stages(mapped)[stage]
    assert 6.49 - 1e-6 <= saved < 6.49 + 2 * 3.98 + 20.0
    assert stages(mapped, "link_bytes")[stage] == stages(copied, "link_bytes")[stage]


# a host with several GPUs


def timed(software: OperatorProfile, gpus: int = 8) -> Timed:
    server = build_topology(load_machine(BOX), 512)
    model = load_named("models", "default").changed(rows_per_table=(1000,) * 8)
    system = create("gpu_only", Job(model, software, CacheConfig(), gpus=gpus), server)
    facts = BatchFacts(0, 16, {name: (Flow(64, 50),) * 8 for name in (LOOKUP, UNIQUE)})
    return time_system(system, server, [facts], Timing(software, "async", 0, 0, check=True))


def host_times(done: Timed) -> dict[str, tuple[int, int, int]]:
    """Of each operation: its first submission, the others, what follows it."""
    demands = [d for stage in done.demands[0] for lane in stage.lanes for d in lane]
    return {d.name: (d.submit_ps, d.submit_more_ps, d.host_ps) for d in demands}


def of_processes(kind: str) -> OperatorProfile:
    gpu = SOFTWARE.gpu.model_copy(update={"host_processes": kind})
    profile: OperatorProfile = SOFTWARE.model_copy(update={"gpu": gpu})
    return profile


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_one_process_submits_for_one_gpu_after_the_other(gpus: int) -> None:
    """The same submissions and waits, a lane a GPU: by one thread, or by one thread each."""
    one, each = (timed(of_processes(k), gpus) for k in ("one", "one_per_gpu"))
    assert host_times(one) == host_times(each)
    launch, wait = 3_980_000, 4_250_000
    assert host_times(each)["gather_reduce"] == (launch, 0, 0)
    assert host_times(each)["all_to_all"] == (launch + 12_000_000, 0, 0)
    assert host_times(each)["synchronize"] == (0, 0, wait)
    assert len(threads_of(one)) == 1
    assert len(threads_of(each)) == gpus


def threads_of(done: Timed) -> set[str]:
    """Host threads that submit something."""
    return {
        d.host for stage in done.demands[0] for lane in stage.lanes for d in lane if d.submit_ps
    }


def test_one_gpu_is_the_same_for_one_process_and_one_a_gpu() -> None:
    one, each = (host_times(timed(of_processes(k), 1)) for k in ("one", "one_per_gpu"))
    assert one == each


def test_a_process_for_all_gpus_is_slower_and_the_same_for_one() -> None:
    profiles = [{"base": "tuned", "gpu": {"host_processes": k}} for k in ("one", "one_per_gpu")]
    shared, own = (
        time_us(simulated("gpu_only", platform=BOX, operators=p)["gpu_only"]) for p in profiles
    )
    assert shared > own
