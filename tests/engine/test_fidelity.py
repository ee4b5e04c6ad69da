"""Memory timing three ways: exact addresses, a sample of mini-batches, a table of bandwidths."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine import parse_experiment, simulate


def rows(fidelity: str, trace: dict[str, Any]) -> dict[str, dict[str, Any]]:
    experiment = parse_experiment(
        {
            "config_version": 1,
            "platform": "v100_p3",
            "model": {
                "base": "default",
                "tables": 2,
                "rows_per_table": 1_000_000,
                "batch_size": 512,
            },
            "trace": trace,
            "systems": ["hybrid", "static_cache", "straw_man", "scratchpipe"],
            "cache": {"fraction": 0.1},
            "run": {
                "batches": 4,
                "warmup_batches": 1,
                "memory_fidelity": fidelity,
                "sample_batches": 2,
                "check": True,
            },
        }
    )
    return {row["system"]: dict(row) for row in simulate(experiment).metrics()}


@pytest.mark.parametrize("trace", [{"kind": "uniform"}, {"kind": "zipf", "alpha": 0.9}])
def test_exact_sampled_and_table_agree_within_two_percent(trace: dict[str, Any]) -> None:
    exact = rows("exact", trace)
    for fidelity in ("sampled", "table"):
        for system, row in rows(fidelity, trace).items():
            assert row["iteration_time_us"] == pytest.approx(
                exact[system]["iteration_time_us"], rel=0.02
            ), (fidelity, system)


def test_the_sampling_error_is_reported_where_samples_stand_for_others() -> None:
    uniform = {"kind": "uniform"}
    assert rows("table", uniform)["scratchpipe"]["memory_sampling_error"] == 0.0
    assert 0.0 < rows("sampled", uniform)["scratchpipe"]["memory_sampling_error"] < 0.02
