"""Every part of the catalogue keeps to what a part must; a part that does not is told so."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from kit import conformance, numbers
from machines import CPU, GPU, PCIE, Flat, catalogue_part, changed, host, server, topology
from pydantic import Field

from simulator.config.machine import Part
from simulator.config.types import BytesPerSecond, Picoseconds
from simulator.hardware.access import Access
from simulator.hardware.catalogue import part_names
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices import part_kinds
from simulator.hardware.devices.base import Carried, Device, Link, Processor, Setup
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import sustained
from simulator.hardware.memory import Memory
from simulator.hardware.program import Gather, Operation
from simulator.hardware.timing import TableTiming
from simulator.units import PS_PER_S

ROOT = Path(__file__).parents[2]
GB = 10**9
FASTER = {
    "accelerator": ("lookup_rate",),
    "cpu": ("cores", "miss_buffers"),
    "gpu": ("sort_rate", "random_access_rate"),
}
"""Numbers without a unit of which more is never slower."""


@pytest.mark.parametrize("name", part_names())
def test_a_part_of_the_catalogue_keeps_to_what_a_part_must(name: str) -> None:
    part = catalogue_part(name)
    conformance(part, faster=FASTER.get(part.kind, ()))


def test_every_kind_of_part_is_in_the_catalogue() -> None:
    inside = {k for k, model in part_kinds().items() if model.__module__.startswith("simulator.")}
    assert {catalogue_part(name).kind for name in part_names()} == inside


def test_a_part_from_outside_keeps_to_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adder of the examples: DRAM that pools where rows lie."""
    file = ROOT / "docs" / "examples" / "adder" / "adder.py"
    spec = importlib.util.spec_from_file_location("adder_example", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    part = module.AdderMemory(
        kind="adder_memory",
        name="adders",
        memory=catalogue_part("ddr4_2400"),
        ranks=8,
        additions=1e12,
        sources={"ranks": "assumed", "additions": "assumed"},
    )
    conformance(part, faster=("ranks", "additions"))


# parts that break a rule


class Wire(Part):
    """A link that does what the class does that it is called after."""

    kind: Literal["wire"] = "wire"
    bandwidth: BytesPerSecond = Field(default="10 GB/s", validate_default=True)
    latency: Picoseconds = Field(default="1 us", validate_default=True)

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> Device:
        device: type[Device] = globals()[self.name]
        return device(name, self, setup, members)


class GoodWire(Link):
    part: Wire

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (Resource(f"{self.name}.way", self.name, "link", self.part.bandwidth),)

    def pairs(self) -> list[tuple[str, str]]:
        return [("one", "two")]

    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        service = Service(size * PS_PER_S / self.part.bandwidth, bytes=size)
        return Carried({f"{self.name}.way": service}, self.part.latency)


def wire(device: type[Device]) -> Wire:
    return Wire(name=device.__name__, sources={"bandwidth": "a test", "latency": "a test"})


class Losing(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"it.way": Service(float(size))})


class Doubling(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"it.way": Service(float(size), bytes=2 * size)})


class Restless(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"it.way": Service(size + 1.0, bytes=size)})


class Shrinking(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"it.way": Service(size % 50_000 + float(size > 0), bytes=size)})


class Backwards(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"it.way": Service(size * self.part.bandwidth / 1e9, bytes=size)})


class Late(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        latency = round(1e12 / (1 + self.part.latency))
        return Carried({"it.way": Service(float(size), bytes=size)}, latency)


class Elsewhere(GoodWire):
    def carry(self, source: str, target: str, size: int, *, by: str | None = None) -> Carried:
        return Carried({"that.way": Service(float(size), bytes=size)})


class Twins(GoodWire):
    @property
    def resources(self) -> tuple[Resource, ...]:
        return super().resources * 2


class Stranger(GoodWire):
    @property
    def resources(self) -> tuple[Resource, ...]:
        return (Resource("way", self.name, "link", 1),)


class Oddity(GoodWire):
    @property
    def resources(self) -> tuple[Resource, ...]:
        return (Resource(f"{self.name}.way", self.name, "warp", 1),)


class Giving(GoodWire):
    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        return {"it.way": -1.0}


class Flashing(GoodWire):
    """Takes the same whatever the time."""

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        return {"it.way": 1.0}


class Foreign(GoodWire):
    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        return {"wall": elapsed_ps / 1e12}


def test_a_good_wire_keeps_to_the_rules() -> None:
    conformance(wire(GoodWire))


@pytest.mark.parametrize(
    ("device", "rule"),
    [
        (Losing, "loses them"),
        (Doubling, "carries {2}"),
        (Restless, "of nothing uses it.way"),
        (Shrinking, "300000 ask less of it.way than 2000|300000 end before 2000"),
        (Backwards, "with twice its bandwidth: 1 take"),
        (Late, "with half its latency: 0 take"),
        (Elsewhere, "uses that.way: not its own"),
        (Twins, "resources called alike"),
        (Stranger, "way does not begin with the name of its device"),
        (Oddity, "it.way is of kind 'warp'"),
        (Giving, "negative energy"),
        (Flashing, "standing power of it.way does not grow with time"),
        (Foreign, "energy of resources that are not its own"),
    ],
)
def test_a_link_that_breaks_a_rule_is_named_with_it(device: type[Device], rule: str) -> None:
    with pytest.raises(AssertionError) as caught:
        conformance(wire(device))
    text = str(caught.value)
    assert text.startswith(f"wire {device.__name__!r}: ")
    assert any(alternative in text for alternative in rule.split("|"))


def test_a_number_without_a_source_is_named() -> None:
    given = Wire(name="GoodWire", bandwidth="10 GB/s", sources={})
    with pytest.raises(AssertionError, match="numbers without a source: bandwidth"):
        conformance(given)
    conformance(given, sources=False)
    assert list(numbers(given)) == ["bandwidth"]


class Toy(Part):
    """A processor that does what the class does that it is called after."""

    kind: Literal["toy"] = "toy"
    memory: Dram

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> Device:
        device: type[Device] = globals()[self.name]
        return device(name, self, setup, members)


class ToyDevice(Processor):
    """Gathers at a picosecond a row."""

    part: Toy
    rules: ClassVar[Mapping[type[Operation], str]] = {Gather: "gather"}

    def prepare(self, setup: Setup) -> None:
        timing = setup.timing(self.part.memory)
        self.dram = Memory(f"{self.name}.dram", self.name, "dram", 1, timing)

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram,)

    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, {"it.dram": Service(float(word.rows.rows))}, 10)


