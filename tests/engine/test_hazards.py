"""Hazards: what the hold window prevents, shown by training real values through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from simulator.engine.functional import execute

from simulator.caches import PoolPlan, policy_names
from simulator.engine.hazards import HazardCase, run_case
from simulator.engine.pipeline import Span
from simulator.errors import CapacityError, InvariantError, UsageError
from simulator.systems.cached import STAGES

SEEDS = range(2)


@pytest.mark.parametrize("mode", ["lockstep", "async"])
@pytest.mark.parametrize("policy", policy_names())
def test_the_derived_window_trains_like_one_batch_at_a_time(policy: str, mode: str) -> None:
    for seed in SEEDS:
        report = run_case(HazardCase(policy=policy, mode=mode, seed=seed)).report
        assert not report.stale
        assert report.tables_equal


@pytest.mark.parametrize("policy", policy_names())
def test_one_future_batch_less_is_caught_for_every_policy(policy: str) -> None:
    """Belady looks further ahead than the window: only a cache with no room to choose shows it."""
    tight = {"rows": 20, "batch_rows": 2, "slots": 10}
    sizes = tight if policy == "belady" else {}
    report = run_case(HazardCase(policy=policy, window_future=1, **sizes)).report
    assert report.stale
    assert not report.tables_equal


def test_the_derived_window_is_enough_in_a_cache_with_no_room_to_choose() -> None:
    case = HazardCase(policy="belady", rows=20, batch_rows=2, slots=12)
    assert run_case(case).report.tables_equal


def test_one_past_batch_less_is_caught_for_random_victims() -> None:
    report = run_case(HazardCase(policy="random", window_past=2)).report
    assert report.stale
    assert not report.tables_equal


def test_recency_implies_the_past_side_for_lru() -> None:
    """With slots for six batches the least recent row is never one of the past three."""
    report = run_case(HazardCase(policy="lru", window_past=0)).report
    assert not report.stale


@pytest.mark.parametrize(
    ("policy", "past", "future", "published"),
    [
        ("lru", 3, 1, 1732),
        ("lru", 3, 0, 3588),
        ("random", 3, 1, 1698),
        ("random", 2, 2, 3142),
        ("random", 1, 2, 5062),
    ],
)
def test_stale_reads_are_as_frequent_as_an_independent_simulation_found(
    policy: str, past: int, future: int, published: int
) -> None:
    """20 seeds of an independent version-tracking program; other random numbers, same rates."""
    found = sum(
        len(run_case(HazardCase(policy, past, future, seed=seed)).report.stale) for seed in range(5)
    )
    assert found == pytest.approx(published / 4, rel=0.12)


def test_slots_below_the_window_are_refused() -> None:
    with pytest.raises(CapacityError, match="slots"):
        run_case(HazardCase(slots=20))


@pytest.mark.parametrize(
    "case", [HazardCase(policy="nosuch"), HazardCase(mode="fast"), HazardCase(batch_rows=61)]
)
def test_impossible_cases_are_usage_errors(case: HazardCase) -> None:
    with pytest.raises(UsageError):
        run_case(case)


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def plan(
    rows: tuple[int, ...],
    slots: tuple[int, ...],
    missed: tuple[int, ...] = (),
    victims: tuple[int, ...] = (),
) -> PoolPlan:
    """A hand-written plan: `missed` rows go to their slots, over `victims` where given."""
    at = dict(zip(rows, slots, strict=True))
    missed_slots = array(*(at[row] for row in missed))
    return PoolPlan(
        lookups=len(rows),
        lookup_hits=len(rows) - len(missed),
        rows=array(*rows),
        slots=array(*slots),
        missed_rows=array(*missed),
        missed_slots=missed_slots,
        victim_rows=array(*victims),
        victim_slots=missed_slots[: len(victims)],
        victim_dirty=np.ones(len(victims), bool),
        cold_misses=0,
        resident_rows=0,
    )


def lockstep(batches: int) -> list[Span]:
    return [
        Span(b, s, 10 * (b + s), 10 * (b + s) + 9, None)
        for b in range(batches)
        for s in range(len(STAGES))
    ]


def test_a_later_prefetch_evicts_a_row_still_in_use() -> None:
    """Batch 1 takes the slot of row 0 while batch 0 has yet to train it (FBGEMM issue 1201)."""
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((1,), (0,), missed=(1,), victims=(0,)),
        plan((2,), (1,), missed=(2,)),
        *[idle] * 5,
        plan((0,), (2,), missed=(0,)),
    ]
    report = execute(plans, lockstep(len(plans)), rows=3, capacity=3)
    # row 0 left with the value from before batch 0 trained it: that update is lost
    assert (8, 0, 0) in [(one.batch, one.row, one.missing) for one in report.stale]
    assert not report.tables_equal


def test_a_row_written_back_after_it_was_fetched_again() -> None:
    """Row 0 leaves at batch 5 and is fetched by batch 6, before the write-back lands."""
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((2,), (1,), missed=(2,)),
        idle,
        idle,
        idle,
        plan((1,), (0,), missed=(1,), victims=(0,)),
        plan((0,), (2,), missed=(0,)),
    ]
    report = execute(plans, lockstep(len(plans)), rows=3, capacity=3)
    assert [(one.batch, one.row, one.missing) for one in report.stale] == [(6, 0, 0)]
    assert not report.tables_equal


def test_the_same_row_fetched_three_batches_later_is_fresh() -> None:
    idle = plan((2,), (1,))
    plans = [
        plan((0,), (0,), missed=(0,)),
        plan((2,), (1,), missed=(2,)),
        idle,
        idle,
        idle,
        plan((1,), (0,), missed=(1,), victims=(0,)),
        idle,
        idle,
        plan((0,), (2,), missed=(0,)),
    ]
    report = execute(plans, lockstep(len(plans)), rows=3, capacity=3)
    assert not report.stale
    assert report.tables_equal


def test_holds_that_were_never_released_would_fill_the_cache() -> None:
    """Slots for exactly one window serve any number of batches: holds are released in time."""
    case = HazardCase(slots=36, batches=300)
    assert not run_case(case).report.stale


def test_stages_that_take_no_time_have_no_order() -> None:
    spans = [Span(0, s, 0, 0, None) for s in range(len(STAGES))]
    with pytest.raises(InvariantError, match="takes no time"):
        execute([plan((0,), (0,), missed=(0,))], spans, rows=1, capacity=1)
