"""Orders of stages that a schedule allows, drawn at random: what no one machine shows.

A stage starts some time after all that it waits for (`pipeline.conditions`) and takes some time;
both are drawn, from one unit to ten thousand of them, each decade as likely, and half of the stages
start at once. Stages that a machine always runs in one order meet in the other here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from graphlib import TopologicalSorter

import numpy as np

from simulator.engine.pipeline import ALONE, Beside, Mode, Span, Waits, conditions

__all__ = ["random_order"]

_DECADES = 4.0
Key = tuple[int, int]
"""Mini-batch and stage."""


def random_order(
    batches: int,
    stages: int,
    mode: Mode,
    seed: int,
    waits: Waits = (),
    *,
    beside: Beside = ALONE,
) -> tuple[Span, ...]:
    """Spans of `batches` mini-batches of `stages` stages, in units that mean nothing; the same for
    the same arguments. `beside`: stages before those of the order."""
    before_key = partial(_before, mode, stages, waits=waits, beside=beside, batches=batches)
    rng = np.random.default_rng([seed, batches, stages])
    ends: dict[tuple[int, int], int] = {}
    spans = []
    keys = [(batch, stage) for batch in range(batches) for stage in range(stages)]
    for batch, stage in _waits_last(keys, mode, before_key, sorted_out=bool(beside.count)):
        drawn = 10.0 ** rng.uniform(0.0, _DECADES, 2)
        delay, length = int(drawn[0]) * int(rng.integers(2)), int(drawn[1])
        before = before_key((batch, stage))
        after = max(before, key=lambda key: (ends[key], key)) if before else None
        start = delay + (0 if after is None else ends[after])
        ends[batch, stage] = start + length
        spans.append(Span(batch, stage, start, start + length, after))
    return tuple(sorted(spans, key=lambda span: (span.end_ps, span.batch, span.stage)))


def _before(
    mode: Mode, stages: int, key: Key, *, waits: Waits, beside: Beside, batches: int
) -> list[Key]:
    """What (mini-batch, stage) waits for, of `batches` mini-batches."""
    waited = conditions(mode, stages, *key, waits, beside=beside)
    return [k for k in waited if k[0] < batches]


def _waits_last(
    keys: list[Key], mode: Mode, before: Callable[[Key], list[Key]], *, sorted_out: bool
) -> Iterable[Key]:
    """All (mini-batch, stage), each after those that it waits for: in a pipeline those lie in the
    cycle before, unless stages run beside it (`sorted_out`)."""
    if mode == "streams" or sorted_out:
        return TopologicalSorter({key: before(key) for key in keys}).static_order()
    return keys if mode in ("serial", "ahead") else sorted(keys, key=lambda key: (sum(key), key[1]))
