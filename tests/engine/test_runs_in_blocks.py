"""A long run is priced, run and let go some mini-batches at a time: it is the same as in one piece,
and keeps little of each mini-batch."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from small import BOX, points, told

from simulator._compiled import PLAIN
from simulator.caches import run_facts, totals
from simulator.config.point import PointConfig
from simulator.engine import points as of_points
from simulator.engine import pricing, run_spans, simulate_points

RUN = {"batches": 40, "warmup_batches": 7, "check": False}
CASES: dict[str, dict[str, Any]] = {
    "scratchpipe": {},
    "scratchpipe, cold": {"cache": {"prefill": "empty"}},
    "scratchpipe, lockstep": {"pipeline": {"mode": "lockstep"}},
    "scratchpipe, stock": {"operators": "stock"},
    "scratchpipe, box": {"platform": BOX},
    "straw_man": {},
    "hybrid": {"operators": "stock"},
    "static_cache": {},
    "gpu_only": {},
    "fbgemm_cached": {},
    "fae": {},
    "cdlrm": {},
}


def of_blocks(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    for module in (run_facts, totals, pricing, of_points):
        monkeypatch.setattr(module, "BLOCK", size)


@pytest.mark.parametrize("case", CASES)
def test_a_run_in_blocks_is_that_in_one_piece(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = points(case.partition(",")[0], **{"run": RUN} | CASES[case])
    begun: list[int] = []
    blocks = pricing.Pricing.blocks

    def noted(self: pricing.Pricing) -> Any:
        begun.append(len(self.batches))
        return blocks(self)

    monkeypatch.setattr(pricing.Pricing, "blocks", noted)
    whole = [told(result) for result in simulate_points(found, threads=1)]
    assert not begun
    for size in (5, 16):
        of_blocks(monkeypatch, size)
        assert [told(result) for result in simulate_points(found, threads=1)] == whole
    assert begun


def test_what_is_looked_at_again_is_priced_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are checked, and works of a server."""
    of_blocks(monkeypatch, 5)
    monkeypatch.setattr(pricing.Pricing, "blocks", None)
    served = {"mode": "inference", "batches": 12, "warmup_batches": 2}
    for run in (RUN | {"batches": 12, "check": True}, RUN | served):
        (result,) = simulate_points(points("static_cache", run=run), threads=1)
        assert result.metrics["iteration_time_us"] > 0


def peak(found: tuple[PointConfig, ...]) -> int:
    """Bytes of Python and NumPy at the peak of a run, what is kept of its result included."""
    gc.collect()
    tracemalloc.start()
    try:
        simulate_points(found, threads=1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MOST = 300
"""Bytes that a mini-batch may take: its counts, when its stages ran, and the same as a timeline."""


@pytest.mark.skipif(PLAIN, reason="SimPy takes mini-batches in one piece")
def test_a_longer_run_keeps_little_of_each_mini_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is under way: several blocks, and spans of several groups, in either run."""
    of_blocks(monkeypatch, 256)
    monkeypatch.setattr(run_spans, "GROUP", 1024)
    model = {"tables": 2, "rows_per_table": 2_000, "batch_size": 16, "lookups_per_table": 1}
    short, long = (
        points("scratchpipe", model=model, run=RUN | {"batches": count}) for count in (1000, 3000)
    )
    simulate_points(points("scratchpipe", model=model, run=RUN), threads=1)
    assert peak(long) - peak(short) < MOST * 2000
