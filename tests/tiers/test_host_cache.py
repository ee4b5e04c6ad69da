"""Rows of a tier below that host memory keeps: exact moves, limits, bytes, hazards, refusals."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiered import MODEL, SYSTEMS, device, points, simulated, stage_us

from simulator.caches.facts import LOOKUP, MISS, UNIQUE, WRITE_BACK, BatchFacts, Flow
from simulator.caches.host_cache import FILLED, SPILLED, HostCache
from simulator.caches.reference.host_cache import reference_host_cache
from simulator.config.tables import TablesConfig
from simulator.engine.hazards import HazardCase, HazardOutcome, run_case
from simulator.engine.sharing import build
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.sweep.runner import run_sweep
from simulator.systems.schedule import Pipeline

PAGE = 4096
EMPTY = {"fraction": 0.3, "prefill": "empty"}


def below(share: Any, memory: str = "ssd") -> dict[str, Any]:
    return {"tables": {"tier": memory, "cache": share}}


class Rows:
    """A trace of two tables as far as a cache without prefill asks."""

    rows = (12, 20)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_moves_are_those_of_the_plain_reference(data: st.DataObject) -> None:
    """Disjoint reads and writes in each of two pools."""
    held = data.draw(st.integers(0, 2))
    slots = (data.draw(st.integers(6, 12)), data.draw(st.integers(6, 20)))
    batches = []
    for _ in range(data.draw(st.integers(1, 14))):
        pools = []
        for rows in Rows.rows:
            touched = data.draw(st.lists(st.integers(0, rows - 1), max_size=2, unique=True))
            cut = data.draw(st.integers(0, len(touched)))
            pools.append((touched[:cut], touched[cut:]))
        batches.append(pools)
    counter = HostCache(slots, MISS, WRITE_BACK, held=held, keep=range(99)).counter(
        Rows(),  # type: ignore[arg-type]
        (),
        lambda: np.empty(0, np.int64),
    )
    told = []
    for index, pools in enumerate(batches):
        flows = {
            name: tuple(
                Flow(0, len(pool[k]), np.array(pool[k], np.int64) + start)
                for pool, start in zip(pools, (0, 12), strict=True)
            )
            for k, name in enumerate((MISS, WRITE_BACK))
        }
        flows |= dict.fromkeys((LOOKUP, UNIQUE), flows[MISS])
        told.append(counter.counted(BatchFacts(index, 1, flows)))
    for pool, (count, start) in enumerate(zip(slots, (0, 12), strict=True)):
        expected = reference_host_cache([pools[pool] for pools in batches], count, held)
        for facts, (up, down) in zip(told, expected, strict=True):
            flows = [facts.flows[name][pool].ids for name in (FILLED, SPILLED)]
            assert [set((ids - start).tolist()) for ids in flows if ids is not None] == [up, down]


def test_a_cache_of_all_rows_is_dram() -> None:
    """Nothing moves: the stage that fetches takes no time."""
    plain, kept = simulated(*SYSTEMS), simulated(*SYSTEMS, **below("100 %"))
    for name, result in plain.items():
        metrics = kept[name].metrics
        assert metrics["filled_rows_per_batch"] == metrics["spilled_rows_per_batch"] == 0
        time = result.metrics["iteration_time_us"]
        # of scratchpipe one mini-batch more is in flight: others stand beside each other
        rel = 0.02 if name == "scratchpipe" else 1e-9
        assert metrics["iteration_time_us"] == pytest.approx(time, rel=rel)


@pytest.mark.parametrize("name", SYSTEMS)
def test_bytes_of_the_drive_are_pages_that_came_up_and_went_down(name: str) -> None:
    """A short row is read with its page before it is written: 4 KiB up, 8 KiB down."""
    result = simulated(name, **below("20 %"))[name]
    up, down = (result.metrics[f"{k}_rows_per_batch"] for k in ("filled", "spilled"))
    assert up > 0
    assert down > 0
    flash = device(result, "ssd.flash")
    rel = 5e-3 if name == "scratchpipe" else 1e-6  # parts of what runs beside the timed ones
    assert flash["bytes"] == pytest.approx((up + 2 * down) * PAGE, rel=rel)
    links = [device(result, f"ssd_link.{way}")["bytes"] for way in ("up", "down")]
    assert sum(links) == pytest.approx(flash["bytes"])
    written = flash["written_gb_per_day"] * 1e9 / 86_400 * result.metrics["iteration_time_us"] / 1e6
    assert written == pytest.approx(down * PAGE, rel=rel)
    assert flash["fill_h"] > 0


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_larger_cache_moves_no_more(name: str) -> None:
    """LRU: what a smaller one keeps a larger one does; and what it keeps the drive does not see."""
    filled = []
    for share in (0.1, 0.3, 0.6, 1.0):
        metrics = simulated(name, **below(share))[name].metrics
        filled.append(metrics["filled_rows_per_batch"])
    assert filled == sorted(filled, reverse=True)
    assert filled[0] > filled[1]
    assert filled[-1] == 0


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
def test_misses_of_one_tier_are_lookups_of_the_next(name: str) -> None:
    """From empty caches all misses come up but those of rows that went down from HBM and are still
    in DRAM; of a DRAM cache of all rows each came up once."""
    point = {"cache": EMPTY, "run": {"batches": 6, "warmup_batches": 6, "check": True}}
    result = simulated(name, **below("100 %"), **point)[name]
    assert result.metrics["filled_rows_per_batch"] == result.metrics["cold_misses_per_batch"] > 0
    small = simulated(name, **below("20 %"), **point)[name]
    assert small.metrics["misses_per_batch"] == result.metrics["misses_per_batch"]
    cold, up = (small.metrics[f"{k}_per_batch"] for k in ("cold_misses", "filled_rows"))
    assert cold <= up <= small.metrics["misses_per_batch"]


def test_it_beats_the_bare_tier_where_rows_come_again() -> None:
    bare = simulated("hybrid", tables={"tier": "ssd"})["hybrid"]
    kept = simulated("hybrid", **below("30 %"))["hybrid"]
    times = [r.metrics["iteration_time_us"] for r in (kept, bare)]
    assert times[0] < 0.7 * times[1]
    wear = [device(r, "ssd.flash")["written_gb_per_day"] * t for r, t in zip((kept, bare), times)]  # noqa: B905
    assert wear[0] < 0.7 * wear[1]


def test_it_starts_as_it_runs() -> None:
    """What is missed at first is what is missed later (the closed form of LRU)."""
    runs = [{"batches": 4, "warmup_batches": n, "check": True} for n in (0, 40)]
    early, late = (
        simulated("hybrid", **below("20 %"), run=run)["hybrid"].metrics["filled_rows_per_batch"]
        for run in runs
    )
    assert early == pytest.approx(late, rel=0.05)


@pytest.mark.parametrize("memory", ["cxl", "pmem"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_it_stands_before_any_memory(name: str, memory: str) -> None:
    result = simulated(name, **below("20 %", memory))[name]
    place = {"cxl": "cxl.dram", "pmem": "pmem.media"}[memory]
    assert device(result, place)["bytes"] > 0


def test_two_gpus_fetch_for_the_tables_of_each() -> None:
    host = {
        "gpu": {"part": "v100_sxm2_32gb", "count": 2},
        "nvlink": {"part": "nvlink2_v100", "join": ["gpu"], "by": "switch"},
    }
    one = simulated("straw_man", **below("20 %"))["straw_man"].metrics
    two = simulated({"name": "straw_man", "gpus": 2}, host=host, **below("20 %"))["straw_man"]
    for key in ("filled_rows_per_batch", "spilled_rows_per_batch"):
        assert two.metrics[key] == one[key]


def test_rows_of_unlike_dim_come_up_by_their_size() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    for name, result in simulated(*SYSTEMS, **below("20 %", "cxl"), model=model).items():
        assert result.metrics["filled_rows_per_batch"] > 0, name


def test_one_pool_above_is_one_pool_below() -> None:
    changes = {"cache": {"scope": "global"}, **below("20 %")}
    result = simulated("straw_man", **changes)["straw_man"]
    assert 0 < result.metrics["filled_rows_per_batch"] < result.metrics["misses_per_batch"]


@cache
def executed(name: str, **case: Any) -> HazardOutcome:
    """Executed on values, on the server with a drive."""
    kept = {"platform": "ssd_v100", "tier": "ssd", "host_slots": 30, "batches": 150, **case}
    return run_case(HazardCase(system=name, **kept))


@pytest.mark.parametrize("name", [*SYSTEMS, "tensor_casting", "cached_embedding"])
@pytest.mark.parametrize("seed", range(2))
def test_training_over_it_is_that_of_one_batch_at_a_time(name: str, seed: int) -> None:
    outcome = executed(name, seed=seed, tables=2)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


@pytest.mark.parametrize("mode", ["async", "lockstep"])
def test_rows_that_are_still_written_are_held(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch is three stages before Insert: with a mini-batch less, rows go down before their last
    values came."""
    assert executed("scratchpipe", mode=mode).tables_equal
    distance = Pipeline.distance
    monkeypatch.setattr(Pipeline, "distance", lambda *a: max(0, distance(*a) - 2))
    outcome = executed.__wrapped__("scratchpipe", mode=mode, host_slots=24)
    assert not outcome.tables_equal


