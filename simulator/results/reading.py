"""Reads a run directory back: what `write_run` wrote, as plain rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.errors import UsageError
from simulator.results.dictionary import METRICS, STAGES
from simulator.results.finished import FinishedPoints
from simulator.results.record import row_of
from simulator.results.store import FAILURES, MANIFEST, POINTS, UNFINISHED

__all__ = ["StoredRun", "read_run"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class StoredRun:
    """A run directory; rows as in the data dictionary, wall-clock columns null."""

    folder: Path
    manifest: Mapping[str, Any]
    metrics: tuple[Row, ...]
    stages: tuple[Row, ...]
    failures: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.manifest["name"])

    def swept(self) -> list[Row]:
        """The swept values of each point, by path."""
        return [point["swept"] for point in self.manifest["points"]]


def read_run(folder: Path) -> StoredRun:
    """The run in `folder`. Raises `UsageError` where there is none, or only a part of one."""
    if not (folder / MANIFEST).is_file():
        raise UsageError(_no_run(folder))
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        metrics = tuple(row_of(METRICS, row) for row in _rows(folder / "metrics.parquet"))
        stages = tuple(row_of(STAGES, row) for row in _rows(folder / "stages.parquet"))
        failures: list[Row] = []
        if (folder / FAILURES).is_file():
            failures = json.loads((folder / FAILURES).read_text(encoding="utf-8"))
        run = StoredRun(folder, manifest, metrics, stages, tuple(failures))
        if len(run.swept()) != len(metrics):
            raise ValueError(
                f"{len(run.swept())} points in {MANIFEST}, {len(metrics)} metrics rows"
            )
    except Exception as error:
        # Whatever a damaged file makes its reader raise, it is one thing to whoever asked.
        raise UsageError(f"{folder} is damaged: {error}; run the experiment again") from error
    return run


def _no_run(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: there is no such run directory"
    if (folder / UNFINISHED).is_file():
        done = FinishedPoints(folder / POINTS).count()
        return (
            f"{folder} is unfinished, {done} points are done: give the command of the run again "
            "and it goes on from there"
        )
    return f"{folder} is no run directory: it has no {MANIFEST}"


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows
