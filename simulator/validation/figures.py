"""Simulated against measured times, as scatter plots on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator._drawing import logarithmic
from simulator.figures.style import look, styled, title
from simulator.validation.numbers import Time

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["scatter", "table"]


def table(times: Sequence[Time]) -> pd.DataFrame:
    """The numbers behind a scatter plot; what binds stands beside whole iterations alone."""
    import pandas as pd

    columns: dict[str, list[Any]] = {
        "experiment": [t.experiment for t in times],
        "sweep": [t.sweep for t in times],
        "system": [t.system for t in times],
        "stage": [t.stage or "" for t in times],
        "gpus": [t.gpus for t in times],
        "bottleneck": [t.bottleneck for t in times],
        "measured_us": [t.measured_us for t in times],
        "simulated_us": [t.simulated_us for t in times],
        "error": [t.error for t in times],
    }
    if not any(columns["bottleneck"]):
        del columns["bottleneck"]
    return pd.DataFrame(columns)


def scatter(times: Sequence[Time], what: str) -> Figure:
    """A mark a time, its colour and shape the system's; the diagonal and 20 % beside it."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(4.2, 4.0), layout="constrained")
        axes = figure.subplots()
        low = min(min(t.measured_us, t.simulated_us) for t in times) / 1.5e3
        high = max(max(t.measured_us, t.simulated_us) for t in times) * 1.5e-3
        ends = [low, high]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        for factor, label in ((0.8, "20 % off"), (1.2, None)):
            scaled = [end * factor for end in ends]
            axes.plot(ends, scaled, color="black", linewidth=0.5, linestyle=":", label=label)
        systems = list(dict.fromkeys(t.system for t in times))
        for number, system in enumerate(systems):
            mine = [t for t in times if t.system == system]
            style = look(system, number)
            axes.scatter(
                [t.measured_us / 1e3 for t in mine],
                [t.simulated_us / 1e3 for t in mine],
                s=14,
                marker=style.marker,
                color=style.color,
                edgecolors="black",
                linewidths=0.3,
                label=title(system),
            )
        axes.set(xlim=ends, ylim=ends)
        logarithmic(axes, "x", "y")
        axes.set_aspect("equal")
        axes.set_xlabel(f"{what}, measured (ms)")
        axes.set_ylabel(f"{what}, simulated (ms)")
        axes.legend()
    return figure
