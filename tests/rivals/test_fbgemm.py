"""FBGEMM's and TorchRec's systems: limits, bytes over the link, hazards executed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rivalry import executed, points, replayed, simulated, stage_times, without_wait, words

from simulator.caches.facts import BYPASS, LOOKUP, MISS, UNIQUE, VICTIM
from simulator.caches.replays.associative import CACHED_LOOKUP, FETCHED
from simulator.engine.points import simulate_points
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Pool, Update, ZeroCopy
from simulator.results.notes import marks_of, notes_of

CACHED = ("fbgemm_cached", "torchrec_prefetch", "torchrec_semi_sync")
SMALL = {"model": {"rows_per_table": 200, "batch_size": 64}}
"""Tables whose rows all find a slot in a cache of twice as many."""
ALL_IN = {"cache": {"fraction": 1.0}, **SMALL}


def test_without_a_cache_every_lookup_and_every_update_crosses_the_link() -> None:
    system, (facts,) = replayed("fbgemm_uvm", 1)
    pool, update = (
        next(w for w in words(system, facts) if isinstance(w, kind)) for kind in (Pool, Update)
    )
    assert (pool.reads.memory, pool.rows.lookups) == ("cpu.dram", facts[LOOKUP].lookups)
    assert (update.writes.memory, update.rows.rows) == ("cpu.dram", facts[UNIQUE].rows)


def test_with_every_row_in_hbm_it_trains_as_gpu_only_does() -> None:
    """Cached ratio 1, all hits: forward and backward of `gpu_only`; a probe comes on top."""
    ways = {"ways": 800}
    rival = {"name": "fbgemm_cached", **ways}
    results = simulated(rival, "gpu_only", operators="tuned", **ALL_IN)
    mine, other = (stage_times(results[name]) for name in ("fbgemm_cached", "gpu_only"))
    metrics = results["fbgemm_cached"].metrics
    assert metrics["misses_per_batch"] == metrics["bypass_rows_per_batch"] == 0
    assert mine["ids"] == pytest.approx(other["ids"])
    assert mine["forward"] == pytest.approx(other["gather_reduce"], rel=0.01)
    assert mine["mlp"] == pytest.approx(other["mlp"], rel=0.01)
    assert mine["backward"] == pytest.approx(other["sort_update"], rel=0.01)
    assert mine["find"] > 0


def test_a_cache_of_one_slot_is_next_to_none() -> None:
    one = {"name": "fbgemm_cached", "ways": 1, "cache": {"rows": 1}}
    results = simulated(one, "fbgemm_uvm")
    cached, uvm = (stage_times(results[name]) for name in ("fbgemm_cached", "fbgemm_uvm"))
    for stage in ("forward", "backward"):
        assert cached[stage] == pytest.approx(uvm[stage], rel=0.02)
    metrics = results["fbgemm_cached"].metrics
    assert metrics["bypass_rows_per_batch"] >= metrics["unique_rows_per_batch"] - 1


@pytest.mark.parametrize("name", CACHED)
def test_victims_go_out_and_missed_rows_come_in_by_zero_copy(name: str) -> None:
    system, facts = replayed({"name": name}, 12, cache={"fraction": 0.05, "prefill": "empty"})
    batch = facts[-1]
    out, into = (w for w in words(system, batch) if isinstance(w, ZeroCopy))
    assert out.rows.rows == batch[VICTIM].rows > 0
    assert into.rows.rows == batch[FETCHED].rows == batch[MISS].rows - batch[BYPASS].rows
    assert (into.reads.memory, into.writes.memory) == ("cpu.dram", "gpu.hbm")
    pool = next(w for w in words(system, batch) if isinstance(w, Pool))
    assert pool.elsewhere is not None
    assert pool.rows.lookups == batch[CACHED_LOOKUP].lookups
    assert pool.rows.lookups + pool.elsewhere.rows.lookups == batch[LOOKUP].lookups
    shares = {"fbgemm_cached": 1.0}
    assert out.share + into.share == shares.get(name, 1 / 8)


def test_prefetch_hides_behind_forward_and_dense_backward() -> None:
    """T = max(forward, find + swap) + backward, once the pipeline is full."""
    tuned = {
        "run": {"batches": 20},
        "operators": "tuned",
        "trace": {"kind": "uniform"},
        "cache": {"fraction": 0.7},
    }
    (result,) = simulated("torchrec_prefetch", **tuned).values()
    times = stage_times(result)
    prefetch = times["find"] + times["swap"]
    expected = max(times["forward"], prefetch) + times["backward"]
    assert result.metrics["iteration_time_us"] == pytest.approx(expected, rel=0.05)
    serial = simulated("fbgemm_cached", **tuned)["fbgemm_cached"]
    assert result.metrics["iteration_time_us"] < serial.metrics["iteration_time_us"]


def test_locks_of_two_mini_batches_overflow_a_small_cache() -> None:
    """Rows of two mini-batches fill the sets: more go over the link than the cache saves."""
    changes = {"operators": "tuned", "trace": {"kind": "uniform"}}
    results = simulated("torchrec_prefetch", "fbgemm_cached", **changes)
    ahead, serial = (results[n].metrics for n in ("torchrec_prefetch", "fbgemm_cached"))
    assert ahead["bypass_rows_per_batch"] > 3 * serial["bypass_rows_per_batch"]
    assert ahead["iteration_time_us"] > serial["iteration_time_us"]


def test_sets_that_overflow_are_named_with_the_number_and_the_remedy() -> None:
    """Rows of a mini-batch (with locks: of two) over slots; what overflows works, over the link."""
    changes = {"trace": {"kind": "uniform"}, "cache": {"fraction": 0.0512}}
    results = simulated("torchrec_prefetch", "fbgemm_cached", **changes)
    metrics = {name: result.metrics for name, result in results.items()}
    for name, batches in (("torchrec_prefetch", 2), ("fbgemm_cached", 1)):
        row = metrics[name]
        unique, bypass = row["unique_rows_per_batch"], row["bypass_rows_per_batch"]
        assert row["rows_per_slot"] == pytest.approx(batches * unique / 4096)
        assert row["rows_per_slot"] > 1
        assert "^" in marks_of(row)
        assert bypass >= unique - 4096
        share = f"{100 * bypass / unique:.3g} %"
        (note,) = (line for line in notes_of([row]).splitlines() if line.startswith("^"))
        assert f"{row['rows_per_slot']:.3g} rows a slot" in note
        assert share in note
        assert name in note
        assert "raise the size of the cache (cache.fraction" in note
    (roomy,) = simulated("fbgemm_cached", cache={"fraction": 0.6}).values()
    assert 0 < roomy.metrics["rows_per_slot"] < 1
    assert "^" not in notes_of([roomy.metrics])


@pytest.mark.parametrize("name", ["fbgemm_uvm", "fbgemm_cached", "torchrec_prefetch"])
@pytest.mark.parametrize("seed", range(2))
def test_they_train_like_one_batch_at_a_time(name: str, seed: int) -> None:
    sizes = {} if name == "fbgemm_uvm" else {"slots": 12}
    ways = () if name == "fbgemm_uvm" else ("ways=2",)
    outcome = executed(name, *ways, seed=seed, tables=2, **sizes)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_lfu_trains_like_one_batch_at_a_time() -> None:
    outcome = executed("fbgemm_cached", "ways=2", "algorithm=lfu", slots=12)
    assert outcome.tables_equal
    assert outcome.policy == "lfu"


def test_semi_sync_is_one_mini_batch_behind_and_loses_nothing() -> None:
    """Of 60 rows each mini-batch takes 6: a row is in two running ones with probability 0.1."""
    outcome = executed("torchrec_semi_sync", "ways=2", slots=12, batches=400)
    assert not outcome.tables_equal
    assert outcome.behind == 1
    assert outcome.lost == 0
    for report in outcome.reports.values():
        assert len(report.stale) == pytest.approx(400 * 6 * 0.1, rel=0.15)


@pytest.mark.parametrize(("stage", "other"), [("backward", "swap"), ("find", "backward")])
def test_each_wait_of_the_prefetch_is_needed(
    stage: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it rows are read or trained where they are no more."""
    without_wait(monkeypatch, "torchrec_prefetch", stage, other)
    outcome = executed.__wrapped__("torchrec_prefetch", "ways=2", slots=12, batches=200)
    assert not outcome.tables_equal


