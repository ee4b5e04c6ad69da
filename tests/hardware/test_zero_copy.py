"""A GPU that touches single rows of host DRAM over its link: closed forms by row size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benches import DRAM, HBM, TUNED, pool, update
from machines import CPU, changed, host, one_channel, socket, topology

from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Demand
from simulator.hardware.devices.pcie import Pcie
from simulator.hardware.program import Elsewhere, Flow, Store, ZeroCopy
from simulator.hardware.topology import Topology

RAW, LATENCY, TAGS, ANSWERS = 15.754e9, 1.34e-6, 256, 0.03526
"""PCIe 3.0 x16: bytes a second, seconds of a read, reads in flight, acknowledgements a byte."""
COUNT = 100_000
ROWS = Flow(COUNT, COUNT)


def machine(**link: object) -> Topology:
    gpu = changed("v100_sxm2_32gb", memory=one_channel("v100_sxm2_32gb"))
    pcie = socket(changed("pcie3_x16", **link), join=("cpu", "gpu"))
    return topology(host(cpu=CPU, gpu=gpu, pcie=pcie))


def store(place: str, size: int) -> Store:
    return Store("rows", place, size)


def copied(size: int, source: str, target: str, share: float = 1.0, **link: object) -> Demand:
    word = ZeroCopy("rows", "gpu", store(source, size), store(target, size), ROWS, share)
    return machine(**link).price(word, TUNED)


@pytest.mark.parametrize(
    ("size", "requests"), [(32, 1), (64, 1), (96, 1), (128, 1), (160, 2), (512, 4)]
)
def test_rows_come_in_requests_of_a_line_or_less(size: int, requests: int) -> None:
    """A packet a request, 20 B around it, 2 % credits; no more in flight than there are tags."""
    request = size / requests
    packets = RAW * request / (request + 20) * 0.98
    rate = min(packets, TAGS * request / LATENCY)
    demand = copied(size, DRAM, HBM)
    total = COUNT * size
    assert demand.services["pcie.down"].bytes == total
    assert demand.services["pcie.down"].ps == pytest.approx(total / rate * 1e12)
    asked = COUNT * requests * 24 + ANSWERS * total
    assert demand.services["pcie.up"].ps == pytest.approx(asked / RAW * 1e12)


def test_small_rows_are_bound_by_tags_and_large_ones_by_the_link() -> None:
    rates = {size: size / copied(size, DRAM, HBM).services["pcie.down"].ps for size in (32, 128)}
    assert rates[32] == pytest.approx(TAGS * 32 / LATENCY / 1e12 / COUNT)
    assert rates[128] == pytest.approx(RAW * 128 / 148 * 0.98 / 1e12 / COUNT)


@pytest.mark.parametrize("size", [32, 96, 512])
def test_rows_go_out_as_posted_writes(size: int) -> None:
    request = min(size, 128)
    demand = copied(size, HBM, DRAM)
    rate = RAW * request / (request + 24) * 0.98
    assert demand.services["pcie.up"].ps == pytest.approx(COUNT * size / rate * 1e12)
    assert demand.services["pcie.down"].ps == pytest.approx(ANSWERS * COUNT * size / RAW * 1e12)


def test_it_takes_both_memories_one_link_and_its_share_of_the_gpu_but_no_thread() -> None:
    whole, eighth = copied(128, DRAM, HBM), copied(128, DRAM, HBM, share=0.125)
    used = {name for name, service in whole.services.items() if service.ps}
    assert used == {DRAM, HBM, "pcie.down", "pcie.up", "gpu.sm", "gpu.cache"}
    assert whole.services[DRAM].bytes == whole.services[HBM].bytes == COUNT * 128, "no staging"
    assert eighth.minimum_ps == whole.minimum_ps
    assert eighth.services["gpu.sm"].ps == pytest.approx(whole.services["gpu.sm"].ps / 8)


@pytest.mark.parametrize("request_bytes", [32, 64, 128])
def test_no_generation_of_the_link_loads_rows_slower_than_the_one_before(
    request_bytes: int,
) -> None:
    parts = [load_part(f"pcie{generation}_x16") for generation in (3, 4, 5, 6)]
    rates = [part.load_bandwidth(request_bytes) for part in parts if isinstance(part, Pcie)]
    assert len(rates) == 4
    assert rates == sorted(rates)


def test_one_row_waits_for_one_read() -> None:
    word = ZeroCopy("row", "gpu", store(DRAM, 32), store(HBM, 32), Flow(1, 1))
    assert machine().price(word, TUNED).minimum_ps >= LATENCY * 1e12


def test_nothing_to_copy_is_no_kernel() -> None:
    word = ZeroCopy("rows", "gpu", store(DRAM, 32), store(HBM, 32), Flow())
    assert machine().price(word, TUNED).services == {}


def test_a_link_without_tags_for_loads_carries_copies_and_stores_alone() -> None:
    with pytest.raises(ConfigError, match="no load_latency"):
        copied(128, DRAM, HBM, outstanding_loads=None)
    copied(128, HBM, DRAM, outstanding_loads=None)


def test_one_pass_reads_and_trains_in_two_stores() -> None:
    """Of 327,680 lookups a part lies elsewhere: bytes by place, pooled vectors written once."""
    box, far = machine(), Elsewhere(store(DRAM, 512), Flow(5000, 4000))
    near = pool("gpu", HBM)
    alone, both = (box.price(w, TUNED) for w in (near, replace(near, elsewhere=far)))
    assert both.services["pcie.down"].bytes == both.services[DRAM].bytes == 5000 * 512
    assert both.services[HBM].bytes - alone.services[HBM].bytes == 5000 * TUNED.id_bytes
    trained = box.price(replace(update("gpu", HBM), elsewhere=far), TUNED)
    assert trained.services[DRAM].bytes == 2 * 4000 * 512
    assert trained.services["pcie.down"].bytes == trained.services["pcie.up"].bytes == 4000 * 512


def test_a_cpu_knows_one_store_alone() -> None:
    word = replace(pool("cpu", DRAM), elsewhere=Elsewhere(store(DRAM, 512), ROWS))
    with pytest.raises(ConfigError, match="in one store alone"):
        machine().price(word, TUNED)


def test_state_may_lie_in_another_memory_than_its_rows() -> None:
    word = update("gpu", DRAM, state=4)
    split = replace(word, writes=replace(word.writes, state_memory=HBM))
    assert split.writes.entry_bytes == 512
    together, apart = (machine().price(w, TUNED) for w in (word, split))
    rows = word.rows.rows
    assert together.services[DRAM].bytes == 2 * rows * (512 + 32), "state in sectors of 32 B"
    assert apart.services[DRAM].bytes == 2 * rows * 512


MIB = 1 << 20
MEASURED_NS = {512: 1.76, 1024: 8.71, 4096: 20.59, 16384: 29.03}
"""Nanoseconds of a row of 64 B that an H100 of a virtual machine loads at random out of so many MiB
(`configs/parts/links/h100_vm_pcie5_x16.yaml`); stores took the same."""


def out_of(span: int, size: int, *, up: bool = False, **link: object) -> float:
    """Nanoseconds that a row out of `span` MiB of the host's memory holds up what needs it longest,
    a direction of the link or what translates its address."""
    there = replace(store(DRAM, size), bytes=span * MIB)
    ends = (store(HBM, size), there) if up else (there, store(HBM, size))
    demand = virtual(**link).price(ZeroCopy("rows", "gpu", *ends, ROWS), TUNED)
    ways = ("pcie.up" if up else "pcie.down", "pcie.translation")
    held = (demand.services[way].ps for way in ways if way in demand.services)
    return float(max(held)) / COUNT / 1e3


def virtual(**link: object) -> Topology:
    """The host of a virtual machine, whose link translates."""
    gpu = changed("h100_sxm5_80gb", memory=one_channel("h100_sxm5_80gb"))
    pcie = socket(changed("h100_vm_pcie5_x16", **link), join=("cpu", "gpu"))
    return topology(host(cpu=CPU, gpu=gpu, pcie=pcie))


@pytest.mark.parametrize(("span", "ns"), MEASURED_NS.items())
@pytest.mark.parametrize("up", [False, True])
def test_rows_beyond_what_is_translated_at_hand_wait_as_measured(
    span: int, ns: float, up: bool
) -> None:
    """One time and one reach for all spans: within a quarter."""
    assert out_of(span, 64, up=up) == pytest.approx(ns, rel=0.25)


def test_long_rows_hide_their_translation_behind_their_bytes() -> None:
    free = {"translation_time": 0}
    assert out_of(16384, 2048) == out_of(16384, 2048, **free)
    assert out_of(16384, 512) > 2 * out_of(16384, 512, **free)


@pytest.mark.parametrize("span", [0, 1, 700])
def test_a_store_within_reach_costs_no_translation(span: int) -> None:
    assert out_of(span, 64) == out_of(span, 64, translation_time=0)


def test_repeats_of_a_row_find_its_address_at_hand() -> None:
    """As measured: 24 ns a lookup with alpha 0.9, 5 with alpha 1.2, for 36 to 43 ns a distinct row
    (300,000 lookups of rows of 128 B out of 30 GB)."""
    there = replace(store(DRAM, 128), bytes=30 << 30)
    machine = virtual()
    for distinct in (177_173, 38_880):
        word = replace(pool("gpu", DRAM), reads=there, rows=Flow(300_000, distinct))
        held_ps = machine.price(word, TUNED).services["pcie.translation"].ps
        assert held_ps / distinct / 1e3 == pytest.approx(42, rel=0.3)


SORTED_NS = {4096: 4.7, 36_864: 23.0}
"""The same of 300,000 rows of 128 B in ascending order, on an H200 of a virtual machine."""


@pytest.mark.parametrize(("span", "ns"), SORTED_NS.items())
def test_sorted_rows_share_the_translation_of_a_block(span: int, ns: float) -> None:
    """Within a quarter. In any order they wait 21.5 and 33.4 ns."""
    there = replace(store(DRAM, 128), bytes=span * MIB)
    word = replace(update("gpu", DRAM), writes=there, rows=Flow(300_000, 300_000))
    held_ps = virtual().price(word, TUNED).services["pcie.translation"].ps
    assert held_ps / 300_000 / 1e3 == pytest.approx(ns, rel=0.25)


def test_rows_both_ways_wait_for_one_translator() -> None:
    """Rows in and others out at the same time: 63.8 ns a pair out of 36 GiB, one way 33.4 and 33.2,
    on an H200 of a virtual machine. Read and written in place, a row is translated once (29.2)."""
    machine, there = virtual(), replace(store(DRAM, 128), bytes=36 << 30)
    ends = (there, store(HBM, 128))
    words = [ZeroCopy("rows", "gpu", *way, ROWS, share=0.5) for way in (ends, ends[::-1])]
    ways = [machine.price(word, TUNED).services["pcie.translation"].ps for word in words]
    assert sum(ways) / COUNT / 1e3 == pytest.approx(63.8, rel=0.1)
    trained = replace(update("gpu", DRAM), writes=there, rows=ROWS)
    once = machine.price(trained, TUNED).services["pcie.translation"].ps / COUNT / 1e3
    assert once <= 33.4


def test_copies_are_not_translated_row_by_row() -> None:
    link = {"translation_time": 10**6}
    assert copied(64, DRAM, HBM, **link) == copied(64, DRAM, HBM), "nobody says out of how much"
