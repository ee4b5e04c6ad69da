"""The load stage: closed forms, limits, and that it is paid for where the others are."""

from __future__ import annotations

import math
from typing import Any

import pytest
from small import ALL, base, devices, points, simulated, stages, time_us

from simulator.engine import simulate_points
from simulator.engine.pipeline import AHEAD, Beside, conditions

DENSE, LOOKUPS, SAMPLES = 13, 4 * 20, 512
"""Of the small model."""
OTHERS = ("torchrec_prefetch", "torchrec_semi_sync", "fbgemm_cached")
"""Systems on schedules of other kinds."""


def loading(**keys: Any) -> dict[str, Any]:
    return {"load": {"cores": 4, "source_bandwidth": "10 GB/s"} | keys}


def busy(profile: dict[str, Any]) -> dict[str, Any]:
    """A load stage of two cores that takes longer than any training here: 1 us an id."""
    return loading(cores=2, profile={"base": "plain", "hash_time": "2 us", **profile})


@pytest.mark.parametrize("system", [*ALL, *OTHERS], ids=str)
def test_with_cores_without_end_nothing_changes(system: Any) -> None:
    endless = loading(cores=1_000_000, source_bandwidth="1000 PB/s")
    (loaded,) = simulated(system, **endless).values()
    (alone,) = simulated(system).values()
    kept = ("label", "lookups_per_batch", "unique_rows_per_batch", "misses_per_batch")
    assert all(loaded.metrics[key] == alone.metrics[key] for key in kept)
    assert time_us(loaded) == pytest.approx(time_us(alone), rel=1e-9)
    assert loaded.load is not None
    assert alone.load is None
    assert loaded.load["rest_us"] == pytest.approx(time_us(alone), rel=1e-9)
    assert loaded.load["training_busy"] == pytest.approx(1.0)
    mine, others = stages(loaded), stages(alone)
    assert list(mine) == ["preprocess", *others]


@pytest.mark.parametrize("system", [*ALL, *OTHERS], ids=str)
def test_a_slow_load_stage_sets_the_pace_of_every_schedule(system: Any) -> None:
    (loaded,) = simulated(system, **busy({})).values()
    assert loaded.load is not None
    load = loaded.load
    assert load["load_us"] > load["rest_us"]
    assert time_us(loaded) == pytest.approx(load["load_us"], rel=1e-3)
    assert load["training_busy"] == pytest.approx(load["rest_us"] / load["load_us"], rel=1e-3)
    assert load["workers_needed"] == math.ceil(load["worker_us"] / load["rest_us"])
    assert loaded.metrics["bottleneck"] == "loader.cores"
    assert stages(loaded, "exposed_us")["preprocess"] == pytest.approx(time_us(loaded), rel=0.02)


def test_the_cores_that_are_needed_are_enough_and_one_less_is_not() -> None:
    needed = simulated("hybrid", **loading(cores=1, profile="plain"))["hybrid"].load
    assert needed is not None
    count = needed["workers_needed"]
    slow = {"base": "plain", "hash_time": "400 ns"}
    few = simulated("hybrid", **loading(cores=1, profile=slow))["hybrid"].load
    assert few is not None
    assert few["workers_needed"] > count
    cores = few["workers_needed"]
    enough = simulated("hybrid", **loading(cores=cores, profile=slow))["hybrid"]
    less = simulated("hybrid", **loading(cores=cores - 1, profile=slow))["hybrid"]
    assert enough.load is not None
    assert less.load is not None
    assert enough.load["training_busy"] == pytest.approx(1.0, rel=1e-6)
    assert less.load["training_busy"] < 1.0


@pytest.mark.parametrize(("profile", "borders"), [("torcharrow", 1024), ("plain", 4096)])
def test_a_core_takes_the_time_of_its_software_for_every_value(profile: str, borders: int) -> None:
    changed = {"model": {"lookups_per_table": [1, 1, 20, 20]}}
    keys = loading(profile=profile, bucketized=2, borders=borders)
    load = simulated("hybrid", **changed, **keys)["hybrid"].load
    assert load is not None
    each_ns = 0.53 * borders if profile == "torcharrow" else 45 + 0.6 * math.log2(borders)
    assert load["bucketize_us"] == pytest.approx(SAMPLES * 2 * each_ns / 1e3)
    assert load["hash_us"] == pytest.approx(SAMPLES * 42 * 3.0 / 1e3)
    assert load["log_us"] == pytest.approx(SAMPLES * DENSE * 1.5 / 1e3)
    decoded = SAMPLES * ((1 + DENSE) * 4 + 40 * 8)
    assert load["decode_us"] == pytest.approx(decoded / 1.5e9 * 1e6)
    parts = [load[f"{name}_us"] for name in ("decode", "bucketize", "hash", "log")]
    assert load["worker_us"] == pytest.approx(sum(parts))
    assert load["source_bytes"] == SAMPLES * (1 + DENSE + 40) * 4


