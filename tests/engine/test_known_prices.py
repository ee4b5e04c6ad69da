"""Points that share prices have the results of those that are priced anew, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from small import BOX, points, told

from simulator.columns import Column
from simulator.config.experiment import PointConfig
from simulator.engine import points as timed
from simulator.engine import simulate_points
from simulator.engine.sharing import build
from simulator.hardware.demand import Demand
from simulator.hardware.devices.base import Processor
from simulator.hardware.known_prices import KnownPrices, content_of
from simulator.hardware.program import Buffer, Move, Stage, Wait

LATENCY = {"platform.host.cpu.memory_latency": ["80 ns", "90 ns"]}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "memory of the CPU, and of the GPU": (
        "scratchpipe",
        "v100_p3",
        LATENCY | {"platform.host.gpu.memory.clock": ["877 MHz", "800 MHz"]},
    ),
    "a link that kernels reach over": (
        "fbgemm_uvm",
        "v100_p3",
        {"platform.host.pcie.outstanding_reads": [16, 32]} | LATENCY,
    ),
    "software": ("hybrid", "v100_p3", LATENCY | {"operators": ["paper", "stock"]}),
    "threads": ("scratchpipe", "v100_p3", {"run.cpu_threads": [2, 4]} | LATENCY),
    "pools": ("scratchpipe", "v100_p3", {"pipeline.cpu_pool": ["shared", "split"]} | LATENCY),
    "fidelity": (
        "scratchpipe",
        "v100_p3",
        {"run.memory_fidelity": ["table", "sampled", "exact"]} | LATENCY,
    ),
    "several GPUs": (
        "scratchpipe",
        BOX,
        {"platform.host.gpu.memory.clock": ["877 MHz", "800 MHz"]} | LATENCY,
    ),
    "a memory behind the host": ("training_cxl", "training_cxl_v100", LATENCY),
    "a drive": ("fbgemm_ssd", "ssd_v100", LATENCY),
}


def all_told(found: tuple[PointConfig, ...]) -> list[bytes]:
    """All that points say, but for wall-clock values."""
    return [told(result) for result in simulate_points(found, threads=1)]


@pytest.mark.parametrize("name", CASES)
def test_points_that_share_prices_are_as_those_priced_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, platform, sweep = CASES[name]
    found = points(system, platform=platform, run={"batches": 4, "check": False}, sweep=sweep)
    priced: list[str] = []
    price = Processor.price

    def noted(self: Any, word: Any, *rest: Any) -> Any:
        priced.append(word.name)
        return price(self, word, *rest)

    monkeypatch.setattr(Processor, "price", noted)
    shared = all_told(found)
    some = len(priced)
    monkeypatch.setattr(timed, "KnownPrices", lambda batches: None)
    monkeypatch.setattr(timed, "KnownWords", lambda: None)
    assert all_told(found) == shared
    assert some < len(priced) - some, "no price was found again"


def test_what_code_can_tell_apart_has_contents_of_its_own() -> None:
    @dataclass(frozen=True)
    class Word:
        number: Any

    @dataclass(frozen=True)
    class Other:
        number: Any

    column = Column(np.array([1, 2]), 2.0)
    unlike = [
        *(1, 1.0, True, None, "1", 0.0, -0.0, (), (1,), (1, 1), ((1,), 1), {"a": 1}, {"a": 1.0}),
        *(Word(1), Word(1.0), Other(1), Word(column), column),
        Column(np.array([1, 3]), 3.0),
        Column(np.array([1.0, 2.0])),
        Column(np.array([1, 2]), 3.0),
        Column(np.array([1, 2], object)),
        Column(np.array([1, 2.0], object)),
    ]
    assert len({content_of(value) for value in unlike}) == len(unlike)
    assert content_of(Word((column, 2.5))) == content_of(Word((Column(np.array([1, 2]), 2.0), 2.5)))


@pytest.mark.parametrize("unknown", [np.arange(3), {1, 2}, object(), (1, np.arange(2))])
def test_what_is_not_known_has_no_contents(unknown: Any) -> None:
    with pytest.raises(TypeError):
        content_of(unknown)


def test_a_long_run_keeps_no_prices() -> None:
    """They would take more memory than all else."""
    (point,) = points("scratchpipe", run={"batches": 2})
    machine = build(point)[1]
    many = KnownPrices(10**6)
    word = Wait("w", "gpu")
    first = machine.price(word, point.operators, many)
    assert machine.price(word, point.operators, many) is not first
    few = KnownPrices(100)
    first = machine.price(word, point.operators, few)
    assert machine.price(word, point.operators, few) is first


def test_prices_that_wait_for_copies_are_one_object_each() -> None:
    known, price = KnownPrices(4), Demand("work", submit_ps=5)
    waiting = known.fetched(price, {"down": 7})
    assert waiting == replace(price, fetched={"down": 7})
    assert known.fetched(price, {"down": 7}) is waiting
    assert known.fetched(price, {"down": 8}).fetched == {"down": 8}
    assert known.fetched(Demand("work", submit_ps=5), {"down": 7}) is not waiting


def test_programs_with_the_same_contents_are_one_object() -> None:
    known = KnownPrices(4)

    def program(size: Any) -> tuple[Stage, ...]:
        return (Stage("only", ((Move("copy", "dram", Buffer("rows", "dram", size), "hbm"),),)),)

    first = program(Column(np.array([1, 2])))
    assert known.alike(first) is first
    assert known.alike(program(Column(np.array([1, 2])))) is first
    for other in (Column(np.array([1, 3])), Column(np.array([1.0, 2.0])), 1):
        assert known.alike(program(other)) is not first
    assert known.alike(program(np.array([1, 2]))) is None, "an array cannot be compared"
