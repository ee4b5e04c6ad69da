"""The picture of a pipeline: a lane a stage, a block a mini-batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.figures.style import title
from simulator.figures.tables import rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["draw_pipeline", "steady_spans"]

_SHADES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")


def steady_spans(spans: pd.DataFrame, first: int, batches: int) -> pd.DataFrame:
    """What runs from the end of mini-batch `first` - 1 to the end of `first` + `batches` - 1.

    `spans`: columns stage, batch, start_ps, end_ps. The result has ms from the start of that
    window, spans cut at its ends.
    """
    ends = spans.groupby("batch")["end_ps"].max()
    begin = int(ends.get(first - 1, 0))
    end = int(ends[min(first + batches - 1, ends.index.max())])
    rows = spans[(spans["end_ps"] > begin) & (spans["start_ps"] < end)]
    rows = rows.sort_values(["start_ps", "batch"])
    return rows[["stage", "batch"]].assign(
        start_ms=(rows["start_ps"].clip(begin, end) - begin) / 1e9,
        end_ms=(rows["end_ps"].clip(begin, end) - begin) / 1e9,
    )


def draw_pipeline(axes: Axes, spans: pd.DataFrame, stages: Sequence[str]) -> None:
    """`stages` from top to bottom, the numbers of the mini-batches in their blocks.

    `spans`: columns stage, batch, start_ms, end_ms; a mini-batch has one colour in all stages.
    """
    limit = float(spans["end_ms"].max())
    for row in rows_of(spans):
        lane, width = stages.index(str(row.stage)), row.end_ms - row.start_ms
        color = _SHADES[int(row.batch) % len(_SHADES)]
        axes.barh(lane, width, 0.76, row.start_ms, color=color, edgecolor="#222222", linewidth=0.5)
        if width > 0.018 * limit:
            axes.text(
                row.start_ms + width / 2,
                lane,
                str(row.batch),
                ha="center",
                va="center",
                fontsize=6,
                color="black",
                bbox=_label_box(),
            )
    axes.set_yticks(range(len(stages)), [title(stage) for stage in stages])
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlim(0, 1.01 * limit)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")


def _label_box() -> dict[str, object]:
    """White behind a number, so that it can be read on every colour."""
    return {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
