"""Small points for tests of whole runs."""

from __future__ import annotations

from functools import cache
from typing import Any

from sections import laid_over

from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import parse_experiment, simulate_points
from simulator.results.finished import encode
from simulator.results.record import PointResult

SERIAL = ("hybrid", "static_cache", "straw_man", "gpu_only")
SYSTEMS = (*SERIAL, "scratchpipe")
LOCKSTEP = {"name": "scratchpipe", "label": "lockstep", "pipeline": {"mode": "lockstep"}}
ALL = (*SYSTEMS, LOCKSTEP)
PIPELINED = ("scratchpipe", "lockstep")
MODEL = {
    "base": "default",
    "tables": 4,
    "rows_per_table": 50_000,
    "batch_size": 512,
    "bottom_mlp": [64],
    "top_mlp": [64, 1],
}
"""Small MLPs, so that embedding work takes most of the time."""
LARGE = {"rows_per_table": 10**9}
"""Rows that fit no memory."""
LARGE_CACHE = {"cache": {"fraction": 0.9}}
UNIFORM = {"trace": {"kind": "uniform"}, **LARGE_CACHE}
BOX = "p3_16xlarge"
"""Eight GPUs."""


def points(*systems: Any, platform: Any = "v100_p3", **changes: Any) -> tuple[PointConfig, ...]:
    """Resolved points; `changes`: sections of the experiment, laid over small ones."""
    sections: dict[str, Any] = {
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.9},
        "operators": "tuned",
        "cache": {"fraction": 0.4, "prefill": "hot"},
        "pipeline": {},
        "run": {"batches": 4, "warmup_batches": 6, "check": True},
    }
    sections = laid_over(sections, changes)
    data = {"config_version": 1, "platform": platform, "systems": list(systems), **sections}
    return expand(parse_experiment(data))


def simulated(*systems: Any, platform: Any = "v100_p3", **changes: Any) -> dict[str, PointResult]:
    """The results of small points by the label of their system."""
    resolved = points(*systems, platform=platform, **changes)
    return {point.point.system.label: point for point in simulate_points(resolved, threads=1)}


@cache
def base() -> dict[str, PointResult]:
    """All systems, both pipelines, and GPUs that share a host, as they are."""
    return simulated(*ALL, {"name": "gpu_only", "label": "box", "platform": BOX})


def time_us(result: PointResult) -> float:
    """The iteration time."""
    return float(result.metrics["iteration_time_us"])


def stages(result: PointResult, column: str = "busy_us") -> dict[str, float]:
    """A column of the stages by their name; nothing is 0."""
    return {row["stage"]: row.get(column) or 0.0 for row in result.stages}


def devices(result: PointResult, column: str) -> dict[str, float]:
    """A column of the resources by their name, where it is known."""
    rows = result.devices
    return {row["resource"]: row[column] for row in rows if row.get(column) is not None}


def told(result: PointResult) -> bytes:
    """All that a point says, but for wall-clock values."""
    metrics = {
        k: v for k, v in result.metrics.items() if "wall" not in k and k != "realtime_factor"
    }
    return encode("", result.with_metrics(metrics))
