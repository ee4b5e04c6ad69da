"""A against B on the report page: their points paired, with signed differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import UsageError
from simulator.results.against import Against, Pair, against, shared_columns
from simulator.results.dictionary import describe
from simulator.results.resources import title_of
from simulator.results.rows import Row

__all__ = ["Comparison", "comparison_of"]

_MOST_ROWS = 400


@dataclass(frozen=True)
class Comparison:
    """The table of pairs; `lines` stand above it."""

    lines: list[str]
    rows: list[list[str]]
    headings: tuple[str, ...] = ("point", "metric", "A", "B", "B against A", "published error")


def comparison_of(
    first: Sequence[Row], second: Sequence[Row], match: Sequence[str] = ()
) -> Comparison:
    """The points (rows of metrics) of two runs, paired by `match`, else by all that they share.

    Raises `UsageError` where `match` is given and pairs nothing; without it, the page says why.
    """
    try:
        found = against(first, second, match or shared_columns(first, second))
    except UsageError as error:
        if match:
            raise
        return Comparison([f"Points are not paired: {error}"], [])
    rows = [_row(pair) for pair in found.pairs]
    lines = [f"Paired by {', '.join(found.matched_by)}.", *_told(found)]
    if len(rows) > _MOST_ROWS:
        lines.append(f"The first {_MOST_ROWS} of {len(rows):,} rows.")
    return Comparison(lines, rows[:_MOST_ROWS])


def _told(found: Against) -> list[str]:
    lines = []
    if found.differ_in:
        lines.append(f"A and B differ in {', '.join(found.differ_in)}.")
    lines += found.warnings
    for point, ours, theirs in found.bottlenecks:
        if ours != theirs:
            lines.append(f"{point}: bottleneck {title_of(ours)} in A, {title_of(theirs)} in B.")
    for letter, count in zip("AB", found.unpaired, strict=True):
        if count:
            lines.append(f"{count} points of {letter} have no partner.")
    return lines


def _row(pair: Pair) -> list[str]:
    ((_, column), *_) = describe(pair.metric)
    unit = f" ({column.unit})" if column.unit not in ("", "1") else ""
    change = "–" if pair.change is None else f"{pair.change:+.1%}"
    error = "not known" if pair.metric == "iteration_time_us" else ""
    if pair.error is not None:
        error = f"{pair.error:.1%}: {'larger' if pair.beyond_error else 'within it'}"
    words = pair.metric
    for suffix in ("_us", "_mj", "_samples_per_s", "_per_batch"):
        words = words.removesuffix(suffix)
    return [pair.point, words.replace("_", " ") + unit, *pair.texts, change, error]