class Hasty(ToyDevice):
    """A little less for much more."""

    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, {}, minimum_ps=10**6 - word.rows.rows)


class Slowed(ToyDevice):
    """A faster memory makes it slower."""

    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, {}, minimum_ps=self.dram.timing.peak_bandwidth)


class Hosted(ToyDevice):
    """Somebody else's thread submits it."""

    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, host="gpu.launch", submit_ps=1)


class Unhosted(ToyDevice):
    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, submit_ps=1)


class Early(ToyDevice):
    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        return Demand(word.name, submit_more_ps=-1)


class Stingy(ToyDevice):
    """Asks for less than it takes alone."""

    def gather(self, word: Gather, software: object, reach: object) -> Demand:
        services = {"it.dram": Service(float(word.rows.rows))}
        return Demand(word.name, services, loaded={"it.dram": 0.5})


class Untidy(ToyDevice):
    """Leaves a line changed whatever it does."""

    def left_changed(self, operation: Operation, software: object) -> int:
        return 64


def toy(device: type[Device]) -> Toy:
    return Toy(name=device.__name__, memory=catalogue_part("ddr4_2400"))


def test_a_good_processor_keeps_to_the_rules() -> None:
    conformance(toy(ToyDevice))


@pytest.mark.parametrize(
    ("device", "rule"),
    [
        (Hasty, "gather (paper): 1 end before 0"),
        (Slowed, "a memory twice as fast"),
        (Hosted, "gather (paper) is submitted by gpu.launch: not its own"),
        (Unhosted, "gather (paper) takes time of no host"),
        (Early, "gather (paper) takes -1 ps of its host"),
        (Stingy, "gather (paper): outstanding reads allow 0.5 of its speed alone"),
        (Untidy, "gather (paper) of nothing leaves 64 B changed"),
    ],
)
def test_a_processor_that_breaks_a_rule_is_named_with_it(device: type[Device], rule: str) -> None:
    with pytest.raises(AssertionError) as caught:
        conformance(toy(device))
    assert rule in str(caught.value)


# a bank model instead of a flat memory


@pytest.mark.parametrize("name", ["ddr4_2400", "hbm2_v100"])
def test_a_dram_at_twice_its_clock_sustains_more(name: str) -> None:
    dram = catalogue_part(name)
    assert isinstance(dram, Dram)
    swift = dram.model_copy(update={"clock": 2 * dram.clock})
    for pattern in ("gather", "scatter"):
        before, after = (sustained(d, pattern, 512, 0.0).bytes_per_s for d in (dram, swift))
        assert before < after <= 2.0 * before * 1.01
        assert before <= dram.peak_bytes_per_s


@pytest.mark.parametrize("name", ["ddr4_2400", "hbm2_v100"])
def test_a_table_of_bandwidths_times_streams_by_their_kind(name: str) -> None:
    """Bytes over the bandwidth of their kind; in order at least as fast as rows of 512 B."""
    timing = TableTiming(catalogue_part(name), 512)
    rows, in_order = Access("m", 1000, 512), Access("m", 1000, 512, random=False)
    assert timing.stream_ps(in_order) <= timing.stream_ps(rows) * 1.01
    assert timing.stream_ps(Access("m", 2000, 512)) == pytest.approx(2 * timing.stream_ps(rows))
    assert 0.0 <= timing.turnaround.factor(1.0, 1.0) - 1.0 < 1.0
    assert timing.stream_pj(rows) > 0.0
    assert timing.standing_w > 0.0
    assert timing.sampling_error == 0.0


