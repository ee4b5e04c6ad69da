"""From spans, facts and demands to columns: what is averaged over what."""

from __future__ import annotations

import numpy as np
import pytest
import simpy
from small import LARGE, points

from simulator.caches.facts import (
    COLD,
    HELD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
)
from simulator.engine.measure import (
    Meter,
    Moved,
    Timed,
    add_moved,
    count_metrics,
    stage_rows,
    time_metrics,
    timed_window,
)
from simulator.engine.pipeline import Span, run_pipeline
from simulator.engine.sharing import (
    build,
    kept_batches,
    plans_a_cache,
    sampled_batches,
    tail_of,
)
from simulator.engine.together import by_group
from simulator.hardware.demand import Demand, Resource, Service, StageDemand
from simulator.hardware.machine import Machine
from simulator.systems import Serial

US = 10**6
"""Picoseconds."""

# times


SPANS = [Span(b, s, 0, (b + 1) * 100 + s, None) for b in range(6) for s in range(2)]
"""Mini-batch b retires at 100 (b + 1) + 1."""


@pytest.mark.parametrize(
    ("first", "last", "ends"),
    [(0, 1, (0, 101, 201)), (2, 4, (201, 301, 401, 501)), (5, 5, (501, 601))],
)
def test_the_window_begins_when_the_mini_batch_before_retires(
    first: int, last: int, ends: tuple[int, ...]
) -> None:
    """Or when time begins, without a warm-up."""
    window = timed_window(SPANS, first, last)
    assert tuple(window.ends_ps) == ends
    assert (window.batches, window.elapsed_ps) == (last - first + 1, ends[-1] - ends[0])


def test_times_are_means_and_percentiles_of_what_lies_between_ends() -> None:
    """Gaps of 1, 2 and 6 us: mean 3, median 2; 16 samples each 3 us."""
    timed = Timed((0, 1 * US, 3 * US, 9 * US))
    metrics = time_metrics(timed, 16)
    assert metrics["iteration_time_us"] == 3.0
    assert metrics["iteration_time_p50_us"] == 2.0
    assert metrics["iteration_time_p99_us"] == pytest.approx(np.percentile([1, 2, 6], 99))
    assert metrics["throughput_samples_per_s"] == pytest.approx(16 / 3e-6)


# counts


def facts(scale: int, held: int | None = None) -> BatchFacts:
    flows = {
        LOOKUP: (Flow(100 * scale, 60 * scale),),
        UNIQUE: (Flow(100 * scale, 60 * scale),),
        HIT: (Flow(70 * scale, 45 * scale),),
        MISS: (Flow(30 * scale, 15 * scale),),
        VICTIM: (Flow(0, 12 * scale),),
        WRITE_BACK: (Flow(0, 9 * scale),),
        COLD: (Flow(0, 5 * scale),),
    }
    if held is not None:
        flows[HELD] = (Flow(0, held * scale),)
    return BatchFacts(0, 1, flows)


def test_counts_are_means_and_rates_are_of_all_lookups() -> None:
    """Of a small mini-batch and one three times as large."""
    metrics = count_metrics([facts(1), facts(3)])
    assert metrics == {
        "lookups_per_batch": 200.0,
        "unique_rows_per_batch": 120.0,
        "lookup_hit_rate": 0.7,
        "unique_hit_rate": 0.75,
        "misses_per_batch": 30.0,
        "victims_per_batch": 24.0,
        "dirty_victims_per_batch": 18.0,
        "cold_misses_per_batch": 10.0,
        "held_misses_per_batch": None,
        "capacity_misses_per_batch": 20.0,
    }


def test_misses_that_the_window_caused_are_none_of_the_capacity() -> None:
    metrics = count_metrics([facts(2, held=4)])
    assert metrics["held_misses_per_batch"] == 8.0
    assert metrics["capacity_misses_per_batch"] == 30 - 10 - 8


def test_what_a_replay_does_not_tell_is_left_out() -> None:
    full = facts(1)
    plain = BatchFacts(0, 1, {name: full.flows[name] for name in (LOOKUP, UNIQUE)})
    assert set(count_metrics([plain])) == {"lookups_per_batch", "unique_rows_per_batch"}
    static = BatchFacts(0, 1, {n: full.flows[n] for n in (LOOKUP, UNIQUE, HIT, MISS)})
    assert set(count_metrics([static])) == {
        *("lookups_per_batch", "unique_rows_per_batch", "misses_per_batch"),
        *("lookup_hit_rate", "unique_hit_rate"),
    }