def test_the_hold_window_is_that_of_the_pipeline() -> None:
    """Fetch to Insert: three cycles. Of HBM it stays (3, 2)."""
    for name, held in (("scratchpipe", 3), ("straw_man", 0)):
        (point,) = points(name, **below("20 %"))
        replay = build(point)[0].replay
        assert isinstance(replay.tiers, HostCache)
        assert replay.tiers.held == held


def test_more_fetches_at_once_hide_latency_and_hold_rows_longer() -> None:
    """A drive of 8 ms that serves many requests at once, and rows for 2.2 ms of it: a fetch of n
    cycles waits for both once, n of them at a time, and holds rows a cycle longer for each; then
    the drive is full."""
    slow = {"part": "micron_9400", "read_latency": "8 ms", "queue_depth": 16_384}
    times = {}
    for ahead in (1, 2, 4, 8):
        tables = {"tier": "ssd", "cache": "60 %", "fetch_ahead": ahead}
        model = {"batch_size": 64}
        change = {"host": {"ssd": slow}, "tables": tables, "model": model}
        (point,) = points("scratchpipe", **change)
        tiers = build(point)[0].replay.tiers
        assert isinstance(tiers, HostCache)
        assert tiers.held == 2 + ahead
        result = simulated("scratchpipe", **change)["scratchpipe"]
        times[ahead] = result.metrics["iteration_time_us"]
        busy = device(result, "ssd.flash")["busy_us"]
        assert times[ahead] == pytest.approx(max(busy, (8000 + busy) / ahead), rel=0.03)
    assert times[1] > times[2] > times[4] > times[8]


