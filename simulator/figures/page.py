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

from simulator._extras import require
from simulator.figures import runs
from simulator.figures.files import csv_text, svg_text
from simulator.figures.style import title
from simulator.results.resources import Fold, fold, headings, spread, title_of
from simulator.results.rows import by_point
from simulator.results.trust import trust_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulator.results.reading import StoredRun

__all__ = ["render_report"]

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_ROWS = 400
"""Rows of a table on the page; its download holds all."""
_MOST_DOWNLOADED = 5_000
"""Rows of a download inside the page; longer tables stay in the run directory."""
_MOST_CHARACTERS = 300_000
"""Of a text or download inside the page."""
_MOST_SECTIONS = 60
"""Resolved parts of the configuration on the page."""
_IN_RUN = {
    "results": "metrics.csv",
    "iteration_time": "metrics.csv",
    "cache_curve": "metrics.csv",
    "stages": "stages.parquet",
    "devices": "devices.csv",
    "resources": "devices.csv",
    "pipeline": "timeline.parquet",
    "load": "load.csv",
}
"""The file of the run directory that holds what a download would."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure on the page, with the data behind it."""

    name: str
    heading: str
    caption: str
    svg: str
    csv: str
    """Empty where it would be too long for the page."""

    @property
    def csv_link(self) -> str:
        return _data_url(self.csv, "text/csv")

    @property
    def kept_in(self) -> str:
        return _IN_RUN[self.name]

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
    """Empty where it would be too long for the page."""
    left: int = 2
    """Columns of text, aligned to the left."""
    cut: int = 0
    """Rows that the page leaves out."""

    @property
    def csv_link(self) -> str:
        return _data_url(self.csv, "text/csv")

    @property
    def kept_in(self) -> str:
        return _IN_RUN[self.name]


