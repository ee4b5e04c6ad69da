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
    rows: Int64s
    buffer: Floats
    threads: int
    to: bool

    def work(self) -> None:
        host.copy_rows(self.table, self.rows, self.buffer, self.threads, to=self.to)


@dataclass(frozen=True, slots=True)
class Await:
    """The host waits for the GPU before it goes on."""


AWAIT = Await()
Step = Launch | OnHost | RowCopy | Await


def together(gather: RowCopy, scatter: RowCopy) -> OnHost:
    """Both copies on one pool of threads, chunk by chunk."""
    arguments = (gather.table, gather.rows, gather.buffer, scatter.rows, scatter.buffer)
    return OnHost(lambda: host.gather_and_scatter(*arguments, gather.threads))
