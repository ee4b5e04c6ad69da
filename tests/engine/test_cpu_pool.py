"""One pool of CPU threads for stages that overlap, or one each (`pipeline.cpu_pool`)."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.config.load import parse_experiment
from simulator.engine import known_names, simulate


def simulated(system: str, pool: str, **pipeline: Any) -> dict[str, Any]:
    experiment = {
        "config_version": 1,
        "platform": "h200",
        "model": {"base": "default", "rows_per_table": 200_000, "batch_size": 512},
        "trace": {"kind": "uniform"},
        "systems": [system],
        "cache": {"fraction": 0.4, "prefill": "hot"},
        "pipeline": {"cpu_pool": pool, **pipeline},
        "run": {"batches": 8, "warmup_batches": 6, "check": True},
    }
    (point,) = simulate(parse_experiment(experiment, names=known_names())).points
    return {row["stage"]: row["busy_us"] for row in point.stages} | {
        "iteration": point.metrics["iteration_time_us"]
    }


@pytest.mark.parametrize(("mode", "least"), [("lockstep", 1.02), ("async", 1.0)])
def test_half_of_the_threads_is_slower_for_the_longer_list(mode: str, least: float) -> None:
    """A pool of its own stays idle once its list is done; a shared one goes on with the other list
    (asynchronous stages hide most of that: the next list is there already)."""
    shared, split = (simulated("scratchpipe", pool, mode=mode) for pool in ("shared", "split"))
    assert split["collect"] > least * shared["collect"]
    assert split["iteration"] > least * shared["iteration"]


def test_systems_whose_stages_do_not_overlap_have_one_pool() -> None:
    assert simulated("straw_man", "split") == simulated("straw_man", "shared")


def test_two_operators_of_one_pool_take_as_long_as_one_after_the_other() -> None:
    """The straw-man's Collect and Insert, and ScratchPipe's beside each other and copies."""
    serial, pipelined = simulated("straw_man", "shared"), simulated("scratchpipe", "shared")
    assert pipelined["collect"] >= 0.98 * (serial["collect"] + serial["insert"])