def render_report(run: StoredRun) -> str:
    """The page as HTML; the same bytes for the same run directory.

    Raises `UsageError` where the extra `figures` is not installed."""
    require("figures", "a report has figures")
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

    def __init__(self, run: StoredRun) -> None:
        self.run = run
        self.metrics = run.to_pandas()
        self.stages = run.stages_to_pandas()
        self.devices = run.devices_to_pandas()
        self.timeline = run.timeline_to_pandas()
        shown = run.metrics()[:_MOST_ROWS]
        self.folds = [fold(rows) for rows in by_point(shown, run.devices())]
        self.style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")

    @property
    def experiment(self) -> dict[str, Any]:
        return dict(self.run.manifest["experiment"])

    @property
    def description(self) -> str:
        return str(self.experiment.get("description") or "")

    @property
    def operators(self) -> str:
        return runs.operators_of(self.metrics).replace("`", "")

    @property
    def trust(self) -> list[str]:
        """How far to trust the platforms."""
        return trust_lines(self.run.metrics())

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
            ("timed mini-batches", f"{self.metrics['batches'].max()}"),
            ("fastest", f"{title(fastest['label'])}, {fastest['iteration_time_us'] / 1e3:.3g} ms"),
        ]

    @cached_property
    def pictures(self) -> list[Picture]:
        metrics, stages = self.metrics, self.stages
        note = f" The first {runs.MOST} points." if len(metrics) > runs.MOST else ""
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
                "resources",
                "Resources",
                "Share of the time in which a resource could not have done other work; 50 % and "
                "more in bold; least/mean/most where several differ." + note,
                runs.resources(metrics, self.folds),
                self.devices,
            ),
            (
                "pipeline",
                "Pipeline",
                "A few mini-batches (numbered) of each system in its steady state.",
                runs.pipelines(self.timeline, metrics),
                self.timeline,
            ),
        ]
        return [
            Picture(name, heading, caption, _own_ids(svg_text(figure), name), _download(data))
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
        return _grid("results", self.metrics, columns, after=["bottleneck"])

    @cached_property
    def bandwidth(self) -> Grid:
        """Bandwidth and share of peak of each family of resources that moves bytes."""
        titles = {
            family: name
            for family, name in headings(self.folds).items()
            if any(family in point and point[family].values("bytes") for point in self.folds)
        }
        heads = [f"{name} ({unit})" for name in titles.values() for unit in ("GB/s", "% of peak")]
        shown = self.metrics.head(_MOST_ROWS)
        rows = []
        for (_, row), cell, point in zip(
            shown.iterrows(), runs.cell_names(shown), self.folds, strict=False
        ):
            texts = [title(str(row["label"])), cell, str(row["operators"])]
            rows.append([*texts, *(text for f in titles for text in _rates(point.get(f)))])
        cut = len(self.metrics) - len(shown)
        return Grid("devices", [*_HEADS, *heads], rows, _download(self.devices), len(_HEADS), cut)

    @cached_property
    def load(self) -> Grid | None:
        """Load stages, and what would keep training busy; None where no point has one."""
        data = self.run.loads_to_pandas()
        columns = {
            "load_us": ("load (ms)", 1e-3, 3),
            "rest_us": ("training (ms)", 1e-3, 3),
            "training_busy": ("training busy (%)", 100.0, 0),
            "workers": ("workers", 1.0, 0),
            "workers_needed": ("workers needed", 1.0, 0),
            "source_needed_gbps": ("storage needed (GB/s)", 1.0, 2),
        }
        return _grid("load", data, columns, before=["loader"]) if len(data) else None

    @cached_property
    def stage_times(self) -> Grid:
        columns = {
            "busy_us": ("busy (ms)", 1e-3, 3),
            "exposed_us": ("exposed (ms)", 1e-3, 3),
            "hidden_us": ("hidden (ms)", 1e-3, 3),
        }
        return _grid("stages", self.stages, columns, before=["stage"])

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The resolved parts of the configuration, as JSON; the first of very many."""
        sections = list(self.run.manifest["sections"].items())[:_MOST_SECTIONS]
        return [(name, _bounded(json.dumps(data, indent=2))) for name, data in sections]

    @property
    def sections_cut(self) -> int:
        """Parts of the configuration that the page leaves out."""
        return max(0, len(self.run.manifest["sections"]) - _MOST_SECTIONS)

    @property
    def written(self) -> str:
        """The experiment as it was given, as JSON."""
        return _bounded(json.dumps(self.experiment, indent=2))

    @property
    def manifest_link(self) -> str:
        """Empty where the manifest would be too long for the page."""
        text = json.dumps(self.run.manifest, indent=2)
        fits = len(text) <= 4 * _MOST_CHARACTERS
        return _data_url(text, "application/json") if fits else ""


_CELL = ["locality", "operators", "sweep"]
_HEADS = ["system", "point", "operators"]


def _rates(folded: Fold | None) -> tuple[str, str]:
    """Bandwidth in GB/s and its share of peak in percent."""
    if folded is None or not folded.used:
        return "–", "–"
    shares = [100 * share for share in folded.values("share_of_peak")]
    rates = spread(folded.values("bandwidth_gbps"), "{:,.1f}".format)
    return rates, spread(shares, "{:.0f}".format) if shares else "–"


def _grid(
    name: str,
    data: pd.DataFrame,
    columns: dict[str, tuple[str, float, int]],
    *,
    before: list[str] | None = None,
    after: list[str] | None = None,
) -> Grid:
    """System and cell, then `before`, numbers times a factor with so many digits, and resources
    in `after`."""
    before, after = before or [], after or []
    heads = [*_HEADS, *before, *(head for head, _, _ in columns.values())]
    rows = []
    shown = data.head(_MOST_ROWS)
    for (_, row), cell in zip(shown.iterrows(), runs.cell_names(shown), strict=True):
        texts = [title(str(row["label"])), cell, str(row["operators"])]
        texts += [str(row[key]) for key in before]
        texts += [_text(row[key], factor, digits) for key, (_, factor, digits) in columns.items()]
        rows.append([*texts, *(_resource(row[key]) for key in after)])
    kept = ["label", *_CELL, *before, *columns, *after]
    cut = len(data) - len(shown)
    left = len(_HEADS) + len(before)
    return Grid(name, [*heads, *after], rows, _download(data[kept]), left, cut)


def _download(data: pd.DataFrame) -> str:
    """A table as CSV; empty where it is too long for a page."""
    if len(data) > _MOST_DOWNLOADED:
        return ""
    text = csv_text(data)
    return text if len(text) <= 4 * _MOST_CHARACTERS else ""


def _bounded(text: str) -> str:
    """`text`, or its beginning with a word on the rest."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}\n... cut; manifest.json in the run directory has all"


def _text(value: Any, factor: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{factor * float(value):,.{digits}f}"


def _resource(name: Any) -> str:
    return "–" if pd.isna(name) else title_of(str(name))


def _data_url(text: str, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"


def _own_ids(svg: str, prefix: str) -> str:
    """Ids of one figure must not be those of another on the same page."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    return re.sub(r"url\(#", f"url(#{prefix}-", svg)


def _standing_alone(svg: str) -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'
