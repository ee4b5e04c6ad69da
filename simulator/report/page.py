"""The report of a run: one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator.figures import runs
from simulator.figures.files import csv_text, svg_text
from simulator.figures.style import title
from simulator.report.rundir import RunDir
from simulator.results.dictionary import DEVICES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["render_report"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_ROWS = 400
"""Rows of a table on the page; its download holds all."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure on the page, with the data behind it."""

    name: str
    heading: str
    caption: str
    svg: str
    csv: str

    @property
    def csv_link(self) -> str:
        return _data_url(self.csv, "text/csv")

    @property
    def svg_link(self) -> str:
        return _data_url(_standing_alone(self.svg), "image/svg+xml")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table on the page: headings, rows of text, and its download."""

    name: str
    headings: list[str]
    rows: list[list[str]]
    csv: str
    left: int = 2
    """Columns of text, aligned to the left."""
    cut: int = 0
    """Rows that only the download has."""

    @property
    def csv_link(self) -> str:
        return _data_url(self.csv, "text/csv")


def render_report(run: RunDir) -> str:
    """The page as HTML; the same bytes for the same run directory."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = _Page(run)
    return environment.get_template("report.html").render(page=page, manifest=run.manifest)


class _Page:
    """What the template shows."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.metrics = run.metrics
        self.style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")

    @property
    def experiment(self) -> dict[str, Any]:
        return dict(self.run.manifest["experiment"])

    @property
    def operators(self) -> str:
        return runs.operators_of(self.metrics).replace("`", "")

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and value of what is worth a glance."""
        fastest = self.metrics.sort_values("iteration_time_us", kind="stable").iloc[0]
        unique = {name: self.metrics[name].nunique() for name in ("label", "locality")}
        return [
            ("points", f"{len(self.metrics)}"),
            ("systems", f"{unique['label']}"),
            ("localities", f"{unique['locality']}"),
            ("operator profiles", self.operators.removesuffix(" operators")),
            ("timed mini-batches", f"{int(self.metrics['batches'].iloc[0])}"),
            ("fastest", f"{title(fastest['label'])}, {fastest['iteration_time_us'] / 1e3:.3g} ms"),
        ]

    @cached_property
    def pictures(self) -> list[Picture]:
        metrics, stages = self.metrics, self.run.stages
        note = f" The first {runs.MOST} points." if len(metrics) > runs.MOST else ""
        names = [device.name for device in DEVICES]
        use = [c for c in metrics.columns if c.endswith(("_utilization", "_bandwidth_gbps"))]
        drawn: list[tuple[str, str, str, Figure | None, pd.DataFrame]] = [
            (
                "iteration_time",
                "Iteration time",
                "Simulated time between the ends of consecutive mini-batches." + note,
                runs.iteration_times(metrics),
                metrics[["label", *_CELL, "iteration_time_us", "speedup_over_hybrid"]],
            ),
            (
                "cache_curve",
                "Time against cache size",
                "Iteration time by the share of rows that the GPU cache holds.",
                runs.cache_curve(metrics),
                metrics[["label", *_CELL, "cache_fraction", "iteration_time_us"]],
            ),
            (
                "stages",
                "Stages",
                "Time of each stage from its start to its end; stages of a pipeline overlap."
                + note,
                runs.stages(stages),
                stages,
            ),
            (
                "devices",
                "Devices",
                "Share of the time in which a device could not have done other work; 50 % and "
                "more in bold." + note,
                runs.devices(metrics, names),
                metrics[["label", *_CELL, *use]],
            ),
            (
                "pipeline",
                "Pipeline",
                "A few mini-batches (numbered) of each system in its steady state.",
                runs.pipelines(self.run.timeline, metrics),
                self.run.timeline,
            ),
        ]
        return [
            Picture(name, heading, caption, _own_ids(svg_text(figure), name), csv_text(data))
            for name, heading, caption, figure, data in drawn
            if figure is not None
        ]

    @cached_property
    def results(self) -> Grid:
        columns = {
            "iteration_time_us": ("iteration time (ms)", 1e-3, 3),
            "speedup_over_hybrid": ("over hybrid", 1.0, 2),
            "throughput_samples_per_s": ("samples/s", 1.0, 0),
            "cache_fraction": ("cache (% of rows)", 100.0, 1),
            "unique_hit_rate": ("hits (% of unique rows)", 100.0, 1),
        }
        return _grid("results", self.metrics, columns, extra=["bottleneck"])

    @cached_property
    def bandwidth(self) -> Grid:
        columns = {}
        for device in DEVICES:
            if device.moves_bytes and self.metrics[f"{device.name}_bandwidth_gbps"].notna().any():
                columns[f"{device.name}_bandwidth_gbps"] = (f"{device.title} (GB/s)", 1.0, 1)
                columns[f"{device.name}_share_of_peak"] = ("% of peak", 100.0, 0)
        return _grid("bandwidth", self.metrics, columns)

    @cached_property
    def stage_times(self) -> Grid:
        columns = {
            "busy_us": ("busy (ms)", 1e-3, 3),
            "exposed_us": ("exposed (ms)", 1e-3, 3),
            "hidden_us": ("hidden (ms)", 1e-3, 3),
        }
        return _grid("stages", self.run.stages, columns, before=["stage"])

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The resolved parts of the configuration, as JSON."""
        sections = self.run.manifest["sections"]
        return [(name, json.dumps(data, indent=2)) for name, data in sections.items()]

    @property
    def written(self) -> str:
        """The experiment as it was given, as JSON."""
        return json.dumps(self.experiment, indent=2)

    @property
    def manifest_link(self) -> str:
        return _data_url(json.dumps(self.run.manifest, indent=2), "application/json")


_CELL = ["locality", "operators", "sweep"]


def _grid(
    name: str,
    data: pd.DataFrame,
    columns: dict[str, tuple[str, float, int]],
    *,
    before: list[str] | None = None,
    extra: list[str] | None = None,
) -> Grid:
    """System and cell, then `before`, numbers times a factor with so many digits, `extra`."""
    before, extra = before or [], extra or []
    headings = ["system", "point", "operators", *before, *(head for head, _, _ in columns.values())]
    rows = []
    shown = data.head(_MOST_ROWS)
    for (_, row), cell in zip(shown.iterrows(), runs.cell_names(shown), strict=True):
        texts = [title(str(row["label"])), cell, str(row["operators"])]
        texts += [str(row[one]) for one in before]
        texts += [_text(row[key], factor, digits) for key, (_, factor, digits) in columns.items()]
        rows.append([*texts, *(str(row[one]) for one in extra)])
    kept = ["label", *_CELL, *before, *columns, *extra]
    cut = len(data) - len(shown)
    return Grid(name, [*headings, *extra], rows, csv_text(data[kept]), 3 + len(before), cut)


def _text(value: Any, factor: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{factor * float(value):,.{digits}f}"


def _data_url(text: str, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def _own_ids(svg: str, prefix: str) -> str:
    """Ids of one figure must not be those of another on the same page."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    return re.sub(r"url\(#", f"url(#{prefix}-", svg)


def _standing_alone(svg: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'