def test_many_columns_decode_more_slowly() -> None:
    wide = {"model": {"dense_features": 200}}
    load = simulated("hybrid", **wide, **loading())["hybrid"].load
    assert load is not None
    decoded = SAMPLES * (201 * 4 + LOOKUPS * 8)
    assert load["decode_us"] == pytest.approx(decoded / 0.6e9 * 1e6)


def test_raw_records_are_not_decoded_and_parquet_may_be_smaller() -> None:
    raw = simulated("hybrid", **loading(format="raw"))["hybrid"].load
    packed = simulated("hybrid", **loading(compression=4.0))["hybrid"].load
    assert raw is not None
    assert packed is not None
    assert raw["decode_us"] == 0.0 < packed["decode_us"]
    assert raw["source_bytes"] == SAMPLES * (1 + DENSE + LOOKUPS) * 4
    assert packed["source_bytes"] == raw["source_bytes"] / 4


@pytest.mark.parametrize(
    ("model", "record"), [("mlperf_dlrm", 160), ("mlperf_dcnv2", 912)], ids=lambda v: str(v)
)
def test_a_raw_record_of_the_benchmarks_has_its_published_size(model: str, record: int) -> None:
    from simulator.config.catalogue import load_named

    chosen = load_named("models", model)
    assert 4 * (1 + chosen.dense_features + sum(chosen.table_lookups)) == record


def test_storage_that_delivers_less_sets_the_pace() -> None:
    (loaded,) = simulated("hybrid", **loading(source_bandwidth="10 MB/s")).values()
    assert loaded.load is not None
    bytes_us = loaded.load["source_bytes"] / 10e6 * 1e6
    assert time_us(loaded) == pytest.approx(bytes_us, rel=1e-3)
    assert loaded.metrics["bottleneck"] == "loader.source"
    needed = loaded.load["source_needed_gbps"]
    assert needed == pytest.approx(loaded.load["source_bytes"] / loaded.load["rest_us"] / 1e3)
    assert devices(loaded, "bandwidth_gbps")["loader.source"] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    "means",
    [{}, {"accelerator": "in_storage", "devices": 1, "cores": None}],
    ids=["cores", "drive"],
)
def test_the_way_of_tensors_to_the_host_sets_the_pace_where_it_is_the_narrowest(
    means: dict[str, Any],
) -> None:
    """4 bytes a label and dense value, 8 an id, over 10 MB/s."""
    keys = {k: v for k, v in ({"cores": 64, "source_bandwidth": "10 GB/s"} | means).items() if v}
    if means:
        del keys["source_bandwidth"]
    (loaded,) = simulated("hybrid", load=keys | {"host_bandwidth": "10 MB/s"}).values()
    (free,) = simulated("hybrid", load=keys).values()
    assert loaded.load is not None
    assert free.load is not None
    size = SAMPLES * ((1 + DENSE) * 4 + LOOKUPS * 8)
    assert loaded.load["tensor_bytes"] == free.load["tensor_bytes"] == size
    assert loaded.load["load_us"] == pytest.approx(size / 10e6 * 1e6)
    assert time_us(loaded) == pytest.approx(size / 10e6 * 1e6, rel=1e-3)
    assert loaded.metrics["bottleneck"] == "loader.host"
    assert devices(loaded, "bandwidth_gbps")["loader.host"] == pytest.approx(0.01, rel=1e-3)
    assert loaded.load["rest_us"] == free.load["rest_us"] == pytest.approx(time_us(free), rel=1e-6)
    needed = loaded.load["host_needed_gbps"]
    assert needed == pytest.approx(size / loaded.load["rest_us"] / 1e3)
    wide = simulated("hybrid", load=keys | {"host_bandwidth": "1000 PB/s"})["hybrid"]
    assert time_us(wide) == pytest.approx(time_us(free), rel=1e-9)


