"""RecShard: all hot is GPU-only, none hot is zero-copy; what is hot goes by accesses."""

from __future__ import annotations

import pytest
from rivalry import executed, points, replayed, simulated, stage_times, words

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Gather, Pool, Scatter, Update

BOX = {"platform": "p3_16xlarge"}
UNEVEN = {"lookups_per_table": [40, 10, 2, 1], "rows_per_table": [20_000, 20_000, 20_000, 60_000]}


@pytest.mark.parametrize("gpus", [1, 3, 4])
def test_all_rows_hot_is_gpu_only(gpus: int) -> None:
    """To the picosecond and the microjoule."""
    systems = [{"name": name, "gpus": gpus} for name in ("recshard", "gpu_only")]
    results = simulated(*systems, cache={"fraction": 1.0}, **BOX)
    mine, other = results["recshard"], results["gpu_only"]
    assert stage_times(mine) == stage_times(other)
    assert mine.metrics["iteration_time_us"] == other.metrics["iteration_time_us"]
    assert mine.metrics["energy_mj"] == other.metrics["energy_mj"]
    assert mine.metrics["lookup_hit_rate"] == 1.0


@pytest.mark.parametrize("size", [{"fraction": 1e-9}, {"rows": 1}])
def test_no_rows_hot_is_all_zero_copy(size: dict[str, float]) -> None:
    rival = {"name": "recshard", "cache": size}
    results = simulated(rival, "fbgemm_uvm")
    mine, uvm = (stage_times(results[name]) for name in ("recshard", "fbgemm_uvm"))
    assert mine["gather_reduce"] == pytest.approx(uvm["forward"], rel=0.02)
    assert mine["sort_update"] == pytest.approx(uvm["backward"], rel=0.02)
    assert results["recshard"].metrics["lookup_hit_rate"] <= 0.05


def test_cold_rows_are_touched_by_the_gpu_where_they_lie() -> None:
    """One read a lookup, a read and a write a row; the CPU stages nothing."""
    system, (facts,) = replayed("recshard", 1)
    pool, update = (
        next(w for w in words(system, facts) if isinstance(w, kind)) for kind in (Pool, Update)
    )
    assert pool.elsewhere is not None
    assert update.elsewhere is not None
    assert pool.elsewhere.store.memory == update.elsewhere.store.memory == "cpu.dram"
    assert pool.rows.lookups + pool.elsewhere.rows.lookups == facts[LOOKUP].lookups
    assert (update.rows.rows, update.elsewhere.rows.rows) == (facts[HIT].rows, facts[MISS].rows)
    assert facts[HIT].rows + facts[MISS].rows == facts[UNIQUE].rows
    assert not [w for w in words(system, facts) if isinstance(w, Gather | Scatter)]


def test_hot_rows_go_to_the_tables_that_are_looked_up_most() -> None:
    """The budget is spent, and serves more lookups than an equal share of each table."""
    system, _ = replayed("recshard", 1, model=UNEVEN, cache={"fraction": 0.1})
    assert sum(system.replay.slots) == 12_000
    assert list(system.replay.slots) == sorted(system.replay.slots, reverse=True)
    results = simulated("recshard", "static_cache", model=UNEVEN, cache={"fraction": 0.1})
    mine, even = (results[n].metrics["lookup_hit_rate"] for n in ("recshard", "static_cache"))
    assert mine > even


def test_more_hot_rows_are_never_slower() -> None:
    times = [
        simulated({"name": "recshard", "cache": {"fraction": share}})["recshard"].metrics[
            "iteration_time_us"
        ]
        for share in (0.01, 0.1, 0.5, 1.0)
    ]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("gpus", [1, 4])
@pytest.mark.parametrize("slots", [1, 20])
def test_it_trains_like_one_batch_at_a_time(gpus: int, slots: int) -> None:
    outcome = executed("recshard", platform="p3_16xlarge", gpus=gpus, slots=slots, tables=5)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_tables_go_to_gpus_by_what_they_cost() -> None:
    """All rows cold, they cost their lookups: the table with most of them is alone."""
    rival = {"name": "recshard", "gpus": 2, "cache": {"fraction": 1e-9}}
    system, (facts,) = replayed(rival, 1, model=UNEVEN, **BOX)
    assert system.placed == ((0,), (1, 2, 3))
    pools = [w for w in words(system, facts) if isinstance(w, Pool)]
    assert [pool.at for pool in pools] == ["gpu0", "gpu1"]
    assert sum(p.rows.lookups + p.elsewhere.rows.lookups for p in pools if p.elsewhere) == (
        facts[LOOKUP].lookups
    )


def test_rows_of_unlike_dim_and_with_state() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat", "optimizer": "adagrad"}
    rival = {"name": "recshard", "cache": {"bytes": "1 MiB"}}
    results = simulated(rival, model=model)
    assert 0 < results["recshard"].metrics["lookup_hit_rate"] < 1
    system, _ = replayed(rival, 1, model=model)
    sizes = (1024, 512, 1024, 512)
    held = sum(k * size for k, size in zip(system.replay.slots, sizes, strict=True))
    assert 0.99 * 2**20 <= held <= 2**20


def test_what_does_not_fit_or_does_not_go_is_refused() -> None:
    model = {"rows_per_table": 30_000_000, "tables": 4}
    (point,) = points("recshard", model=model, cache={"fraction": 0.9})
    with pytest.raises(CapacityError, match=r"108,000,000 hot rows.*lower cache\.fraction"):
        simulate_points([point], threads=1)
    (point,) = points("recshard", model={"sharding": "row"})
    with pytest.raises(ConfigError, match=r"model\.sharding row would do nothing"):
        simulate_points([point], threads=1)
    (point,) = points({"name": "recshard", "gpus": 8}, **BOX)
    with pytest.raises(ConfigError, match=r"4 tables do not reach 8 GPUs; ask for at most 4"):
        simulate_points([point], threads=1)
    with pytest.raises(ConfigError, match="is not used by recshard"):
        points({"name": "recshard", "cache": {"policy": "lru"}})