def held_and_depth(latency: str, **tables: Any) -> tuple[int, int]:
    """Mini-batches that DRAM holds rows for, and mini-batches in flight."""
    slow = {"part": "micron_9400", "read_latency": latency}
    change = {"host": {"ssd": slow}, "tables": {"tier": "ssd", "cache": "60 %", **tables}}
    (point,) = points("scratchpipe", **change)
    system = build(point)[0]
    assert isinstance(system.replay.tiers, HostCache)
    return system.replay.tiers.held, system.schedule.depth


def test_look_ahead_and_hold_window_grow_with_the_latency_in_cycles() -> None:
    """A cycle is no shorter than the step of the MLPs, 1.3 ms: 0.1, 2 and 13 ms are one, two and
    ten of them. Unless somebody says how many."""
    step = stage_us(simulated("straw_man")["straw_man"], "train")
    cycles = []
    for latency_us in (92, 2000, 13_000):
        held, depth = held_and_depth(f"{latency_us} us")
        ahead = held - 2
        assert depth == 6 + ahead
        assert latency_us / step <= ahead <= 2 * latency_us / step + 1
        cycles.append(ahead)
    assert cycles[0] == 1 < cycles[1] < cycles[2]
    assert held_and_depth("13 ms", fetch_ahead=2) == (4, 8)
    assert held_and_depth("999 ms")[0] == 66


