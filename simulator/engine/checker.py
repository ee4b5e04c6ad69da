"""The checker: executes a program on values at the times of a run, and looks for hazards.

The same program that the timer priced: what reads rows of a store reads them when its stage
starts, what writes rows writes them when its stage ends. A row's value is a 64-bit chain over the
mini-batches that trained it, v <- v * A + (batch + 1) mod 2**64, so that a lost, doubled or
reordered update changes it for good; A is split in two, v * A1 + p * A2, where v is what the row
holds when it is updated and p what was pooled of it, so that a gradient of an old value counts too.
What each `Pool` reads is compared with training one mini-batch at a time, and so are the tables at
the end.

Where several processors train parts of a mini-batch in copies of their own (`Update.part`), a copy
is as new as the updates in it: a read that lacks some is stale, and the tables at the end are those
of the servers with all changes that copies still hold added up (`copies`).

A *stale read* is a row that is pooled without the update of the mini-batch that trained it last
(or another row's data). It is counted once: the next reader of the row is compared with the
mini-batch that read stale data. Rows that were read early (`EarlyPool`) are compared when the
mini-batch trains them, with the changes that were added to them since (`Amend`). An update is
*lost* where the copy that a mini-batch updates lacks one of an earlier mini-batch. Noise is ones
(`noise_values`), which every copy of a row counts.

Rules: one for each word that touches rows. Words without a rule here (sorts, MLPs, plans) change
no row; a word that reads or writes a store and has no rule is an error before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from simulator.engine.copies import (
    Copies,
    Shares,
    Trained,
    shares_of,
    stores_of,
    trained_rows,
)
from simulator.engine.early_values import EarlyReads
from simulator.engine.noise_values import NoiseKind, lacking, noise_of, wanted_ones
from simulator.engine.pipeline import Span
from simulator.errors import InvariantError
from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.noise import Noise
from simulator.hardware.program import (
    Flow,
    Gather,
    Move,
    Operation,
    Pool,
    Scatter,
    Stage,
    Store,
    Update,
    ZeroCopy,
)

__all__ = ["HazardReport", "StaleRead", "execute"]

_MULTIPLIER = np.uint64(6364136223846793005)
"""Of Knuth's linear congruential generator (MMIX): odd, so that the chain loses nothing."""
_POOLED = np.uint64(0x9E3779B97F4A7C16)
"""The part of it that multiplies what was pooled: even, so that the rest is odd."""
_HELD = np.uint64((int(_MULTIPLIER) - int(_POOLED)) % 2**64)

Values = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]
Commit = Callable[[], None]


@dataclass(frozen=True, slots=True)
class StaleRead:
    """Mini-batch `batch` trained `row` without the update of mini-batch `missing`."""

    batch: int
    row: int
    missing: int
    behind: int | None = field(default=None, compare=False)
    """Mini-batches since the first update that it lacks; None: it read another row's data, or
    updates were counted."""
    lacks: int | None = field(default=None, compare=False)
    """Updates that it lacks; None: they were not counted."""


@dataclass(frozen=True, slots=True)
class HazardReport:
    """What a run on values showed."""

    batches: int
    trained_rows: int
    """Rows read for training, all mini-batches."""
    stale: tuple[StaleRead, ...]
    tables_equal: bool
    """Whether the tables at the end equal those of sequential training, bit for bit."""
    lost: int = 0
    """Updates that the row which a mini-batch updated did not have."""

    @property
    def behind(self) -> int:
        """Most mini-batches that a stale read is behind; 0 where none is."""
        return max((read.behind or 0 for read in self.stale), default=0)

    @property
    def lacking(self) -> int:
        """Most updates that a stale read lacks, where they were counted."""
        return max((read.lacks or 0 for read in self.stale), default=0)


