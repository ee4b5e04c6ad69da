"""Moves real row values through a plan at the times of a pipeline, and looks for hazards.

The check of correctness: the stages of a pipelined run read at their start and write at their
end, at the simulated times; what each Train reads is compared with training one mini-batch at a
time. A row's value is a 64-bit chain over the mini-batches that trained it, v <- v * A + (batch +
1) mod 2**64, so that a lost, doubled or reordered update changes it for good.

A *stale read* is a row that Train reads without the update of the mini-batch that trained it
last (or another row's data). It is counted once: the next reader of the row is compared with the
mini-batch that read stale data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.caches.plan.base import PoolPlan
from simulator.engine.pipeline import Span
from simulator.errors import InvariantError
from simulator.systems.cached import STAGES

__all__ = ["HazardReport", "StaleRead", "execute"]

_MULTIPLIER = np.uint64(6364136223846793005)
"""Of Knuth's linear congruential generator (MMIX): odd, so that the chain loses nothing."""

Values = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class StaleRead:
    """Mini-batch `batch` trained `row` without the update of mini-batch `missing`."""

    batch: int
    row: int
    missing: int


@dataclass(frozen=True, slots=True)
class HazardReport:
    """What a functional run found."""

    batches: int
    trained_rows: int
    """Row reads by Train, all mini-batches."""
    stale: tuple[StaleRead, ...]
    tables_equal: bool
    """Whether the tables at the end equal those of sequential training, bit for bit."""


@dataclass
class _State:
    """Tables, slots and staging buffers: a value and the last trainer of each row copy."""

    values: Values
    trainer: npt.NDArray[np.int64]
    slot_values: Values
    slot_trainer: npt.NDArray[np.int64]
    slot_row: npt.NDArray[np.int64]
    fetched: dict[int, tuple[Values, npt.NDArray[np.int64]]] = field(default_factory=dict)
    evicted: dict[int, tuple[Values, npt.NDArray[np.int64]]] = field(default_factory=dict)
    reading: dict[int, Values] = field(default_factory=dict)
    stale: list[StaleRead] = field(default_factory=list)


def execute(
    plans: Sequence[PoolPlan], spans: Sequence[Span], *, rows: int, capacity: int
) -> HazardReport:
    """Run `plans` (one pool) at the times of `spans` and compare with sequential training.

    `spans`: of a pipeline with the stages of ScratchPipe, one for every mini-batch and stage.
    Raises `InvariantError` where a stage that moves data takes no time (order undefined).
    """
    state = _State(
        values=np.arange(rows, dtype=np.uint64),
        trainer=np.full(rows, -1, np.int64),
        slot_values=np.zeros(capacity, np.uint64),
        slot_trainer=np.full(capacity, -1, np.int64),
        slot_row=np.full(capacity, -1, np.int64),
    )
    last_trainer = _last_trainers(plans, rows)
    for span, ends in _in_order(spans):
        stage, plan = STAGES[span.stage], plans[span.batch]
        if stage == "collect" and not ends:
            _collect(state, span.batch, plan)
        elif stage == "insert" and ends:
            _insert(state, span.batch, plan)
        elif stage == "train" and not ends:
            _train_read(state, span.batch, plan, last_trainer[span.batch])
        elif stage == "train":
            _train_write(state, span.batch, plan)
    _flush(state)
    return HazardReport(
        batches=len(plans),
        trained_rows=sum(len(plan.rows) for plan in plans),
        stale=tuple(state.stale),
        tables_equal=bool(np.array_equal(state.values, sequential(plans, rows))),
    )


def sequential(plans: Sequence[PoolPlan], rows: int) -> Values:
    """The tables after training one mini-batch at a time."""
    values = np.arange(rows, dtype=np.uint64)
    for batch, plan in enumerate(plans):
        values[plan.rows] = _update(values[plan.rows], batch)
    return values


def _update(values: Values, batch: int) -> Values:
    return values * _MULTIPLIER + np.uint64(batch + 1)


def _last_trainers(plans: Sequence[PoolPlan], rows: int) -> list[npt.NDArray[np.int64]]:
    """For each mini-batch and row of it: the mini-batch that trained the row before it, or -1."""
    latest = np.full(rows, -1, np.int64)
    before = []
    for batch, plan in enumerate(plans):
        before.append(latest[plan.rows].copy())
        latest[plan.rows] = batch
    return before


def _in_order(spans: Sequence[Span]) -> list[tuple[Span, bool]]:
    """(span, whether it ends) in the order of time; ends before the starts that they allow."""
    moments = []
    for span in spans:
        if span.end_ps <= span.start_ps and STAGES[span.stage] in ("collect", "insert", "train"):
            raise InvariantError(f"stage {STAGES[span.stage]} of batch {span.batch} takes no time")
        moments.append((span.start_ps, 1, span.batch, span.stage, span))
        moments.append((span.end_ps, 0, span.batch, span.stage, span))
    moments.sort(key=lambda moment: moment[:4])
    return [(moment[4], moment[1] == 0) for moment in moments]


def _collect(state: _State, batch: int, plan: PoolPlan) -> None:
    state.fetched[batch] = (state.values[plan.missed_rows], state.trainer[plan.missed_rows])
    slots = plan.victim_slots
    state.evicted[batch] = (state.slot_values[slots], state.slot_trainer[slots])


def _insert(state: _State, batch: int, plan: PoolPlan) -> None:
    values, trainer = state.fetched.pop(batch)
    state.slot_values[plan.missed_slots] = values
    state.slot_trainer[plan.missed_slots] = trainer
    state.slot_row[plan.missed_slots] = plan.missed_rows
    values, trainer = state.evicted.pop(batch)
    dirty = plan.victim_dirty
    state.values[plan.victim_rows[dirty]] = values[dirty]
    state.trainer[plan.victim_rows[dirty]] = trainer[dirty]


def _train_read(state: _State, batch: int, plan: PoolPlan, before: npt.NDArray[np.int64]) -> None:
    wrong = (state.slot_row[plan.slots] != plan.rows) | (state.slot_trainer[plan.slots] != before)
    for place in np.flatnonzero(wrong):
        state.stale.append(StaleRead(batch, int(plan.rows[place]), int(before[place])))
    state.reading[batch] = state.slot_values[plan.slots]


def _train_write(state: _State, batch: int, plan: PoolPlan) -> None:
    state.slot_values[plan.slots] = _update(state.reading.pop(batch), batch)
    state.slot_trainer[plan.slots] = batch


def _flush(state: _State) -> None:
    """Write every trained row that is still resident back to its table."""
    resident = np.flatnonzero((state.slot_row >= 0) & (state.slot_trainer >= 0))
    state.values[state.slot_row[resident]] = state.slot_values[resident]
