"""Trace files by name and format: open one, read one table of it, whole or as a stream.

| format  | file name            | tables                                                     |
|---------|----------------------|------------------------------------------------------------|
| npy     | .npy                 | one: 1-D integers                                          |
| npz     | .npz                 | an array each, `<name>_offsets` beside it where jagged     |
| parquet | .parquet             | an integer column each; a list column where jagged         |
| csv     | .csv                 | a column of decimal ids each, header line or not           |
| tsv     | .tsv                 | the same, tab-separated                                    |
| criteo  | .txt, .criteo        | 26 columns of hexadecimal categories, hashed to `sizes`    |
| meta    | .pt, .pt.gz          | Meta's dlrm_datasets: indices, offsets, lengths            |
| oracle  | .oracleGeneral, .bin | one: libCacheSim's 24-byte records                         |

Which memory reading takes: `npy` and `oracle` are memory-mapped and the others streamed; only
`meta` files (one batch each) are unpacked in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.meta_files import MetaSource
from simulator.traces.npz_files import NpzSource
from simulator.traces.numpy_files import NpySource
from simulator.traces.oracle_files import OracleSource
from simulator.traces.pieces import Source, checked, integers
from simulator.traces.text_files import CriteoSource, TextSource

__all__ = ["FORMATS", "detect_format", "open_source", "read_ids", "stream_ids"]

FORMATS = ("npy", "npz", "parquet", "csv", "tsv", "criteo", "meta", "oracle")

_SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "criteo",
    ".criteo": "criteo",
    ".pt": "meta",
    ".pt.gz": "meta",
    ".oraclegeneral": "oracle",
    ".bin": "oracle",
}


def detect_format(path: Path) -> str:
    """The format that the name of the file tells; `TraceError` for names that tell none."""
    for suffix, name in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return name
    raise TraceError(
        f"{path}: the name tells no trace format; name one of {', '.join(FORMATS)}, or use one "
        f"of the endings {', '.join(_SUFFIXES)}"
    )


def open_source(
    path: str | Path,
    *,
    format: str = "auto",
    columns: tuple[str, ...] = (),
    sizes: tuple[int, ...] | None = None,
) -> Source:
    """Open a trace file; `columns` picks tables by name, in that order (all if empty).

    `sizes`: rows of each table, to which `criteo` hashes. Raises `TraceError` where the file
    cannot be read, is no such format or lacks a column.
    """
    path = Path(path)
    name = detect_format(path) if format == "auto" else format
    if name not in FORMATS:
        raise TraceError(f"{path}: unknown trace format {name!r}; known: {', '.join(FORMATS)}")
    try:
        source = _open(path, name, columns, sizes)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from None
    if columns and source.tables != columns:
        raise TraceError(
            f"{path}: no table {', '.join(columns)}; {name} has {', '.join(source.tables)}"
        )
    return source


def _open(path: Path, name: str, columns: tuple[str, ...], sizes: tuple[int, ...] | None) -> Source:
    if name == "npy":
        return NpySource(path, columns)
    if name == "npz":
        return NpzSource(path, columns)
    if name == "oracle":
        return OracleSource(path)
    if name == "meta":
        return MetaSource(path, columns)
    if name == "criteo":
        return CriteoSource(path, columns, sizes)
    if name == "parquet":
        from simulator.traces.parquet_files import ParquetSource  # pyarrow is slow to import

        return ParquetSource(path, columns)
    return TextSource(path, columns, "\t" if name == "tsv" else ",")


def read_ids(path: str | Path, *, column: str | None = None, format: str = "auto") -> Ids:
    """The ids of one table, int64, in order, all checked not to be negative.

    Memory-mapped for an int64 `.npy`; otherwise in memory (8 bytes an id). `column` may be left
    out where the file has one table. Raises `TraceError`.
    """
    source = _one_table(path, column, format)
    mapped = source.columns()
    if mapped is None:
        return np.concatenate([piece.ids for piece in checked(source)])
    for _ in checked(source):
        pass
    return integers(mapped[0].ids, str(path))


def stream_ids(
    path: str | Path, *, column: str | None = None, format: str = "auto"
) -> Iterator[Ids]:
    """As `read_ids`, in int64 chunks of about a million ids: constant memory for any length."""
    for piece in checked(_one_table(path, column, format)):
        if len(piece.ids):
            yield piece.ids


def _one_table(path: str | Path, column: str | None, format: str) -> Source:
    source = open_source(path, format=format, columns=(column,) if column else ())
    if len(source.tables) != 1:
        raise TraceError(
            f"{path}: has {len(source.tables)} tables; name one of {', '.join(source.tables)}"
        )
    return source
