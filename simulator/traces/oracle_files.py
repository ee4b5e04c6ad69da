"""libCacheSim's oracleGeneral: 24-byte little-endian records, one lookup each.

uint32 time, uint64 object id, uint32 size, int64 number of the next lookup of the object (-2 in
what libCacheSim writes, -1 in older files: none). Layout as in libCacheSim's
`traceReader/customizedReader/oracle/oracleGeneralBin.h`. One table, named `object`.

The layout has no mark of its own, but its fields contradict each other where they are something
else: time never runs backwards, `next` lies behind its record and is a lookup of the same object,
and sizes are sizes. What a file says of this is checked: closely in its first records, time and
`next` in all that are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from simulator.errors import TraceError
from simulator.streams import open_bytes, packing, refusing
from simulator.traces.base import Ids
from simulator.traces.pieces import CHUNK, Column, Piece, integers

__all__ = ["RECORD", "OracleSource", "write_oracle"]

RECORD = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next", "<i8")])
_NEVER = -2
_NEVERS = (-2, -1, 2**63 - 1)
_LOOKED_AT = 1 << 16
_HUGE = 2**31  # bytes of an object: -1 and other negative numbers are above

Records = npt.NDArray[Any]


class OracleSource:
    """An oracleGeneral file, memory-mapped unless it is packed; the object ids are the row ids.

    `unchecked`: believe that it is one, whatever its records say.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, unchecked: bool = False) -> None:
        self.path, self._unchecked = path, unchecked
        self.tables: tuple[str, ...] = ("object",)
        self._mapped: Records | None = None
        with refusing(path):
            if not packing(path):
                self._mapped = self._map(path.stat().st_size)
            first = next(self._records(_LOOKED_AT), np.zeros(0, RECORD))
        if not len(first):
            raise TraceError(f"{path}: holds no records")
        if not unchecked:
            self._check(first, 0, 0)
            self._refuse(_contradiction(first))

    def pieces(self) -> Iterator[Piece]:
        """In chunks of about a million records."""
        start, time = 0, 0
        with refusing(self.path, after=lambda: f"record {start - 1}" if start else ""):
            for records in self._records(CHUNK):
                if not self._unchecked:
                    self._check(records, start, time)
                ids = integers(np.ascontiguousarray(records["object"]), str(self.path))
                start, time = start + len(records), int(records["time"][-1])
                yield Piece(0, ids)

    def columns(self) -> list[Column] | None:
        """The mapped ids (a field of the records); None where the file is packed."""
        return None if self._mapped is None else [Column("object", self._mapped["object"])]

    def _map(self, size: int) -> Records:
        if size % RECORD.itemsize:
            self._refuse_cut(size)
        return np.memmap(self.path, RECORD, "c").view(np.ndarray) if size else np.zeros(0, RECORD)

    def _records(self, count: int) -> Iterator[Records]:
        """Consecutive records, up to `count` at a time."""
        if self._mapped is not None:
            for start in range(0, len(self._mapped), count):
                yield self._mapped[start : start + count]
            return
        size = 0
        with open_bytes(self.path) as file:
            while data := file.read(count * RECORD.itemsize):
                size += len(data)
                if len(data) % RECORD.itemsize:
                    self._refuse_cut(size)
                yield np.frombuffer(data, RECORD)

    def _check(self, records: Records, start: int, time: int) -> None:
        """Time never falls, from `time` on, and `next` lies behind its record, number `start`."""
        times = np.concatenate([np.array([time], np.uint32), records["time"]])
        falls = np.diff(times).view(np.int32) < 0  # modulo 2**32, as long traces are written
        if start == 0:
            falls[0] = False
        if np.any(falls):
            i = int(np.argmax(falls))
            self._refuse(f"record {start + i} has time {times[i + 1]}, after {times[i]}")
        following = records["next"]
        behind = following > np.arange(start, start + len(records))
        wrong = ~behind & ~np.isin(following, _NEVERS)
        if np.any(wrong):
            i = int(np.argmax(wrong))
            self._refuse(f"the next lookup of record {start + i} is said to be {following[i]}")

    def _refuse(self, contradiction: str) -> None:
        if contradiction:
            raise TraceError(
                f"{self.path}: no oracleGeneral records: {contradiction} (records count from 0). "
                "Another binary layout has to be converted first, to .npy for example; --unchecked "
                "of `scratchpipe trace` takes the object ids for what they are"
            )

    def _refuse_cut(self, size: int) -> None:
        raise TraceError(
            f"{self.path}: truncated: {size} bytes are no whole number of 24-byte oracleGeneral "
            f"records; record {size // RECORD.itemsize} is cut"
        )


def _contradiction(records: Records) -> str:
    """What sizes and next lookups of the first records cannot be, "" if all is well."""
    size, following = records["size"], records["next"]
    if not np.any(size):
        return "all objects have 0 bytes"
    if np.any(size >= _HUGE):
        i = int(np.argmax(size >= _HUGE))
        return f"record {i} has an object of {size[i]} bytes"
    known = ~np.isin(following, _NEVERS)
    if not np.any(known):
        return ""  # written by who did not know the future
    real = _next_in_chunk(records["object"], 0, {})
    here = real != _NEVER
    # of a trace that was cut at its beginning all numbers are as much too large
    shifts = (following - real)[here & known]
    shift = int(shifts[0]) if len(shifts) else 0
    wrong = np.where(here, following != real + shift, known & (following - shift < len(records)))
    if np.any(wrong):
        i = int(np.argmax(wrong))
        return f"the next lookup of record {i} is said to be {following[i]}, which it is not"
    return ""


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


def _next_in_chunk(chunk: npt.NDArray[Any], start: int, following: dict[int, int]) -> Ids:
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
