"""A trace that brings its own bags: the model's lookups decide nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import BOX, SYSTEMS, simulated, stages

from simulator.config.trace import FileTraceConfig, UniformTraceConfig
from simulator.errors import CapacityError
from simulator.results.overruled import overruled
from simulator.sweep.estimate import lookups_of_batch
from simulator.traces import bags_of, open_trace
from simulator.traces.survey import mean_lookups

BATCH, BATCHES, ROWS = 32, 24, 2000
RUN = {"batches": 4, "warmup_batches": 6}


@pytest.fixture
def bags(tmp_path: Path) -> str:
    """Three tables: about 6 lookups a sample, about 1, and exactly 2 in one long bag of 64."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for name, sizes in (
        ("many", rng.poisson(6, BATCH * BATCHES)),
        ("few", rng.poisson(1, BATCH * BATCHES)),
        ("long", np.where(np.arange(BATCH * BATCHES) % BATCH == 5, 2 * BATCH, 0)),
    ):
        arrays[name] = rng.integers(0, ROWS, int(sizes.sum()))
        arrays[f"{name}_offsets"] = np.concatenate([[0], np.cumsum(sizes)])
    np.savez(tmp_path / "bags.npz", **arrays)
    return str(tmp_path / "bags.npz")


def sections(path: str, lookups: int | list[int], **changes: Any) -> dict[str, Any]:
    model = {"tables": 3, "rows_per_table": ROWS, "batch_size": BATCH, "lookups_per_table": lookups}
    return {"model": model, "trace": {"path": path}, "cache": {"fraction": 1.0}, "run": RUN} | (
        changes
    )


@pytest.mark.parametrize("lookups", [1, 2000, [1, 2000, 1]])
def test_all_times_follow_the_bags_of_the_trace(bags: str, lookups: int | list[int]) -> None:
    def outcomes(said: int | list[int]) -> dict[str, Any]:
        systems = (*SYSTEMS, {"name": "gpu_only", "label": "two", "gpus": 2, "platform": BOX})
        return simulated(*systems, **sections(bags, said))

    left_out = ("point", "realtime_factor")
    for before, after in zip(outcomes(3).values(), outcomes(lookups).values(), strict=True):
        rows = [
            {k: v for k, v in r.metrics.items() if k not in left_out and "wall" not in k}
            for r in (before, after)
        ]
        assert rows[0] == rows[1]
        assert before.trace_fingerprint == after.trace_fingerprint
        assert before.timeline == after.timeline


def test_the_longest_bag_takes_its_time_where_a_gpu_pools(tmp_path: Path) -> None:
    """As many lookups of the same rows, in equal bags and in one bag a mini-batch."""
    ids = np.random.default_rng(1).integers(0, ROWS, 4 * BATCH * BATCHES)
    equal = np.arange(BATCH * BATCHES + 1) * 4
    one = np.repeat(np.arange(BATCHES + 1) * 4 * BATCH, BATCH)[: BATCH * BATCHES + 1]
    for name, offsets in (("equal", equal), ("one", one)):
        np.savez(tmp_path / f"{name}.npz", t=ids, t_offsets=offsets)
    pooled_in = {
        "static_cache": "forward",
        "straw_man": "train",
        "gpu_only": "gather_reduce",
    }

    def times(name: str) -> list[float]:
        changes = sections(str(tmp_path / f"{name}.npz"), 4)
        changes["model"] |= {"tables": 1}
        results = simulated(*pooled_in, **changes)
        return [stages(results[system])[stage] for system, stage in pooled_in.items()]

    assert all(long > short for long, short in zip(times("one"), times("equal"), strict=True))


def test_a_cache_holds_the_window_of_the_bags_not_of_the_model(bags: str) -> None:
    """Said to make one lookup, the window would fit; its bags need more slots than there are."""
    with pytest.raises(CapacityError, match="holds up to"):
        simulated("scratchpipe", **sections(bags, 1, cache={"fraction": 0.15}))


def test_the_bags_of_a_file_are_measured(bags: str) -> None:
    trace = open_trace(
        FileTraceConfig(path=bags), rows=(ROWS,) * 3, lookups=(9, 9, 9), batch_size=BATCH, seed=0
    )
    batches = [trace.minibatch(index) for index in range(BATCHES)]
    found = bags_of(trace)
    assert found is not None
    for table in range(3):
        counts = [len(batch.ids[table]) for batch in batches]
        assert found.mean[table] == pytest.approx(sum(counts) / BATCH / BATCHES)
        assert found.most[table] == max(counts)


def test_drawn_bags_are_bounded_and_fixed_ones_are_the_models() -> None:
    shape: dict[str, Any] = {"rows": (500,), "lookups": (3,), "batch_size": 64, "seed": 0}
    assert bags_of(open_trace(UniformTraceConfig(), **shape)) is None
    trace = open_trace(UniformTraceConfig(pooling="geometric"), **shape)
    found = bags_of(trace)
    assert found is not None
    assert found.mean == (3,)
    assert all(len(trace.minibatch(index).ids[0]) <= found.most[0] for index in range(20))


def test_estimates_go_by_the_bags(bags: str) -> None:
    few, many = (
        next(iter(simulated("hybrid", **sections(bags, n)).values())).point for n in (1, 2000)
    )
    assert lookups_of_batch(few) == lookups_of_batch(many) == pytest.approx(BATCH * 9, rel=0.1)
    config = FileTraceConfig(path=bags)
    assert mean_lookups(config, (ROWS,)) == ()
    assert mean_lookups(FileTraceConfig(path="missing.npz"), (ROWS,) * 3) == ()


def test_a_model_far_from_the_bags_is_told(bags: str) -> None:
    near, far = (simulated("hybrid", **sections(bags, n)).values() for n in (3, 2000))
    assert overruled(near) == []
    (line,) = overruled([*far, *far])
    assert "model.lookups_per_table makes 6,000 lookups" in line
    assert "bags.npz" in line
    assert overruled([replace(*near, point=next(iter(far)).point)]) != []
