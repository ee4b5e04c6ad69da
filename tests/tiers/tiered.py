"""Small points whose tables lie in tiers below DRAM."""

from __future__ import annotations

from typing import Any

from sections import laid_over

from simulator.config.expand import expand
from simulator.config.point import PointConfig
from simulator.engine import parse_experiment, simulate_points
from simulator.results.record import PointResult

SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")
FREE_LINK = {
    "part": "cxl2_x16",
    "raw_bandwidth": "1000 TB/s",
    "load_latency": "0 ns",
    "join": ["cpu", "cxl"],
}
HOST: dict[str, Any] = {
    "cxl": {"part": "cxl_vistara"},
    "cxl_link": {"part": "cxl2_x8", "join": ["cpu", "cxl"]},
    "pmem": {"part": "optane_100_x6"},
    "pmem_bus": {"part": "ddrt_x6", "join": ["cpu", "pmem"]},
    "ssd": {"part": "micron_9400"},
    "ssd_link": {"part": "pcie4_x4", "join": ["cpu", "ssd"]},
}
"""Sockets beside those of the server of the study."""
FAST_CORES = {
    "cores": 4000,
    "core_cache": "1 KiB",
    "memory_path": {
        "random_read": "100 TB/s",
        "random_piece": "0 ps",
        "sequential_read": "100 TB/s",
        "write": "100 TB/s",
        "write_back": "100 TB/s",
        "duplex": 1.0,
        "sharpness": 1000,
    },
    "thread_start": "0 ns",
}
"""Cores that wait for memory alone."""
MODEL = {
    "base": "default",
    "tables": 4,
    "rows_per_table": 100_000,
    "batch_size": 256,
    "bottom_mlp": [64],
    "top_mlp": [64, 1],
}


def points(*entries: Any, host: dict[str, Any] | None = None, **changes: Any) -> list[PointConfig]:
    """Resolved points; `changes`: sections laid over small ones, `host`: sockets of the machine."""
    sockets = {**HOST, **(host or {})}
    sections: dict[str, Any] = {
        "platform": {"base": "v100_p3", "name": "tiers", "host": sockets},
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.9},
        "cache": {"fraction": 0.3},
        "run": {"batches": 4, "warmup_batches": 4, "check": True},
    }
    sections = laid_over(sections, changes)
    data = {"config_version": 1, "systems": list(entries), **sections}
    return list(expand(parse_experiment(data)))


def simulated(*entries: Any, **changes: Any) -> dict[str, PointResult]:
    """Results by label."""
    resolved = points(*entries, **changes)
    return {p.point.system.label: p for p in simulate_points(resolved, threads=1)}


def device(result: PointResult, resource: str) -> dict[str, Any]:
    """Its row of `devices.parquet`."""
    return next(row for row in result.devices if row["resource"] == resource)


def stage_us(result: PointResult, stage: str) -> float:
    """Busy microseconds of a stage."""
    return float(next(row["busy_us"] for row in result.stages if row["stage"] == stage))


def host_bytes(result: PointResult) -> float:
    """Bytes through all memories of the host a mini-batch, drives left out."""
    return sum(row["bytes"] for row in result.devices if row["kind"] == "dram")
