"""The mini-batches of a run as training takes them, and the cache plans that belong to them.

Rows of all tables are numbered together (one fused table), ids are laid out sample, feature,
lookup; a *bag* is the lookups of one sample by one feature, which is a table's only one unless it
is shared. Facts are the replay of the simulated system
itself, made before anything is timed: the same policy, window, prefill and slots, so the same
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from simulator.caches import Window, window_need
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import PlannedReplay, Replay, Stream, run_replays
from simulator.caches.replays.oracle import OracleReplay
from simulator.config.point import PointConfig
from simulator.engine.sharing import SHARED_TAIL, build, place_of
from simulator.errors import ConfigError, UsageError
from simulator.hardware.program import Stage
from simulator.hardware.topology import Topology
from simulator.observe.lru import Pools
from simulator.observe.shares import Batch, Share, count_distinct
from simulator.systems import System
from simulator.traces import MiniBatch, Trace, open_trace
from simulator.traces.cuts import Parts
from simulator.traces.features import by_feature

__all__ = ["Batch", "Drawn", "Inputs", "Preload", "count_distinct", "draw", "of_rank", "prepare"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Preload:
    """Rows in the cache before the first mini-batch, and their slots."""

    rows: Int64s
    slots: Int64s


_NOTHING = Preload(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Inputs:
    """Everything that one system trains on, or one process of several: then `point.model`,
    mini-batches, facts and slots are of the tables of its share alone."""

    point: PointConfig
    system: System
    machine: Topology
    batches: Sequence[Batch]
    facts: Sequence[BatchFacts]
    """What each mini-batch does to the caches, with row numbers."""
    slots: int = 0
    """Of all pools of the cache together."""
    preload: Preload = field(default=_NOTHING)
    given: Share | None = None
    """What this process has; None: everything."""

    @property
    def share(self) -> Share:
        return self.given or Share.of_one(self.point.model)

    @property
    def programs(self) -> list[tuple[Stage, ...]]:
        """The stages of every mini-batch, as this process does them."""
        system, given = self.system, self.given
        if given is None:
            return [system.stages(facts) for facts in self.facts]
        return [system.rank_stages(facts, given.rank) for facts in self.facts]

    @property
    def rows(self) -> int:
        return self.point.model.rows

    @property
    def pools(self) -> Pools | None:
        """Pools of a cache whose policy the trainer knows itself (LRU, one pool a table); None:
        victims are those of the simulator's planner."""
        replay = self.system.replay
        if not isinstance(replay, PlannedReplay) or type(replay) is not PlannedReplay:
            return None
        if replay.replacement != "lru" or replay.scope != "table":
            return None
        slots = tuple(replay.capacities[table] for table in self.share.tables)
        return Pools(self.point.model.rows_per_table, slots, replay.window)

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
        place=place_of(point),
    )
    needed = run.warmup_batches + run.batches
    count = (
        needed + SHARED_TAIL if trace.batches is None else min(trace.batches, needed + SHARED_TAIL)
    )
    if count < needed:
        raise ConfigError(f"the run takes {needed} mini-batches, but the trace has {count}")
    minibatches = [trace.minibatch(index) for index in range(count)]
    return Drawn(trace, minibatches, [flatten(batch, point) for batch in minibatches])


def prepare(point: PointConfig, drawn: Drawn, threads: int) -> Inputs:
    """What the system of `point` trains on: the mini-batches, and what they do to its caches."""

    def need(window: Window, scope: str, depth: int, parts: Parts = ()) -> tuple[int, ...]:
        del depth, parts  # whole tables alone
        return window_need(drawn.minibatches, drawn.trace.rows, window, scope=scope)

    system, machine = build(point, need, drawn.trace)
    replay, batches = system.replay, drawn.batches
    if isinstance(replay, PlannedReplay) and replay.fills_hot and replay.scope == "global":
        raise ConfigError("observe fills caches of scope table alone with the hottest rows")
    kept = with_rows(replay, range(len(batches)))
    stream = Stream(drawn.trace, len(batches))
    facts = run_replays(stream, [kept], threads=threads)[kept].facts
    for each in facts:
        each.check()
    resident = replay.resident(drawn.trace)
    slots = np.flatnonzero(resident >= 0)
    preload = Preload(resident[slots], slots)
    return Inputs(point, system, machine, batches, facts, sum(replay.slots), preload)


def of_rank(inputs: Inputs, rank: int) -> Inputs:
    """What the process of one GPU trains, of what all of them do."""
    share = Share(inputs.point.model, inputs.system.placed, rank)
    pools = inputs.system.replay.slots
    preload = share.resident(inputs.preload.rows, inputs.preload.slots, pools)
    return Inputs(
        inputs.point.model_copy(update={"model": share.model}),
        inputs.system,
        inputs.machine,
        [share.batch(batch) for batch in inputs.batches],
        [share.facts(facts, pools) for facts in inputs.facts],
        sum(pools[table] for table in share.tables) if pools else 0,
        Preload(*preload),
        share,
    )


def with_rows(replay: Replay, batches: range) -> Replay:
    """`replay`, which keeps the row numbers of `batches`, of what moves too."""
    if not is_dataclass(replay):
        raise UsageError(f"{type(replay).__name__} is no dataclass: its rows cannot be kept")
    kept: dict[str, Any] = {"keep": batches}
    if isinstance(replay, PlannedReplay | OracleReplay):
        kept["lookups_alone"] = False
    return cast("Replay", replace(cast("Any", replay), **kept))


def flatten(batch: MiniBatch, point: PointConfig) -> Batch:
    """`batch` in the layout of training, with dense features and labels drawn by its number."""
    model, samples = point.model, batch.samples
    bases = _bases(model.rows_per_table)
    tables = zip(batch.ids, batch.pooled, model.features_per_table, bases, strict=True)
    fed = [
        (part + base, n)
        for own, bags, count, base in tables
        for part, n in by_feature(own, bags, count)
    ]
    sizes = np.stack([lengths for _, lengths in fed], axis=1)
    offsets = np.concatenate([[0], np.cumsum(sizes.reshape(-1))]).astype(np.int64)
    ids = np.empty(offsets[-1], np.int64)
    for feature, (own, lengths) in enumerate(fed):
        begins = offsets[:-1].reshape(samples, len(fed))[:, feature]
        shift = np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
        ids[np.arange(len(own)) + shift] = own
    rng = np.random.default_rng([point.run.seed, batch.index, 1])
    dense = max(1, model.dense_features)
    return Batch(
        index=batch.index,
        ids=ids,
        offsets=offsets,
        bag_of=np.repeat(np.arange(samples * len(fed), dtype=np.int32), sizes.reshape(-1)),
        dense=rng.random((samples, dense), dtype=np.float32),
        labels=rng.integers(0, 2, samples).astype(np.float32),
        unique_rows=count_distinct(ids),
    )


def _bases(sizes: Sequence[int]) -> Int64s:
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)
