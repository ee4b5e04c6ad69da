"""Measurements that the models made themselves, with numbers that are known: fits find them again.

The conditions are those of the shipped micro-benchmarks; what was measured is replaced by what the
models say with numbers that differ from the starts of the blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.calibration import search
from simulator.calibration.blocks import BLOCKS, Block, Parameter
from simulator.calibration.calibrate import points_in
from simulator.calibration.fit import Rules, fit_blocks
from simulator.calibration.judge import WORST_ERROR
from simulator.calibration.points import Point
from simulator.calibration.rig import Rig
from simulator.calibration.sockets import cpu_of, gpu_of
from simulator.config.catalogue import load_named
from simulator.errors import UndecidedError
from simulator.hardware.catalogue import load_machine

SHIPPED = Path(__file__).parents[2] / "experiments" / "validation"
MEASURED, OWN = SHIPPED / "microbenchmarks", SHIPPED / "h100_micro"
FACTORS = (1.25, 0.8, 0.9, 1.15)
"""Known numbers over the starts of their searches, in turn."""
SEEDS = 60
EXACT = 5e-3
"""Without noise the found numbers differ by their last digits alone."""


@pytest.fixture(scope="module")
def conditions() -> tuple[Rig, list[Point]]:
    """A machine with every mechanism, and every condition that was measured."""
    base, model = load_machine("h200"), load_named("models", "default")
    only_there = ("mlp fp32", "mlp tf32", "mlp fp16", "mlp bf16", "cpu update with state")
    others = [p for p in points_in(OWN, base, model) if p.operator in only_there]
    points = [p for p in points_in(MEASURED, base, model) if p.operator not in only_there]
    return with_software("tuned"), [*points, *others]


def with_software(name: str) -> Rig:
    """A machine that runs it, with every number of the blocks that apply where they start."""
    software = load_named("operators", name)
    rig = Rig(load_machine("h200"), software, load_named("models", "default"))
    applying = [block for block in BLOCKS if block.when is None or block.when(software)]
    return rig.changed({p.path: p.start for block in applying for p in block.parameters})


def cases() -> list[Any]:
    """(block, software that shows its numbers) for all blocks."""
    found = []
    for block in BLOCKS:
        others = block.when is not None and not block.when(load_named("operators", "tuned"))
        software = "observed" if others else "tuned"
        found.append(pytest.param(block, software, id=f"{block.name}, {software}"))
    return found


@pytest.fixture(autouse=True)
def few_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block's own start and one more: enough where the truth is near, and quick."""
    monkeypatch.setattr(search, "DRAWS", 1)


def known(block: Block) -> dict[str, float]:
    """Numbers to be found, within the limits of the block."""
    return {
        p.path: min(max(p.start * FACTORS[n % len(FACTORS)], p.low * 1.2), p.high / 1.2)
        for n, p in enumerate(block.parameters)
    }


def made_by(
    rig: Rig, block: Block, points: Sequence[Point], noise: float = 0.0, seed: int = 0
) -> list[Point]:
    """The conditions of a block as `rig` would have measured them, with log-normal noise."""
    rng = np.random.default_rng(seed)
    operators = block.operators + block.beside
    own = [point for point in points if point.operator in operators and point.weight]
    return [
        dataclasses.replace(p, measured=p.model(rig) * math.exp(noise * rng.standard_normal()))
        for p in own
    ]


@pytest.mark.parametrize(("block", "software"), cases())
def test_known_numbers_are_found_within_their_standard_errors(
    block: Block, software: str, conditions: tuple[Rig, list[Point]]
) -> None:
    rig, points = with_software(software), conditions[1]
    truth = known(block)
    made = made_by(rig.changed(truth), block, points)
    (found,) = fit_blocks(rig, made, blocks=(block,)).blocks
    assert len(found.numbers) == len(block.parameters)
    for number in found.numbers:
        off = abs(math.log(number.value / truth[number.path]))
        assert off <= min(EXACT, number.error), f"{number.path}: {off:.2%} off"
        assert number.error <= WORST_ERROR