def test_a_device_in_storage_does_the_work_of_its_cores() -> None:
    keys = {"accelerator": "in_storage", "devices": 3, "bucketized": 0}
    drives = simulated("hybrid", load=keys)["hybrid"]
    cores = simulated("hybrid", **loading())["hybrid"]
    assert drives.load is not None
    assert cores.load is not None
    assert drives.load["worker_us"] == pytest.approx(cores.load["worker_us"] / 41)
    assert drives.load["workers"] == 3
    assert devices(drives, "kind")["loader.source"] == "drive"
    own = next(r for r in drives.devices if r["resource"] == "loader.source")
    assert own["bandwidth_gbps"] / own["share_of_peak"] == pytest.approx(9.0)


def test_its_energy_is_that_of_ready_and_of_busy_workers() -> None:
    loaded, alone = simulated("hybrid", **busy({}))["hybrid"], simulated("hybrid")["hybrid"]
    own = devices(loaded, "energy_mj")["loader.cores"]
    assert own == pytest.approx(2 * 9.4 * time_us(loaded) / 1e3, rel=1e-6)
    ready = simulated("hybrid", **loading(profile={"base": "plain", "hash_time": "0 ns"}))["hybrid"]
    share = devices(ready, "utilization")["loader.cores"]
    watts = 4 * (2.3 + 7.1 * share)
    assert devices(ready, "energy_mj")["loader.cores"] == pytest.approx(
        watts * time_us(ready) / 1e3
    )
    assert ready.metrics["energy_mj"] == pytest.approx(
        alone.metrics["energy_mj"] + devices(ready, "energy_mj")["loader.cores"], rel=1e-6
    )


def test_what_several_gpus_share_is_loaded_once() -> None:
    wide = {"name": "gpu_only", "gpus": 4}
    (loaded,) = simulated(wide, platform="p3_16xlarge", **busy({})).values()
    assert loaded.load is not None
    assert loaded.load["source_bytes"] == SAMPLES * (1 + DENSE + LOOKUPS) * 4
    assert time_us(loaded) == pytest.approx(loaded.load["load_us"], rel=1e-6)


def test_the_timeline_shows_it_ahead_of_training() -> None:
    (loaded,) = simulated("scratchpipe", **loading()).values()
    spans = [span for span in loaded.timeline if span.stage == "preprocess"]
    begins = {s.batch: s.start_ps for s in loaded.timeline if s.stage == "load"}
    assert [span.batch for span in spans] == sorted(begins)
    assert all(span.end_ps <= begins[span.batch] for span in spans)
    late = [s for s in spans if s.batch >= 4]
    ends = {s.batch: s.end_ps for s in loaded.timeline if s.stage == "load"}
    assert all(span.start_ps >= ends[span.batch - 2] for span in late), "two ahead, no more"


def test_a_point_without_one_is_the_point_that_it_was() -> None:
    (plain,), (loaded,) = points("hybrid"), points("hybrid", **loading())
    assert "load" not in plain.model_dump(mode="json")
    assert plain.key() != loaded.key()
    (result,) = simulate_points((plain,), threads=1)
    assert result.metrics["iteration_time_us"] == base()["hybrid"].metrics["iteration_time_us"]


MODES = ("serial", "ahead", "async", "lockstep", "streams")


@pytest.mark.parametrize("mode", MODES)
def test_stages_wait_as_without_it_and_for_what_it_makes(mode: Any) -> None:
    """Four stages behind it; streams with a wait of their own."""
    own = ((1, 3, -1),)
    behind = tuple((mine + 1, other + 1, ahead) for mine, other, ahead in own)
    for batch in range(6):
        for stage in range(4):
            alone = conditions(mode, 4, batch, stage, own)
            fed = conditions(mode, 5, batch, stage + 1, behind, beside=Beside(fed=True))
            made = [(batch, 0)] if stage == 0 else []
            assert fed == [*((b, s + 1) for b, s in alone), *made]


def test_it_waits_for_room_alone() -> None:
    assert conditions("serial", 5, 0, 0, beside=Beside(fed=True)) == []
    assert conditions("lockstep", 5, 1, 0, beside=Beside(fed=True)) == [(0, 0)]
    assert conditions("async", 5, 7, 0, beside=Beside(fed=True)) == [(6, 0), (7 - AHEAD, 1)]


def test_more_cores_and_more_bandwidth_are_never_slower() -> None:
    profile = {"base": "plain", "hash_time": "300 ns"}
    few = {"cores": 2, "source_bandwidth": "30 MB/s", "profile": profile}
    times = [
        time_us(simulated("scratchpipe", load=few | more)["scratchpipe"])
        for more in ({}, {"cores": 4}, {"source_bandwidth": "60 MB/s"})
    ]
    assert max(times[1:]) <= times[0] * (1 + 1e-9)
