"""The report of one run or of two: one HTML page that needs nothing else.

Its data are one JSON object (`report_data`); its own scripts (`templates/script/`) draw tables and
charts from them with the library in `vendor/`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from simulator._extras import require
from simulator.figures.files import csv_text
from simulator.figures.report_data import as_script, parts_of, report_data
from simulator.figures.report_pair import Comparison, comparison_of
from simulator.figures.style import title
from simulator.results.notes import notes_of
from simulator.results.rows import model_of
from simulator.results.trust import trust_lines
from simulator.text import few, on_one_line, some_of

if TYPE_CHECKING:
    from simulator.results.reading import StoredRun
    from simulator.results.rows import Row

__all__ = ["render_report"]

_HERE = Path(__file__).parent
_TEMPLATES = _HERE / "templates"
_LIBRARY = _HERE / "vendor" / "echarts.min.js"
_SCRIPTS = ("state", "looks", "charts", "timeline", "tables", "main")
_MOST_DOWNLOADED = 5_000
"""Rows of a download inside the page; longer tables stay in the run directory."""
_MOST_CHARACTERS = 300_000
"""Of a text or download inside the page."""
_MOST_SECTIONS = 60
"""Resolved parts of the configuration on the page."""
_MOST_PARTS = 60
_LOADS = {
    "load_us": ("load (ms)", 1e-3, 3),
    "rest_us": ("training (ms)", 1e-3, 3),
    "training_busy": ("training busy (%)", 100.0, 0),
    "workers": ("workers", 1.0, 0),
    "workers_needed": ("workers needed", 1.0, 0),
    "source_needed_gbps": ("storage needed (GB/s)", 1.0, 2),
}
"""Columns of load stages: heading, scale, decimals."""
_CHECKPOINTS = {
    "written_bytes": ("written (MB)", 1e-6, 2),
    "write_us": ("writing (ms)", 1e-3, 3),
    "rest_us": ("iteration without (ms)", 1e-3, 3),
    "waited_us": ("waited (ms)", 1e-3, 3),
    "waited_share": ("waited (%)", 100.0, 1),
    "checkpoint_gb_per_day": ("written a day (TB)", 1e-3, 2),
}
"""Columns of check-points: heading, scale, decimals."""
_CURVES = {
    "iteration_time_us": "Iteration time (ms)",
    "speedup_over_hybrid": "Speed-up over hybrid",
    "lookup_hit_rate": "Lookup hits (%)",
    "energy_mj": "Energy of a mini-batch (J)",
}


def render_report(*runs: StoredRun, match: Sequence[str] = ()) -> str:
    """The page as HTML; the same bytes for the same run directories.

    Two runs are A and B: their points stand side by side, and a table pairs those that share the
    columns `match` (those in which the runs are alike, unless given). Raises `UsageError` where
    `match` pairs nothing, and where the extra `figures` is not installed.
    """
    require("figures", "a report has figures")
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(page=_Page(runs, match))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run comes from."""

    letter: str
    name: str
    command: str
    finished: str
    hash: str
    version: str


