"""Counts of unique rows of published traces that are not at hand.

The artefact of "Pushing the Performance Envelope of DNN-based Recommendation Systems Inference on
GPUs" (MICRO 2024) has tables of 500,000 rows: 429,951 lookups touch 102,524 of them at medium
reuse, 379,910 lookups 231,073 at low. How they were drawn is not known; a Zipf exponent is fitted
to each count: generated traces can stand for them, and are not shown to equal them.
"""

from __future__ import annotations

import numpy as np
import pytest

from simulator.config.trace import ZipfTraceConfig
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
