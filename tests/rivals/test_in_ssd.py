"""RecSSD and RM-SSD: queries whose embeddings are added up inside a drive."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS
from simulator.engine import simulate_points
from simulator.engine.explanation import explain_system
from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.computational_ssd import ComputationalSsd
from simulator.hardware.devices.flash import FlashTiming
from simulator.hardware.program import Pool
from simulator.results.record import PointResult

PARTS = {"recssd": "recssd_cosmos", "rm_ssd": "rm_ssd_fpga"}
INFERENCE = {"mode": "inference", "batches": 6, "warmup_batches": 6}
ROW, LOOKUPS = 512, 256 * 4 * 20
US = 1e6
both = pytest.mark.parametrize("name", PARTS)


def entry(name: str, flash: dict[str, Any] | None = None, **own: Any) -> dict[str, Any]:
    keys = own.pop("keys", {})
    array = {"flash": flash} if flash else {}
    drive = {"part": PARTS[name], **array, **keys}
    machine = {"base": f"{name}_v100", "name": "drive", "host": {"ssd": drive}}
    return {"name": name, "platform": machine, **own}


def ran(name: str, flash: dict[str, Any] | None = None, **own: Any) -> PointResult:
    changes = {key: own.pop(key) for key in ("model", "trace", "run") if key in own}
    run = {**INFERENCE, **changes.pop("run", {})}
    return simulated(entry(name, flash, **own), run=run, **changes)[name]


def used(result: PointResult, resource: str) -> dict[str, Any]:
    return next(dict(row) for row in result.devices if row["resource"] == resource)


def lookup_us(result: PointResult) -> float:
    return stage_times(result)["lookup"]


@both
def test_pooled_vectors_and_ids_are_all_that_crosses_the_link(name: str) -> None:
    result = ran(name)
    assert used(result, "ssd_link.up")["bytes"] == pytest.approx(256 * 4 * ROW)
    assert used(result, "ssd_link.down")["bytes"] == pytest.approx(8 * LOOKUPS)


# RM-SSD


def test_a_vector_takes_less_than_a_page_as_its_formula_says() -> None:
    """T (0.7 + 0.3 E / page), T = 20 us: 14.0 to 14.2 us for 64 to 512 B of 16 KiB."""
    timing = FlashTiming(load_part("rm_ssd_fpga", None, ComputationalSsd).flash)
    for size in (64, 128, 512, 4096, 16_384):
        formula_us = 20 * (0.7 + 0.3 * size / 16_384)
        assert timing.latency_ps(size) == pytest.approx(formula_us * US, rel=1e-3)


def test_rm_ssd_reads_a_vector_for_every_lookup_as_fast_as_its_dies_sense() -> None:
    """32 dies, 14 us; 5 us of start and the first vector."""
    result = ran("rm_ssd")
    dies_us = LOOKUPS * 14 / 32
    start_us = 5 + 20 * (0.7 + 0.3 * ROW / 16_384)
    assert lookup_us(result) == pytest.approx(dies_us + start_us, rel=1e-3)
    assert used(result, "ssd.flash")["bytes"] == LOOKUPS * ROW


def test_with_pages_in_place_of_vectors_channels_bind_it() -> None:
    result = ran("rm_ssd", {"transfer": "16 KiB"})
    channels_us = LOOKUPS * 16_384 / (4 * 2.731e9) * US
    assert lookup_us(result) == pytest.approx(channels_us + 5 + 20, rel=2e-3)
    assert used(result, "ssd.flash")["bytes"] == LOOKUPS * 16_384


# RecSSD


def test_recssd_reads_a_page_for_every_row_that_its_cache_misses() -> None:
    system, facts = replayed(entry("recssd"), 12, run=INFERENCE)
    assert all(f[HIT].lookups + f[MISS].lookups == f[LOOKUP].lookups == LOOKUPS for f in facts)
    timed = facts[6:]
    missed = sum(f[MISS].rows for f in timed) / len(timed)
    assert 0 < missed < LOOKUPS
    result = ran("recssd")
    assert used(result, "ssd.flash")["bytes"] == pytest.approx(missed * 16_384, rel=1e-6)
    channels_us = missed * 16_384 / (8 * 200e6) * US
    assert used(result, "ssd.flash")["busy_us"] == pytest.approx(channels_us, rel=1e-6)
    assert used(result, "ssd.controller")["busy_us"] == pytest.approx(LOOKUPS * 1.0, rel=1e-6)
    (pool,) = [word for word in words(system, timed[0]) if isinstance(word, Pool)]
    assert pool.elsewhere is not None
    assert pool.rows.lookups + pool.elsewhere.rows.lookups == LOOKUPS
    assert result.metrics["lookup_hit_rate"] == pytest.approx(1 - missed / LOOKUPS, rel=1e-6)


def test_a_place_a_row_leaves_cold_misses_and_one_place_nearly_all() -> None:
    times = [lookup_us(ran("recssd", cached_rows=n)) for n in (80_000, 4_000, 1)]
    assert times[0] < times[1] < times[2]
    _, facts = replayed(entry("recssd", cached_rows=80_000), 12, run=INFERENCE)
    seen = sum(f[MISS].rows for f in facts)
    assert seen < 80_000


def test_a_slow_core_binds_it() -> None:
    result = ran("recssd", keys={"row_time": "100 us"})
    assert lookup_us(result) == pytest.approx(LOOKUPS * 100, rel=0.01)


@both
@pytest.mark.parametrize(
    "flash", [{"read_time": "900 us"}, {"dies": 1}, {"channels": 1}, {"interface": "10 MB/s"}]
)
def test_no_number_of_the_array_makes_it_faster_by_being_worse(
    name: str, flash: dict[str, Any]
) -> None:
    assert lookup_us(ran(name, flash)) >= lookup_us(ran(name))


# what is refused


@both
def test_training_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigError, match=f"is training, which {name} has none of"):
        simulate_points(points(entry(name)), threads=1)
    with pytest.raises(UsageError, match=f"{name} trains nothing that could be checked"):
        run_case(HazardCase(system=name))
    assert "answers queries alone" in "\n".join(explain_system(name).lines())


@both
def test_a_machine_without_such_a_drive_is_named_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"platform: {name}_v100.*{PARTS[name]}"):
        simulate_points(points({"name": name, "platform": "ssd_v100"}, run=INFERENCE), threads=1)


def test_a_cache_above_the_drives_memory_is_told_with_its_number() -> None:
    with pytest.raises(CapacityError, match=r"4,000,000 cached rows of 512 B.*lower cached_rows"):
        simulate_points(points(entry("recssd", cached_rows=4_000_000), run=INFERENCE), threads=1)


@both
def test_rows_of_unlike_dim_are_looked_up(name: str) -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    system, facts = replayed(entry(name), 2, model=model, run=INFERENCE)
    assert len([word for word in words(system, facts[0]) if isinstance(word, Pool)]) == 2
    assert lookup_us(ran(name, model=model)) > 0
