"""A picture of a trace: popularity and LRU miss ratio of each table, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simulator._drawing import drawing, logarithmic
from simulator.errors import UsageError
from simulator.files import staged
from simulator.traces.analysis import TableReport

__all__ = ["plot_reports"]

_MOST_TABLES = 8


def plot_reports(reports: Sequence[TableReport], path: Path, title: str) -> None:
    """Draw at most eight tables to `path` (PNG, SVG or PDF by its ending)."""
    with drawing():
        _plot(reports, path, title)


def _plot(reports: Sequence[TableReport], path: Path, title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    suffix = path.suffix[1:].lower()
    if suffix not in FigureCanvasAgg(figure).get_supported_filetypes():
        raise UsageError(f"{path}: a picture ends in .png, .svg or .pdf")
    hot, misses = figure.subplots(1, 2)
    for report in reports[:_MOST_TABLES]:
        name = f" {report.table}" if report.table.startswith("_") else report.table  # for legends
        label = name if report.has_time_order else f"{name} (no time order)"
        unique = report.unique_ids
        curve = report.popularity_curve
        hot.plot([100 * n / unique for n, _ in curve], [100 * y for _, y in curve], label=label)
        curve = report.miss_ratio_curve
        misses.plot([100 * n / unique for n, _ in curve], [100 * y for _, y in curve], label=label)
    hot.set(xlabel="hottest ids (% of distinct ids)", ylabel="lookups on them (%)")
    misses.set(xlabel="LRU cache (% of distinct ids)", ylabel="misses (% of lookups)")
    for axes in (hot, misses):
        logarithmic(axes, "x")
        axes.grid(True, which="major", alpha=0.3)
        axes.set_ylim(0, 100)
    if reports:
        hot.legend(fontsize="small")
    more = len(reports) - _MOST_TABLES
    figure.suptitle(title + (f" ({more} more tables not drawn)" if more > 0 else ""))
    with staged(path) as file:
        figure.savefig(file, format=suffix, metadata={"Date": None} if suffix == "svg" else None)
