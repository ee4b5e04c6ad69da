"""A stream of equal pieces read from or written to one memory: what operations are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.columns import least, same

__all__ = ["Access"]


@dataclass(frozen=True, slots=True)
class Access:
    """`count` pieces of `size` bytes in the memory of the place `memory`.

    `random`: the pieces lie anywhere (rows of a table), else they follow each other (staging
    buffers, dense vectors). `hit_share`: share of the pieces that the processor's last cache (CPU
    last level, GPU L2) holds already. `in_place`: a write to what the same operation has just read
    (no read for ownership). `pieces`: which pieces, int64 row numbers, shape (count,), where the
    exact memory model replays them. `buffer`: random pieces of a buffer (gradients by lookup),
    whose order nobody keeps: the exact memory model takes its table for them. `request`: bytes that
    the processor asks for at once where the pieces lie behind a link; 0: bytes pass it as those of
    a copy do. `among`: bytes of the store that random pieces lie in, of which a link that
    translates addresses has a part at hand; 0: all. `distinct`: pieces that differ; 0: every one.
    `ascending`: random pieces are taken in the order in which they lie.
    """

    memory: str
    count: int
    size: int
    write: bool = False
    random: bool = True
    hit_share: float = 0.0
    in_place: bool = False
    pieces: npt.NDArray[np.int64] | None = None
    buffer: bool = False
    request: float = 0.0
    among: int = 0
    distinct: int = 0
    ascending: bool = False

    @property
    def bytes(self) -> int:
        return self.count * self.size

    @property
    def translated(self) -> int:
        """Pieces whose address is translated: repeats find it at hand."""
        return least(self.count, self.distinct) if self.distinct else self.count

    def of(self, count: int, size: int) -> Access:
        """The same stream in `count` pieces of `size` bytes.

        Every price of every mini-batch asks for some, so that `dataclasses.replace` takes too long.
        """
        if same(count, self.count) and same(size, self.size):
            return self
        return Access(
            self.memory,
            count,
            size,
            self.write,
            self.random,
            self.hit_share,
            self.in_place,
            self.pieces,
            self.buffer,
            self.request,
            self.among,
            self.distinct,
            self.ascending,
        )
