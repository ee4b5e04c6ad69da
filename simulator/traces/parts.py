"""A trace in several files: the parts of a folder, or files that were named, read as one.

Parts are read in the natural order of their names (`part-2` before `part-10`), and all of them
must hold the same tables. Files whose name begins with `.` or `_` (`_SUCCESS`, `_metadata`) are
marks of the program that wrote the folder, and no parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from simulator.errors import TraceError
from simulator.streams import refusing
from simulator.traces.pieces import Column, Piece, Source

__all__ = ["PartsSource", "parts_of"]


class PartsSource:
    """Files of the same tables, one behind the other."""

    def __init__(self, path: Path, parts: Sequence[Source]) -> None:
        """`path`: what the whole is called. Raises `TraceError` where two parts differ."""
        self.path, self._parts = path, tuple(parts)
        first = self._parts[0]
        one = all(part.tables == (part.path.stem,) for part in self._parts)  # arrays without a name
        self.tables: tuple[str, ...] = (path.stem,) if one else first.tables
        for part in self._parts[1:]:
            if part.tables != first.tables and not one:
                raise TraceError(
                    f"{path}: the parts hold different tables: {first.path.name} has "
                    f"{', '.join(first.tables)}; {part.path.name} has {', '.join(part.tables)}"
                )
        said = dict.fromkeys(note for part in self._parts for note in part.notes)
        self.notes: tuple[str, ...] = (f"{len(self._parts)} files are read as one trace", *said)

    def pieces(self) -> Iterator[Piece]:
        """Part by part."""
        for part in self._parts:
            yield from part.pieces()

    def columns(self) -> list[Column] | None:
        """Several files cannot be mapped as one array."""


def parts_of(folder: Path) -> list[Path]:
    """The parts in `folder`, in order; `TraceError` for none and for folders inside."""
    with refusing(folder):
        inside = [path for path in folder.iterdir() if not path.name.startswith((".", "_"))]
    folders = [path.name for path in inside if path.is_dir()]
    if folders:
        raise TraceError(f"{folder}: holds folders ({', '.join(sorted(folders)[:3])}): name one")
    if not inside:
        raise TraceError(f"{folder}: the folder holds no files")
    return sorted(inside, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    pieces = re.split(r"(\d+)", path.name)  # text and digits take turns
    numbers = [(int(piece), "") if i % 2 else (0, piece) for i, piece in enumerate(pieces)]
    return numbers, path.name