@dataclass
class _State:
    """Stores, and the buffers of mini-batches in flight."""

    rows: int
    slots: int
    resident: Int64s
    """Rows that a slotted store holds before the first mini-batch, slot by slot."""
    trained: Trained
    shares: Sequence[Shares]
    """Of each mini-batch, where copies of rows are trained in parts."""
    noise: NoiseKind = "none"
    stores: dict[tuple[bool, str, str], Copies] = field(default_factory=dict)
    buffers: dict[tuple[int, str, str], Copies] = field(default_factory=dict)
    """(mini-batch, buffer, memory) -> the rows in it."""
    pooled: dict[tuple[int, str], dict[int, np.uint64]] = field(default_factory=dict)
    """Mini-batch and, where copies are trained in parts, store -> rows that were read for
    training, and their values."""
    early: EarlyReads = field(default_factory=EarlyReads)
    stale: list[StaleRead] = field(default_factory=list)
    lost: int = 0
    trained_rows: int = 0

    @property
    def in_parts(self) -> bool:
        """Whether copies of rows are trained in parts."""
        return any(self.shares)

    def store(self, store: Store) -> Copies:
        """The rows of a store; tables start untrained, slots with what is resident."""
        key = (store.slotted, store.name, store.memory)
        if key not in self.stores:
            self.stores[key] = self._cache() if store.slotted else Copies.of_tables(self.rows)
        return self.stores[key]

    def _cache(self) -> Copies:
        cache = Copies.empty(self.slots)
        held = np.flatnonzero(self.resident >= 0)
        ids = self.resident[held]
        cache.put(held, ids, Copies.of_tables(self.rows).take(ids))
        return cache


def execute(
    programs: Sequence[tuple[Stage, ...]],
    spans: Sequence[Span],
    *,
    rows: int,
    slots: int,
    resident: Int64s | None = None,
) -> HazardReport:
    """Execute `programs` (their flows keep row numbers) at the times of `spans`.

    `rows`: of all tables together; `slots`: of the cache; `resident`: rows in its first slots
    before the first mini-batch (-1: empty). Raises `InvariantError` where a stage that moves rows
    takes no time (order undefined), where a program reads a buffer that is not where it looks for
    it, and where it trains rows that it did not pool.
    """
    _require_rules(programs)
    trained = [trained_rows(stages) for stages in programs]
    shares = [shares_of(stages) for stages in programs]
    noise, lagging = noise_of(programs)
    held = np.empty(0, np.int64) if resident is None else resident
    state = _State(rows, slots, held, Trained.of(programs), shares, noise)
    first = programs[0] if programs else ()
    state.early.wanted = any(isinstance(w, Amend) for stage in first for w in stage.operations)
    started: dict[tuple[int, int], list[Commit]] = {}
    for span, ends in _in_order(programs, spans):
        key = (span.batch, span.stage)
        if not ends:
            started[key] = _start(state, span.batch, programs[span.batch][span.stage])
        else:
            for commit in started.pop(key):
                commit()
    return HazardReport(
        batches=len(programs),
        trained_rows=state.trained_rows,
        stale=tuple(state.stale),
        tables_equal=_equal(state, sequential(trained, rows, noise), len(programs) * lagging),
        lost=state.lost,
    )


def sequential(trained: Sequence[Int64s], rows: int, noise: NoiseKind = "none") -> Values:
    """The tables after training one mini-batch at a time; `trained`: rows of each."""
    values = np.arange(rows, dtype=np.uint64)
    for batch, ids in enumerate(trained):
        values[ids] = _updated(values[ids], batch)
        if noise != "none":
            values[slice(None) if noise == "dense" else ids] += np.uint64(1)
    return values


def _updated(values: Values, batch: int, pooled: Values | None = None) -> Values:
    """`values` trained by `batch`, with the gradient of what was `pooled`, by default the same."""
    if pooled is None:
        return values * _MULTIPLIER + np.uint64(batch + 1)
    return values * _HELD + pooled * _POOLED + np.uint64(batch + 1)


def _in_order(
    programs: Sequence[tuple[Stage, ...]], spans: Sequence[Span]
) -> list[tuple[Span, bool]]:
    """(span, whether it ends) in the order of time; ends before the starts that they allow."""
    moments = []
    for span in spans:
        stage = programs[span.batch][span.stage]
        touches = any(_touches(word) for word in stage.operations)
        if span.end_ps <= span.start_ps:
            if touches:
                raise InvariantError(f"stage {stage.name} of batch {span.batch} takes no time")
            continue  # nothing to do at that moment
        moments.append((span.start_ps, 1, span.batch, span.stage, span))
        moments.append((span.end_ps, 0, span.batch, span.stage, span))
    moments.sort(key=lambda moment: moment[:4])
    return [(moment[4], moment[1] == 0) for moment in moments]


def _touches(word: Operation) -> bool:
    """Whether it moves, reads or trains any row."""
    rows = getattr(word, "rows", None)
    counted = not isinstance(rows, Flow) or rows.rows or rows.lookups
    return isinstance(word, tuple(_RULES)) and bool(counted)