def test_rates_of_nothing_are_unknown() -> None:
    metrics = count_metrics([facts(0)])
    assert (metrics["lookup_hit_rate"], metrics["unique_hit_rate"]) == (None, None)


# stages


def test_stages_have_their_busy_time_and_the_bytes_of_all_that_they_stand_for() -> None:
    """Two stages of 3 and 2 us, two timed mini-batches; HBM stands for eight."""
    resources = {
        "cpu.dram": Resource("cpu.dram", "cpu", "dram", 1),
        "gpu0.hbm": Resource("gpu0.hbm", "gpu0", "hbm", 1),
    }
    work = (
        StageDemand("a", ((Demand("x", {"cpu.dram": Service(3 * US, bytes=500)}),),)),
        StageDemand("b", ((Demand("y", {"gpu0.hbm": Service(2 * US, bytes=70)}),),)),
    )
    machine = Machine(simpy.Environment(), resources)
    meter = Meter(1, 2, machine=machine)
    spans = run_pipeline(machine, [work] * 4, "serial", watch=meter.watch)
    kinds = {name: resource.kind for name, resource in resources.items()}
    moved: Moved = []
    for begin, count in ((0, 2), (2, 2)):  # as they come, some at a time
        add_moved(moved, by_group([work] * count), begin, (1, 2), resources)
    first, second = stage_rows(
        Serial.of(("a", "read"), "b").stages,
        spans,
        moved,
        meter,
        kinds,
        lambda name: 8 if name == "gpu0.hbm" else 1,
    )
    assert first == {
        "stage": "a",
        "order": 0,
        "role": "read",
        "busy_us": 3.0,
        "exposed_us": 3.0,
        "hidden_us": 0.0,
        "dram_bytes": 500.0,
    }
    assert (second["stage"], second["order"], second["role"]) == ("b", 1, "train")
    assert (second["busy_us"], second["hbm_bytes"]) == (2.0, 560.0)
    used = meter.devices
    assert used["cpu.dram"].busy_ps == pytest.approx(2 * 3 * US), "of the timed ones"
    assert used["gpu0.hbm"].bytes == pytest.approx(2 * 70)


# which mini-batches


@pytest.mark.parametrize(("depth", "tail"), [(1, 6), (5, 6), (6, 6), (9, 9)])
def test_as_many_mini_batches_follow_as_share_the_machine(depth: int, tail: int) -> None:
    assert tail_of(depth) == tail


@pytest.mark.parametrize(
    ("run", "samples", "kept"),
    [
        ({"batches": 4, "warmup_batches": 6, "sample_batches": 2}, (6, 8), (5, 6, 7, 8)),
        ({"batches": 2, "warmup_batches": 0, "sample_batches": 9}, (0, 1), (0, 1)),
        ({"batches": 10, "warmup_batches": 1, "sample_batches": 3}, (1, 4, 7), (0, 1, 3, 4, 6, 7)),
    ],
)
def test_samples_are_spread_over_the_timed_mini_batches(
    run: dict[str, int], samples: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    """With the one before each, which warms the processors' caches."""
    (point,) = points("hybrid", run=run)
    assert sampled_batches(point) == samples
    assert kept_batches(point) == kept


def test_every_mini_batch_is_a_sample_where_all_are_replayed_in_memory() -> None:
    (point,) = points("hybrid", run={"memory_fidelity": "exact"})
    assert 10**9 in sampled_batches(point)
    assert 10**9 in kept_batches(point)


@pytest.mark.parametrize(
    ("name", "plans"), [("hybrid", False), ("static_cache", False), ("scratchpipe", True)]
)
def test_points_that_plan_replacements_are_known_before_they_run(name: str, plans: bool) -> None:
    (point,) = points(name)
    assert plans_a_cache(point) is plans


def test_a_point_that_cannot_run_plans_nothing() -> None:
    (point,) = points("scratchpipe", model=LARGE)
    assert not plans_a_cache(point)


def test_a_point_is_built_for_the_rows_of_its_model() -> None:
    (point,) = points("hybrid", model={"dim": 32})
    system, machine = build(point)
    assert system.gpus == 1
    assert machine.memory("cpu").timing.row_bytes == 128  # type: ignore[attr-defined]
