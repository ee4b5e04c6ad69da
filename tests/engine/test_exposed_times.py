"""Exposed and hidden times of random small experiments: what every run must add up to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import LOCKSTEP, MODEL, SERIAL, simulated

systems: st.SearchStrategy[Any] = st.sampled_from(
    ["hybrid", "static_cache", "straw_man", "gpu_only", "scratchpipe", LOCKSTEP]
)
platforms = st.sampled_from(["v100_p3", "a100", "h200", "h100_vm", "gh200"])
models = st.fixed_dictionaries(
    {
        "tables": st.integers(1, 4),
        "rows_per_table": st.integers(20_000, 50_000),
        "batch_size": st.sampled_from([16, 64, 256]),
        "dim": st.sampled_from([16, 64, 128]),
        "lookups_per_table": st.integers(1, 8),
    }
)
software = st.sampled_from(["tuned", "paper", "observed"])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(systems, platforms, models, software, st.integers(1, 5), st.integers(0, 8))
def test_busy_is_exposed_and_hidden_and_exposed_is_the_iteration(
    system: Any, platform: str, model: dict[str, Any], operators: str, timed: int, warmup: int
) -> None:
    """Every run holds it to the picosecond; here the columns, in floating point."""
    (result,) = simulated(
        system,
        platform=platform,
        model={**MODEL, **model, "bottom_mlp": [32]},
        operators=operators,
        run={"batches": timed, "warmup_batches": warmup, "memory_fidelity": "table", "check": True},
        cache={"fraction": 0.9, "prefill": "hot"},
    ).values()
    elapsed = result.metrics["iteration_time_us"]
    for row in result.stages:
        assert 0.0 <= row["exposed_us"] <= row["busy_us"] <= elapsed * (1 + 1e-12), row
        assert row["hidden_us"] >= 0.0
        assert row["exposed_us"] + row["hidden_us"] == pytest.approx(row["busy_us"], rel=1e-12)
        if system in SERIAL:
            assert row["hidden_us"] == 0.0
    assert sum(row["exposed_us"] for row in result.stages) == pytest.approx(elapsed, rel=1e-12)