@pytest.mark.parametrize("ahead", [2, 5])
def test_more_fetches_at_once_train_like_one_batch_at_a_time(ahead: int) -> None:
    for mode in ("async", "lockstep"):
        outcome = executed("scratchpipe", mode=mode, host_slots=56, fetch_ahead=ahead)
        assert outcome.tables_equal


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"cache": "10 %"}, ("tables.cache: is 10 %", "tier names none", "such as ssd")),
        ({"cache": 0.1, "tier": "dram"}, ("tier names dram",)),
        ({"cache": 0.1, "tier": {"dram": 0.5, "ssd": 0.5}}, ("tier names dram, ssd",)),
        ({"cache": 1.1, "tier": "ssd"}, ("tables.cache: is 1.1: must be at most 1",)),
        ({"fetch_ahead": 2}, ("tables.fetch_ahead: is 2", "set tables.cache")),
        ({"fetch_ahead": 0, "cache": 0.1, "tier": "ssd"}, ("must be at least 1",)),
        ({"cache": "much", "tier": "ssd"}, ("'much' is no share",)),
    ],
)
def test_what_is_no_cache(tables: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        points("hybrid", tables=tables)
    for word in words:
        assert word in str(caught.value)


def refused(*entries: Any, **changes: Any) -> str:
    (point,) = points(*entries, **changes)
    with pytest.raises(CapacityError) as caught:
        build(point)
    return str(caught.value)


def test_a_cache_beyond_dram_has_the_arithmetic() -> None:
    """4 x 150,000,000 x 512 B = 307.2 GB, 90 % of them 276.48 GB."""
    model = {**MODEL, "rows_per_table": 150_000_000}
    text = refused("hybrid", model=model, **below("90 %"))
    for word in ("tables.cache: 90 %", "540,000,000 rows", "276.5 GB", "cpu.dram", "lower"):
        assert word in text
    small = {"ssd": {"part": "micron_9400", "capacity": "100 GB"}}
    assert "ssd.flash of tiers holds 100 GB" in refused(
        "hybrid", model=model, host=small, **below("10 %")
    )


def test_rows_of_running_mini_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CapacityError, match=r"tables\.cache: batches .*raise tables\.cache"):
        simulated("scratchpipe", **below(0.001))
    with pytest.raises(UsageError, match="needs a --tier"):
        run_case(HazardCase(system="hybrid", host_slots=4))
    with pytest.raises(UsageError, match="gpu_only has no use for --tier"):
        run_case(HazardCase(system="gpu_only", tier="ssd"))


def test_shares_in_per_cent_are_shares_of_one() -> None:
    assert TablesConfig(tier="ssd", cache="25 %").cache == 0.25  # type: ignore[arg-type]


def test_entries_that_differ_in_what_host_memory_keeps_are_points_of_their_own() -> None:
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"cache": 0.2},
        {"cache": 0.6},
        {"cache": 0.6, "fetch_ahead": 2},
    )
    entries = [
        {"name": "scratchpipe", "label": f"way {number}", "tables": {"tier": "ssd", **way}}
        for number, way in enumerate(ways)
    ]
    asked = points(*entries)
    assert len({point.key() for point in asked}) == len(ways)
    together = [result.metrics for result in run_sweep(asked).result]
    for entry, metrics in zip(entries, together, strict=True):
        (alone,) = simulated(entry).values()
        assert metrics["filled_rows_per_batch"] == alone.metrics["filled_rows_per_batch"]
        assert metrics["iteration_time_us"] == alone.metrics["iteration_time_us"]
    assert together[1]["filled_rows_per_batch"] > together[2]["filled_rows_per_batch"]
