"""How a cache came to what it held, and whether it held still while the run was timed.

The timed window is *stationary* where none of these is true: misses trend (`caches.trend`: a slope
that is significant at 0.1 % and more than 2 % over the window); rows that `prefill: hot` has put
there, and that no mini-batch has looked up since, are more than 1 % of the slots when it begins;
more than 1 % of the missed rows went into slots that were free.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from simulator.caches.facts import AS_FILLED, MISS, VICTIM, BatchFacts
from simulator.caches.replays import PlannedReplay, Replay, StaticReplay
from simulator.caches.replays.hot_rows import HotRows
from simulator.caches.replays.popular import PopularReplay
from simulator.caches.replays.tiered_rows import TieredReplay
from simulator.caches.totals import in_pieces, totals_of
from simulator.caches.trend import trend_of
from simulator.results.notes import MOST_INTO_FREE, PAST, SAMPLE
from simulator.traces import Trace
from simulator.traces.replay import FileTrace

__all__ = ["profile_metrics", "start_metrics", "stationary_metrics"]

MOST_AS_FILLED = 0.01
"""Of the slots."""


def start_metrics(
    replay: Replay, trace: Trace, facts: Sequence[BatchFacts], timed: range
) -> dict[str, Any]:
    """The columns that say where the cache came from; `facts` of all mini-batches, `timed` those
    that count. What a system without a cache does not have is left out."""
    metrics: dict[str, Any] = {}
    start = facts[timed[0]].start
    if start is not None:
        metrics |= {"cache_start": start.kind, "cache_start_batches": start.batches}
    metrics |= profile_metrics(replay, trace, timed)
    chosen = islice(facts, timed[0], timed[-1] + 1)
    return metrics | stationary_metrics(chosen, sum(replay.slots), replay.cycle)


def profile_metrics(replay: Replay, trace: Trace, timed: range) -> dict[str, Any]:
    """Where the hottest rows are known from, for replays that ask for them."""
    if isinstance(replay, PopularReplay):
        return _sampled(replay.hot, trace, timed)
    if not isinstance(replay, StaticReplay | PlannedReplay | TieredReplay):
        return {}
    if isinstance(replay, PlannedReplay) and not replay.fills_hot:
        return {}
    if not isinstance(trace, FileTrace):
        return {"profile": "generator", "profile_overlap": 0.0}
    share = replay.profile
    return {
        "profile": "whole" if share >= 1.0 else f"prefix {share:g}",
        "profile_overlap": trace.profiled(share, timed),
    }


def _sampled(hot: HotRows, trace: Trace, timed: range) -> dict[str, Any]:
    """The same where mini-batches of its own choice are counted."""
    counted = hot.counted(trace)
    overlap = float(np.isin(timed, counted).mean())
    kind = f"{PAST} {len(counted)}" if isinstance(counted, range) else f"{SAMPLE} {hot.share:g}"
    return {"profile": kind, "profile_overlap": overlap}


def stationary_metrics(timed: Iterable[BatchFacts], slots: int, cycle: int = 1) -> dict[str, Any]:
    """Whether misses stay where they are over the `timed` mini-batches of a cache of `slots`, from
    one `cycle` of mini-batches to the next."""
    pieces = in_pieces(timed)
    piece = next(pieces)
    first = piece[0]
    if MISS not in first:
        return {}
    evicts = VICTIM in first
    names = [MISS, VICTIM] if evicts else [MISS]
    rows = np.concatenate([totals_of(own, names)[:, :, 1] for own in chain((piece,), pieces)])
    misses = rows[:, 0]
    cycles = misses[: len(misses) // cycle * cycle].reshape(-1, cycle)
    trend = trend_of(cycles.sum(axis=1) / cycle)
    signs = []
    metrics: dict[str, Any] = {}
    if trend is not None:
        signs.append(trend.moves)
        metrics = {
            "misses_first_half": trend.first_half,
            "misses_second_half": trend.second_half,
            "misses_trend": trend.change,
            "misses_trend_t": trend.t,
        }
    if AS_FILLED in first:
        metrics["rows_as_filled"] = first[AS_FILLED].rows
        signs.append(first[AS_FILLED].rows > MOST_AS_FILLED * slots)
    if evicts:
        missed, victims = rows.sum(axis=0).tolist()
        signs.append(missed - victims > MOST_INTO_FREE * missed)
    unknown = trend is None and not any(signs)
    return metrics | {"stationary": None if unknown else not any(signs)}