class _Page:
    """What the template shows."""

    curves = tuple(_CURVES.items())

    def __init__(self, runs: Sequence[StoredRun], match: Sequence[str]) -> None:
        self._runs = runs
        self._metrics: list[Row] = [row for run in runs for row in run.metrics()]
        self.data = report_data(runs)
        self.payload = as_script(self.data)
        self.comparison: Comparison | None = None
        if len(runs) > 1:
            self.comparison = comparison_of(runs[0].metrics(), runs[1].metrics(), match)

    @property
    def style(self) -> str:
        return (_TEMPLATES / "report.css").read_text(encoding="utf-8")

    @property
    def echarts(self) -> str:
        return _LIBRARY.read_text(encoding="utf-8")

    @property
    def script(self) -> str:
        """The page's own scripts, in one scope."""
        files = [_TEMPLATES / "script" / f"{name}.js" for name in _SCRIPTS]
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        return f'(() => {{\n"use strict";\n{text}}})();'

    @property
    def title(self) -> str:
        return " against ".join(dict.fromkeys(run.name for run in self._runs))

    @property
    def descriptions(self) -> list[str]:
        told = [str(run.manifest["experiment"].get("description") or "") for run in self._runs]
        return [text for text in dict.fromkeys(told) if text]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and value of what is worth a glance."""
        fastest = min(self._metrics, key=lambda row: row["iteration_time_us"])
        time = f"{fastest['iteration_time_us'] / 1e3:.3g} ms"
        return [
            ("platform", self._several("platform")),
            ("model", few(dict.fromkeys(on_one_line(model_of(row)) for row in self._metrics), 4)),
            ("batch size", self._several("batch_size")),
            ("operator profile", self._several("operators")),
            ("trace", self._several("locality")),
            ("points", f"{len(self._metrics):,}"),
            ("timed mini-batches", self._several("batches")),
            ("fastest", f"{title(str(fastest['label']))}, {time}"),
        ]

    def _several(self, column: str) -> str:
        values = dict.fromkeys(row[column] for row in self._metrics)
        return few((on_one_line(str(value)) for value in values if value is not None), 4) or "–"

    @property
    def origins(self) -> list[Origin]:
        return [
            Origin(
                letter=chr(ord("A") + number),
                name=run.name,
                command=on_one_line(str(run.manifest.get("command", ""))),
                finished=str(run.manifest["durations"].get("finished", "")),
                hash=str(run.manifest["config_hash"]),
                version=run.manifest["versions"].get("scratchpipe-sim", "of unknown version"),
            )
            for number, run in enumerate(self._runs)
        ]

    @cached_property
    def warnings(self) -> list[str]:
        """What to know before believing the numbers: notes of the table, trust, failed points."""
        lines = [line for line in notes_of(self._metrics).splitlines() if line]
        lines += trust_lines(self._metrics)
        for run in self._runs:
            lines[:0] = [run.software] if run.software else []
            lines += [str(note) for note in some_of(run.manifest.get("notes", []), 12)]
            if run.failures:
                names = (f"{row['label']} {row['sweep']}".strip() for row in run.failures)
                count = f"{len(run.failures)} point" + "s" * (len(run.failures) > 1)
                lines.append(f"{count} of {run.name} failed: {few(names)}")
        left = self.data["left_out"]
        if left["points"]:
            lines.append(
                f"{left['points']:,} more points are not on this page: they are in metrics.csv and "
                "devices.csv in the run directory"
            )
        elif left["stages"]:
            lines.append(
                f"stages and resources of {left['stages']:,} more points are in stages.parquet and "
                "devices.csv in the run directory"
            )
        return list(dict.fromkeys(lines))

    @cached_property
    def loads(self) -> list[list[str]]:
        """A row a point that has a load stage, headings first; empty where none has."""
        return _listed([row for run in self._runs for row in run.loads()], "loader", _LOADS)

    @cached_property
    def checkpoints(self) -> list[list[str]]:
        """A row a point that is check-pointed, headings first; empty where none is."""
        found = [row for run in self._runs for row in run.checkpoints()]
        return _listed(found, "checkpoint", _CHECKPOINTS)

    @property
    def parts(self) -> list[tuple[str, str, str, Mapping[str, str]]]:
        """Parts of the machines that name sources: machine, place, name, sources."""
        found = {(m, p, n): s for run in self._runs for m, p, n, s in parts_of(run) if s}
        return [(*key, sources) for key, sources in found.items()][:_MOST_PARTS]

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Each experiment as it was given, then the resolved parts, as JSON; the first of many."""
        letters = ("A: ", "B: ") if len(self._runs) > 1 else ("",)
        given = [
            (f"{letter}{run.name}, as it was given", run.manifest["experiment"])
            for letter, run in zip(letters, self._runs, strict=True)
        ]
        resolved = list(self._resolved.items())[:_MOST_SECTIONS]
        return [(name, _bounded(json.dumps(data, indent=2))) for name, data in given + resolved]

    @property
    def sections_cut(self) -> int:
        """Parts of the configuration that the page leaves out."""
        return max(0, len(self._resolved) - _MOST_SECTIONS)

    @property
    def _resolved(self) -> dict[str, Any]:
        return {name: data for run in self._runs for name, data in run.manifest["sections"].items()}

    @property
    def versions(self) -> Mapping[str, str]:
        return dict(self._runs[0].manifest["versions"])

    @cached_property
    def downloads(self) -> dict[str, str]:
        """The tables of the runs as links; empty where one would be too long for a page."""
        manifests: Any = [run.manifest for run in self._runs]
        text = json.dumps(manifests if len(manifests) > 1 else manifests[0], indent=2)
        fits = len(text) <= 4 * _MOST_CHARACTERS
        return {
            "metrics.csv": _csv_link([run.to_pandas() for run in self._runs]),
            "stages.csv": _csv_link([run.stages_to_pandas() for run in self._runs]),
            "devices.csv": _csv_link([run.devices_to_pandas() for run in self._runs]),
            "load.csv": _csv_link([run.loads_to_pandas() for run in self._runs]),
            "checkpoint.csv": _csv_link([run.checkpoints_to_pandas() for run in self._runs]),
            "manifest.json": _data_url(text, "application/json") if fits else "",
        }


def _listed(
    found: Sequence[Mapping[str, Any]], text: str, columns: Mapping[str, tuple[str, float, int]]
) -> list[list[str]]:
    """Name, a column of text and `columns` of each row, headings first; empty without rows."""
    rows = [
        [
            f"{title(str(row['label']))} {row['sweep'] or ''}".strip(),
            str(row[text]),
            *(f"{row[key] * scale:,.{d}f}" for key, (_, scale, d) in columns.items()),
        ]
        for row in found
    ]
    return (
        [["point", text, *(heading for heading, _, _ in columns.values())], *rows] if rows else []
    )


def _csv_link(tables: Sequence[pd.DataFrame]) -> str:
    """Tables as one CSV, with a column `run` where there are several; empty where too long."""
    if sum(map(len, tables)) > _MOST_DOWNLOADED:
        return ""
    if len(tables) > 1:
        named = zip("AB", tables, strict=True)
        tables = [table.assign(run=letter) for letter, table in named]
    text = csv_text(pd.concat([table.astype(object) for table in tables]))
    return _data_url(text, "text/csv") if len(text) <= 4 * _MOST_CHARACTERS else ""


def _bounded(text: str) -> str:
    """`text`, or its beginning with a word on the rest."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    return f"{text[:_MOST_CHARACTERS]}\n... cut; manifest.json in the run directory has all"


def _data_url(text: str, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}"
