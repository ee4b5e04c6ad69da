"""What it costs a pipeline that the CPU's operators run on a thread of their own."""

from __future__ import annotations

import pytest
from small import LOCKSTEP, simulated

CALL_US = 1000.0


def iterations(system: object, call: str) -> float:
    """Microseconds of an iteration that the CPU bounds."""
    operators = {"base": "tuned", "gpu": {"worker_call": call}}
    label = system["label"] if isinstance(system, dict) else str(system)
    point = simulated(system, operators=operators)[str(label)]
    return float(point.metrics["iteration_time_us"])


def test_a_cycle_is_longer_by_one_call() -> None:
    """Collect and Insert are handed over at once, and the longest stage ends the cycle: calls of
    10 ms make that one of them."""
    none, late, later = (iterations(LOCKSTEP, call) for call in ("0 ps", "10 ms", "11 ms"))
    assert later - late == pytest.approx(CALL_US, rel=1e-3)
    assert 10 * CALL_US < late < none + 10 * CALL_US


@pytest.mark.parametrize("system", ["hybrid", "straw_man"])
def test_without_a_pipeline_the_host_calls_them_itself(system: str) -> None:
    assert iterations(system, "1 ms") == iterations(system, "0 ps")