def _start(state: _State, batch: int, stage: Stage) -> list[Commit]:
    """Read what the stage reads from stores; what will have to be written when it ends."""
    words = [word for word in stage.operations if type(word) in _RULES]
    return [_RULES[type(word)](state, batch, word) for word in words]


def _pool(state: _State, batch: int, word: Pool) -> Commit:
    """Reads rows for training; each must carry the last update before this mini-batch."""
    kept = [_read(state, *stored) for stored in stores_of(word, word.reads)]
    for ids, read in kept:
        _note_stale(state, batch, ids, read)
    key = (batch, word.reads.name if state.in_parts else "")

    def keep() -> None:
        pooled = state.pooled.setdefault(key, {})
        for ids, read in kept:
            pooled |= zip(ids.tolist(), read.value, strict=True)

    return keep


def _early_pool(state: _State, batch: int, word: EarlyPool) -> Commit:
    """Reads rows as they are: they are compared when the mini-batch trains them."""
    kept = [_read(state, *stored) for stored in stores_of(word, word.reads)]

    def keep() -> None:
        for ids, read in kept:
            state.early.read(batch, ids, read)

    return keep


def _amend(state: _State, batch: int, word: Amend) -> Commit:
    """Adds changes to what was read early, and to copies of rows, when the stage ends."""

    def add() -> None:
        if word.rows.ids is None:
            raise InvariantError(f"the replay kept no rows for {word.name}")
        state.early.amend(batch, word.rows.ids)
        if word.copies is not None and word.copied is not None:
            where, ids = _rows_of(word.copies, word.copied)
            state.early.add(batch, ids, state.store(word.copies), where)

    return add


def _use_early(state: _State, batch: int) -> None:
    """What was read early is used now."""
    for ids, read in state.early.used(batch):
        _note_stale(state, batch, ids, read)
        state.pooled.setdefault((batch, ""), {}).update(zip(ids.tolist(), read.value, strict=True))


def _read(state: _State, store: Store, rows: Flow) -> tuple[Int64s, Copies]:
    """The distinct rows that are read in one store."""
    where, all_ids = _rows_of(store, rows)
    distinct, first = np.unique(where, return_index=True)
    return all_ids[first], state.store(store).take(distinct)


def _note_stale(state: _State, batch: int, ids: Int64s, read: Copies) -> None:
    """Notes those of the rows `ids`, as they were read for `batch`, that lack an update."""
    wanted, updates = state.trained.before(batch, ids)
    lacks = updates - read.updates
    old = lacks != 0 if state.in_parts else read.trainer != wanted
    for k in np.flatnonzero((read.row != ids) | old).tolist():
        row, missing, trainer = int(ids[k]), int(wanted[k]), int(read.trainer[k])
        if state.in_parts:
            state.stale.append(StaleRead(batch, row, missing, lacks=int(lacks[k])))
            continue
        known = read.row[k] == row and trainer < missing
        behind = state.trained.behind(batch, row, trainer) if known else None
        state.stale.append(StaleRead(batch, row, missing, behind))
    noisy = wanted_ones(state.noise, batch, read.ones)
    for k in np.flatnonzero((read.trainer == wanted) & (read.ones != noisy)).tolist():
        ones = int(read.ones[k])
        state.stale.append(StaleRead(batch, int(ids[k]), ones, batch - ones))
    state.trained_rows += len(ids)


def _update(state: _State, batch: int, word: Update) -> Commit:
    """Trains rows where they are, with the gradients of what was pooled."""

    def train() -> None:
        _use_early(state, batch)
        for store, rows in stores_of(word, word.writes):
            _train(state, batch, word, store, rows)

    return train


def _train(state: _State, batch: int, word: Update, store: Store, rows: Flow) -> None:
    where, ids = _rows_of(store, rows)
    pooled = state.pooled.get((batch, store.name if state.in_parts else ""), {})
    if not pooled.keys() >= set(ids.tolist()):
        raise InvariantError(
            f"batch {batch}: {word.name} trains rows of {store.name} in {store.memory} that "
            "nothing pooled before"
        )
    values = np.array([pooled[row] for row in ids.tolist()], np.uint64)
    held = state.store(store)
    updated = _updated(held.value[where], batch, values)
    if word.part:  # an addition loses nothing
        share = state.shares[batch][store.name, store.memory]
        updated = held.value[where] + share * (updated - held.value[where])
    else:
        state.lost += int((held.trainer[where] != state.trained.before(batch, ids)[0]).sum())
    state.early.changed(store.name, batch, ids, updated - held.value[where])
    held.value[where] = updated
    held.updates[where] += 1
    held.trainer[where] = batch


