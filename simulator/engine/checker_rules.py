"""The checker's rules, one for each word that touches rows: what it reads when its stage starts,
and what it does when the stage ends.

Words without a rule here (sorts, MLPs, plans) change no row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from simulator.engine.checked_rows import CheckedRows, rows_of, updated
from simulator.engine.copies import Copies, stores_of
from simulator.engine.hazard_report import StaleRead
from simulator.engine.noise_values import lacking, wanted_ones
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
    Store,
    Update,
    ZeroCopy,
)

__all__ = ["RULES", "Commit"]

Int64s = npt.NDArray[np.int64]
Commit = Callable[[], None]


def _pool(state: CheckedRows, batch: int, word: Pool) -> Commit:
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


def _early_pool(state: CheckedRows, batch: int, word: EarlyPool) -> Commit:
    """Reads rows as they are: they are compared when the mini-batch trains them."""
    kept = [_read(state, *stored) for stored in stores_of(word, word.reads)]

    def keep() -> None:
        for ids, read in kept:
            state.early.read(batch, ids, read)

    return keep


def _amend(state: CheckedRows, batch: int, word: Amend) -> Commit:
    """Adds changes to what was read early, and to copies of rows, when the stage ends."""

    def add() -> None:
        if word.rows.ids is None:
            raise InvariantError(f"the replay kept no rows for {word.name}")
        state.early.amend(batch, word.rows.ids)
        if word.copies is not None and word.copied is not None:
            where, ids = rows_of(word.copies, word.copied)
            state.early.add(batch, ids, state.store(word.copies), where)

    return add


def _use_early(state: CheckedRows, batch: int) -> None:
    """What was read early is used now."""
    for ids, read in state.early.used(batch):
        _note_stale(state, batch, ids, read)
        state.pooled.setdefault((batch, ""), {}).update(zip(ids.tolist(), read.value, strict=True))


def _read(state: CheckedRows, store: Store, rows: Flow) -> tuple[Int64s, Copies]:
    """The distinct rows that are read in one store."""
    where, all_ids = rows_of(store, rows)
    distinct, first = np.unique(where, return_index=True)
    return all_ids[first], state.store(store).take(distinct)


def _note_stale(state: CheckedRows, batch: int, ids: Int64s, read: Copies) -> None:
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


def _update(state: CheckedRows, batch: int, word: Update) -> Commit:
    """Trains rows where they are, with the gradients of what was pooled."""

    def train() -> None:
        _use_early(state, batch)
        for store, rows in stores_of(word, word.writes):
            _train(state, batch, word, store, rows)

    return train


def _train(state: CheckedRows, batch: int, word: Update, store: Store, rows: Flow) -> None:
    where, ids = rows_of(store, rows)
    pooled = state.pooled.get((batch, store.name if state.in_parts else ""), {})
    if not pooled.keys() >= set(ids.tolist()):
        raise InvariantError(
            f"batch {batch}: {word.name} trains rows of {store.name} in {store.memory} that "
            "nothing pooled before"
        )
    held = state.store(store)
    values = np.array([pooled[row] for row in ids.tolist()], held.value.dtype)
    trained = updated(held.value[where], batch, values)
    if word.part:  # an addition loses nothing
        share = state.shares[batch][store.name, store.memory]
        trained = held.value[where] + share * (trained - held.value[where])
    else:
        state.lost += int((held.trainer[where] != state.trained.before(batch, ids)[0]).sum())
    state.early.changed(store.name, batch, ids, trained - held.value[where])
    held.value[where] = trained
    held.updates[where] += 1
    held.trainer[where] = batch


def _gather(state: CheckedRows, batch: int, word: Gather) -> Commit:
    where, _ = rows_of(word.reads, word.rows)
    held = state.store(word.reads)
    rows = held.changes(where) if word.changes else held.take(where)

    def fill() -> None:
        state.buffers[batch, word.into.name, word.into.memory] = rows

    return fill


def _move(state: CheckedRows, batch: int, word: Move) -> Commit:
    """Moves staged rows; buffers that hold no rows (ids, vectors) have none to move."""

    def carry() -> None:
        rows = state.buffers.pop((batch, word.what.name, word.what.memory), None)
        if rows is not None:
            state.buffers[batch, word.what.name, word.into] = rows

    return carry


def _scatter(state: CheckedRows, batch: int, word: Scatter) -> Commit:
    where, ids = rows_of(word.writes, word.rows)
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


def _noise(state: CheckedRows, batch: int, word: Noise) -> Commit:
    """Adds noise to rows where they are: before anything reads them, or when the stage ends."""

    def add() -> None:
        held = state.store(word.writes)
        if word.every_row:
            where = np.flatnonzero(held.row >= 0)
        else:
            where, _ = rows_of(word.writes, word.rows)
        held.add_noise(where, lacking(word, batch, held.ones[where]))

    if not word.before:
        return add
    add()
    return lambda: None


def _zero_copy(state: CheckedRows, batch: int, word: ZeroCopy) -> Commit:
    source, _ = rows_of(word.reads, word.rows)
    target, ids = rows_of(word.writes, word.rows)
    rows = state.store(word.reads).take(source)

    def put() -> None:
        state.store(word.writes).put(target, ids, rows)

    return put


RULES: dict[type[Operation], Callable[..., Commit]] = {
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