@pytest.mark.parametrize("name", ["GPU sort", "copies"])
def test_noise_of_five_percent_gives_errors_of_the_promised_size(
    name: str, conditions: tuple[Rig, list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distances from the truth, in standard errors, are a standard normal variable: 68 % of them
    within one, and a root mean square of 1, both within three of their own errors."""
    monkeypatch.setattr(search, "DRAWS", 0)
    rig, points = conditions
    (block,) = (block for block in BLOCKS if block.name == name)
    truth = known(block)
    true_rig = rig.changed(truth)
    distances = []
    for seed in range(SEEDS):
        made = made_by(true_rig, block, points, noise=0.05, seed=seed)
        (found,) = fit_blocks(rig, made, Rules("take"), blocks=(block,)).blocks
        distances += [math.log(n.value / truth[n.path]) / n.error for n in found.numbers]
    count = len(distances)
    within = sum(abs(distance) <= 1.0 for distance in distances) / count
    assert within == pytest.approx(0.683, abs=3 * math.sqrt(0.683 * 0.317 / count))
    size = math.sqrt(sum(distance**2 for distance in distances) / count)
    assert size == pytest.approx(1.0, abs=3 / math.sqrt(2 * count))


SORT = ("gpu sort",)
RATE, LATENCY = "platform.host.gpu.sort_rate", "platform.host.gpu.sort_pass_latency"
START = Parameter(RATE, 150e9, 1e9, 1e13)
PASS = Parameter(LATENCY, 11e6, 1e5, 1e9)


def sorts(conditions: tuple[Rig, list[Point]], rate: float) -> list[Point]:
    """Sorts by a GPU with that rate, noise of 1 %."""
    rig, points = conditions
    block = Block("sort", SORT, (START,))
    return made_by(rig.changed({RATE: rate}), block, points, noise=0.01)


def test_a_number_that_no_point_depends_on_is_not_identifiable(
    conditions: tuple[Rig, list[Point]],
) -> None:
    idle = Parameter("platform.host.cpu.thread_start", 20e6, 1e5, 1e9, decided_by="few rows")
    block = Block("sort", SORT, (START, idle))
    with pytest.raises(UndecidedError) as raised:
        fit_blocks(conditions[0], sorts(conditions, 150e9), blocks=(block,))
    text = str(raised.value)
    assert "platform.host.cpu.thread_start (block sort): not identifiable: no point" in text
    assert "What would decide it: few rows" in text
    assert RATE not in text


def test_a_number_on_its_limit_is_an_error_that_names_it(
    conditions: tuple[Rig, list[Point]],
) -> None:
    narrow = dataclasses.replace(START, high=170e9)
    block = Block("sort", SORT, (narrow, PASS))
    with pytest.raises(UndecidedError) as raised:
        fit_blocks(conditions[0], sorts(conditions, 300e9), blocks=(block,))
    text = str(raised.value)
    assert f"{RATE} (block sort): on the high end of its range, 1.7e+11" in text
    assert "more sizes of 'gpu sort'" in text
    assert "--keep-undecided" in text


def test_a_limit_that_physics_sets_is_an_answer(conditions: tuple[Rig, list[Point]]) -> None:
    narrow = dataclasses.replace(START, high=170e9, physical="high")
    block = Block("sort", SORT, (narrow, PASS))
    (found,) = fit_blocks(conditions[0], sorts(conditions, 300e9), blocks=(block,)).blocks
    rate, latency = found.numbers
    assert (rate.value, rate.at_limit, rate.known) == (170e9, True, "at its limit, 1.7e+11")
    assert not latency.at_limit
    assert 0.0 < latency.error < 0.05


def test_numbers_that_stand_in_for_each_other_are_refused(
    conditions: tuple[Rig, list[Point]],
) -> None:
    """Line rate and its share of flow control: only their product reaches a long copy."""
    rig, points = conditions
    raw = Parameter("platform.host.pcie.raw_bandwidth", 63e9, 1e9, 1e12)
    share = Parameter("platform.host.pcie.flow_control", 0.3, 1e-3, 0.9)
    block = Block("copies", ("copies",), (raw, share))
    long = [point for point in points if point.condition.startswith("d2h")]
    made = made_by(rig.changed({share.path: 0.25}), block, long, noise=0.01)
    with pytest.raises(UndecidedError, match=r"\(block copies\): not identifiable"):
        fit_blocks(rig, made, blocks=(block,))


def test_an_undecided_number_keeps_its_value_and_the_others_are_fitted(
    conditions: tuple[Rig, list[Point]],
) -> None:
    idle = Parameter("platform.host.cpu.thread_start", 20e6, 1e5, 1e9)
    block = Block("sort", SORT, (START, PASS, idle))
    rules = Rules("keep", {idle.path: 7e6})
    fit = fit_blocks(conditions[0], sorts(conditions, 180e9), rules, blocks=(block,))
    assert set(fit.values) == {RATE, LATENCY}
    assert fit.values[RATE] == pytest.approx(180e9, rel=0.03)
    assert cpu_of(fit.rig.config).thread_start == 7_000_000
    (kept,) = fit.blocks[0].kept
    assert kept.parameter is idle


def test_a_number_that_the_base_lacks_is_assumed_where_it_is_not_decided(
    conditions: tuple[Rig, list[Point]],
) -> None:
    idle = Parameter("platform.host.cpu.thread_start", 20e6, 1e5, 1e9)
    block = Block("sort", SORT, (START, PASS, idle))
    fit = fit_blocks(conditions[0], sorts(conditions, 180e9), Rules("keep"), blocks=(block,))
    assert fit.values[idle.path] == 20e6
    assert fit.evidence[idle.path].startswith(
        "assumed: where a search for it begins or ended; not identifiable"
    )


def test_a_number_on_its_limit_stays_there_where_the_base_has_no_other(
    conditions: tuple[Rig, list[Point]],
) -> None:
    """Any other value would move the numbers that are fitted beside it."""
    block = Block("sort", SORT, (dataclasses.replace(START, high=170e9), PASS))
    fit = fit_blocks(conditions[0], sorts(conditions, 180e9), Rules("keep"), blocks=(block,))
    assert fit.values[RATE] == 170e9
    assert "on the high end of its range" in fit.evidence[RATE]
    assert fit.values[LATENCY] == pytest.approx(11e6, rel=0.05)


def test_numbers_that_are_held_are_not_fitted(conditions: tuple[Rig, list[Point]]) -> None:
    block = Block("sort", SORT, (START, PASS))
    made = sorts(conditions, 180e9)
    fit = fit_blocks(conditions[0], made, Rules(fixed=(LATENCY,)), blocks=(block,))
    assert set(fit.values) == {RATE}
    held = fit_blocks(conditions[0], made, Rules(fixed=("platform.",)), blocks=(block,))
    assert held.blocks[0].skipped == "all of its numbers are held"
    assert not held.values


def test_as_many_points_as_numbers_decide_none(conditions: tuple[Rig, list[Point]]) -> None:
    """They are as undecided as a number on a bound: an error that names each of them."""
    block = Block("sort", SORT, (START, PASS))
    with pytest.raises(UndecidedError) as raised:
        fit_blocks(conditions[0], sorts(conditions, 180e9)[:2], blocks=(block,))
    lines = str(raised.value).splitlines()
    assert [line.split(" ", 1)[0] for line in lines[:2]] == [RATE, LATENCY]
    assert all("(block sort): 2 points cannot decide 2 numbers. What would" in x for x in lines[:2])
    assert "--keep-undecided" in lines[-1]


def test_numbers_of_too_few_points_keep_what_the_base_says(
    conditions: tuple[Rig, list[Point]],
) -> None:
    block, few = Block("sort", SORT, (START, PASS)), sorts(conditions, 180e9)[:1]
    kept = fit_blocks(conditions[0], few, Rules("keep", {RATE: 2e9, LATENCY: 3e6}), blocks=(block,))
    assert gpu_of(kept.rig.config).sort_rate == 2e9
    assert not kept.values, "they are those of the base, not found"
    assert [fault.kept for fault in kept.blocks[0].kept] == [2e9, 3e6]
    assert kept.blocks[0].kept[0].why == "1 point cannot decide 2 numbers"
    assumed = fit_blocks(conditions[0], few, Rules("keep"), blocks=(block,))
    assert assumed.values == {RATE: START.start, LATENCY: PASS.start}
    assert assumed.evidence[RATE].startswith("assumed: ")


def test_half_of_the_points_may_be_too_few_for_a_block(
    conditions: tuple[Rig, list[Point]],
) -> None:
    """`take` asks what the models say between sizes: such a block stays as it is."""
    block = Block("sort", SORT, (START, PASS))
    rules = Rules("take", {RATE: 2e9, LATENCY: 3e6})
    fit = fit_blocks(conditions[0], sorts(conditions, 180e9)[:2], rules, blocks=(block,))
    assert gpu_of(fit.rig.config).sort_rate == 2e9


def test_the_result_does_not_depend_on_what_the_machine_said_before(
    conditions: tuple[Rig, list[Point]],
) -> None:
    rig, made = conditions[0], sorts(conditions, 180e9)
    block = Block("sort", SORT, (START, PASS))
    first = fit_blocks(rig, made, blocks=(block,))
    again = fit_blocks(first.rig.changed({LATENCY: 5e5}), made, blocks=(block,))
    assert again.values == first.values
    assert again.evidence == first.evidence
