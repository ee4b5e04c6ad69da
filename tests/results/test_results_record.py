"""Records hold what the data dictionary says and nothing else."""

import math
import re

import numpy as np
import pytest

from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.errors import InvariantError
from simulator.results.dictionary import DEVICES, METRICS, STAGES
from simulator.results.finished import decode, encode
from simulator.results.record import PointResult, Result
from simulator.results.speedup import with_speedups


@pytest.fixture(scope="module")
def points():
    experiment = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": "default",
        "trace": {"locality": "medium"},
        "systems": ["hybrid", "scratchpipe", {"name": "gpu_only", "platform": "p3_16xlarge"}],
        "sweep": {"trace.locality": ["low", "high"]},
    }
    return expand(parse_experiment(experiment))


def outcome(point, **metrics):
    named = {
        "system": point.system.name,
        "platform": point.platform.name,
        "operators": point.operators.name,
    }
    return PointResult(point, named | metrics)


def test_columns_come_in_the_order_of_the_dictionary_and_what_is_left_out_is_null(points):
    result = outcome(points[0], iteration_time_us=2.0)
    assert list(result.metrics) == [column.name for column in METRICS]
    assert result.metrics["iteration_time_us"] == 2.0
    assert result.metrics["throughput_samples_per_s"] is None


def test_numpy_scalars_and_whole_floats_are_taken(points):
    metrics = outcome(
        points[0],
        iteration_time_us=3,
        cache_rows=np.int64(5),
        lookup_hit_rate=np.float64(0.5),
        cache_grown=np.bool_(True),
    ).metrics
    assert [metrics[key] for key in ("cache_rows", "lookup_hit_rate")] == [5, 0.5]
    assert metrics["cache_grown"] is True
    assert type(metrics["iteration_time_us"]) is float


@pytest.mark.parametrize(
    "metrics",
    [
        {"nonsense": 1},
        {"iteration_time_us": "3"},
        {"iteration_time_us": math.nan},
        {"iteration_time_us": math.inf},
        {"iteration_time_us": True},
        {"cache_rows": 1.5},
        {"bottleneck": 3},
        {"cache_grown": 1},
        {"pcie_h2d_utilization": 0.5},
    ],
)
def test_everything_else_is_a_bug(points, metrics):
    with pytest.raises(InvariantError):
        outcome(points[0], **metrics)


def test_a_stage_with_an_unknown_column_is_a_bug(points):
    with pytest.raises(InvariantError, match="nonsense"):
        PointResult(points[0], {}, stages=[{"nonsense": 1}])


@pytest.mark.parametrize(
    "row", [{"nonsense": 1}, {"kind": "memory"}, {"utilization": math.inf}, {"bytes": "3"}]
)
def test_a_resource_out_of_the_dictionary_is_a_bug(points, row):
    with pytest.raises(InvariantError):
        PointResult(points[0], {}, devices=[row])


def test_resources_have_their_columns_in_order(points):
    devices = [{"resource": "gpu5.hbm", "kind": "hbm", "utilization": np.float64(0.5)}]
    result = Result("x", (PointResult(points[0], {}, devices=devices),) * 2)
    assert [row["resource"] for row in result.devices()] == ["gpu5.hbm"] * 2
    frame = result.devices_to_pandas()
    assert list(frame.columns) == [column.name for column in DEVICES]
    assert frame["utilization"].tolist() == [0.5, 0.5]
    assert frame["energy_mj"].isna().all()


def test_a_finished_point_is_read_back_under_its_new_label(points):
    devices = [{"label": "old", "resource": "gpu5.hbm", "kind": "hbm", "bytes": 0.1 + 0.2}]
    stages = [{"label": "old", "stage": "train", "order": 0}]
    result = PointResult(points[0], {"label": "old"}, stages, devices)
    data = encode("key", result)
    back = decode("key", points[0], data)
    assert back is not None
    assert back.devices[0] == {
        **result.devices[0],
        "label": "hybrid",
        "sweep": back.metrics["sweep"],
    }
    assert {row["label"] for row in (back.metrics, *back.stages, *back.devices)} == {"hybrid"}
    other = re.sub(rb'"format": \d+', b'"format": 1', data, count=1)
    assert other != data
    assert decode("key", points[0], other) is None