@pytest.mark.parametrize("name", CACHED)
def test_a_cache_that_does_not_fit_is_refused_with_the_arithmetic(name: str) -> None:
    model = {"rows_per_table": 30_000_000, "tables": 3}
    (point,) = points(name, model=model, cache={"fraction": 0.9, "prefill": "empty"})
    with pytest.raises(CapacityError, match=r"cache slots of 512 B with their tags.*lower cache"):
        simulate_points([point], threads=1)


def test_a_key_that_it_has_no_use_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not used by fbgemm_cached"):
        points({"name": "fbgemm_cached", "cache": {"policy": "lru"}})
    with pytest.raises(ConfigError, match=r"systems\[0\]\.ways: is 0: must be at least 1"):
        points({"name": "fbgemm_cached", "ways": 0})


@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise_adagrad"])
def test_state_lies_where_fbgemm_keeps_it(optimizer: str) -> None:
    system, (facts,) = replayed("fbgemm_cached", 1, model={"optimizer": optimizer})
    (update,) = (w for w in words(system, facts) if isinstance(w, Update))
    assert update.writes.state_memory == {"adagrad": "cpu.dram"}.get(optimizer, "gpu.hbm")
    assert update.writes.entry_bytes == update.writes.row_bytes


def test_rows_of_unlike_dim_share_one_pool() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat"}
    results = simulated("fbgemm_cached", "torchrec_prefetch", model=model)
    misses = {r.metrics["misses_per_batch"] for r in results.values()}
    assert np.isfinite(list(misses)).all()
    system, (facts,) = replayed("fbgemm_cached", 1, model=model)
    pools = [w for w in words(system, facts) if isinstance(w, Pool)]
    assert [pool.reads.row_bytes for pool in pools] == [512, 256]
    assert sum(p.rows.lookups + p.elsewhere.rows.lookups for p in pools) == facts[LOOKUP].lookups  # type: ignore[union-attr]
    assert replace(facts).pooled
