"""Numbers of a model that its trace overrules: told where the two are far apart."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.config.trace import FileTraceConfig
from simulator.results.record import PointResult

__all__ = ["FAR", "overruled"]

FAR = 1.25
"""Ratio of the lookups of model and trace from which on they are far apart, by convention."""


def overruled(points: Iterable[PointResult]) -> list[str]:
    """A line for each model whose lookups are far from those that the bags of a file make."""
    lines: dict[str, None] = {}
    for result in points:
        model, trace = result.point.model, result.point.trace
        if not isinstance(trace, FileTraceConfig) or trace.transform is not None:
            continue
        said = sum(model.table_lookups)
        made = result.metrics["lookups_per_batch"] / model.batch_size
        if max(said, made) > FAR * min(said, made):
            line = (
                f"model.lookups_per_table makes {said:,} lookups a sample over all tables, the "
                f"bags of {trace.path} make {made:.4g}: all counts and times follow the bags"
            )
            lines[line] = None
    return list(lines)
