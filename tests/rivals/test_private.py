"""Private training: closed forms of what noise moves, limits, values executed, refusals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.replays.next_rows import NEXT, NEXT_ALONE
from simulator.config.catalogue import load_named
from simulator.engine.checker import execute
from simulator.engine.orders import random_order
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.devices.cpu_words import Package, lines_of
from simulator.hardware.devices.noise_words import NOISE_PASSES
from simulator.hardware.noise import Draw, Noise, Sweep
from simulator.hardware.program import Dense, Move, Operation, Sort

DENSE = ("dp_sgd_b", "dp_sgd_r", "dp_sgd_f")
ALL = (*DENSE, "eana", "lazydp")
BASES = ("hybrid", "scratchpipe")
PAPER: dict[str, Any] = {"operators": "paper"}
ROW = 512
MLPERF = load_named("models", "mlperf_dlrm").model_dump(
    include={"tables", "rows_per_table", "lookups_per_table", "batch_size", "bottom_mlp", "top_mlp"}
)
MLPERF |= {key: list(MLPERF[key]) for key in ("rows_per_table", "bottom_mlp", "top_mlp")}
HALF = {"cache": {"fraction": 0.5}}


def on(name: str, base: str, **parameters: Any) -> dict[str, Any]:
    """An entry of `systems`."""
    return {"name": name, "label": f"{name}_{base}", "base": base, **parameters}


def moved(noise: Iterable[Operation]) -> int:
    """Bytes in DRAM of the words that draw, copy and add noise on the CPU: random pieces in whole
    lines, without reads for ownership."""
    software, at = load_named("operators", "paper"), Package("cpu", "cpu.dram", 50 << 20, 0)
    accesses = [
        access
        for word in noise
        if word.at == "cpu" and type(word) in NOISE_PASSES
        for access in NOISE_PASSES[type(word)](word, software, at).accesses
    ]
    return sum(a.count * (lines_of(a.size) * 64 if a.random else a.size) for a in accesses)


def numbers(program: Iterable[Operation], at: str) -> int:
    """Gaussian numbers for tables that a processor draws."""
    return sum(
        word.values
        for word in program
        if isinstance(word, Draw | Noise) and word.at == at and word.name != "mlp_noise"
    )


@pytest.mark.parametrize("name", DENSE)
def test_dense_noise_moves_four_times_the_tables(name: str) -> None:
    """4 R V bytes beside hybrid, for the scatter has become the addition of gradients: 384.5 GB of
    the MLPerf model, R D = 24.0 G numbers."""
    program = words(*_first(name, model=MLPERF, trace={"kind": "uniform"}))
    table_noise = [w for w in program if not (isinstance(w, Sweep) and "clip" in w.name)]
    assert moved(table_noise) == 4 * 187_767_399 * ROW == pytest.approx(384.5e9, rel=1e-3)
    assert numbers(program, "cpu") == 187_767_399 * 128


def _first(entry: Any, **changes: Any) -> tuple[Any, Any]:
    system, facts = replayed(entry, 2, **{**PAPER, **changes})
    return system, facts[0]


@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.2])
def test_eana_moves_four_times_the_rows_that_are_looked_up(alpha: float) -> None:
    system, facts = _first("eana", trace={"kind": "zipf", "alpha": alpha})
    program, unique = words(system, facts), facts[UNIQUE].rows
    assert moved(program) == 4 * unique * ROW
    assert numbers(program, "cpu") == unique * 128


@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.2])
def test_lazydp_moves_by_the_rows_of_this_and_of_the_next_mini_batch(alpha: float) -> None:
    """(4 U' + 2 G + 4 (W - U)) V + 136 U' bytes."""
    system, batches = replayed("lazydp", 3, **PAPER, trace={"kind": "zipf", "alpha": alpha})
    for facts, after in pairwise(batches):
        coming, alone, lookups = facts[NEXT].rows, facts[NEXT_ALONE].rows, facts[LOOKUP].lookups
        assert coming == after[UNIQUE].rows
        assert 0 < alone < coming
        program = words(system, facts)
        rows = 4 * coming + 2 * lookups + 4 * alone
        assert moved(program) == rows * ROW + 136 * coming
        assert numbers(program, "cpu") == coming * 128
        (unique,) = (w for w in program if isinstance(w, Sort) and w.name == "unique")
        assert unique.rows.lookups == after[LOOKUP].lookups


def test_software_without_expand_has_no_gradients_to_copy() -> None:
    system, batches = replayed("lazydp", 2, operators="tuned")
    facts = batches[0]
    coming, alone = facts[NEXT].rows, facts[NEXT_ALONE].rows
    own = [w for w in words(system, facts) if w.at == "cpu"]
    assert moved(own) == (4 * coming + 4 * alone) * ROW + 136 * coming


@pytest.mark.parametrize("lookups", [1, 20])
def test_a_lookup_of_all_rows_draws_as_much_lazily_as_densely(lookups: int) -> None:
    model = {"rows_per_table": 200, "lookups_per_table": lookups, "batch_size": 4096}
    trace = {"kind": "uniform"}
    drawn = {}
    for name in ("dp_sgd_f", "lazydp"):
        system, batches = replayed(name, 2, **PAPER, model=model, trace=trace)
        drawn[name] = numbers(words(system, batches[0]), "cpu")
    assert drawn["lazydp"] == drawn["dp_sgd_f"] == 4 * 200 * 128


def test_numbers_of_the_mlperf_model_for_one_lookup_a_table() -> None:
    """Uniform ids: 17,665 unique rows of 1,024 samples, 33,313 of 2,048, 61,867 of 4,096."""
    for batch_size, unique in ((1024, 17_665), (2048, 33_313), (4096, 61_867)):
        model = {**MLPERF, "batch_size": batch_size}
        _, facts = _first("lazydp", model=model, trace={"kind": "uniform"})
        assert facts[NEXT].rows == pytest.approx(unique, rel=0.01)


def test_dense_time_is_linear_in_rows_whatever_is_looked_up_and_lazy_time_is_not() -> None:
    times: dict[tuple[int, float], dict[str, float]] = {}
    for rows in (100_000, 200_000, 400_000):
        for alpha in (0.0, 1.1):
            model = {"rows_per_table": rows}
            changes = {**PAPER, "model": model, "trace": {"kind": "zipf", "alpha": alpha}}
            results = simulated("dp_sgd_f", "lazydp", **changes)
            spent = {name: stage_times(result) for name, result in results.items()}
            times[rows, alpha] = {
                name: own["noise"] + own["noise_update"] for name, own in spent.items()
            }
    for rows in (100_000, 200_000):
        twice = times[2 * rows, 0.0]["dp_sgd_f"] / times[rows, 0.0]["dp_sgd_f"]
        assert twice == pytest.approx(2.0, rel=0.01)
        assert times[2 * rows, 0.0]["lazydp"] < 1.1 * times[rows, 0.0]["lazydp"]
    for rows in (100_000, 200_000, 400_000):
        dense, skewed = (times[rows, alpha]["dp_sgd_f"] for alpha in (0.0, 1.1))
        assert dense == pytest.approx(skewed, rel=0.01)
        assert times[rows, 1.1]["lazydp"] < times[rows, 0.0]["lazydp"]


@pytest.mark.parametrize("operators", ["paper", "tuned", "stock"])
@pytest.mark.parametrize("base", BASES)
def test_without_clipping_and_noise_it_is_its_base(base: str, operators: str) -> None:
    """To the picosecond, and in energy; clipping costs more, noise more than that."""
    plain = [on(name, base, sigma=0, clip=None) for name in ALL]
    clipped = {**on("lazydp", base, sigma=0), "label": "clipped"}
    noisy = {**on("lazydp", base), "label": "noisy"}
    results = simulated(*plain, clipped, noisy, base, operators=operators, **HALF)
    wanted = results[base].metrics
    for name in ALL:
        for column in ("iteration_time_us", "energy_mj", "link_utilization"):
            assert results[f"{name}_{base}"].metrics[column] == wanted[column]
    times = [results[name].metrics["iteration_time_us"] for name in (base, "clipped", "noisy")]
    assert times[0] < times[1] < times[2]


def test_the_three_ways_to_norms() -> None:
    """B keeps B P 4 bytes and passes back once; R makes as much a layer at a time; F neither."""
    programs = {name: words(*_first(name)) for name in DENSE}
    steps = {n: [w for w in own if isinstance(w, Dense)] for n, own in programs.items()}
    assert [len(steps[name]) for name in DENSE] == [1, 2, 2]
    for first, second in (steps["dp_sgd_r"], steps["dp_sgd_f"]):
        assert second.flops == 2 * first.flops // 3
    clips = {n: next(w for w in own if w.name == "clip") for n, own in programs.items()}
    made = {n: sum(b.bytes for b in w.results) for n, w in clips.items() if isinstance(w, Sweep)}
    # weights of 13-64-128 and (10 + 128)-64-1, biases included, of 256 samples; B scales them too
    weights = 14 * 64 + 65 * 128 + 139 * 64 + 65
    assert made == {"dp_sgd_b": 2 * 1024 * weights, "dp_sgd_r": 1024 * weights, "dp_sgd_f": 0}
    sent = {
        name: [w.bytes for w in own if isinstance(w, Move) and "gradients" in w.name]
        for name, own in programs.items()
    }
    pooled = 256 * 4 * ROW
    assert sent == {"dp_sgd_b": [pooled], "dp_sgd_r": [pooled] * 2, "dp_sgd_f": [pooled] * 2}


def test_mlperf_gradients_of_2048_samples_take_19_4_gb() -> None:
    (clip,) = (
        w
        for w in words(*_first("dp_sgd_b", model=MLPERF))
        if isinstance(w, Sweep) and w.name == "clip"
    )
    assert clip.results[0].bytes == pytest.approx(19.4e9, rel=0.01)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("tables", [1, 3])
def test_ones_in_place_of_noise_train_like_one_batch_at_a_time(
    name: str, base: str, tables: int
) -> None:
    """All rows flushed, LazyDP's tables are DP-SGD's, bit for bit."""
    outcome = executed(name, f"base={base}", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize("name", ["dp_sgd_f", "eana", "lazydp"])
def test_free_stages_keep_that(name: str) -> None:
    outcome = executed(name, "base=scratchpipe", mode="async", slots=40)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize("name", ["dp_sgd_f", "eana", "lazydp"])
@pytest.mark.parametrize("lost", [None, 3])
def test_noise_that_a_mini_batch_leaves_out_is_noticed(name: str, lost: int | None) -> None:
    model = {"rows_per_table": 200, "batch_size": 16, "lookups_per_table": 2}
    run = {"memory_fidelity": "exact"}
    system, batches = replayed(name, 8, **PAPER, model=model, run=run)
    programs = [system.stages(facts) for facts in batches]
    if lost is not None:
        programs[lost] = tuple(
            replace(s, lanes=()) if s.name == "noise_update" else s for s in programs[lost]
        )
    spans = random_order(len(programs), len(system.schedule.names), "serial", 0)
    report = execute(programs, spans, rows=800, slots=0)
    assert report.tables_equal == (lost is None)
    assert bool(report.stale) == (lost is not None and name != "eana")  # no noise is read there


BOX = {"platform": "p3_16xlarge"}
"""Eight GPUs."""


@pytest.mark.parametrize("name", ALL)
def test_gpus_clip_their_samples_and_the_cpu_adds_the_noise_of_all(name: str) -> None:
    """Work of the CPU and bytes on links are those of one GPU, products of each GPU its share."""
    one, four = (words(*_first({"name": name, "gpus": gpus}, **BOX)) for gpus in (1, 4))
    steps = {
        at: [w for w in four if isinstance(w, Dense) and w.at == at] for at in ("gpu0", "gpu3")
    }
    alone = [w for w in one if isinstance(w, Dense)]
    for at, own in steps.items():
        assert [w.flops for w in own] == [w.flops // 4 for w in alone], at
        assert {w.samples for w in own} == {64}
    assert numbers(four, "cpu") == numbers(one, "cpu")
    assert moved(four) == moved(one)
    sent = [[w.bytes for w in own if isinstance(w, Move)] for own in (one, four)]
    assert sum(sent[0]) == sum(sent[1])
    made = [
        sum(b.bytes for w in own if isinstance(w, Sweep) and w.at != "cpu" for b in w.results)
        for own in (one, four)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("name", ALL)
def test_on_gpus_too_it_is_its_base_without_clipping_and_noise(name: str) -> None:
    plain = {"name": name, "sigma": 0, "clip": None, "gpus": 2}
    noisy = {"name": name, "gpus": 2, "label": "noisy"}
    results = simulated(plain, noisy, {"name": "hybrid", "gpus": 2}, **BOX)
    for column in ("iteration_time_us", "energy_mj", "link_utilization"):
        assert results[name].metrics[column] == results["hybrid"].metrics[column]
    assert (
        results["noisy"].metrics["iteration_time_us"] > results[name].metrics["iteration_time_us"]
    )


def test_more_gpus_leave_the_noise_of_tables_as_long_as_it_is() -> None:
    entries = [{"name": "dp_sgd_f", "gpus": n, "label": f"on {n}"} for n in (1, 2, 4)]
    spent = {k: stage_times(r) for k, r in simulated(*entries, **PAPER, **BOX).items()}
    times = [spent[f"on {n}"]["noise"] + spent[f"on {n}"]["noise_update"] for n in (1, 2, 4)]
    assert times[0] == pytest.approx(times[1], rel=1e-6) == pytest.approx(times[2], rel=1e-6)


def test_a_scratchpad_draws_on_the_gpu_for_its_rows_and_on_the_cpu_for_all() -> None:
    for name in ALL:
        system, facts = _first(on(name, "scratchpipe"), **HALF)
        program, unique = words(system, facts), facts[UNIQUE].rows
        slots = sum(system.replay.slots)
        on_gpu, on_cpu = numbers(program, "gpu"), numbers(program, "cpu")
        assert on_gpu == 128 * (slots if name in DENSE else unique), name
        assert on_cpu == 128 * (80_000 if name in DENSE else 0), name


def test_lazy_noise_in_a_scratchpad_costs_no_more_than_on_the_cpu() -> None:
    entries = [on(name, base) for name in ("lazydp", "dp_sgd_f") for base in BASES]
    changes = {"model": {"rows_per_table": 200_000, "batch_size": 512}, **PAPER, **HALF}
    results = simulated(*entries, *BASES, **changes)
    times = {name: result.metrics["iteration_time_us"] for name, result in results.items()}
    added = {base: times[f"lazydp_{base}"] - times[base] for base in BASES}
    assert added["scratchpipe"] < 0.2 * added["hybrid"]
    assert times["lazydp_scratchpipe"] < 0.1 * times["dp_sgd_f_scratchpipe"]


def test_rows_of_unlike_dim_get_noise_of_their_own() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    values = 20_000 * (128 + 64 + 128 + 64)
    for base in BASES:
        entry = on("dp_sgd_f", base)
        assert numbers(words(*_first(entry, model=model, **HALF)), "cpu") == values
        simulated(entry, on("lazydp", base), on("eana", base), model=model, **HALF)


@pytest.mark.parametrize(
    ("entry", "changes", "error", "message"),
    [
        ({"name": "lazydp", "sigma": -1}, {}, ConfigError, "is -1: must be at least 0"),
        ({"name": "eana", "clip": 0}, {}, ConfigError, "is 0: must be greater than 0"),
        (
            {"name": "eana", "clip": None},
            {},
            ConfigError,
            "is 1 without clip: noise is sigma x clip; set clip, or sigma: 0",
        ),
        (
            {"name": "lazydp", "cache": {"fraction": 0.1}},
            {},
            ConfigError,
            "cache.fraction: is not used by lazydp",
        ),
        (
            {"name": "lazydp", "base": "scratchpipe", "gpus": 2},
            {"platform": "p3_16xlarge"},
            ConfigError,
            "lazydp on base scratchpipe trains on one GPU, and gpus is 2: .* set base: hybrid",
        ),
        ({"name": "eana", "base": "straw_man"}, {}, ConfigError, "hybrid"),
        (
            "dp_sgd_f",
            {"model": {"optimizer": "adagrad"}},
            ConfigError,
            "model.optimizer is adagrad: set model.optimizer: sgd",
        ),
        (
            "dp_sgd_f",
            {"model": {"rows_per_table": 80_000_000}},
            CapacityError,
            "dp_sgd_f: numbers for all rows need 163.8 GB but cpu.dram",
        ),
        (
            "dp_sgd_b",
            {"model": {"batch_size": 1 << 20}},
            CapacityError,
            "gradients of 1,048,576 samples, one by one need",
        ),
    ],
)
def test_what_cannot_be_is_named_with_number_and_remedy(
    entry: Any, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        simulate_points(points(entry, **changes), threads=1)


def test_a_trace_without_a_next_mini_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    np.savez(path, **{f"t{k}": np.arange(64 * 20) % 100 for k in range(2)})
    model = {"tables": 2, "rows_per_table": 100, "lookups_per_table": 1, "batch_size": 64}
    trace = {"path": str(path)}
    for batches, fits in ((9, True), (10, False)):
        run = {"batches": batches, "warmup_batches": 10, "check": True}
        entry = {"name": "lazydp"}
        resolved = points(entry, "hybrid", model=model, trace=trace, run=run)
        if fits:
            simulate_points(resolved, threads=1)
            continue
        with pytest.raises(ConfigError, match=r"but the trace has 20: lower run\.batches"):
            simulate_points(resolved, threads=1)
