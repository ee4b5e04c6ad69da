"""Scratchpad size: worst case, need of each class, the smallest cache that loses no speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.caches import Window, window_need
from simulator.config.catalogue import load_named
from simulator.config.trace import LocalityTraceConfig
from simulator.figures.charts import figure_grid, from_zero, legend_above, lines
from simulator.figures.style import LOCALITIES, look, styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import metrics_frame
from simulator.studies.readme import columns_of, side_by_side
from simulator.traces import open_trace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.config.model import ModelConfig

__all__ = ["figures", "readme", "tables"]

MIB = 2**20


def tables(inputs: Inputs) -> Tables:
    model: ModelConfig = load_named("models", inputs.settings["model"])
    speed = _speed(inputs, model)
    return {
        "need": _need(inputs.settings, model),
        "speed": speed,
        "enough": _enough(speed, inputs.settings["loses_no_speed"]),
    }


def _need(settings: Any, model: ModelConfig) -> pd.DataFrame:
    """The rows that the window of six mini-batches holds, largest of those tried."""
    window = Window(settings["window"]["past"], settings["window"]["future"])
    lookups = model.batch_size * sum(model.table_lookups)
    worst = window.batches * lookups * model.row_bytes
    rows = [{"locality": "worst case", "need_mib": worst / MIB, "share_of_rows": None}]
    for locality in LOCALITIES:
        trace = open_trace(
            LocalityTraceConfig(locality=locality),  # type: ignore[arg-type]
            rows=model.rows_per_table,
            lookups=model.lookups_per_table,
            batch_size=model.batch_size,
            seed=settings["seed"],
            threads=2,
        )
        batches = (trace.minibatch(number) for number in range(settings["batches"]))
        need = sum(window_need(batches, model.rows_per_table, window))
        rows.append(
            {
                "locality": locality,
                "need_mib": need * model.row_bytes / MIB,
                "share_of_rows": need / model.rows,
            }
        )
    data = pd.DataFrame(rows)
    return data.assign(share_of_worst=data["need_mib"] / data["need_mib"].iloc[0])


def _speed(inputs: Inputs, model: ModelConfig) -> pd.DataFrame:
    metrics = metrics_frame(inputs.results["experiment"])
    data = metrics[["locality", "operators", "cache_grown", "unique_hit_rate"]].copy()
    data["asked"] = metrics["cache.fraction"].astype(float)
    data["cache_share"] = metrics["cache_fraction"].astype(float)
    data["cache_mib"] = metrics["cache_rows"].astype(float) * model.row_bytes / MIB
    data["time_ms"] = metrics["iteration_time_us"] / 1e3
    largest = data.sort_values("asked").drop_duplicates("locality", keep="last")
    base = largest.set_index("locality")["time_ms"]
    return data.assign(
        time_over_largest=data["time_ms"] / base.reindex(data["locality"]).to_numpy()
    )


def _enough(speed: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """The smallest cache within `tolerance` of the time with the largest one."""
    good = speed[speed["time_over_largest"] <= 1.0 + tolerance].sort_values("cache_share")
    columns = ["locality", "cache_share", "cache_mib", "time_ms", "time_over_largest"]
    return good.drop_duplicates("locality")[columns].reset_index(drop=True)


def readme(tables: Tables) -> Tables:
    need = {"locality": "", "need_mib": ".1f", "share_of_rows": ".2%", "share_of_worst": ".3f"}
    enough = {"locality": "", "cache_share": ".3%", "cache_mib": ".0f", "time_ms": ".2f"}
    speed = tables["speed"]
    asked = speed.assign(**{"cache asked for": [f"{share:.1%}" for share in speed["asked"]]})
    return {
        "need": columns_of(tables["need"], need),
        "speed": side_by_side(asked, ["cache asked for"], "locality", ("time_ms", ".2f")),
        "enough": columns_of(tables["enough"], {**enough, "time_over_largest": ".3f"}),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    return {"need": _need_figure(tables["need"]), "speed": _speed_figure(tables["speed"])}


def _need_figure(data: pd.DataFrame) -> Figure:
    with styled():
        figure, (axes,) = figure_grid(1, 1, 3.6, 2.5)
        for position, (name, need) in enumerate(
            zip(data["locality"], data["need_mib"], strict=True)
        ):
            style = look(name, 7)
            axes.bar(position, need, 0.7, color=style.color, hatch=style.hatch, edgecolor="#222222")
            axes.annotate(
                f"{need:.0f}",
                (position, need),
                xytext=(0, 2),
                ha="center",
                textcoords="offset points",
                fontsize=7,
            )
        axes.set_xticks(range(len(data)), [str(n).capitalize() for n in data["locality"]])
        axes.set_ylabel("rows of the window (MiB)")
        axes.set_title("What a window of six mini-batches holds")
        axes.margins(y=0.12)
    return figure


def _speed_figure(data: pd.DataFrame) -> Figure:
    percent = data.assign(cache_percent=100 * data["cache_share"])
    with styled():
        figure, axes = figure_grid(1, 2, 7.2, 2.6)
        for panel, value in zip(axes, ("time_ms", "time_over_largest"), strict=True):
            lines(panel, percent, x="cache_percent", y=value, hue="locality", hues=LOCALITIES)
            panel.set_xlabel("cache, % of rows")
            from_zero(panel)
        axes[0].set_ylabel("iteration time (ms)")
        axes[1].set_ylabel("time / time with 10 %")
        legend_above(
            figure,
            axes[:1],
            4,
            f"ScratchPipe, {data['operators'].iloc[0]} operators; the "
            "smallest caches have grown to hold their window",
        )
    return figure
