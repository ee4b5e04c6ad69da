"""Queries in an open loop, against queueing formulas; inference of whole points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small import BOX, devices, points, simulated, stages
from small import time_us as iteration

from simulator.config.arrivals import ArrivalsConfig
from simulator.engine.queries import Server, arrival_times, query_metrics
from simulator.errors import ConfigError
from simulator.hardware.demand import Demand, Resource, Service, StageDemand

SERVING: dict[str, Any] = {"run": {"mode": "inference"}}
MICROSECOND = 10**6
STAGES = ("a", "b", "c")


def server(mode: Any = "serial", times: tuple[int, ...] = (30, 50, 20)) -> Server:
    """Stages on devices of their own that take `times` us."""
    resources = {name: Resource(name, name, "other") for name in STAGES}
    work = tuple(
        StageDemand(name, ((Demand(name, {name: Service(us * MICROSECOND)}),),))
        for name, us in zip(STAGES, times, strict=True)
    )
    return Server(resources, [work], mode)


def latencies(own: Server, load: float, capacity: float, **keys: Any) -> np.ndarray[Any, Any]:
    """In microseconds."""
    config = ArrivalsConfig(load=load, **{"queries": 12_000, **keys})
    times = arrival_times(config, load * capacity, seed=3)
    return own.latencies_ps(times) / MICROSECOND


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_serial_queries_wait_as_long_as_a_queue_with_one_server_says(load: float) -> None:
    """M/D/1: S (1 + u / (2 (1 - u)))."""
    mean = latencies(server(), load, 10_000).mean()
    assert mean == pytest.approx(100 * (1 + load / (2 * (1 - load))), rel=0.05)


@pytest.mark.parametrize("mode", ["serial", "async", "ahead", "streams"])
def test_rare_queries_take_what_one_takes_alone(mode: Any) -> None:
    own = server(mode)
    assert own.alone_ps() == 100 * MICROSECOND
    times = latencies(own, 0.001, 10_000, queries=300)
    assert np.percentile(times, 90) == 100


@pytest.mark.parametrize("mode", ["serial", "async"])
def test_even_queries_below_the_capacity_never_wait(mode: Any) -> None:
    capacity = {"serial": 10_000, "async": 20_000}[mode]
    times = latencies(server(mode), 0.99, capacity, process="even", queries=500)
    assert times.min() == times.max() == 100


def test_queries_above_the_capacity_wait_longer_and_longer() -> None:
    times = latencies(server(), 2.0, 10_000, process="even", queries=100)
    assert times.tolist() == [100 + 50 * k for k in range(100)]


def test_stages_that_overlap_wait_for_the_slowest_of_them() -> None:
    """With the first as the slowest it is an M/D/1 queue, and the others a delay."""
    own = server("async", (50, 30, 20))
    mean = latencies(own, 0.7, 20_000).mean()
    assert mean == pytest.approx(50 * (1 + 0.7 / 0.6) + 50, rel=0.05)


def test_arrivals_follow_the_seed_and_their_rate() -> None:
    config = ArrivalsConfig(load=0.5, queries=50_000)
    times = arrival_times(config, 2000.0, seed=1)
    assert np.array_equal(times, arrival_times(config, 2000.0, seed=1))
    assert not np.array_equal(times, arrival_times(config, 2000.0, seed=2))
    gaps = np.diff(times) / 1e12
    assert gaps.mean() == pytest.approx(1 / 2000, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 2000, rel=0.03)


def test_an_overload_is_told_and_no_latency_made_up() -> None:
    metrics = query_metrics(server(), np.array([1]), 100.0, ArrivalsConfig(load=1.0), 0)
    assert metrics["overloaded"]
    assert metrics["answered_per_s"] == 10_000
    assert "latency_p50_us" not in metrics
    below = query_metrics(server(), np.array([1]), 100.0, ArrivalsConfig(rate_per_s=1e3), 0)
    assert not below["overloaded"]
    assert below["offered_load"] == pytest.approx(0.1)
    assert below["answered_per_s"] == 1_000


# whole points

ALL = ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only")


def test_answers_take_less_than_training_and_rows_are_not_written_back() -> None:
    trained, asked = simulated(*ALL), simulated(*ALL, **SERVING)
    for name in ALL:
        assert iteration(asked[name]) < iteration(trained[name])
        assert trained[name].metrics.get("latency_alone_us") is None
        for column in ("misses_per_batch", "lookup_hit_rate", "unique_rows_per_batch"):
            assert asked[name].metrics.get(column) == trained[name].metrics.get(column)
    moved = devices(asked["scratchpipe"], "bytes"), devices(trained["scratchpipe"], "bytes")
    answers = 512 * 4
    assert moved[0]["pcie.up"] < moved[1]["pcie.up"] / 3
    assert devices(asked["hybrid"], "bytes")["pcie.up"] == answers
    assert asked["scratchpipe"].metrics["dirty_victims_per_batch"] == 0
    assert asked["scratchpipe"].metrics["victims_per_batch"] > 0


def test_serial_systems_answer_in_an_iteration_and_pipelines_in_all_stages() -> None:
    asked = simulated(*ALL, **SERVING)
    for name in ALL:
        metrics = asked[name].metrics
        if name == "scratchpipe":
            assert metrics["latency_alone_us"] > iteration(asked[name])
            assert metrics["latency_mean_us"] >= metrics["latency_alone_us"]
        else:
            assert metrics["latency_alone_us"] == pytest.approx(iteration(asked[name]), rel=0.01)
        assert metrics["answered_per_s"] == pytest.approx(1e6 / iteration(asked[name]))
        assert sum(stages(asked[name], "exposed_us").values()) == pytest.approx(
            iteration(asked[name])
        )


def test_latency_rises_with_the_load_up_to_where_none_is_told() -> None:
    told = []
    for load in (0.01, 0.5, 0.9, 1.0):
        run = {"mode": "inference", "arrivals": {"load": load, "queries": 300}}
        result = simulated("hybrid", run=run)["hybrid"]
        told.append(result.metrics.get("latency_mean_us"))
        assert result.metrics["overloaded"] is (load >= 1)
    low, half, high, none = told
    assert none is None
    assert low == pytest.approx(result.metrics["latency_alone_us"], rel=0.02)
    assert low < half < high


def test_many_gpus_answer() -> None:
    run = {**SERVING["run"], "arrivals": {"load": 0.5, "queries": 50}}
    entries = [{"name": name, "gpus": 4, "label": f"{name}4"} for name in ("gpu_only", "hybrid")]
    for result in simulated(*entries, platform=BOX, run=run).values():
        assert result.metrics["latency_p99_us"] >= result.metrics["latency_p50_us"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run": {"arrivals": {"load": 0.5}}}, "are those of queries: set run.mode: inference"),
        (
            {"run": {"mode": "inference", "arrivals": {"load": 0.5, "rate_per_s": 1.0}}},
            "and load are both given",
        ),
        ({"run": {"mode": "inference", "arrivals": {"load": 0.0}}}, "must be greater than 0"),
        ({"run": {"mode": "inference", "arrivals": {"rate_per_s": 0}}}, "must be greater than 0"),
        (
            {
                "run": {"mode": "inference", "arrivals": {"load": 0.5}},
                "pipeline": {"mode": "lockstep"},
            },
            "a query would wait for those after it",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        points("scratchpipe", **changes)


@pytest.mark.parametrize("name", ["lazydp", "torchrec_semi_sync", "bagpipe", "het"])
def test_systems_without_inference_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"is inference, which {name} has none of: .*queries"):
        points(name, **SERVING)


def test_a_rate_that_is_set_takes_the_place_of_the_other() -> None:
    run = {"mode": "inference", "arrivals": {"load": 0.3}}
    swept = points("hybrid", run=run, sweep={"run.arrivals.rate_per_s": [10, 20]})
    arrivals = [point.run.arrivals for point in swept]
    assert [(a.load, a.rate_per_s) for a in arrivals if a] == [(None, 10), (None, 20)]
    (plain,) = points("hybrid", run={"mode": "inference", "arrivals": {"queries": 50}})
    assert plain.run.arrivals is not None
    assert plain.run.arrivals.load == 0.5


def test_a_point_that_trains_keeps_its_key() -> None:
    (trained,), (asked,) = points("hybrid"), points("hybrid", **SERVING)
    assert trained.key() == points("hybrid", run={"mode": "training"})[0].key()
    assert asked.key() != trained.key()
