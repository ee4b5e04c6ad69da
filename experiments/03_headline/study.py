"""Headline: iteration time and speed-up of each system, by locality, cache and operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simulator.figures.charts import figure_grid, grouped_bars, legend_above
from simulator.figures.style import LOCALITIES, OPERATORS, styled
from simulator.hardware.devices.cpu import Cpu
from simulator.studies.base import Inputs, Tables
from simulator.studies.frames import class_order, metrics_frame, with_baseline
from simulator.studies.readme import columns_of, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

CELL = ["locality", "cache", "operators"]
CHOICES = ["backward", "stores", "page_fault_us"]
"""Threads of accumulate and scatter, stores of Collect and Insert, time of a page fault."""
STORES = {False: "plain", True: "streaming"}
SYSTEMS = ("hybrid", "static_cache", "straw_man", "scratchpipe")


def tables(inputs: Inputs) -> Tables:
    metrics = metrics_frame(inputs.results["experiment"])
    metrics["cache"] = metrics["cache.fraction"].astype(float)
    metrics["time_ms"] = metrics["iteration_time_us"] / 1e3
    metrics = with_baseline(metrics, "hybrid", CELL, "time_ms", "over_hybrid")
    metrics = with_baseline(metrics, "static_cache", CELL, "time_ms", "over_static")
    metrics = with_baseline(metrics, "straw_man", CELL, "time_ms", "over_straw_man")
    columns = [*CELL, "label", "time_ms", "over_hybrid", "over_static", "over_straw_man"]
    cells = metrics[[*columns, "platform", "cache_grown", "unique_hit_rate", "bottleneck"]]
    kept = cells[cells["label"] != "hybrid"]
    summary = kept.groupby(["operators", "label"], sort=False, as_index=False).agg(
        mean_over_hybrid=("over_hybrid", "mean"),
        max_over_hybrid=("over_hybrid", "max"),
        mean_over_static=("over_static", "mean"),
        min_over_static=("over_static", "min"),
        max_over_static=("over_static", "max"),
    )
    by_class = kept.groupby([*CELL[::2], "label"], sort=False, as_index=False)[
        ["over_hybrid", "over_static"]
    ].mean()
    by_class.insert(1, "class", class_order(by_class["locality"]))
    return {
        "iteration_time": cells,
        "speedup_over_static": cells[cells["label"].isin(["straw_man", "scratchpipe"])],
        "speedup_over_hybrid": cells[cells["label"] != "hybrid"],
        "summary": summary,
        "by_class": by_class,
        "software": _software(inputs.results["software"]),
    }


def _software(result: Result) -> pd.DataFrame:
    """ScratchPipe's speed-ups by what the software and the page faults are, `paper` otherwise."""
    metrics = metrics_frame(result)
    profiles = [point.point.operators for point in result]
    metrics["backward"] = [profile.accumulate.threads for profile in profiles]
    metrics["stores"] = [STORES[profile.gather.nontemporal] for profile in profiles]
    cpus = [point.point.platform.hosts[0].sockets["cpu"].part for point in result]
    metrics["page_fault_us"] = [cpu.page_fault / 1e6 for cpu in cpus if isinstance(cpu, Cpu)]
    return _speedups(metrics, [*CHOICES, "locality", "cache.fraction"])


def _speedups(metrics: pd.DataFrame, cells: list[str]) -> pd.DataFrame:
    """Iteration time of ScratchPipe in each of `cells`, and what the others take over it."""
    metrics = metrics.assign(time_ms=metrics["iteration_time_us"] / 1e3)
    for base, name in (("hybrid", "over_hybrid"), ("static_cache", "over_static")):
        metrics = with_baseline(metrics, base, cells, "time_ms", name)
    kept = metrics[metrics["label"] == "scratchpipe"]
    columns = [*cells, "label", "time_ms", "over_hybrid", "over_static", "bottleneck"]
    return kept[columns].rename(columns={"cache.fraction": "cache"}).reset_index(drop=True)


def readme(tables: Tables) -> Tables:
    summary = tables["summary"]
    number = dict.fromkeys(summary.columns[2:], ".2f")
    by_class = tables["by_class"]
    kept = by_class[by_class["label"] == "scratchpipe"]
    shown = {"summary": columns_of(summary, {"operators": "", "label": "", **number})}
    for name, base in (("over_static", "static cache"), ("over_hybrid", "hybrid")):
        table = side_by_side(kept, ["locality"], "operators", (name, ".2f"))
        shown[name] = table.rename(columns={"locality": f"ScratchPipe over {base}"})
    return {**shown, "software": _software_shown(tables)}


def _software_shown(tables: Tables) -> pd.DataFrame:
    """Means over the cells of each choice, then those of each class over static cache."""
    groups = tables["software"].groupby(CHOICES, sort=False, as_index=False)
    means = groups.agg(
        over_hybrid=("over_hybrid", "mean"),
        over_static=("over_static", "mean"),
        least=("over_static", "min"),
        most=("over_static", "max"),
    )
    text = {"backward": "", "stores": "", "page_fault_us": "g"}
    numbers = dict.fromkeys(means.columns[3:], ".2f")
    by_class = tables["software"].groupby([*CHOICES, "locality"], sort=False, as_index=False)
    cells = by_class.agg(over_static=("over_static", "mean"))
    classes = side_by_side(cells, CHOICES, "locality", ("over_static", ".2f"))
    return pd.concat([columns_of(means, text | numbers), classes[list(LOCALITIES)]], axis="columns")


def figures(tables: Tables) -> dict[str, Figure]:
    return {
        "iteration_time": _panels(
            tables["iteration_time"], "time_ms", SYSTEMS, "iteration time (ms)", None
        ),
        "speedup_over_static": _panels(
            tables["speedup_over_static"],
            "over_static",
            SYSTEMS[2:],
            "speed-up over static cache",
            1.0,
        ),
        "speedup_over_hybrid": _panels(
            tables["speedup_over_hybrid"], "over_hybrid", SYSTEMS[1:], "speed-up over hybrid", 1.0
        ),
    }


def _panels(
    data: pd.DataFrame, value: str, systems: tuple[str, ...], label: str, line: float | None
) -> Figure:
    """A row of panels an operator profile, a column a locality; `*` marks a grown cache."""
    caches = sorted(set(data["cache"]))
    with styled():
        figure, axes = figure_grid(
            len(OPERATORS), len(LOCALITIES), 7.2, 5.4, sharex=True, sharey="row"
        )
        for number, panel in enumerate(axes):
            operators = OPERATORS[number // len(LOCALITIES)]
            locality = LOCALITIES[number % len(LOCALITIES)]
            rows = data[(data["operators"] == operators) & (data["locality"] == locality)]
            grouped_bars(
                panel,
                rows,
                group="cache",
                hue="label",
                value=value,
                hues=systems,
                groups=caches,
                show=lambda c: f"{100 * c:g}",
                marks="cache_grown",
            )
            if line is not None:
                panel.axhline(line, color="#222222", linewidth=0.6, linestyle=":")
            if number < len(LOCALITIES):
                panel.set_title(locality.capitalize())
            if number % len(LOCALITIES) == 0:
                panel.set_ylabel(f"{operators} operators\n{label}", fontsize=7)
            if number >= len(axes) - len(LOCALITIES):
                panel.set_xlabel("cache, % of rows")
        heading = (
            f"{label.capitalize()}, {data['platform'].iloc[0]}; * cache grown to hold its window"
        )
        legend_above(figure, axes[:1], 4, heading)
    return figure