# energy


def joules(device: Device, busy: Mapping[str, float], seconds: float = 1.0) -> dict[str, float]:
    """Energy where resources were busy (and held) for a share of the time, and did 4 J each."""
    elapsed = round(seconds * PS_PER_S)
    use = {
        name: ResourceUse(share * elapsed, 0.0, 4e12, share * elapsed)
        for name, share in busy.items()
    }
    return device.energy(use, elapsed)


@pytest.mark.parametrize(("busy", "watts"), [(0.0, 34.0), (0.5, 84.5), (1.0, 135.0)])
def test_a_cpu_takes_power_in_proportion_to_its_busy_cores(busy: float, watts: float) -> None:
    """Xeon E5-2698 v4: 34 W idle, 135 W busy; the memory takes 3 W and what was done on it."""
    cpu = topology(server()).devices["cpu"]
    assert joules(cpu, {"cpu.cores": busy, "cpu.dram": 0.5}, 2.0) == {
        "cpu.cores": pytest.approx(2.0 * watts),
        "cpu.dram": pytest.approx(2.0 * 3.0 + 4.0),
    }


def test_a_device_that_nothing_was_done_on_takes_its_standing_power() -> None:
    devices = topology(server()).devices
    assert joules(devices["cpu"], {}) == {"cpu.cores": 34.0, "cpu.dram": 3.0}
    assert joules(devices["pcie"], {}) == {}


@pytest.mark.parametrize(
    ("threads", "held", "watts"),
    [(None, 0.25, 59.25), (None, 1.0, 97.125), (10, 1.0, 71.875), (10, 0.5, 59.25)],
)
def test_cores_that_threads_hold_while_they_wait_take_half(
    threads: int | None, held: float, watts: float
) -> None:
    """A quarter of 20 cores busy: 34 W + 101 W / 4. Held by threads beyond that: nothing, 75 % of
    the cores, 25 % (a pool of 10 threads on 20 cores), nothing (half of that pool)."""
    cpu = topology(server(), threads=threads).devices["cpu"]
    energy = joules(cpu, {"cpu.cores": 0.25, "cpu.threads": held})
    assert energy["cpu.cores"] == pytest.approx(watts)


@pytest.mark.parametrize(
    ("arithmetic", "memory", "board"), [(0.1, 0.0, 66), (0.5, 0.0, 170), (0.25, 1.0, 300)]
)
def test_the_board_of_a_gpu_takes_power_by_the_busier_of_units_and_memory(
    arithmetic: float, memory: float, board: float
) -> None:
    """V100: 40 W idle, 300 W busy. The board's power includes its HBM: 3 W and 4 J done."""
    gpu = topology(server()).devices["gpu"]
    energy = joules(gpu, {"gpu.sm": arithmetic, "gpu.hbm": memory})
    assert energy["gpu.hbm"] == pytest.approx(7.0)
    assert sum(energy.values()) == pytest.approx(board)


def test_memory_that_takes_more_than_its_board_adds_to_it() -> None:
    """An idle board of 40 W has 37 W beside the 3 W of HBM: 4 J of work come on top of them."""
    gpu = topology(server()).devices["gpu"]
    assert joules(gpu, {"gpu.hbm": 0.0}) == {"gpu.sm": 37.0, "gpu.hbm": 7.0}


def test_memory_that_stands_at_more_than_its_board_leaves_the_rest_nothing() -> None:
    part = changed(GPU, idle_power=1.0)
    gpu = topology(host(gpu=part)).devices["gpu"]
    assert joules(gpu, {}) == {"gpu.sm": 0.0, "gpu.hbm": 3.0}


def test_a_busy_resource_is_not_busier_than_all_of_the_time() -> None:
    """Rounding may leave a resource busy for a picosecond more than passed."""
    cpu = topology(server()).devices["cpu"]
    assert joules(cpu, {"cpu.cores": 1.0 + 1e-9})["cpu.cores"] == pytest.approx(135.0, rel=1e-12)


def test_a_memory_of_its_own_takes_its_standing_power() -> None:
    memory = topology(host(far="ddr4_2400"), rates={"ddr4_2400": Flat(standing_w=5.0)})
    assert joules(memory.devices["far"], {"far.dram": 0.1}, 3.0) == {"far.dram": 3 * 5.0 + 4.0}


def test_links_that_are_joined_by_name_know_their_members() -> None:
    pcie = topology(server(gpus=2, per=2)).devices["pcie"]
    assert isinstance(pcie, Link)
    assert pcie.pairs() == [("cpu", "gpu0"), ("cpu", "gpu1")]
    assert pcie.ports("gpu0") == ()
    assert catalogue_part(PCIE).kind == pcie.part.kind
    assert topology(host(cpu=CPU)).devices["cpu"].members == ()
