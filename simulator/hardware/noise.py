"""The words of private training: gradients of samples are clipped, noise is drawn and added.

As in `program`: data, without time. Private training is SGD on clipped gradients with Gaussian
noise (DP-SGD: Abadi et al., CCS 2016), which dense noise adds to every row of every table in every
mini-batch, whether it was looked up or not.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.caches.facts import Flow
from simulator.hardware.program import GRADIENT_BYTES, Buffer, Operation, Store

__all__ = ["HISTORY_BYTES", "Draw", "Noise", "Sweep"]

HISTORY_BYTES = 4
"""Of the mini-batch up to which a row has its noise (int32), as LazyDP's code keeps it."""


@dataclass(frozen=True, slots=True)
class Sweep(Operation):
    """Passes over buffers in order: norms of gradients of single samples, their scaling, copies.

    `sources`: buffers that are read; `results`: those that are written. A buffer that is passed
    over twice stands there twice.
    """

    sources: tuple[Buffer, ...]
    results: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw(Operation):
    """Draw Gaussian numbers (fp32) into a buffer."""

    into: Buffer

    @property
    def values(self) -> int:
        """Numbers that are drawn."""
        return self.into.bytes // GRADIENT_BYTES


@dataclass(frozen=True, slots=True)
class Noise(Operation):
    """Add noise to rows of a store: that of this mini-batch, or all that they have missed.

    Bytes: `source` is read and `sums` read and written in order; the `touched` rows are read and
    written where they lie; a history of the `rows` is read and written.
    """

    writes: Store
    rows: Flow
    """Rows that get noise."""
    touched: Flow
    """Those of them that it reads and writes in the store; the others get it with the gradient that
    a word beside it adds."""
    source: Buffer | None = None
    """Numbers that were drawn before; None: it draws them itself, one for each value of `rows`."""
    sums: int = 0
    """Bytes of the numbers that it scales, of gradients that it adds them to or makes of them."""
    every_row: bool = False
    """`rows` are all that the store holds: in order, whatever lies there."""
    history: bool = False
    """Each row has a note of the last mini-batch whose noise it has, and gets all that it lacks as
    one number a value, with the deviation of their sum."""
    before: bool = False
    """Noise up to the mini-batch before, ahead of what reads the rows in the same stage."""

    @property
    def values(self) -> int:
        """Numbers that it draws itself."""
        return 0 if self.source else self.rows.rows * self.writes.row_bytes // GRADIENT_BYTES
