"""Trace files by content, name and format: open one, read one table of it, whole or as a stream.

| format  | file name            | tables                                                     |
|---------|----------------------|------------------------------------------------------------|
| npy     | .npy                 | one (1-D), or a column each (samples by tables)            |
| npz     | .npz                 | an array each, with `<name>_offsets` or `_lengths`         |
| parquet | .parquet             | an integer column each; a list column where jagged         |
| csv     | .csv, any text       | a column of decimal ids each, header line or not           |
| tsv     | .tsv                 | the same, tab-separated                                    |
| words   | any                  | a column of words each (Avazu's), hashed to `sizes`        |
| criteo  | .criteo, .txt        | 26 columns of hexadecimal categories, hashed to `sizes`    |
| meta    | .pt                  | tensors: Meta's dlrm_datasets, dictionaries, batches       |
| oracle  | .oracleGeneral, .bin | one: libCacheSim's 24-byte records                         |

The first bytes decide and the name helps: a file is never read against what its content says, and
what was guessed is among the `notes` of the source. Text, `meta` and `oracle` files may be
compressed (`ids.csv.gz`, `ids.oracleGeneral.zst`). A folder is its parts, `-` is standard input.

Which memory reading takes: `npy` and `oracle` are memory-mapped and the others streamed; only
`meta` files (one batch each) are unpacked in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from simulator.errors import TraceError
from simulator.streams import inner_name, packing, refusing, spooled_input
from simulator.traces.base import Ids
from simulator.traces.contents import MARKED, content_of, text_format
from simulator.traces.features import Feeds
from simulator.traces.hashed_files import CriteoSource, WordsSource
from simulator.traces.meta_files import MetaSource
from simulator.traces.npz_files import NpzSource
from simulator.traces.numpy_files import NpySource
from simulator.traces.oracle_files import OracleSource
from simulator.traces.parts import PartsSource, parts_of
from simulator.traces.pieces import Source, checked, integers
from simulator.traces.spooled import SpooledSource, named
from simulator.traces.text_files import TextSource
from simulator.traces.text_layout import Header

__all__ = ["FORMATS", "detect_format", "open_source", "read_ids", "stream_ids"]

FORMATS = ("npy", "npz", "parquet", "csv", "tsv", "words", "criteo", "meta", "oracle")

_SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".criteo": "criteo",
    ".pt": "meta",
    ".oraclegeneral": "oracle",
    ".bin": "oracle",
}
_TEXTS = ("csv", "tsv", "words", "criteo")
_WITH_HEADER = ("csv", "tsv", "words")
_HASHED = ("words", "criteo")
_IN_PLACE = ("npy", "npz", "parquet")  # read at places that the file itself names
_KNOWN = f"formats that are read: {', '.join(FORMATS)}"


@dataclass(frozen=True)
class _Asked:
    """What was said about a file: it overrules what would be guessed."""

    format: str
    columns: tuple[str, ...]
    tables: Mapping[str, str]
    sizes: tuple[int, ...] | None
    rows: tuple[int, ...] | None
    header: Header
    unchecked: bool

    def hashed_to(self, path: Path, columns: tuple[str, ...]) -> tuple[int, ...]:
        """Rows that the words of each column are hashed to.

        Raises `TraceError` unless there is a size for each table, or one for all.
        """
        feeds = Feeds.of(path, columns, self.tables)
        given = self.sizes or self.rows or ()
        sizes = given * len(feeds.names) if len(given) == 1 else given
        if len(sizes) != len(feeds.names):
            raise TraceError(
                f"{path}: categories are hashed to stated table sizes: {len(feeds.names)} tables "
                f"need as many sizes, {len(given)} are given ({', '.join(feeds.names)})"
            )
        return tuple(sizes[table] for table in feeds.table_of)


def detect_format(path: Path) -> str:
    """The format that the name of the file tells; `TraceError` for names that tell none."""
    name = _format_of_name(path.name.lower())
    if not name:
        raise TraceError(
            f"{path}: the name tells no trace format; name one of {', '.join(FORMATS)}, or use one "
            f"of the endings {', '.join(_SUFFIXES)}"
        )
    return name


def open_source(
    path: str | Path | Sequence[str | Path],
    *,
    format: str = "auto",
    columns: tuple[str, ...] = (),
    tables: Mapping[str, str] = MappingProxyType({}),
    sizes: tuple[int, ...] | None = None,
    rows: tuple[int, ...] | None = None,
    header: Header = "auto",
    unchecked: bool = False,
) -> Source:
    """Open a trace: a file, a folder of parts, several files, or `-` (standard input).

    `columns` picks columns by name, in that order (left out: all that can be tables). `tables`: the
    table that a column feeds, where that is not its own (see `Feeds`). `sizes`: rows of each table
    (or of all), to which `criteo` and `words` hash and which no other format takes;
    without them those hash to `rows`, of the tables of a model. `header`: whether the first line of
    text names the columns. `unchecked`: take any 24-byte records for oracleGeneral.

    Raises `TraceError` where a file cannot be read, holds something else or lacks a column.
    """
    asked = _Asked(format, columns, tables, sizes, rows, header, unchecked)
    if isinstance(path, str | Path):
        whole = Path(path)
        files = parts_of(whole) if whole.is_dir() else [whole]
    else:
        files = [Path(file) for file in path]
        whole = files[0].parent
    if len(files) == 1:
        return _open_file(files[0], asked)
    return PartsSource(whole, [_open_file(file, asked) for file in files])


def _open_file(path: Path, asked: _Asked) -> Source:
    if str(path) == "-" and asked.format == "auto":
        raise TraceError(f"-: standard input has no name: say its format, {', '.join(FORMATS)}")
    copy = spooled_input(path)
    if copy == path:
        return _open_in_place(path, asked)
    with named(path, copy):
        return SpooledSource(path, copy, _open_in_place(copy, asked))


def _open_in_place(path: Path, asked: _Asked) -> Source:
    name, notes = _format_of(path, asked.format)
    if asked.header != "auto" and name not in _WITH_HEADER:
        raise TraceError(
            f"{path}: {name} files have no header line (header: {asked.header} is of "
            f"{', '.join(_WITH_HEADER)})"
        )
    if asked.unchecked and name != "oracle":
        raise TraceError(f"{path}: only oracle files can be taken unchecked; this is {name}")
    if asked.sizes is not None and name not in _HASHED:
        raise TraceError(
            f"{path}: {name} ids are row numbers, not words to hash: leave the sizes out (they are "
            f"of {' and '.join(_HASHED)} files)"
        )
    with refusing(path):
        if name in _IN_PLACE and (packed := packing(path)):
            raise TraceError(f"{path}: this is {packed}: unpack it first ({name} is read in place)")
        source = _open(path, name, asked)
    if asked.columns and source.tables != asked.columns:
        raise TraceError(
            f"{path}: no table {', '.join(asked.columns)}; {name} has {', '.join(source.tables)}"
        )
    source.notes = (*notes, *source.notes)
    return source


def _format_of(path: Path, format: str) -> tuple[str, tuple[str, ...]]:
    """The format of `path`, and what to say of it where neither name nor user told it.

    Raises `TraceError` where the content contradicts them.
    """
    if format not in ("auto", *FORMATS):
        raise TraceError(f"{path}: unknown trace format {format!r}; {_KNOWN}")
    named = _format_of_name(inner_name(path))
    said = named if format == "auto" else format
    found = content_of(path)
    if found in MARKED and found != said:
        if format != "auto":
            raise TraceError(f"{path}: its first bytes say {found}, not {format}")
        return found, (f"read as {found}, which its first bytes say",)
    if found == "text" and said in ("", *_TEXTS):
        return (said, ()) if format != "auto" else _format_of_text(path, said)
    if not said and found == "nothing":
        raise TraceError(f"{path}: holds no ids: the file is empty")
    if not said:
        raise TraceError(f"{path}: holds {_words(found)}, and the name tells no format; {_KNOWN}")
    if found != "nothing" and (said in _TEXTS or (said == "oracle" and found != "binary")):
        raise TraceError(f"{path}: holds {_words(found)}, which is not {said}; {_KNOWN}")
    return said, ()  # the reader of the format says what is missing


def _words(found: str) -> str:
    return {"text": "text", "zip": "a zip archive without arrays"}.get(found, f"{found} data")


def _format_of_text(path: Path, said: str) -> tuple[str, tuple[str, ...]]:
    if said in ("criteo", "tsv"):
        return said, ()
    found = text_format(path)
    if said == "csv" and found in ("csv", "tsv"):
        return said, ()
    return found, (f"read as {found}, by its first lines",)


def _format_of_name(name: str) -> str:
    for suffix, format in _SUFFIXES.items():
        if name.endswith(suffix):
            return format
    return ""


def _open(path: Path, name: str, asked: _Asked) -> Source:
    if name == "npy":
        return NpySource(path, asked.columns)
    if name == "npz":
        return NpzSource(path, asked.columns)
    if name == "oracle":
        return OracleSource(path, asked.unchecked)
    if name == "meta":
        return MetaSource(path, asked.columns)
    if name == "criteo":
        return CriteoSource(path, asked.columns, asked.hashed_to)
    if name == "words":
        return WordsSource(path, asked.columns, asked.hashed_to, asked.header)
    if name == "parquet":
        from simulator.traces.parquet_files import ParquetSource  # pyarrow is slow to import

        return ParquetSource(path, asked.columns)
    return TextSource(path, asked.columns, "\t" if name == "tsv" else ",", asked.header)


def read_ids(
    path: str | Path, *, column: str | None = None, format: str = "auto", header: Header = "auto"
) -> Ids:
    """The ids of one table, int64, in order, all checked not to be negative.

    Memory-mapped for an int64 `.npy`; otherwise in memory (8 bytes an id). `column` may be left
    out where the file has one table. Raises `TraceError`.
    """
    source = _one_table(path, column, format, header)
    mapped = source.columns()
    if mapped is None:
        return np.concatenate([piece.ids for piece in checked(source)])
    for _ in checked(source):
        pass
    return integers(mapped[0].ids, str(path))


def stream_ids(
    path: str | Path, *, column: str | None = None, format: str = "auto", header: Header = "auto"
) -> Iterator[Ids]:
    """As `read_ids`, in int64 chunks of about a million ids: constant memory for any length."""
    for piece in checked(_one_table(path, column, format, header)):
        if len(piece.ids):
            yield piece.ids


def _one_table(path: str | Path, column: str | None, format: str, header: Header) -> Source:
    source = open_source(path, format=format, columns=(column,) if column else (), header=header)
    if len(source.tables) != 1:
        raise TraceError(
            f"{path}: has {len(source.tables)} tables; name one of {', '.join(source.tables)}"
        )
    return source