def _gather(state: _State, batch: int, word: Gather) -> Commit:
    where, _ = _rows_of(word.reads, word.rows)
    held = state.store(word.reads)
    rows = held.changes(where) if word.changes else held.take(where)

    def fill() -> None:
        state.buffers[batch, word.into.name, word.into.memory] = rows

    return fill


def _move(state: _State, batch: int, word: Move) -> Commit:
    """Moves staged rows; buffers that hold no rows (ids, vectors) have none to move."""

    def carry() -> None:
        rows = state.buffers.pop((batch, word.what.name, word.what.memory), None)
        if rows is not None:
            state.buffers[batch, word.what.name, word.into] = rows

    return carry


def _scatter(state: _State, batch: int, word: Scatter) -> Commit:
    where, ids = _rows_of(word.writes, word.rows)
    source = (batch, word.source.name, word.source.memory)

    def put() -> None:
        rows = state.buffers.pop(source, None)
        if rows is None:
            raise InvariantError(
                f"batch {batch}: {word.name} reads {word.source.name} in {word.source.memory}, "
                "but nothing was put there"
            )
        held = state.store(word.writes)
        if word.how == "add":
            held.add(where, rows)
        else:
            (held.put if word.how == "replace" else held.renew)(where, ids, rows)

    return put


def _noise(state: _State, batch: int, word: Noise) -> Commit:
    """Adds noise to rows where they are: before anything reads them, or when the stage ends."""

    def add() -> None:
        held = state.store(word.writes)
        if word.every_row:
            where = np.flatnonzero(held.row >= 0)
        else:
            where, _ = _rows_of(word.writes, word.rows)
        held.add_noise(where, lacking(word, batch, held.ones[where]))

    if not word.before:
        return add
    add()
    return lambda: None


def _zero_copy(state: _State, batch: int, word: ZeroCopy) -> Commit:
    source, _ = _rows_of(word.reads, word.rows)
    target, ids = _rows_of(word.writes, word.rows)
    rows = state.store(word.reads).take(source)

    def put() -> None:
        state.store(word.writes).put(target, ids, rows)

    return put


def _rows_of(store: Store, rows: Flow) -> tuple[Int64s, Int64s]:
    """Where `rows` lie in `store`, and their numbers."""
    where = store.pieces(rows)
    if where is None or rows.ids is None:
        raise InvariantError(f"the replay kept no rows for {store.name} in {store.memory}")
    return where, rows.ids


_RULES: dict[type[Operation], Callable[..., Commit]] = {
    Pool: _pool,
    EarlyPool: _early_pool,
    Amend: _amend,
    Update: _update,
    Gather: _gather,
    Move: _move,
    Scatter: _scatter,
    ZeroCopy: _zero_copy,
    Noise: _noise,
}
"""Word -> what it reads when its stage starts, and what it does when the stage ends."""


def _require_rules(programs: Sequence[tuple[Stage, ...]]) -> None:
    """Every word that names a store has a rule."""
    for stage in programs[0] if programs else ():
        for word in stage.operations:
            stores = [f.name for f in fields(word) if isinstance(getattr(word, f.name), Store)]
            if stores and type(word) not in _RULES:
                raise InvariantError(
                    f"the checker has no rule for {type(word).__name__} ({word.name!r}), which "
                    f"touches {', '.join(stores)}"
                )


def _equal(state: _State, wanted: Values, ones: int) -> bool:
    """Whether the newest copy of every row equals `wanted`, once all trained rows of the caches
    are written back, and all have `ones` of noise where they may lag behind (else 0)."""
    every = np.arange(state.rows)
    final = Copies.of_tables(state.rows)
    for (slotted, *_), rows in sorted(state.stores.items(), key=lambda item: item[0]):
        if slotted and state.in_parts:  # caches last
            ids, changes = rows.changed()
            final.value[ids] += changes
            continue
        held = np.flatnonzero((rows.row >= 0) & ((rows.trainer >= 0) | (rows.ones > 0)))
        newest = held[rows.trainer[held] >= final.trainer[rows.row[held]]]
        newest = newest[np.argsort(rows.trainer[newest], kind="stable")]  # slots that were left
        final.put(rows.row[newest], rows.row[newest], rows.take(newest))
    final.add_noise(every, np.maximum(0, ones - final.ones))
    return bool(np.array_equal(final.value, wanted))
