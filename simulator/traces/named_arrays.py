"""Tables out of arrays with names, as an `.npz` or a dictionary of tensors holds them.

An array is a table of shape (ids,) or (samples, lookups); bags of different sizes are in
`<name>_offsets` (as many as bags, or one more) or `<name>_lengths` (`companions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from simulator.errors import TraceError
from simulator.text import few
from simulator.traces.bags import Offsets, ends_open, lengths_of
from simulator.traces.base import Ids
from simulator.traces.companions import Table, assign
from simulator.traces.numpy_files import Header
from simulator.traces.pieces import CHUNK, Piece, bags

__all__ = ["NamedArrays", "Stream"]

Stream = Callable[[str], Iterator[Ids]]
"""From the name of an array to its values, in C order, int64, in parts."""

_MOST_EMPTY = 1 << 24
"""Samples that an array without any value may claim: nothing in the file backs their number."""


class NamedArrays:
    """What the headers of arrays say of tables. Raises `TraceError` where they cannot be any."""

    def __init__(
        self, path: Path, headers: Mapping[str, Header], columns: tuple[str, ...], stream: Stream
    ) -> None:
        self._path, self._headers = path, headers
        self._unfit = {name: _unfit(header) for name, header in headers.items()}
        self._tables, self.notes = assign(path, self._unfit, columns)
        self.tables = tuple(table.name for table in self._tables)
        for table in self._tables:
            self._check(table)
        self._open = self._ends_open(stream)
        self._note_layouts()

    def where(self, name: str) -> str:
        """The file and the array, for messages."""
        return f"{self._path}: array {name!r}"

    def pieces(self, stream: Stream) -> Iterator[Piece]:
        """Table by table: ids, then the lengths of the bags."""
        for number, table in enumerate(self._tables):
            for ids in stream(table.values):
                yield Piece(number, ids)
            for lengths in self._lengths(table, stream):
                yield Piece(number, np.empty(0, np.int64), lengths)

    def _lengths(self, table: Table, stream: Stream) -> Iterator[Ids]:
        header = self._headers[table.values]
        if len(header.shape) == 2:
            samples, lookups = header.shape
            for start in range(0, samples, CHUNK):
                yield np.full(min(CHUNK, samples - start), lookups, np.int64)
        elif table.offsets is not None:
            where = self.where(table.offsets)
            parts = (bags(part, where) for part in stream(table.offsets))
            yield from lengths_of(parts, where, header.size, ends_open=self._open)
        elif table.lengths is not None:
            for part in stream(table.lengths):
                lengths = bags(part, self.where(table.lengths))
                if np.any(lengths > header.size):
                    raise TraceError(
                        f"{self.where(table.lengths)}: a bag of {lengths.max()} lookups, but "
                        f"there are {header.size} ids"
                    )
                yield lengths

    def _check(self, table: Table) -> None:
        """The arrays of `table` have shapes and types that their roles allow."""
        header, where = self._headers[table.values], self.where(table.values)
        if len(header.shape) not in (1, 2):
            raise TraceError(
                f"{where}: shape {header.shape}, expected (ids,) or (samples, lookups); of "
                "(samples, tables, lookups) save an array (samples, lookups) for each table"
            )
        if header.size == 0 and header.shape[0] > _MOST_EMPTY:
            raise TraceError(f"{where}: shape {header.shape}: so many samples of no lookups")
        cuts = table.offsets or table.lengths
        if cuts is None:
            return
        if len(header.shape) == 2:
            raise TraceError(
                f"{where}: shape {header.shape} beside {cuts!r}: bags are cut out of one "
                "dimension; save the ids without padding, or choose the array alone under "
                "another name"
            )
        if self._unfit[cuts] or len(self._headers[cuts].shape) != 1:
            what = self._unfit[cuts] or f"shape {self._headers[cuts].shape}"
            raise TraceError(
                f"{self.where(cuts)}: {what}, expected integers of one dimension, one a bag; save "
                "an array of ids and one of bags for each table"
            )

    def _ends_open(self, stream: Stream) -> bool:
        offsets: dict[str, Offsets] = {}
        samples = set()
        for table in self._tables:
            header = self._headers[table.values]
            if len(header.shape) == 2:
                samples.add(header.shape[0])
            elif table.offsets is not None:
                last = 0
                for part in stream(table.offsets):
                    last = int(part[-1])
                offsets[table.name] = Offsets(self._headers[table.offsets].size, last, header.size)
            elif table.lengths is not None:
                samples.add(self._headers[table.lengths].size)
        return ends_open(offsets, samples)

    def _note_layouts(self) -> None:
        wide = [t.name for t in self._tables if len(self._headers[t.values].shape) == 2]
        if wide:
            self.notes += (f"two dimensions are read as (samples, lookups): {few(wide)}",)
        if self._open:
            jagged = [t.name for t in self._tables if t.offsets is not None]
            self.notes += (
                f"as many offsets as bags, the last bag ends with the ids: {few(jagged)}",
            )


def _unfit(header: Header) -> str:
    return header.unfit or ("" if header.shape else "a single number")
