"""The mini-batches of a run as training takes them, and the cache plans that belong to them.

Rows of all tables are numbered together (one fused table), ids are laid out sample, table, lookup;
a *bag* is the lookups of one sample in one table. Plans come from the simulator's own planner, made
before anything is timed: the same policy, window, prefill and slots, so the same counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.caches import (
    PoolPlanner,
    Window,
    build_planners,
    plan_batches,
    pool_rows,
    window_need,
)
from simulator.config.experiment import PointConfig
from simulator.engine.replay import slots_of
from simulator.engine.sharing import context_of, hold_window
from simulator.errors import ConfigError
from simulator.systems import create
from simulator.traces import MiniBatch, Trace, open_trace

__all__ = ["TAIL", "Batch", "Drawn", "Inputs", "MovePlan", "Preload", "draw", "prepare"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

TAIL = 6
"""Mini-batches after the timed ones, as many as the pipeline holds, as in a simulation."""


@dataclass(frozen=True, slots=True)
class MovePlan:
    """Rows and slots (all tables and pools in one numbering) that a mini-batch moves."""

    missed_rows: Int64s
    missed_slots: Int64s
    victim_rows: Int64s
    victim_slots: Int64s
    dirty: npt.NDArray[np.bool_]

    @property
    def write_rows(self) -> Int64s:
        """Victims that were trained, and so must be written back."""
        return self.victim_rows[self.dirty]

    @property
    def write_slots(self) -> Int64s:
        return self.victim_slots[self.dirty]


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch: ids int64 (lookups,), offsets int64 (bags + 1,), bag_of int32 (lookups,)."""

    index: int
    ids: Int64s
    offsets: Int64s
    bag_of: npt.NDArray[np.int32]
    dense: Floats
    labels: Floats
    unique_rows: int


@dataclass(frozen=True, slots=True)
class Preload:
    """Rows in the cache before the first mini-batch, and their slots."""

    rows: Int64s
    slots: Int64s


