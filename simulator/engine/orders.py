"""Orders of stages that a schedule allows, drawn at random: what no one machine shows.

A stage starts some time after all that it waits for (`pipeline.conditions`) and takes some time;
both are drawn, from one unit to ten thousand of them, each decade as likely, and half of the stages
start at once. Stages that a machine always runs in one order meet in the other here too.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import TopologicalSorter

import numpy as np

from simulator.engine.pipeline import Mode, Span, Waits, conditions

__all__ = ["random_order"]

_DECADES = 4.0


def random_order(
    batches: int, stages: int, mode: Mode, seed: int, waits: Waits = ()
) -> tuple[Span, ...]:
    """Spans of `batches` mini-batches of `stages` stages, in units that mean nothing; the same for
    the same arguments."""
    rng = np.random.default_rng([seed, batches, stages])
    ends: dict[tuple[int, int], int] = {}
    spans = []
    for batch, stage in _waits_last(batches, stages, mode, waits):
        drawn = 10.0 ** rng.uniform(0.0, _DECADES, 2)
        delay, length = int(drawn[0]) * int(rng.integers(2)), int(drawn[1])
        before = _before(mode, stages, (batch, stage), waits, batches)
        after = max(before, key=lambda key: (ends[key], key)) if before else None
        start = delay + (0 if after is None else ends[after])
        ends[batch, stage] = start + length
        spans.append(Span(batch, stage, start, start + length, after))
    return tuple(sorted(spans, key=lambda span: (span.end_ps, span.batch, span.stage)))


def _before(
    mode: Mode, stages: int, key: tuple[int, int], waits: Waits, batches: int
) -> list[tuple[int, int]]:
    """What (mini-batch, stage) waits for, of `batches` mini-batches."""
    return [k for k in conditions(mode, stages, *key, waits) if k[0] < batches]


def _waits_last(batches: int, stages: int, mode: Mode, waits: Waits) -> Iterable[tuple[int, int]]:
    """All (mini-batch, stage), each after those that it waits for: in a pipeline those lie in the
    cycle before."""
    keys = [(batch, stage) for batch in range(batches) for stage in range(stages)]
    if mode == "streams":
        graph = {key: _before(mode, stages, key, waits, batches) for key in keys}
        return TopologicalSorter(graph).static_order()
    return keys if mode in ("serial", "ahead") else sorted(keys, key=lambda key: (sum(key), key[1]))
