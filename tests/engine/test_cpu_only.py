"""Inference and training on the cores of a host alone."""

from __future__ import annotations

from typing import Any

import pytest
from small import points, simulated, stages

from simulator.config.catalogue import load_named
from simulator.engine import simulate_points
from simulator.errors import ConfigError
from simulator.results.record import PointResult
from simulator.systems.mlp import mlp_flops

NODE = {"name": "node", "operators": "tuned", "host": {"cpu": "xeon_e5_2698v4"}}
"""A machine without a GPU."""
BOTTOM = {"bottom_mlp": [512, 256, 64], "dim": 64}
CORES = 20
FLOPS = 70.4e9


def answered(slowdown: float | None = None, **keys: Any) -> PointResult:
    """Queries on a node; `slowdown`: of threads that share a core, None: none do."""
    mlp: dict[str, Any] = {"efficiency": 0.5}
    if slowdown is not None:
        mlp |= {"siblings": "bottom_mlp", "sibling_slowdown": slowdown}
    sections: dict[str, Any] = {
        "operators": {"base": "tuned", "cpu_mlp": mlp},
        "run": {"mode": "inference"},
        "model": BOTTOM,
    } | keys
    return simulated("cpu_only", platform=NODE, **sections)["cpu_only"]


def test_a_node_without_a_gpu_answers_and_trains() -> None:
    answers = answered()
    trained = answered(run={"mode": "training"})
    assert answers.metrics["answered_per_s"] > 0
    assert trained.metrics["iteration_time_us"] > answers.metrics["iteration_time_us"]
    assert not [row for row in trained.devices if row["device"].startswith("gpu")]


def test_products_take_their_share_of_the_cores() -> None:
    trained = answered(run={"mode": "training"})
    least_us = mlp_flops(trained.point.model, 512) / (CORES * FLOPS * 0.5) * 1e6
    assert stages(trained)["mlp"] >= least_us
    faster = answered(
        run={"mode": "training"}, operators={"base": "tuned", "cpu_mlp": {"efficiency": 1.0}}
    )
    saved_us = stages(trained)["mlp"] - stages(faster)["mlp"]
    assert saved_us == pytest.approx(least_us / 2, rel=0.02)


def test_threads_of_a_core_take_the_longer_of_both_slowed_down() -> None:
    """Forward = max(embeddings, bottom MLP) x slow-down + the rest, but for starts of threads."""
    alone, ideal, slowed = answered(), answered(1.0), answered(1.25)
    rest = stages(ideal)["mlp"]
    assert rest == stages(slowed)["mlp"] < stages(alone)["mlp"]
    gather, bottom = stages(alone)["gather_reduce"], stages(alone)["mlp"] - rest
    assert stages(ideal)["gather_reduce"] == pytest.approx(max(gather, bottom), rel=0.05)
    slow = stages(slowed)["gather_reduce"]
    assert slow == pytest.approx(1.25 * stages(ideal)["gather_reduce"], rel=0.03)
    gain = alone.metrics["iteration_time_us"] / ideal.metrics["iteration_time_us"]
    most = (gather + bottom + rest) / (max(gather, bottom) + rest)
    assert 1.05 < gain <= most * 1.001


def test_without_a_bottom_mlp_nothing_is_gained() -> None:
    none = {"bottom_mlp": None, "interaction": "cat"}
    alone, beside = (answered(slowdown, model=none) for slowdown in (None, 1.0))
    assert alone.metrics["iteration_time_us"] == beside.metrics["iteration_time_us"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"mlp_precision": "fp16"}}, "multiplies in fp32"),
        ({"model": {"rows_per_table": 10**9}}, r"holds"),
        ({"platform": {**NODE, "host": {"cpu": {"part": "xeon_e5_2698v4", "core_flops": None}}}},
         "no core_flops"),
    ],
)  # fmt: skip
def test_what_a_node_cannot_do_is_refused(change: dict[str, Any], message: str) -> None:
    sections = {"platform": NODE} | change
    with pytest.raises(ConfigError, match=message):
        simulate_points(points("cpu_only", **sections))


def test_it_takes_no_gpus() -> None:
    with pytest.raises(ConfigError, match="gpus"):
        points({"name": "cpu_only", "gpus": 2}, platform=NODE)


def test_a_slowdown_below_one_is_none() -> None:
    with pytest.raises(ConfigError, match=r"operators\.cpu_mlp\.sibling_slowdown"):
        answered(0.9)
    assert load_named("operators", "tuned").cpu_mlp.siblings == "none"