def test_tables_have_typed_columns_with_nulls(points):
    stages = [{"stage": "train", "order": 0, "busy_us": 1.0}]
    result = Result("x", (PointResult(points[0], {"cache_rows": None}, stages),))
    frame = result.to_pandas()
    assert list(frame.columns) == [column.name for column in METRICS]
    assert frame["cache_rows"].isna().all()
    assert str(frame["cache_rows"].dtype) == "Int64"
    assert str(frame["iteration_time_us"].dtype) == "float64"
    stage_frame = result.stages_to_pandas()
    assert list(stage_frame.columns) == [column.name for column in STAGES]
    assert stage_frame["stage"].tolist() == ["train"]


def test_an_empty_result_has_all_columns():
    assert list(Result("x").to_pandas().columns) == [column.name for column in METRICS]
    assert len(Result("x")) == 0


def test_speed_up_is_over_the_hybrid_of_the_same_sweep_values(points):
    times = {("hybrid", "low"): 40.0, ("hybrid", "high"): 20.0}
    results = with_speedups(
        [outcome(p, iteration_time_us=times.get((p.system.name, p.locality), 10.0)) for p in points]
    )
    found = {(r.point.system.name, r.point.locality): r for r in results}
    assert found["scratchpipe", "low"].metrics["speedup_over_hybrid"] == 4.0
    assert found["scratchpipe", "high"].metrics["speedup_over_hybrid"] == 2.0
    assert found["gpu_only", "high"].metrics["speedup_over_hybrid"] == 2.0
    assert found["hybrid", "low"].metrics["speedup_over_hybrid"] == 1.0


def test_without_a_hybrid_there_is_no_speed_up(points):
    rest = [p for p in points if p.system.name != "hybrid"]
    results = with_speedups([outcome(p, iteration_time_us=1.0) for p in rest])
    assert {r.metrics["speedup_over_hybrid"] for r in results} == {None}


def test_of_two_hybrids_the_one_on_the_same_platform_counts():
    systems = [
        {"name": "hybrid", "label": "far", "platform": "h200"},
        {"name": "hybrid", "label": "near"},
        "scratchpipe",
    ]
    found = expand(
        parse_experiment(
            {
                "config_version": 1,
                "platform": "v100_p3",
                "model": "default",
                "trace": {"locality": "low"},
                "systems": systems,
            }
        )
    )
    times = {"far": 5.0, "near": 50.0, "scratchpipe": 10.0}
    results = with_speedups([outcome(p, iteration_time_us=times[p.system.label]) for p in found])
    assert [r.metrics["speedup_over_hybrid"] for r in results] == [1.0, 1.0, 5.0]


def test_a_system_with_a_value_of_its_own_is_related_where_one_hybrid_agrees():
    """The sweep does not reach it: which of several hybrids it is faster than is nowhere said."""

    def speedups(systems, sweep):
        data = {"config_version": 1, "platform": "v100_p3", "model": "default", "sweep": sweep}
        data |= {"trace": {"locality": "low"}, "systems": systems}
        found = expand(parse_experiment(data))
        related = with_speedups([outcome(p, iteration_time_us=5.0) for p in found])
        return {
            (r.point.system.name, r.point.sweep_text()): r.metrics["speedup_over_hybrid"]
            for r in related
        }

    sweep = {"platform": ["v100_p3", "h200"]}
    own = {"name": "gpu_only", "platform": "p3_16xlarge"}
    found = speedups(["hybrid", own], sweep)
    assert found["gpu_only", ""] is None
    assert found["hybrid", "platform=h200"] == 1.0
    baseline = {"name": "hybrid", "platform": "p3_16xlarge"}
    found = speedups([baseline, "static_cache"], sweep)
    assert found["static_cache", "platform=h200"] == found["static_cache", "platform=v100_p3"] == 1
