"""The run directory: manifest, metrics and stages, written aside and renamed into place.

Only deterministic columns go into the files, so that the same configuration gives the same bytes;
wall-clock values stand in the manifest under `durations`.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import OutputError
from simulator.results.dictionary import METRICS, STAGES, TIMELINE, Column

if TYPE_CHECKING:
    import pyarrow as pa

    from simulator.results.record import Result

__all__ = ["MANIFEST", "check_target", "write_run"]

MANIFEST = "manifest.json"

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def check_target(out_dir: Path) -> None:
    """Find out before a simulation whether its results can be written to `out_dir`.

    Raises `OutputError` with what is in the way; leaves an empty parent folder at most.
    """
    with _explained(out_dir):
        _refuse_foreign(out_dir)
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        os.rmdir(_aside(out_dir))


def write_run(result: Result, manifest: Mapping[str, Any], out_dir: Path) -> list[Path]:
    """Write a run directory and return its files; an existing one is replaced as a whole.

    Raises `OutputError`; then `out_dir` is as it was before.
    """
    with _explained(out_dir):
        _refuse_foreign(out_dir)
        contents = _contents(result, manifest)
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(out_dir)
        try:
            for name, data in contents.items():
                _write_synced(aside / name, data)
            aside.chmod(0o777 & ~_umask())
            _sync_folder(aside)
            _swap(aside, out_dir)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return [out_dir / name for name in contents]


def _contents(result: Result, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a run directory: name and bytes."""
    kept = [column for column in METRICS if column.deterministic]
    files = {
        MANIFEST: (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode(),
        "metrics.parquet": _parquet(kept, result.metrics()),
        "metrics.csv": _csv(kept, result.metrics()),
        "stages.parquet": _parquet(STAGES, result.stages()),
    }
    spans = [
        {"point": p.metrics["point"], "label": p.metrics["label"], "stage": s.stage}
        | {"batch": s.batch, "start_ps": s.start_ps, "end_ps": s.end_ps}
        for p in result
        for s in p.timeline
    ]
    return files | ({"timeline.parquet": _parquet(TIMELINE, spans)} if spans else {})


def _parquet(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([_field(column) for column in columns])
    arrays = [pa.array([row[field.name] for row in rows], type=field.type) for field in schema]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    return buffer.getvalue()


def _field(column: Column) -> pa.Field:
    import pyarrow as pa

    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    about = {"unit": column.unit, "meaning": column.meaning}
    return pa.field(column.name, types[column.dtype], metadata=about)


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
    if out_dir.is_symlink() or (out_dir.exists() and not out_dir.is_dir()):
        raise OutputError(f"{out_dir} is not a folder: choose another --out")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / MANIFEST).is_file():
        raise OutputError(
            f"{out_dir} holds files but no {MANIFEST}, so it is not a run directory: "
            "choose another --out"
        )


def _aside(out_dir: Path) -> Path:
    """A fresh folder on the same file system."""
    return Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", suffix=".part", dir=out_dir.parent))


def _write_synced(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(aside: Path, out_dir: Path) -> None:
    """Put `aside` in the place of `out_dir`; the old one is removed after that."""
    old = None
    if out_dir.exists():
        old = aside.with_suffix(".old")
        out_dir.rename(old)
    try:
        aside.rename(out_dir)
    except OSError:
        if old is not None:
            old.rename(out_dir)
        raise
    _sync_folder(out_dir.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextmanager
def _explained(out_dir: Path) -> Iterator[None]:
    """An `OSError` in plain words."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        message = f"cannot write results to {out_dir}: {reason}; choose another place with --out"
        raise OutputError(message) from error
