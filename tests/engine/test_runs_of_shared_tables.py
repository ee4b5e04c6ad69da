"""Whole runs of tables that two features share, against one feature with the lookups of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import ALL, BOX, MODEL, devices, simulated, stages, time_us

from simulator.results.record import PointResult

PAIR = [[1, 10], 4, 4, 4]
ONE = [11, 4, 4, 4]
ROWS = (
    "lookups_per_batch",
    "unique_rows_per_batch",
    "misses_per_batch",
    "cold_misses_per_batch",
    "victims_per_batch",
    "lookup_hit_rate",
    "unique_hit_rate",
    "cache_rows",
)
"""What follows from rows alone."""
VECTOR = 512 * 512
"""Bytes of one pooled vector of each sample."""


def both(*systems: Any, platform: Any = "v100_p3", **changes: Any) -> list[dict[str, PointResult]]:
    return [
        simulated(*systems, platform=platform, model=MODEL | {"lookups_per_table": each}, **changes)
        for each in (PAIR, ONE)
    ]


@pytest.fixture(scope="module")
def runs() -> list[dict[str, PointResult]]:
    return both(*ALL)


def test_rows_are_cached_and_trained_as_those_of_one_feature(
    runs: list[dict[str, PointResult]],
) -> None:
    """The same lookups, so the same unique rows over both features, hits and misses."""
    shared, whole = runs
    for label, result in shared.items():
        for name in ROWS:
            assert result.metrics[name] == whole[label].metrics[name], (label, name)
        assert result.metrics["lookups_per_batch"] == 512 * 23


@pytest.mark.parametrize(
    ("label", "vectors"),
    [("hybrid", 1), ("static_cache", 1), ("straw_man", 0), ("scratchpipe", 0), ("gpu_only", 0)],
)
def test_links_carry_the_second_vector_where_vectors_cross_them(
    runs: list[dict[str, PointResult]], label: str, vectors: int
) -> None:
    """Down and up, beside the same rows and ids."""
    shared, whole = (devices(run[label], "bytes") for run in runs)
    for link in ("pcie.down", "pcie.up"):
        assert shared[link] - whole[link] == pytest.approx(vectors * VECTOR, abs=1e-3), link
    assert shared["gpu.hbm"] >= whole["gpu.hbm"] + 2 * VECTOR, "written and read"


def test_no_stage_is_faster_and_those_of_rows_alone_are_the_same(
    runs: list[dict[str, PointResult]],
) -> None:
    shared, whole = runs
    for label, result in shared.items():
        assert time_us(result) >= time_us(whole[label])
    one, other = stages(shared["straw_man"]), stages(whole["straw_man"])
    for name in ("load", "plan", "collect", "exchange", "insert"):
        assert one[name] == pytest.approx(other[name]), name
    assert one["train"] > other["train"]


def test_energy_is_of_more_bytes(runs: list[dict[str, PointResult]]) -> None:
    shared, whole = (run["hybrid"] for run in runs)
    assert shared.metrics["energy_mj"] > whole.metrics["energy_mj"]


def test_gpus_exchange_a_vector_a_feature() -> None:
    """Four tables over four GPUs, as the one with two features does: all of 512 samples to 512."""
    shared, whole = both({"name": "gpu_only", "gpus": 4}, platform=BOX)
    one, other = (stages(run["gpu_only"])["all_to_all"] for run in (shared, whole))
    assert one > other


def test_a_file_gives_what_the_same_ids_of_one_column_give(tmp_path: Path) -> None:
    """Two columns of 1 and 10 lookups, or one of 11 with both."""
    rng = np.random.default_rng(7)
    item, last = rng.integers(0, 50_000, (16 * 512, 1)), rng.integers(0, 50_000, (16 * 512, 10))
    np.savez(tmp_path / "two.npz", item=item, last=last)
    np.savez(tmp_path / "one.npz", items=np.concatenate([item, last], axis=1))
    small = MODEL | {"tables": 1}
    two, one = (
        simulated(
            "straw_man", "gpu_only", model=small | {"lookups_per_table": lookups}, trace=trace
        )
        for lookups, trace in (
            (
                [[1, 10]],
                {"path": str(tmp_path / "two.npz"), "tables": {"item": "items", "last": "items"}},
            ),
            (11, {"path": str(tmp_path / "one.npz")}),
        )
    )
    for label in ("straw_man", "gpu_only"):
        for name in ROWS:
            assert two[label].metrics[name] == one[label].metrics[name], (label, name)
        assert time_us(two[label]) > time_us(one[label])
