"""What a larger cache may cost: wider keys to sort and more slots to scan; never more misses."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import simulated, stages, time_us

from simulator.config.catalogue import load_named
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import RADIX_BITS, Flow, Plan, Sort, key_bits
from simulator.hardware.topology import Topology, build_topology
from simulator.results.record import PointResult

MACHINE = "h200"
TUNED = load_named("operators", "tuned")
MISSED = ("collect", "exchange", "insert")
"""Stages whose work is that of the misses."""


@cache
def machine() -> Topology:
    return build_topology(load_machine(MACHINE), 64)


def cached(slots: int, policy: str, batch: int, lookups: int) -> PointResult:
    """The straw-man with `slots` slots for a table of 200,000 rows of 64 B."""
    (result,) = simulated(
        "straw_man",
        platform=MACHINE,
        model={
            "tables": 1,
            "rows_per_table": 200_000,
            "batch_size": batch,
            "lookups_per_table": lookups,
            "dim": 16,
        },
        cache={"policy": policy, "prefill": "empty", "fraction": (slots + 0.5) / 200_000},
        run={"batches": 6, "warmup_batches": 12, "memory_fidelity": "table"},
    ).values()
    assert result.metrics["cache_rows"] == slots
    return result


def radix_passes(slots: int) -> int:
    return math.ceil(key_bits(slots) / RADIX_BITS)


def alone_us(word: Plan | Sort) -> float:
    """A word by itself: its longest resource, and latencies."""
    demand = machine().price(word, TUNED)
    longest = max(service.ps for service in demand.services.values())
    return (demand.latency_ps + max(longest, demand.minimum_ps)) / 1e6


def plan(slots: int, batch: int, lookups: int) -> Plan:
    return Plan("plan", "gpu", batch * lookups, batch * lookups, batch * lookups, slots)


def test_a_slot_more_takes_a_radix_pass_where_keys_get_a_digit_more() -> None:
    """65,536 slots are named by two digits of 8 bits, 65,537 by three: the same hits, and one more
    pass over the pairs. (CUB, 10,000 pairs on the H200: 44 us for 24 bits, 55 us for 27.)"""
    small, large = (cached(slots, "lru", 64, 4) for slots in (65_536, 65_537))
    assert small.metrics["misses_per_batch"] == large.metrics["misses_per_batch"]
    before, after = stages(small), stages(large)
    flow = Flow(256, 256)
    sorts = [alone_us(Sort("s", "gpu", flow, 1, 200_000, n)) for n in (65_536, 65_537)]
    assert after["train"] - before["train"] > 5.0
    assert after["train"] - before["train"] == pytest.approx(sorts[1] - sorts[0], rel=0.25)
    assert time_us(large) - time_us(small) == pytest.approx(after["train"] - before["train"], 0.01)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["lru", "belady"]),
    st.sampled_from([16, 64, 256]),
    st.sampled_from([1, 4]),
    st.lists(st.integers(8_000, 190_000), min_size=2, max_size=2, unique=True),
)
def test_a_larger_cache_costs_a_pass_of_the_sort_and_a_scan_of_its_slots_at_most(
    policy: str, batch: int, lookups: int, sizes: list[int]
) -> None:
    """Policies that keep what a smaller cache keeps: LRU, Belady's. What is missed, and what that
    takes in each stage, never grows."""
    few, many = sorted(sizes)
    small, large = (cached(slots, policy, batch, lookups) for slots in (few, many))
    for count in ("misses_per_batch", "capacity_misses_per_batch"):
        assert large.metrics[count] <= small.metrics[count]
    before, after = stages(small), stages(large)
    for stage in (*MISSED, "load"):
        assert after[stage] <= before[stage] * 1.001, stage
    passes = radix_passes(many) - radix_passes(few)
    assert after["train"] <= before["train"] * 1.001 + passes * 15.0
    scans = alone_us(plan(many, batch, lookups)) - alone_us(plan(few, batch, lookups))
    assert after["plan"] <= before["plan"] * 1.001 + max(0.0, scans)
