"""Reads a run directory back: what `write_run` wrote, checked against the data dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import UsageError
from simulator.files import read_json
from simulator.results.dictionary import (
    CHECKPOINT,
    DEVICES,
    LOAD,
    METRICS,
    STAGES,
    TIMELINE,
    Column,
)
from simulator.results.finished import FinishedPoints
from simulator.results.manifest import FORMAT, check_manifest
from simulator.results.parquet import schema_of
from simulator.results.rows import Row, frame_of, mismatch
from simulator.results.store import FAILURES, MANIFEST, POINTS, UNFINISHED
from simulator.streams import arrow_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["StoredRun", "read_run"]

_NEVER_NULL = {
    "metrics": ("point", "system", "label", "iteration_time_us"),
    "stages": ("point", "label", "stage", "order"),
    "devices": ("point", "label", "resource", "device", "kind"),
    "timeline": tuple(column.name for column in TIMELINE),
    "load": ("point", "label", "workers", "worker_us", "rest_us"),
    "checkpoint": ("point", "label", "written_bytes", "waited_us", "rest_us"),
}
"""Columns without which a row of a table says nothing."""

_FAILURE_KEYS = ("label", "locality", "sweep", "message")
"""What is shown of a point that failed."""


@dataclass(frozen=True)
class StoredRun:
    """A run directory; rows and tables as those of `Result`, wall-clock columns null."""

    folder: Path
    manifest: Mapping[str, Any]
    failures: tuple[Row, ...]
    _tables: Mapping[str, pa.Table] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.manifest["name"])

    @property
    def software(self) -> str:
        """A line where its options changed the machine, and the operator profile with it."""
        return str(self.manifest.get("software", ""))

    @property
    def has_timeline(self) -> bool:
        return bool(self._tables["timeline"].num_rows)

    def swept(self) -> list[Row]:
        """The swept values of each point, by path."""
        return [point["swept"] for point in self.manifest["points"]]

    def metrics(self) -> list[Row]:
        """The metrics rows, one a point."""
        return self._rows("metrics", METRICS)

    def stages(self) -> list[Row]:
        """The stage rows of all points."""
        return self._rows("stages", STAGES)

    def devices(self) -> list[Row]:
        """The rows of all resources of all points."""
        return self._rows("devices", DEVICES)

    def timeline(self) -> list[Row]:
        """The spans of all points that kept theirs."""
        return self._rows("timeline", TIMELINE)

    def spans_of(self, metrics: Row) -> pa.Table:
        """The spans of the point with that row of metrics; no other is made a row of."""
        import pyarrow.compute as pc

        spans = self._tables["timeline"]
        own = [pc.equal(spans.column(name), metrics[name]) for name in ("point", "label")]
        return spans.filter(pc.and_(*own))

    def loads(self) -> list[Row]:
        """The rows of load stages, one a point that has one."""
        return self._rows("load", LOAD)

    def checkpoints(self) -> list[Row]:
        """The rows of check-points, one a point that has some."""
        return self._rows("checkpoint", CHECKPOINT)

    def to_pandas(self) -> pd.DataFrame:
        """The metrics as a table; columns as in the data dictionary."""
        return frame_of(METRICS, self.metrics())

    def stages_to_pandas(self) -> pd.DataFrame:
        """The stages as a table."""
        return frame_of(STAGES, self.stages())

    def devices_to_pandas(self) -> pd.DataFrame:
        """The resources as a table."""
        return frame_of(DEVICES, self.devices())

    def loads_to_pandas(self) -> pd.DataFrame:
        """The load stages as a table; empty where no point has one."""
        return frame_of(LOAD, self.loads())

    def checkpoints_to_pandas(self) -> pd.DataFrame:
        """The check-points as a table; empty where no point has any."""
        return frame_of(CHECKPOINT, self.checkpoints())

    def timeline_to_pandas(self) -> pd.DataFrame:
        """The timeline as a table; empty where none was kept."""
        return frame_of(TIMELINE, self.timeline())

    def _rows(self, name: str, columns: Sequence[Column]) -> list[Row]:
        empty = dict.fromkeys(column.name for column in columns)
        return [{**empty, **row} for row in self._tables[name].to_pylist()]


def read_run(folder: Path) -> StoredRun:
    """The run in `folder`.

    Raises `UsageError` where there is none, only a part of one, one of another version, or one
    that is damaged: files, columns or keys that are missing or foreign, values that no run writes.
    """
    if not (folder / MANIFEST).is_file():
        raise UsageError(_no_run(folder))
    try:
        manifest = read_json(folder / MANIFEST)
        written = manifest.get("format") if isinstance(manifest, dict) else None
        if isinstance(written, int) and written != FORMAT:
            raise UsageError(
                f"{folder} was written by another version of scratchpipe (format {written}, this "
                f"one reads {FORMAT}): run the experiment again"
            )
        check_manifest(manifest)
        tables = {
            "metrics": _table(folder, "metrics", [c for c in METRICS if c.deterministic]),
            "stages": _table(folder, "stages", STAGES),
            "devices": _table(folder, "devices", DEVICES),
            "timeline": _table(folder, "timeline", TIMELINE, needed=False),
            "load": _table(folder, "load", LOAD, needed=False),
            "checkpoint": _table(folder, "checkpoint", CHECKPOINT, needed=False),
        }
        _check_points(manifest["points"], tables)
        _check_spans(tables["timeline"])
        return StoredRun(folder, manifest, _failures(folder, manifest), tables)
    except UsageError:
        raise
    except Exception as error:
        # Whatever a damaged file makes its reader raise, it is one thing to whoever asked.
        raise UsageError(f"{folder} is damaged: {error}; run the experiment again") from error


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


def _failures(folder: Path, manifest: Mapping[str, Any]) -> tuple[Row, ...]:
    rows = read_json(folder / FAILURES) if (folder / FAILURES).is_file() else []
    if len(rows) != manifest.get("failed", len(rows)):
        raise ValueError(f"{manifest['failed']} points failed, {FAILURES} tells of {len(rows)}")
    for row in rows:
        for key in _FAILURE_KEYS:
            if not isinstance(row.get(key), str):
                raise ValueError(f"{FAILURES}: a point that failed has no {key}")
    return tuple(rows)


def _table(folder: Path, name: str, columns: Sequence[Column], needed: bool = True) -> pa.Table:
    """A table of the run, checked; empty where the file is not there and not needed."""
    import pyarrow.parquet as pq

    wanted = schema_of(columns)
    file = folder / f"{name}.parquet"
    if not file.is_file():
        if needed:
            raise ValueError(f"{file.name} is missing")
        return wanted.empty_table()
    with arrow_file(file) as source:
        table = pq.read_table(source)
    unlike = mismatch(wanted.names, table.column_names)
    if unlike:
        raise ValueError(f"{file.name} is {unlike}")
    table = table.select(wanted.names)
    for column in columns:
        _check_values(file.name, column, table.column(column.name), wanted.field(column.name).type)
    for column_name in _NEVER_NULL[name]:
        if table.column(column_name).null_count:
            raise ValueError(f"{file.name} has rows without {column_name}")
    return table


def _check_values(file: str, column: Column, values: pa.ChunkedArray, wanted: pa.DataType) -> None:
    import pyarrow.compute as pc

    if values.type != wanted:
        raise ValueError(f"{file}: {column.name} is {values.type}, not {wanted}")
    if column.dtype == "float" and pc.all(pc.is_finite(values)).as_py() is False:
        raise ValueError(f"{file}: {column.name} holds a value that is no finite number")
    foreign = set(pc.unique(values).to_pylist()) - {*column.choices, None}
    if column.choices and foreign:
        raise ValueError(f"{file}: {column.name} holds {sorted(foreign)[0]!r}")


def _check_points(points: Sequence[Row], tables: Mapping[str, pa.Table]) -> None:
    """All files are of the same points."""
    metrics = tables["metrics"]
    keys = metrics.column("point").to_pylist()
    if len(points) != len(keys):
        raise ValueError(f"{len(points)} points in {MANIFEST}, {len(keys)} metrics rows")
    for number, (point, key) in enumerate(zip(points, keys, strict=True)):
        if point.get("key") != key:
            raise ValueError(f"point {number} of {MANIFEST} is not that of the metrics")
    for name, other, columns in (
        ("stages", "metrics", ("point", "label")),
        ("devices", "metrics", ("point", "label")),
        ("timeline", "stages", ("point", "label", "stage")),
        ("load", "metrics", ("point", "label")),
        ("checkpoint", "metrics", ("point", "label")),
    ):
        if not _distinct(tables[name], columns) <= _distinct(tables[other], columns):
            raise ValueError(
                f"{name}.parquet has rows of a {columns[-1]} that is not in {other}.parquet"
            )


def _check_spans(timeline: pa.Table) -> None:
    """Stages end after they begin, and mini-batches of a point are numbered without a gap."""
    import pyarrow.compute as pc

    if not timeline.num_rows:
        return
    start, end = timeline.column("start_ps"), timeline.column("end_ps")
    if pc.min(start).as_py() < 0 or not pc.all(pc.less_equal(start, end)).as_py():
        raise ValueError("timeline.parquet: a stage ends before it begins")
    wanted = [("batch", "min"), ("batch", "max"), ("batch", "count_distinct")]
    for row in timeline.group_by(["point", "label"]).aggregate(wanted).to_pylist():
        if row["batch_max"] - row["batch_min"] + 1 != row["batch_count_distinct"]:
            raise ValueError("timeline.parquet: mini-batches are missing")


def _distinct(table: pa.Table, columns: Sequence[str]) -> set[tuple[str, ...]]:
    groups = table.group_by(list(columns)).aggregate([]).to_pylist()
    return {tuple(row[column] for column in columns) for row in groups}
