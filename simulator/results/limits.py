"""What holds the points of a run up, in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simulator.results.resources import LATENCY, title_of
from simulator.results.rows import Row
from simulator.text import few

__all__ = ["limits"]


def limits(rows: Iterable[Row]) -> str:
    """The bottleneck of each label of `rows` (of metrics), those of one bottleneck together; empty
    without rows. A label whose points have several bottlenecks stands with each; points without
    one are left out."""
    labels: dict[str, list[str]] = {}
    busy: dict[str, list[float]] = {}
    for row in rows:
        if row["bottleneck"] is None:
            continue
        labels.setdefault(row["bottleneck"], []).append(row["label"])
        busy.setdefault(row["bottleneck"], []).append(row["bottleneck_utilization"] or 0.0)
    texts = [f"{_what(name, busy)} ({few(dict.fromkeys(held))})" for name, held in labels.items()]
    return f"held up by {'; '.join(texts)}" if texts else ""


def _what(bottleneck: str, busy: Mapping[str, list[float]]) -> str:
    if bottleneck == LATENCY:
        return "no single resource: stages or operations that wait for each other"
    low, high = min(busy[bottleneck]), max(busy[bottleneck])
    shares = f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"
    return f"{title_of(bottleneck)}, {shares} busy"
