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

A word that reads or writes a store and has no rule (`checker_rules`) is an error before anything
runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt

from simulator.engine.checked_rows import CheckedRows, Values, updated
from simulator.engine.checker_rules import RULES, Commit
from simulator.engine.copies import Copies, Trained, shares_of, trained_rows
from simulator.engine.hazard_report import HazardReport, StaleRead
from simulator.engine.noise_values import NoiseKind, noise_of
from simulator.engine.pipeline import Span
from simulator.errors import InvariantError
from simulator.hardware.early import Amend
from simulator.hardware.program import Flow, Operation, Stage, Store

__all__ = ["HazardReport", "StaleRead", "execute"]

Int64s = npt.NDArray[np.int64]


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
    state = CheckedRows(rows, slots, held, Trained.of(programs), shares, noise)
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
        tables_equal=_equal(
            _final(state, len(programs) * lagging), sequential(trained, rows, noise)
        ),
        lost=state.lost,
    )


def sequential(trained: Sequence[Int64s], rows: int, noise: NoiseKind = "none") -> Values:
    """The tables after training one mini-batch at a time; `trained`: rows of each."""
    values = np.arange(rows, dtype=np.uint64)
    for batch, ids in enumerate(trained):
        values[ids] = updated(values[ids], batch)
        if noise != "none":
            values[slice(None) if noise == "dense" else ids] += np.uint64(1)
    return values


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
    return isinstance(word, tuple(RULES)) and bool(counted)


def _start(state: CheckedRows, batch: int, stage: Stage) -> list[Commit]:
    """Read what the stage reads from stores; what will have to be written when it ends."""
    words = [word for word in stage.operations if type(word) in RULES]
    return [RULES[type(word)](state, batch, word) for word in words]


def _require_rules(programs: Sequence[tuple[Stage, ...]]) -> None:
    """Every word that names a store has a rule."""
    for stage in programs[0] if programs else ():
        for word in stage.operations:
            stores = [f.name for f in fields(word) if isinstance(getattr(word, f.name), Store)]
            if stores and type(word) not in RULES:
                raise InvariantError(
                    f"the checker has no rule for {type(word).__name__} ({word.name!r}), which "
                    f"touches {', '.join(stores)}"
                )


def _final(state: CheckedRows, ones: int) -> Values:
    """The newest copy of every row, once all trained rows of the caches are written back, and all
    have `ones` of noise where they may lag behind (else 0)."""
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
    return final.value


def _equal(final: Values, wanted: Values) -> bool:
    return bool(np.array_equal(final, wanted))
