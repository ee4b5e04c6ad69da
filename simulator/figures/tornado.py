"""A tornado chart: how much each thing helps where it is faster, and hurts where it is slower."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.figures.charts import figure_grid
from simulator.figures.style import styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["tornado"]

_HELPS, _FREE, _HURTS = "#0072B2", "#56B4E9", "#D55E00"


def tornado(data: pd.DataFrame, factor: float, title: str) -> Figure:
    """A row a lever, what weighs most on top.

    `data`: columns `lever`, `gain`, `most`, `loss` (shares of iterations a second); nan draws no
    bar.
    """
    with styled():
        figure, (axes,) = figure_grid(1, 1, 5.2, 0.9 + 0.24 * len(data))
        places = np.arange(len(data))[::-1]
        bars = (
            ("most", _FREE, "taking no time", ""),
            ("gain", _HELPS, f"{factor:g} times as fast", ""),
            ("loss", _HURTS, f"{factor:g} times as slow", "///"),
        )
        for column, color, label, hatch in bars:
            axes.barh(
                places,
                100 * data[column].to_numpy(float),
                height=0.72,
                color=color,
                hatch=hatch,
                edgecolor="black",
                linewidth=0.3,
                label=label,
            )
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(places, list(data["lever"]))
        axes.set_xlabel("iterations a second more, or fewer (%)")
        axes.set_title(title, fontsize=8, loc="left")
        axes.legend(loc="lower right", fontsize=6.5)
        figure.set_layout_engine("constrained")
    return figure
