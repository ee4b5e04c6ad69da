"""Samples of mini-batches on their own: which have nothing but hot rows, and how they are packed
anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from simulator.traces.base import MiniBatch

__all__ = ["Bools", "Samples", "all_hot"]

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Samples one after the other.

    `ids[t]`: int64, their lookups in table *t*; `lengths[t]`: int64, shape (samples,), how many of
    them each sample has.
    """

    ids: tuple[Int64s, ...]
    lengths: tuple[Int64s, ...]

    @classmethod
    def of(cls, batch: MiniBatch) -> Samples:
        """Those of a mini-batch."""
        return cls(batch.ids, tuple(np.diff(edges) for edges in batch.offsets))

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        """All of `parts`, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        ids, lengths = zip(*((part.ids, part.lengths) for part in parts), strict=True)
        return cls(
            tuple(map(np.concatenate, zip(*ids, strict=True))),
            tuple(map(np.concatenate, zip(*lengths, strict=True))),
        )

    def __len__(self) -> int:
        return len(self.lengths[0])

    @property
    def offsets(self) -> tuple[Int64s, ...]:
        """Where the lookups of each sample begin, and the end: int64, shape (samples + 1,)."""
        return tuple(np.concatenate([[0], np.cumsum(each)]) for each in self.lengths)

    def where(self, chosen: Bools) -> Samples:
        """The chosen ones."""
        return Samples(
            tuple(
                ids[np.repeat(chosen, lengths)]
                for ids, lengths in zip(self.ids, self.lengths, strict=True)
            ),
            tuple(lengths[chosen] for lengths in self.lengths),
        )

    def cut(self, *edges: int) -> tuple[Samples, ...]:
        """Samples between consecutive `edges`."""
        offsets = self.offsets
        return tuple(
            Samples(
                tuple(i[o[first] : o[last]] for i, o in zip(self.ids, offsets, strict=True)),
                tuple(lengths[first:last] for lengths in self.lengths),
            )
            for first, last in pairwise(edges)
        )


def all_hot(hot: Sequence[Bools], offsets: Sequence[Int64s]) -> Bools:
    """Samples whose lookups are all hot, in every table: bool, shape (samples,).

    `hot[t]`: of each lookup in table *t*; `offsets[t]`: where the lookups of each sample begin.
    """
    chosen = np.ones(len(offsets[0]) - 1, np.bool_)
    for each, edges in zip(hot, offsets, strict=True):
        cold = np.concatenate([[0], np.cumsum(~each)])
        chosen &= cold[edges[1:]] == cold[edges[:-1]]
    return chosen
