"""The run directory: manifest, metrics, stages and devices, written aside and renamed into place.

Only deterministic columns go into the files, so that the same configuration gives the same bytes;
wall-clock values stand in the manifest under `durations`.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import OutputError
from simulator.files import (
    check_folder,
    entry_lines,
    explained,
    folder_aside,
    json_bytes,
    replace_file,
    sync_folder,
    synced,
    umask,
    write_synced,
)
from simulator.results.dictionary import (
    CHECKPOINT,
    DEVICES,
    LOAD,
    METRICS,
    STAGES,
    Column,
)
from simulator.results.parquet import parquet_bytes, write_timeline

if TYPE_CHECKING:
    from simulator.results.record import Result

__all__ = [
    "FAILURES",
    "MANIFEST",
    "POINTS",
    "UNFINISHED",
    "abandon_run",
    "begin_run",
    "check_target",
    "discard_results",
    "tidy",
    "write_run",
]

MANIFEST = "manifest.json"
FAILURES = "failures.json"
"""The points that failed, where some did."""

UNFINISHED = "unfinished.json"
"""Stands in a run directory from its first point until its manifest is there."""
POINTS = "points"
"""The folder of finished points in a run directory."""
_TIMELINE = "timeline.parquet"
_REPLACED = (
    "metrics.parquet",
    "metrics.csv",
    "stages.parquet",
    "devices.parquet",
    "devices.csv",
    _TIMELINE,
    "load.parquet",
    "load.csv",
    "checkpoint.parquet",
    "checkpoint.csv",
)
"""Files of an older run that the next one replaces or, where it has none, removes."""


def check_target(out_dir: Path) -> None:
    """Find out before a simulation whether its results can be written to `out_dir`.

    Raises `OutputError` with what is in the way; leaves an empty parent folder at most.
    """
    with explained(out_dir):
        _refuse_foreign(out_dir)
    check_folder(out_dir)


def begin_run(out_dir: Path, facts: Mapping[str, Any]) -> None:
    """Make `out_dir` a run directory under way; `facts` say of what.

    A finished run in it stays as it is until `write_run` replaces it.
    """
    with explained(out_dir):
        _refuse_foreign(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        replace_file(out_dir / UNFINISHED, json_bytes(facts))


def abandon_run(out_dir: Path) -> None:
    """Take `begin_run` back, unless there are finished points that the run can go on from."""
    with suppress(OSError):
        if (out_dir / MANIFEST).exists() or not (out_dir / POINTS).exists():
            (out_dir / UNFINISHED).unlink(missing_ok=True)
        out_dir.rmdir()


def discard_results(out_dir: Path) -> None:
    """Remove the files of a finished run from `out_dir`, because somebody asked for it."""
    with explained(out_dir):
        for name in (MANIFEST, FAILURES, *_REPLACED):
            (out_dir / name).unlink(missing_ok=True)


def tidy(out_dir: Path) -> None:
    """Remove what a run that was killed while it wrote `out_dir` left beside it."""
    real = Path(os.path.realpath(out_dir))
    for left in real.parent.glob(f".{glob.escape(real.name)}.????????.part"):
        shutil.rmtree(left, ignore_errors=True)


def write_run(
    result: Result,
    manifest: Mapping[str, Any],
    out_dir: Path,
    *,
    extra: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Write a run directory and return its files; the files of an older run are replaced.

    Everything is written aside first, so that a full disk leaves `out_dir` as it was. A new
    directory comes into being by one rename. In one that is there (because of its finished points,
    or of an older run) the manifest goes first and comes last: a directory without it is unfinished
    and its run can be repeated at once from its points. `extra`: more files by name. Raises
    `OutputError`.
    """
    with explained(out_dir):
        _refuse_foreign(out_dir)
        contents = _contents(result, manifest)
        spans = [_TIMELINE] if any(point.timeline for point in result) else []
        names = [*contents, *spans, *(extra or {})]
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        aside = folder_aside(out_dir)
        try:
            for name, data in (contents | dict(extra or {})).items():
                write_synced(aside / name, data)
            for name in spans:
                with synced(aside / name) as stream:
                    write_timeline(stream, result)
            aside.chmod(0o777 & ~umask())
            sync_folder(aside)
            if out_dir.is_dir() and any(out_dir.iterdir()):
                _fill(out_dir, aside, names)
            else:
                aside.rename(os.path.realpath(out_dir))
            sync_folder(aside.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return [out_dir / name for name in names]


def _fill(out_dir: Path, aside: Path, names: Iterable[str]) -> None:
    """Move the files of a run into its directory, the manifest last."""
    if not (out_dir / UNFINISHED).exists():
        replace_file(out_dir / UNFINISHED, json_bytes({}))
    for name in (MANIFEST, FAILURES, *_REPLACED):
        (out_dir / name).unlink(missing_ok=True)
    sync_folder(out_dir)
    for name in sorted(names, key=lambda name: name == MANIFEST):
        (aside / name).replace(out_dir / name)
    sync_folder(out_dir)
    (out_dir / UNFINISHED).unlink()


def _contents(result: Result, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a run directory but the timeline: name and bytes."""
    kept = [column for column in METRICS if column.deterministic]
    files = {
        MANIFEST: entry_lines(manifest),
        "metrics.parquet": parquet_bytes(kept, result.metrics()),
        "metrics.csv": _csv(kept, result.metrics()),
        "stages.parquet": parquet_bytes(STAGES, result.stages()),
        "devices.parquet": parquet_bytes(DEVICES, result.devices()),
        "devices.csv": _csv(DEVICES, result.devices()),
    }
    for name, columns, rows in (
        ("load", LOAD, result.loads()),
        ("checkpoint", CHECKPOINT, result.checkpoints()),
    ):
        if rows:
            files |= {
                f"{name}.parquet": parquet_bytes(columns, rows),
                f"{name}.csv": _csv(columns, rows),
            }
    return files


def _csv(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(row[column.name]) for column in columns])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    """Null as nothing, booleans as in JSON, floats in the fewest digits that give them back."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse_foreign(out_dir: Path) -> None:
    """Never replace what is not a run directory."""
    if not out_dir.is_dir() and (out_dir.exists() or out_dir.is_symlink()):
        raise OutputError(f"{out_dir} is not a folder: choose another --out")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not any((out_dir / name).is_file() for name in (MANIFEST, UNFINISHED)):
        raise OutputError(
            f"{out_dir} holds files but no {MANIFEST}, so it is not a run directory: "
            "choose another --out"
        )
