"""What stands under the table of metrics: marks of points, and how their caches started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from simulator.results.extension import EXTENSION, extension_note
from simulator.results.rows import Row
from simulator.results.software import software_note
from simulator.text import few, on_one_line

__all__ = ["MOST_INTO_FREE", "PAST", "SAMPLE", "marks_of", "notes_of"]

GROWN, MOVES, OVERLAPS, DRAINS, CROWDED = "*", "!", "#", "~", "^"
"""Marks behind the name of a system."""
SAMPLE, PAST = "sample", "past"
"""Kinds of profiles that count mini-batches of their own choice."""
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
        OVERLAPS: _overlap(row) > 0.0,
        DRAINS: bool(row["drained_batches"]),
        CROWDED: _crowded(row),
        EXTENSION: bool(row.get("training_is_ours")),
    }


def _crowded(row: Row) -> bool:
    """Whether a cache of sets has fewer slots than it needs at once."""
    return (row.get("rows_per_slot") or 0.0) > 1.0


def _overlap(row: Row) -> float:
    """Share of the timed mini-batches that a profile of the first ones counted. A sample of all of
    them has some by intent."""
    sampled = (row["profile"] or "").startswith(SAMPLE)
    return 0.0 if sampled else row["profile_overlap"] or 0.0


def notes_of(rows: Sequence[Row]) -> str:
    """A line a note, those of the marks first; empty where nothing has to be said."""
    notes = (_warnings, _seeds, _idle, _starts, _profiles, _shares)
    return "\n".join(line for note in notes for line in note(rows))


def _warnings(rows: Sequence[Row]) -> Iterator[str]:
    yield from filter(None, (software_note(rows), extension_note(rows)))
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
    overlap = max(map(_overlap, rows), default=0.0)
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
    if crowded := [row for row in rows if _crowded(row)]:
        yield _overflow(max(crowded, key=lambda row: row["rows_per_slot"]), crowded)


def _overflow(worst: Row, crowded: Sequence[Row]) -> str:
    """Caches whose sets overflow: by how much, and what to do."""
    systems = few(sorted({on_one_line(row["system"]) for row in crowded}))
    left_out = worst["bypass_rows_per_batch"] / worst["unique_rows_per_batch"]
    return (
        f"{CROWDED} sets of the cache overflow ({systems}): up to {worst['rows_per_slot']:.3g} "
        f"rows a slot are needed at once, and {_percent(left_out)} of a mini-batch's rows are read "
        "and trained where they lie: raise the size of the cache (cache.fraction, cache.rows or "
        "cache.bytes), or lower model.batch_size (or look_ahead, where a window is loaded)"
    )


def _idle(rows: Sequence[Row]) -> Iterator[str]:
    """Policies that evicted nothing: another one would give the same."""
    idle = {
        str(row["policy"])
        for row in rows
        if row["policy"] is not None and row["victims_per_batch"] == 0
    }
    if idle:
        yield (
            f"no row was evicted at some points: there {few(sorted(idle))} had nothing to choose, "
            "and any policy gives the same (a smaller cache or more mini-batches tells them apart)"
        )


def _seeds(rows: Sequence[Row]) -> Iterator[str]:
    """What the numbers in brackets are."""
    seeds = sorted({row["seeds"] for row in rows if row.get("seeds")})
    if seeds:
        yield f"(a to b): the least and the most of {_range(seeds)} seeds; all else is of the first"


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


def _shares(rows: Sequence[Row]) -> Iterator[str]:
    """Mini-batches that GPUs do not divide, by size and number of GPUs."""
    shared = {(row.get("batch_size"), row.get("gpus")) for row in rows}
    uneven = {(size, gpus) for size, gpus in shared if size and gpus and size % gpus}
    told = [
        f"{size:,} samples on {gpus:,} GPUs: {size // gpus:,} or {size // gpus + 1:,} each"
        for size, gpus in sorted(uneven)
    ]
    if told:
        yield f"uneven shares of a mini-batch: {'; '.join(told)}"


def _profile(profile: str) -> str:
    if profile == "whole":
        return "the whole file, its timed part included"
    kind, number = profile.split()
    if kind == PAST:
        return f"{int(number):,} mini-batches of the past"
    share = _percent(float(number))
    if kind == SAMPLE:
        return f"{share} of all mini-batches, drawn at random, timed ones among them"
    return f"the first {share} of the file"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "-"
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
