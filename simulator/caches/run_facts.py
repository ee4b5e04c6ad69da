"""The facts of a run, packed: a run of a million mini-batches has a million of them.

They are packed block by block as they come, some tens of bytes a mini-batch, and unpacked block by
block as they are read: never more than a block or two stands in memory as objects. A run of one
block, as most points of a sweep are, is not packed at all.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts
from simulator.caches.flows import Counted

__all__ = ["BLOCK", "RunFacts"]

BLOCK = 1024
"""Mini-batches of a block: a few MB of objects, and of what is made of them."""


class RunFacts(Sequence[BatchFacts]):
    """The facts of every mini-batch, in order. Those that tell more than counts stay as they are:
    a few samples, or all that a checker looks at."""

    def __init__(self, facts: Iterable[BatchFacts] = ()) -> None:
        self._packed: list[bytes] = []
        """Of each full block its facts; None in place of those that stay."""
        self._stay: dict[int, BatchFacts] = {}
        """By place in the run, those of packed blocks."""
        self._open: list[BatchFacts] = []
        """Those behind the packed blocks."""
        self._last: tuple[int, list[BatchFacts]] = (-1, [])
        """The block that was unpacked last, and its number."""
        for each in facts:
            self.append(each)

    @classmethod
    def of(cls, facts: Sequence[BatchFacts]) -> RunFacts:
        """`facts` as such."""
        return facts if isinstance(facts, cls) else cls(facts)

    def append(self, facts: BatchFacts) -> None:
        """Put those of the next mini-batch behind the others."""
        if len(self._open) == BLOCK:
            self._pack()
        self._open.append(facts)

    def _pack(self) -> None:
        first = len(self._packed) * BLOCK
        stay = {k: facts for k, facts in enumerate(self._open) if facts.says_which}
        self._stay |= {first + k: facts for k, facts in stay.items()}
        bare = [None if k in stay else facts for k, facts in enumerate(self._open)]
        told = _stacked(bare) or bare
        self._packed.append(zlib.compress(pickle.dumps(told, pickle.HIGHEST_PROTOCOL), 1))
        self._open = []

    @property
    def starts(self) -> range:
        """The first mini-batch of each block."""
        return range(0, len(self), BLOCK)

    def block(self, first: int) -> list[BatchFacts]:
        """The facts of the block that begins with mini-batch `first`."""
        number = first // BLOCK
        if number == len(self._packed):
            return self._open
        if self._last[0] != number:
            told = pickle.loads(zlib.decompress(self._packed[number]))
            pairs = enumerate(told, number * BLOCK)
            self._last = number, [self._stay[k] if f is None else f for k, f in pairs]
        return self._last[1]

    def with_rows(self) -> list[BatchFacts]:
        """Those that keep row numbers, in order."""
        held = chain(self._stay.values(), self._open)
        return [facts for facts in held if facts.keeps_rows]

    def __len__(self) -> int:
        return len(self._packed) * BLOCK + len(self._open)

    def __iter__(self) -> Iterator[BatchFacts]:
        for first in self.starts:
            yield from self.block(first)

    @overload
    def __getitem__(self, place: int) -> BatchFacts: ...
    @overload
    def __getitem__(self, place: slice) -> list[BatchFacts]: ...
    def __getitem__(self, place: int | slice) -> BatchFacts | list[BatchFacts]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        return self.block(number - number % BLOCK)[number % BLOCK]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal to lists of the same facts

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be unpacked again."""
        return {**self.__dict__, "_last": (-1, [])}


@dataclass(frozen=True)
class _Stacked:
    """Facts that differ in counts alone: in one array, for objects are slow to make."""

    like: BatchFacts
    places: list[int]
    """Where they are; elsewhere is None."""
    index: list[int]
    popular: list[int | None]
    counts: npt.NDArray[np.signedinteger[Any]]
    bags: list[tuple[int, ...]]

    def __iter__(self) -> Iterator[BatchFacts | None]:
        like, names = self.like, tuple(self.like.flows)
        facts: list[BatchFacts | None] = [None] * BLOCK
        told = zip(self.places, self.index, self.popular, self.counts, self.bags, strict=True)
        for place, index, popular, counts, bags in told:
            flows = Counted(names, counts, bags)
            facts[place] = BatchFacts(
                index, like.samples, flows, like.start, like.pooled, popular, like.by_sample
            )
        return iter(facts)


def _stacked(block: Sequence[BatchFacts | None]) -> _Stacked | None:
    """The facts of a block as such; None where they differ in more."""
    held = [(place, facts) for place, facts in enumerate(block) if facts is not None]
    counted = [facts.flows for _, facts in held if isinstance(facts.flows, Counted)]
    kinds = {
        (f.samples, f.start, f.pooled, f.by_sample, own.names, own.counts.shape, own.counts.dtype)
        for (_, f), own in zip(held, counted, strict=False)
    }
    if len(counted) < len(held) or len(kinds) != 1:
        return None
    places, facts = zip(*held, strict=True)
    return _Stacked(
        facts[0],
        list(places),
        [each.index for each in facts],
        [each.popular for each in facts],
        np.stack([own.counts for own in counted]),
        [own.bags for own in counted],
    )
