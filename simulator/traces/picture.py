"""A picture of a trace: popularity and LRU miss ratio of each table, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from simulator._drawing import drawing
from simulator.errors import OutputError, UsageError
from simulator.traces.analysis import TableReport

__all__ = ["plot_reports"]

_MOST_TABLES = 8


def plot_reports(reports: Sequence[TableReport], path: Path, title: str) -> None:
    """Draw at most eight tables to `path` (PNG, SVG or PDF by its ending)."""
    with drawing():
        _plot_reports(reports, path, title)


def _plot_reports(reports: Sequence[TableReport], path: Path, title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    if path.suffix[1:].lower() not in FigureCanvasAgg(figure).get_supported_filetypes():
        raise UsageError(f"{path}: a picture ends in .png, .svg or .pdf")
    hot, misses = figure.subplots(1, 2)
    for report in reports[:_MOST_TABLES]:
        label = report.table if report.has_time_order else f"{report.table} (no time order)"
        unique = report.unique_ids
        curve = report.popularity_curve
        hot.plot([100 * n / unique for n, _ in curve], [100 * y for _, y in curve], label=label)
        curve = report.miss_ratio_curve
        misses.plot([100 * n / unique for n, _ in curve], [100 * y for _, y in curve], label=label)
    hot.set(xscale="log", xlabel="hottest ids (% of distinct ids)", ylabel="lookups on them (%)")
    misses.set(xscale="log", xlabel="LRU cache (% of distinct ids)", ylabel="misses (% of lookups)")
    for axes in (hot, misses):
        axes.grid(True, which="major", alpha=0.3)
        axes.set_ylim(0, 100)
    hot.legend(fontsize="small")
    more = len(reports) - _MOST_TABLES
    figure.suptitle(title + (f" ({more} more tables not drawn)" if more > 0 else ""))
    temporary = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
