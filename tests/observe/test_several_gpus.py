"""GPU-only on several GPUs: processes that talk over gloo, on CPU tensors.

The reference is the same system on one GPU. The dense step sums over half of the samples at a time,
so tables agree to rounding (1e-6, values of 0.01).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training import MODEL, experiment, tables_of

from simulator.config.expand import expand
from simulator.config.experiment import PointConfig
from simulator.engine import simulate
from simulator.errors import UsageError
from simulator.observe.processes import RankJob, train_ranks
from simulator.observe.rows import aligned, fill_rows
from simulator.observe.run import observe

pytestmark = pytest.mark.usefixtures("torch_there")

THREE = MODEL | {"tables": 3, "rows_per_table": [600, 200, 300], "lookups_per_table": [3, 1, 2]}


def shown(**changes: Any) -> dict[str, Any]:
    """Two GPUs of a server with eight."""
    systems = [{"name": "gpu_only", "gpus": 2}]
    return {"platform": "p3_16xlarge", "systems": systems, "model": THREE} | changes


def point_of(**changes: Any) -> PointConfig:
    return expand(experiment(**shown(**changes)))[0]


@pytest.mark.parametrize(
    ("pooling", "lookups"),
    [("fixed", [3, 1, 2]), ("poisson", [3, 1, 2]), ("poisson", [[3, 2], 1, [1, 2]])],
)
def test_two_gpus_train_what_one_trains(pooling: str, lookups: list[Any]) -> None:
    """Tables of other sizes and pooling, one GPU with two of them, jagged bags too, and tables that
    features share."""
    trace, model = {"kind": "zipf", "alpha": 0.9, "pooling": pooling}, dict(THREE)
    model["lookups_per_table"] = lookups
    alone = tables_of(systems=["gpu_only"], model=model, trace=trace)["gpu_only"]
    job = RankJob(point_of(trace=trace, model=model), "cpu", 2, 2, keep_tables=True)
    measured, tables = train_ranks(job)
    assert tables is not None
    before = aligned(1_100, 16)
    fill_rows(before, 1)
    assert np.abs(alone - before).max() > 1e-5
    assert np.allclose(tables, alone, rtol=0, atol=1e-6)
    assert len(measured) == 1


def test_stages_and_counts_of_two_gpus_are_the_simulators() -> None:
    toy = experiment(**shown())
    seen, simulated = observe(toy, device="cpu", repeats=2).points[0], simulate(toy).points[0]
    assert not seen.error
    assert len(seen.repeats) == 2
    stages = {stage for _, stage in seen.repeats[0].stage_us}
    assert stages == {row["stage"] for row in simulated.stages}
    timed = [seen.repeats[0].counts[b].unique_rows for b in range(seen.first, seen.last + 1)]
    assert np.mean(timed) == simulated.metrics["unique_rows_per_batch"]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"operators": "stock"}, "--set operators=observed"),
        ({"model": THREE | {"batch_size": 9}}, "--set model.batch_size=8"),
    ],
)
def test_what_several_gpus_cannot_do_is_refused(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        observe(experiment(**shown(**changes)), device="cpu")


def test_more_gpus_than_tables_is_the_error_of_its_point() -> None:
    toy = experiment(**shown(systems=[{"name": "gpu_only", "gpus": 4}]))
    (point,) = observe(toy, device="cpu").points
    assert "3 tables do not reach 4 GPUs" in point.error


def test_a_rank_that_fails_is_the_error_of_its_point() -> None:
    """Here a trace that is not there, found by both ranks."""
    trace = {"kind": "file", "path": "gone.npy"}
    job = RankJob(point_of(trace=trace), "cpu", 2, 2)
    with pytest.raises(RuntimeError, match=r"rank 0: .*gone.npy"):
        train_ranks(job)
