"""The five systems really train the same model: correct before they are timed.

Sequential training is the reference: hybrid trains one mini-batch after the other on one table. On
CPU tensors every system sums in the same order, so tables agree to the bit; the static cache adds
two partial sums, so it agrees to rounding (1e-6, values of 0.01), and to the bit with one lookup.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.config.expand import expand
from simulator.config.load import parse_experiment
from simulator.engine import known_names, simulate
from simulator.observe.inputs import draw, prepare
from simulator.observe.rows import aligned, fill_rows, use_threads
from simulator.observe.run import observe, train_point
from simulator.observe.trainer import Floats

pytestmark = pytest.mark.usefixtures("torch_there")

MODEL = {
    "base": "default",
    "tables": 2,
    "rows_per_table": 600,
    "dim": 16,
    "lookups_per_table": 3,
    "batch_size": 8,
    "bottom_mlp": [8],
    "top_mlp": [8, 1],
}


def _experiment(**changes: Any) -> Any:
    data = {
        "config_version": 1,
        "name": "small",
        "platform": "v100_p3",
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.6},
        "systems": ["hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only"],
        "cache": {"fraction": 0.001, "if_too_small": "grow"},
        "operators": "tuned",
        "pipeline": {"mode": "lockstep"},
        "run": {"batches": 20, "warmup_batches": 4, "cpu_threads": 1},
    }
    return parse_experiment(data | changes, names=known_names())


def _tables(**changes: Any) -> dict[str, Floats]:
    """Every system's tables after training."""
    threads = use_threads(1)
    trained = {}
    for point in expand(_experiment(**changes)):
        table = aligned(point.model.rows, point.model.dim)
        fill_rows(table, threads)
        trainer = train_point(prepare(point, draw(point, 1), 1), "cpu", threads, table)
        trainer.run()
        trained[point.system.label] = trainer.tables()
    return trained


def test_all_systems_train_the_same_tables() -> None:
    trained = _tables()
    before = aligned(1_200, 16)
    fill_rows(before, 1)
    assert np.abs(trained["hybrid"] - before).max() > 1e-5
    for label in ("straw_man", "scratchpipe", "gpu_only"):
        assert np.array_equal(trained[label], trained["hybrid"]), label
    assert np.allclose(trained["static_cache"], trained["hybrid"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("interaction", ["dot", "cat"])
def test_one_lookup_a_table_makes_the_static_cache_exact_too(interaction: str) -> None:
    model = MODEL | {"lookups_per_table": 1, "interaction": interaction}
    trained = _tables(model=model, systems=["hybrid", "static_cache"], cache={"fraction": 0.1})
    assert np.array_equal(trained["static_cache"], trained["hybrid"])


def test_jagged_bags_and_a_warm_cache() -> None:
    trained = _tables(
        trace={"kind": "zipf", "alpha": 0.9, "pooling": "poisson"},
        cache={"fraction": 0.4, "prefill": "hot"},
    )
    assert np.array_equal(trained["scratchpipe"], trained["hybrid"])
    assert np.array_equal(trained["straw_man"], trained["hybrid"])


@pytest.mark.parametrize(
    ("window", "same"), [({}, True), ({"window_past": 2}, False), ({"window_future": 1}, False)]
)
def test_a_window_that_is_too_small_trains_something_else(
    window: dict[str, int], same: bool
) -> None:
    """(3, 2) is enough; one mini-batch less on either side reads stale rows.

    Victims are drawn at random: LRU seldom picks rows that were used three mini-batches ago.
    """
    changes = {
        "systems": ["hybrid", "scratchpipe"],
        "pipeline": {"mode": "lockstep"} | window,
        "run": {"batches": 150, "warmup_batches": 4, "cpu_threads": 1},
        "trace": {"kind": "uniform"},
        "cache": {"policy": "random", "fraction": 0.001, "if_too_small": "grow"},
    }
    trained = _tables(**changes)
    assert np.array_equal(trained["scratchpipe"], trained["hybrid"]) == same


def test_counts_are_the_simulators() -> None:
    """Unique ids, misses, victims and write-backs of the timed mini-batches, exactly."""
    experiment = _experiment(trace={"kind": "zipf", "alpha": 0.9})
    seen = observe(experiment, device="cpu", repeats=1)
    names = {
        "unique_rows": "unique_rows_per_batch",
        "misses": "misses_per_batch",
        "victims": "victims_per_batch",
        "write_backs": "dirty_victims_per_batch",
    }
    for one, simulated in zip(seen.points, simulate(experiment).points, strict=True):
        assert not one.error
        timed = [one.repeats[0].counts[b] for b in range(one.first, one.last + 1)]
        for name, column in names.items():
            counts = [getattr(c, name) for c in timed]
            if counts[0] is not None:
                assert np.mean(counts) == simulated.metrics[column], (one.point.system.label, name)


def test_every_stage_of_the_simulator_is_timed() -> None:
    experiment = _experiment()
    seen = observe(experiment, device="cpu", repeats=1)
    for one, simulated in zip(seen.points, simulate(experiment).points, strict=True):
        stages = {stage for _, stage in one.repeats[0].stage_us}
        assert stages == {row["stage"] for row in simulated.stages}
        assert min(one.repeats[0].iteration_us.values()) > 0