_NOTHING = Preload(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Inputs:
    """Everything that one system trains on."""

    point: PointConfig
    batches: Sequence[Batch]
    plans: Sequence[MovePlan] = ()
    slots: int = 0
    preload: Preload = field(default=_NOTHING)

    @property
    def rows(self) -> int:
        return self.point.model.rows

    @property
    def first(self) -> int:
        """First timed mini-batch."""
        return self.point.run.warmup_batches

    @property
    def last(self) -> int:
        return self.first + self.point.run.batches - 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """The mini-batches of a run, as the trace gives them and as training takes them."""

    trace: Trace
    minibatches: Sequence[MiniBatch]
    batches: Sequence[Batch]


def draw(point: PointConfig, threads: int) -> Drawn:
    """The trace of `point` and the mini-batches of its run: warm-up, timed, and the tail."""
    model, run = point.model, point.run
    trace = open_trace(
        point.trace,
        rows=model.rows_per_table,
        lookups=model.lookups_per_table,
        batch_size=model.batch_size,
        seed=run.seed,
        threads=threads,
    )
    needed = run.warmup_batches + run.batches
    count = needed + TAIL if trace.batches is None else min(trace.batches, needed + TAIL)
    if count < needed:
        raise ConfigError(f"the run takes {needed} mini-batches, but the trace has {count}")
    minibatches = [trace.minibatch(index) for index in range(count)]
    return Drawn(trace, minibatches, [flatten(batch, point) for batch in minibatches])


def prepare(point: PointConfig, drawn: Drawn, threads: int) -> Inputs:
    """What the system of `point` trains on: the mini-batches, and their plans where it has any."""
    system = create(point.system.name, context_of(point))
    trace, batches = drawn.trace, drawn.batches
    if system.replay == "none":
        return Inputs(point, batches)
    bases = _bases(trace.rows)
    if system.replay == "static":
        pinned = [int(point.cache.fraction * rows) for rows in trace.rows]
        hot = [trace.hottest(t, count) + bases[t] for t, count in enumerate(pinned)]
        rows = np.concatenate(hot)
        return Inputs(point, batches, (), sum(pinned), Preload(rows, np.arange(len(rows))))
    return _planned(point, drawn, threads)


def _slots(point: PointConfig, drawn: Drawn, window: Window) -> tuple[int, ...]:
    """Slots of each pool, as a simulation has them."""
    cache, model, trace = point.cache, point.model, drawn.trace
    slots, _ = slots_of(
        trace,
        cache.fraction,
        cache.scope,
        window,
        [model.batch_size * count for count in model.lookups_per_table],
        need=lambda: window_need(drawn.minibatches, trace.rows, window, scope=cache.scope),
        grow=cache.if_too_small == "grow",
    )
    return slots


def _planners(
    point: PointConfig, trace: Trace, slots: tuple[int, ...], window: Window
) -> tuple[PoolPlanner, ...]:
    cache, hottest = point.cache, None
    if cache.policy == "static_hot" or cache.prefill == "hot":
        if cache.scope == "global":
            raise ConfigError("observe fills caches of scope table alone with the hottest rows")
        hottest = [trace.hottest(table, count) for table, count in enumerate(slots)]
    return build_planners(
        cache.policy,
        trace.rows,
        slots,
        window,
        scope=cache.scope,
        seed=point.run.seed,
        hottest=hottest if cache.policy == "static_hot" else None,
        preload=hottest if cache.prefill == "hot" else None,
        preload_trained=True,
    )


def _planned(point: PointConfig, drawn: Drawn, threads: int) -> Inputs:
    """Plan every mini-batch with the simulator's planners, in the numbering of training."""
    trace, batches = drawn.trace, drawn.batches
    window = hold_window(point, create(point.system.name, context_of(point)))
    slots = _slots(point, drawn, window)
    planners = _planners(point, trace, slots, window)
    row_base, slot_base = _bases(pool_rows(trace.rows, point.cache.scope)), _bases(slots)
    resident = [planner.resident() for planner in planners]
    places = [np.arange(len(rows)) for rows in resident]
    preload = Preload(_joined(row_base, resident), _joined(slot_base, places))
    plans = []
    planned = plan_batches(drawn.minibatches, planners, window, threads=threads)
    for plan in planned:
        pools = plan.pools
        plans.append(
            MovePlan(
                missed_rows=_joined(row_base, [p.missed_rows for p in pools]),
                missed_slots=_joined(slot_base, [p.missed_slots for p in pools]),
                victim_rows=_joined(row_base, [p.victim_rows for p in pools]),
                victim_slots=_joined(slot_base, [p.victim_slots for p in pools]),
                dirty=np.concatenate([p.victim_dirty for p in pools]),
            )
        )
    return Inputs(point, batches, plans, sum(slots), preload)


def flatten(batch: MiniBatch, point: PointConfig) -> Batch:
    """`batch` in the layout of training, with dense features and labels drawn by its number."""
    model, tables, samples = point.model, len(batch.ids), batch.samples
    bases = _bases(model.rows_per_table)
    sizes = np.stack([np.diff(offsets) for offsets in batch.offsets], axis=1)
    offsets = np.concatenate([[0], np.cumsum(sizes.reshape(-1))]).astype(np.int64)
    ids = np.empty(offsets[-1], np.int64)
    for table in range(tables):
        begins = offsets[:-1].reshape(samples, tables)[:, table]
        shift = np.repeat(begins - batch.offsets[table][:-1], sizes[:, table])
        ids[np.arange(len(batch.ids[table])) + shift] = batch.ids[table] + bases[table]
    rng = np.random.default_rng([point.run.seed, batch.index, 1])
    features = max(1, model.dense_features)
    return Batch(
        index=batch.index,
        ids=ids,
        offsets=offsets,
        bag_of=np.repeat(np.arange(samples * tables, dtype=np.int32), sizes.reshape(-1)),
        dense=rng.random((samples, features), dtype=np.float32),
        labels=rng.integers(0, 2, samples).astype(np.float32),
        unique_rows=len(np.unique(ids)),
    )


def _bases(sizes: Sequence[int]) -> Int64s:
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def _joined(bases: Int64s, parts: Sequence[Int64s]) -> Int64s:
    return np.concatenate([part + base for part, base in zip(parts, bases, strict=True)])
