"""What it takes to keep GPUs busy: cores that load, bandwidth from storage, and their price."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from simulator._drawing import logarithmic
from simulator.figures.charts import figure_grid, legend_above, lines
from simulator.figures.style import styled
from simulator.studies.base import Inputs, Tables
from simulator.studies.readme import columns_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.record import Result

__all__ = ["figures", "readme", "tables"]

_GENERATIONS = {"dgx1_v100": "V100", "dgx_a100": "A100", "hgx_h100": "H100"}
_SETS = ("RM1", "RM2", "RM3", "RM4", "RM5")
_OF_BORDERS = {1024: "RM3", 2048: "RM4", 4096: "RM5"}
_OPERATORS = ("decode", "bucketize", "hash", "log")
_HEADINGS = {
    "set": "set",
    "gpu": "GPU",
    "gpus": "GPUs",
    "thousand_samples_per_second": "thousand samples/s",
    "core_us_a_sample": "core us a sample",
    "cores": "cores",
    "storage_gbps": "storage, GB/s",
    "cores_usd_per_hour": "cores, US$/h",
    "over_gpus": "cores over GPUs, US$",
    "busy_with_16": "busy with 16 cores and 10 GbE",
}


def tables(inputs: Inputs) -> Tables:
    prices = inputs.settings["usd_per_gpu_hour"]
    files = {"rm1": {1024: "RM1"}, "rm2": {1024: "RM2"}, "rm3": _OF_BORDERS}
    frames = [_needs(inputs.results[stem], sets) for stem, sets in files.items()]
    order = ["set", "generation", "gpus"]
    needs = pd.concat(frames).sort_values(order).reset_index(drop=True)
    paid = [prices[gpu] * count for gpu, count in zip(needs["gpu"], needs["gpus"], strict=True)]
    needs["over_gpus"] = needs["cores_usd_per_hour"] / paid
    others = _needs(inputs.results["others"], {4096: "RM5"})
    return {
        "load": needs,
        "samples": _samples(needs),
        "means": _means(pd.concat([needs, others])),
    }


def _needs(result: Result, sets: Mapping[int, str]) -> pd.DataFrame:
    """What keeps the GPUs of each point busy, and how busy its own load stage keeps them."""
    rows = []
    for point in result:
        config, load = point.point.load, point.load
        assert config is not None, point.point.system.label
        assert load is not None, point.point.system.label
        samples = point.point.model.batch_size
        row = {
            "set": sets[config.borders or 0],
            "gpu": _GENERATIONS[point.point.platform.name],
            "generation": list(_GENERATIONS).index(point.point.platform.name),
            "gpus": point.metrics["gpus"],
            "loader": load["loader"],
            "accelerator": load["accelerator"],
            "thousand_samples_per_second": samples / load["rest_us"] * 1e3,
            "core_us_a_sample": load["worker_us"] / samples,
            "cores": load["workers_needed"],
            "storage_gbps": load["source_needed_gbps"],
            "cores_usd_per_hour": load["workers_needed"]
            * load["workers_usd_per_hour"]
            / load["workers"],
            "busy_with_16": load["training_busy"],
        }
        rows.append(row | {f"{name}_us": load[f"{name}_us"] / samples for name in _OPERATORS})
    return pd.DataFrame(rows)


def _samples(needs: pd.DataFrame) -> pd.DataFrame:
    """Time of a core for a sample of each set, by operator."""
    columns = ["set", *(f"{name}_us" for name in _OPERATORS), "core_us_a_sample"]
    each = needs.drop_duplicates("set")[columns].reset_index(drop=True)
    moved = each[["bucketize_us", "hash_us", "log_us"]].sum(axis=1)
    first = float(each.loc[each["set"] == "RM1", "core_us_a_sample"].iloc[0])
    return each.assign(
        transform_share=moved / each["core_us_a_sample"], over_rm1=each["core_us_a_sample"] / first
    )


def _means(data: pd.DataFrame) -> pd.DataFrame:
    """RM5 on 8 GPUs by cores with either software and by accelerators, which also read no faster
    than their flash."""
    chosen = data[(data["set"] == "RM5") & (data["gpus"] == 8)]
    chosen = chosen.sort_values("generation", kind="stable")
    rows = []
    for row in chosen.to_dict("records"):
        drives = row["accelerator"] == "in_storage"
        rows.append(
            {
                "gpu": row["gpu"],
                "means": "accelerators in storage" if drives else f"cores, {row['loader']}",
                "workers": row["cores"],
                "usd_per_hour": row["cores_usd_per_hour"],
                "reads_gbps": row["storage_gbps"],
                "reads_gbps_each": row["storage_gbps"] / row["cores"],
            }
        )
    return pd.DataFrame(rows)


def readme(tables: Tables) -> Tables:
    formats = {
        "set": "",
        "gpu": "",
        "gpus": "",
        "thousand_samples_per_second": ",.0f",
        "core_us_a_sample": ".1f",
        "cores": ",",
        "storage_gbps": ".2f",
        "cores_usd_per_hour": ".2f",
        "over_gpus": ".0%",
        "busy_with_16": ".0%",
    }
    needs = tables["load"]
    shown = needs[needs["gpus"].isin([1, 8])]
    samples = {
        "set": "",
        **{f"{name}_us": ".2f" for name in _OPERATORS},
        "core_us_a_sample": ".1f",
        "transform_share": ".0%",
        "over_rm1": ".1f",
    }
    means = {"gpu": "", "means": "", "workers": "", "usd_per_hour": ".2f", "reads_gbps": ".2f"}
    return {
        "needs": columns_of(shown, formats).rename(columns=_HEADINGS),
        "samples": columns_of(tables["samples"], samples),
        "means": columns_of(tables["means"], means),
    }


def figures(tables: Tables) -> dict[str, Figure]:
    needs = tables["load"]
    with styled():
        figure, axes = figure_grid(2, 3, 7.2, 4.6, sharex=True, sharey="row")
        for column, gpu in enumerate(_GENERATIONS.values()):
            rows = needs[needs["gpu"] == gpu]
            cores, storage = axes[column], axes[3 + column]
            lines(cores, rows, x="gpus", y="cores", hue="set", hues=_SETS)
            lines(storage, rows, x="gpus", y="storage_gbps", hue="set", hues=_SETS)
            cores.set_title(gpu)
            storage.set_xlabel("GPUs")
            for panel in (cores, storage):
                panel.set_xscale("log", base=2)
                panel.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
                panel.minorticks_off()
                logarithmic(panel, "y")
        axes[0].set_ylabel("cores")
        axes[3].set_ylabel("from storage, GB/s")
        most = 10 ** math.ceil(math.log10(needs["cores"].max()))
        axes[0].set_ylim(0.8, most)
        legend_above(figure, axes[:1], 5, "What keeps the GPUs busy, TorchArrow")
    return {"load": figure}
