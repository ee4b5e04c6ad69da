"""Orders of stages that a schedule allows, drawn at random: what no one machine shows.

A stage starts some time after all that it waits for (`pipeline.conditions`) and takes some time;
both are drawn, from one unit to ten thousand of them, each decade as likely, and half of the stages
start at once. Stages that a machine always runs in one order meet in the other here too.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.pipeline import Mode, Span, conditions

__all__ = ["random_order"]

_DECADES = 4.0


def random_order(batches: int, stages: int, mode: Mode, seed: int) -> tuple[Span, ...]:
    """Spans of `batches` mini-batches of `stages` stages, in units that mean nothing; the same for
    the same arguments."""
    rng = np.random.default_rng([seed, batches, stages])
    ends: dict[tuple[int, int], int] = {}
    spans = []
    for batch, stage in _waits_last(batches, stages, mode):
        drawn = 10.0 ** rng.uniform(0.0, _DECADES, 2)
        delay, length = int(drawn[0]) * int(rng.integers(2)), int(drawn[1])
        before = [key for key in conditions(mode, stages, batch, stage) if key[0] < batches]
        after = max(before, key=lambda key: (ends[key], key)) if before else None
        start = delay + (0 if after is None else ends[after])
        ends[batch, stage] = start + length
        spans.append(Span(batch, stage, start, start + length, after))
    return tuple(sorted(spans, key=lambda span: (span.end_ps, span.batch, span.stage)))


def _waits_last(batches: int, stages: int, mode: Mode) -> list[tuple[int, int]]:
    """All (mini-batch, stage), each after those that it waits for: where stages overlap, those lie
    in the cycle before."""
    keys = [(batch, stage) for batch in range(batches) for stage in range(stages)]
    return keys if mode in ("serial", "ahead") else sorted(keys, key=lambda key: (sum(key), key[1]))
