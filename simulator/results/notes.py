"""What stands under the table of metrics: marks of points, and how their caches started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from simulator.results.rows import Row
from simulator.text import few

__all__ = ["MOST_INTO_FREE", "marks_of", "notes_of"]

GROWN, MOVES, OVERLAPS, DRAINS = "*", "!", "#", "~"
"""Marks behind the name of a system."""
MOST_INTO_FREE = 0.01
"""Of the missed rows, before a cache counts as one that is still filling."""


def marks_of(row: Row) -> str:
    """The marks of a point, each after a space."""
    marks = [mark for mark, holds in _marked(row).items() if holds]
    return "".join(f" {mark}" for mark in marks)


def _marked(row: Row) -> dict[str, bool]:
    return {
        GROWN: bool(row["cache_grown"]),
        MOVES: row["stationary"] is False,
        OVERLAPS: bool(row["profile_overlap"]),
        DRAINS: bool(row["drained_batches"]),
    }


def notes_of(rows: Sequence[Row]) -> str:
    """A line a note, those of the marks first; empty where nothing has to be said."""
    lines = [*_warnings(rows), *_starts(rows), *_profiles(rows)]
    return "\n".join(lines)


def _warnings(rows: Sequence[Row]) -> Iterator[str]:
    if any(row["cache_grown"] for row in rows):
        yield f"{GROWN} the cache asked for could not hold its window and was enlarged"
    moving = [row for row in rows if row["stationary"] is False]
    if moving:
        filled = any(row["cache_start"] in ("hot", "empty") for row in moving)
        advice = (
            "set cache.prefill to steady"
            if filled
            else "the trace itself changes, or run.warmup_batches is too small"
        )
        yield f"{MOVES} not stationary: {'; '.join(_how(moving))}: {advice}"
    overlap = max((row["profile_overlap"] or 0.0 for row in rows), default=0.0)
    if overlap:
        yield (
            f"{OVERLAPS} the profile of the hottest rows has counted {_percent(overlap)} of the "
            "timed mini-batches: take fewer (run.batches), or a shorter cache.profile: {prefix: "
            "SHARE}"
        )
    drained = max((row["drained_batches"] or 0 for row in rows), default=0)
    if drained:
        yield (
            f"{DRAINS} the trace ends before the pipeline is full behind the last {drained:,} "
            "timed mini-batches, which come out too fast: lower run.batches by as many, or the "
            "batch size"
        )


def _how(rows: Sequence[Row]) -> Iterator[str]:
    """What moves in points that are not stationary, at most."""
    trend = max((row["misses_trend"] or 0.0 for row in rows), key=abs)
    if trend:
        yield f"misses change by up to {trend:+.1%} over the timed mini-batches"
    filled = max(row["rows_as_filled"] or 0 for row in rows)
    if filled:
        yield f"up to {filled:,} rows of the cache are as it was filled and were never looked up"
    if any(_fills(row) for row in rows):
        yield "missed rows still go into free slots"


def _fills(row: Row) -> bool:
    """Whether rows go into slots that were free; a static cache has no victims."""
    victims = row["victims_per_batch"]
    return victims is not None and victims < (1.0 - MOST_INTO_FREE) * row["misses_per_batch"]


def _starts(rows: Sequence[Row]) -> Iterator[str]:
    """How caches came to what they held."""
    kinds = Counter(row["cache_start"] for row in rows if row["cache_start"] is not None)
    planned = [row["cache_start_batches"] for row in rows if row["cache_start"] == "planned"]
    texts = {
        "sampled": "steady state (sampled)",
        "planned": f"steady state (after {_range(planned)} untimed mini-batches)",
        "hot": "hottest rows",
        "empty": "empty",
    }
    told = [text for kind, text in texts.items() if kind in kinds]
    if told:
        yield f"start of caches: {', '.join(told)}"


def _profiles(rows: Sequence[Row]) -> Iterator[str]:
    """What the hottest rows of files are known from."""
    known = sorted({row["profile"] for row in rows if row["profile"] not in (None, "generator")})
    if known:
        texts = [_profile(profile) for profile in known]
        yield f"hottest rows known from: {few(texts)}"


def _profile(profile: str) -> str:
    if profile == "whole":
        return "the whole file, its timed part included"
    return f"the first {_percent(float(profile.split()[1]))} of the file"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "-"
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
