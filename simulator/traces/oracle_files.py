"""libCacheSim's oracleGeneral: 24-byte little-endian records, one lookup each.

uint32 time, uint64 object id, uint32 size, int64 number of the next lookup of the object (-2 in
what libCacheSim writes, -1 in older files: none). Layout as in libCacheSim's
`traceReader/customizedReader/oracle/oracleGeneralBin.h`. One table, named `object`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids
from simulator.traces.pieces import CHUNK, Column, Piece, integers

__all__ = ["RECORD", "OracleSource", "write_oracle"]

RECORD = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
_NEVER = -2


class OracleSource:
    """An oracleGeneral file, memory-mapped; the object ids are the row ids."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: tuple[str, ...] = ("object",)
        size = path.stat().st_size
        if size == 0:
            raise TraceError(f"{path}: holds no records")
        if size % RECORD.itemsize:
            raise TraceError(
                f"{path}: truncated: {size} bytes are no whole number of 24-byte records; record "
                f"{size // RECORD.itemsize} is cut"
            )
        self._ids = np.memmap(path, RECORD, "c").view(np.ndarray)["object"]

    def pieces(self) -> Iterator[Piece]:
        """In chunks of about a million records."""
        for start in range(0, len(self._ids), CHUNK):
            yield Piece(0, integers(self._ids[start : start + CHUNK], str(self.path)))

    def columns(self) -> list[Column]:
        """The mapped ids (a field of the records)."""
        return [Column("object", self._ids)]


def write_oracle(file: IO[bytes], ids: Ids, row_bytes: int = 1) -> None:
    """Write `ids` as records: time is the number of the lookup (modulo 2**32), size `row_bytes`.

    Needs the whole trace to know the next lookups: one backward pass, memory for the distinct ids.
    """
    following: dict[int, int] = {}
    start_of_file = file.tell()
    for start in range((len(ids) - 1) // CHUNK * CHUNK, -1, -CHUNK):
        chunk = np.asarray(ids[start : start + CHUNK])
        records = np.zeros(len(chunk), RECORD)
        records["time"] = np.arange(start, start + len(chunk)) % 2**32
        records["object"] = chunk
        records["size"] = row_bytes
        records["next"] = _next_in_chunk(chunk, start, following)
        file.seek(start_of_file + start * RECORD.itemsize)
        file.write(records.tobytes())


def _next_in_chunk(chunk: Ids, start: int, following: dict[int, int]) -> Ids:
    """Next lookups of the ids in `chunk`; `following` holds the first lookup after the chunk."""
    order = np.argsort(chunk, kind="stable")
    grouped = chunk[order]
    last = np.append(grouped[1:] != grouped[:-1], True)
    after = np.empty(len(chunk), np.int64)
    after[order[:-1]] = start + order[1:]
    lasts = order[last]
    after[lasts] = [following.get(x, _NEVER) for x in chunk[lasts].tolist()]
    firsts = order[np.append(0, np.flatnonzero(last)[:-1] + 1)]
    following.update(zip(chunk[firsts].tolist(), (start + firsts).tolist(), strict=True))
    return after
