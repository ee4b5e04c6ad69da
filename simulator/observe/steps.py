"""What words become once they are bound: work that is ready to run, its buffers prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.observe import rows as host

__all__ = ["AWAIT", "Await", "Launch", "OnHost", "RowCopy", "Step", "together"]

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
Work = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Launch:
    """Work of the GPU: done after all that was launched before it on its stream.

    `fixed`: touches the same memory whenever a mini-batch has the same turn at the rings of
    buffers, so that it may be captured once and replayed.
    """

    work: Work
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class OnHost:
    """Work of the host, done when it returns."""

    work: Work


@dataclass(frozen=True, slots=True)
class RowCopy:
    """A copy of rows on the host; `to`: into the table, else out of it."""

    table: Floats
    rows: Callable[[], Int64s]
    """Which, asked for when it runs."""
    buffer: Floats
    threads: int
    to: bool

    def work(self) -> None:
        rows = self.rows()
        host.copy_rows(self.table, rows, self.buffer[: len(rows)], self.threads, to=self.to)


@dataclass(frozen=True, slots=True)
class Await:
    """The host waits for the GPU before it goes on."""


AWAIT = Await()
Step = Launch | OnHost | RowCopy | Await


def together(gather: RowCopy, scatter: RowCopy) -> OnHost:
    """Both copies on one pool of threads, chunk by chunk."""

    def both() -> None:
        wanted, given = gather.rows(), scatter.rows()
        out, values = gather.buffer[: len(wanted)], scatter.buffer[: len(given)]
        host.gather_and_scatter(gather.table, wanted, out, given, values, gather.threads)

    return OnHost(both)
