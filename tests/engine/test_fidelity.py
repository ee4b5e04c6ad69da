"""Memory timing three ways: exact addresses, a sample of mini-batches, a table of bandwidths."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from simulator.engine import parse_experiment, simulate

TRACES: dict[str, dict[str, Any]] = {
    "uniform": {"kind": "uniform"},
    "zipf": {"kind": "zipf", "alpha": 0.9},
}


@cache
def rows(fidelity: str, trace: str) -> dict[str, dict[str, Any]]:
    """Metrics of each system."""
    experiment = parse_experiment(
        {
            "config_version": 1,
            "platform": "v100_p3",
            "model": {
                "base": "default",
                "tables": 2,
                "rows_per_table": 1_000_000,
                "batch_size": 256,
            },
            "trace": TRACES[trace],
            "systems": ["hybrid", "static_cache", "straw_man", "scratchpipe"],
            "cache": {"fraction": 0.1},
            "run": {
                "batches": 2,
                "warmup_batches": 1,
                "memory_fidelity": fidelity,
                "sample_batches": 2,
                "check": True,
            },
        }
    )
    return {row["system"]: dict(row) for row in simulate(experiment).metrics()}


@pytest.mark.parametrize("trace", TRACES)
def test_exact_sampled_and_table_agree_within_two_percent(trace: str) -> None:
    exact = rows("exact", trace)
    for fidelity in ("sampled", "table"):
        for system, row in rows(fidelity, trace).items():
            assert row["iteration_time_us"] == pytest.approx(
                exact[system]["iteration_time_us"], rel=0.02
            ), (fidelity, system)


def test_the_sampling_error_is_reported_where_samples_stand_for_others() -> None:
    assert rows("table", "uniform")["scratchpipe"]["memory_sampling_error"] == 0.0
    assert 0.0 < rows("sampled", "uniform")["scratchpipe"]["memory_sampling_error"] < 0.02


@pytest.mark.parametrize("fidelity", ["exact", "sampled", "table"])
def test_fidelity_is_of_time_and_changes_no_count(fidelity: str) -> None:
    for system, row in rows(fidelity, "zipf").items():
        table = rows("table", "zipf")[system]
        for name in ("lookups_per_batch", "unique_rows_per_batch", "misses_per_batch"):
            assert row.get(name) == table.get(name)
