"""Rows numbered by popularity while they are replayed.

A generated trace draws ranks and scatters them over the rows of a table by a bijection. Replays to
which one row is as good as another (`Replay.ignores_numbers`) are given the ranks: none has to be
scattered, and what is looked up most lies side by side in memory. Facts have rows of the trace.
"""

from __future__ import annotations

from collections.abc import Collection

from simulator.caches.facts import BatchFacts
from simulator.caches.replays.base import Replay, bases
from simulator.traces.base import Trace
from simulator.traces.synthetic import SyntheticTrace

__all__ = ["by_popularity", "in_rows_of"]


def by_popularity(trace: Trace, replays: Collection[Replay]) -> Trace:
    """`trace` with rows numbered by popularity, where none of `replays` minds; else itself."""
    if isinstance(trace, SyntheticTrace) and all(replay.ignores_numbers for replay in replays):
        return trace.unscattered
    return trace


def in_rows_of(trace: Trace, facts: BatchFacts) -> BatchFacts:
    """`facts` of `by_popularity(trace, ...)`, a shard a table, with rows of `trace`."""
    if not isinstance(trace, SyntheticTrace):
        return facts
    starts = bases(trace.rows).tolist()
    return facts.renumbered(
        lambda table, ids: trace.scattered(table, ids - starts[table]) + starts[table]
    )
