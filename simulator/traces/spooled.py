"""A trace that came through a pipe: read from a copy, called by the name that the user gave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.errors import TraceError
from simulator.traces.pieces import Column, Piece, Source

__all__ = ["SpooledSource", "named"]


@contextmanager
def named(path: Path, copy: Path) -> Iterator[None]:
    """Errors of `copy` as those of `path`."""
    try:
        yield
    except TraceError as error:
        raise TraceError(str(error).replace(str(copy), str(path))) from None


class SpooledSource:
    """What lies in `copy`, as a trace called `path`."""

    def __init__(self, path: Path, copy: Path, source: Source) -> None:
        self.path, self._copy, self._source = path, copy, source
        self.tables, self.notes = source.tables, source.notes

    def pieces(self) -> Iterator[Piece]:
        """Those of the copy."""
        with named(self.path, self._copy):
            yield from self._source.pieces()

    def columns(self) -> list[Column] | None:
        """Those of the copy."""
        with named(self.path, self._copy):
            return self._source.columns()
