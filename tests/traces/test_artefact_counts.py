"""Counts of unique rows of published traces that are not at hand.

The artefact of "Pushing the Performance Envelope of DNN-based Recommendation Systems Inference on
GPUs" (MICRO 2024) has tables of 500,000 rows: 429,951 lookups touch 102,524 of them at medium
reuse, 379,910 lookups 231,073 at low. Known: rows, lookups, distinct rows, and that they are files
of ids (scripts read them with `--data-generation=prod,FILE`), not the output of a generator; the
first thousands of the medium one repeat ids in bursts. Unknown: where the ids come from, and so any
parameter. A Zipf exponent is fitted to each count: generated traces can stand for them, and are not
shown to equal them. The generators that published works do tell, at their own parameters, give
other counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.config.trace import (
    LocalityTraceConfig,
    PowerLawTraceConfig,
    UniformTraceConfig,
    ZipfTraceConfig,
)
from simulator.traces import open_trace

ROWS = 500_000
BATCH, LOOKUPS = 2048, 220


def expected(alpha: float, lookups: int) -> float:
    """Unique rows of independent draws."""
    weights = np.arange(1, ROWS + 1, dtype=np.float64) ** -alpha
    return float((-np.expm1(lookups * np.log1p(-weights / weights.sum()))).sum())


@pytest.mark.parametrize(
    ("lookups", "unique", "alpha"), [(429_951, 102_524, 0.9964), (379_910, 231_073, 0.5242)]
)
def test_a_zipf_trace_touches_as_many_rows(lookups: int, unique: int, alpha: float) -> None:
    assert expected(alpha, lookups) == pytest.approx(unique, rel=1e-3)
    trace = open_trace(
        ZipfTraceConfig(kind="zipf", alpha=alpha),
        rows=(ROWS,),
        lookups=((LOOKUPS,),),
        batch_size=BATCH,
        seed=0,
    )
    drawn = trace.minibatch(0).ids[0][:lookups]
    assert len(drawn) == lookups
    assert len(np.unique(drawn)) == pytest.approx(unique, rel=5e-3)


@pytest.mark.parametrize(
    ("config", "medium", "low"),
    [
        (UniformTraceConfig(kind="uniform"), 288_398, 266_125),
        (PowerLawTraceConfig(kind="power_law", alpha=1.05), 86_058, 78_861),
        (LocalityTraceConfig(locality="low"), 271_633, 251_007),
        (LocalityTraceConfig(locality="medium"), 178_271, 164_082),
        (LocalityTraceConfig(locality="high"), 82_582, 75_638),
    ],
    ids=str,
)
def test_no_generator_with_parameters_of_its_own_gives_either_count(
    config: Any, medium: int, low: int
) -> None:
    """At medium and at low reuse: uniform rows, the power law of the synthetic scaling models, the
    classes of the study."""
    trace = open_trace(config, rows=(ROWS,), lookups=((LOOKUPS,),), batch_size=BATCH, seed=0)
    ids = trace.minibatch(0).ids[0]
    for lookups, unique, expected_unique in ((429_951, 102_524, medium), (379_910, 231_073, low)):
        drawn = len(np.unique(ids[:lookups]))
        assert drawn == pytest.approx(expected_unique, rel=5e-3)
        assert abs(drawn / unique - 1.0) > 0.05
