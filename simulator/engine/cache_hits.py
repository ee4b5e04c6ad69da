"""Which lookups of a program hit the processors' caches: told apart, counted, put in its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import Flow
from simulator.columns import column_of
from simulator.hardware.program import Elsewhere, Operation, Pool, Stage

__all__ = ["Counted", "Hits", "Key", "lookups_of", "means_of", "shares_of", "with_hits"]

Int64s = npt.NDArray[np.int64]
Hits = npt.NDArray[np.bool_]
"""Of each lookup."""
Shares = tuple[float, ...]
"""Of lookups that hit: of all, and of those of each tier where their store is spread over some."""


@dataclass(frozen=True)
class Counted:
    """Which of the lookups of an operation hit."""

    word: Pool
    hits: Hits

    @cached_property
    def shares(self) -> Shares:
        """Of all, then of each tier."""
        homes, tiers = self.word.rows.homes, range(len(self.word.reads.tiers))
        if homes is None or len(homes) != len(self.hits):
            return (_share(self.hits), *(0.0 for _ in tiers))
        return (_share(self.hits), *(_share(self.hits[homes == tier]) for tier in tiers))


Key = tuple[str, str, str, str, int]
"""What tells lookups of a program apart: operation, processor, store and its memory, and which of
those that have the same."""


def _key(word: Pool, seen: Counter[tuple[str, ...]]) -> Key:
    """That of `word`, behind those that were `seen`."""
    own = (word.name, word.at, word.reads.name, word.reads.memory)
    seen[own] += 1
    return (*own, seen[own])


def lookups_of(stages: Sequence[Stage]) -> dict[Key, Pool]:
    """Every lookup of a program, those of each store on its own."""
    seen: Counter[tuple[str, ...]] = Counter()
    return {
        _key(each, seen): each
        for stage in stages
        for word in stage.operations
        if isinstance(word, Pool)
        for each in _by_store(word)
    }


def _by_store(word: Pool) -> Iterator[Pool]:
    yield word
    more = word.elsewhere
    if more is not None:
        yield replace(
            word, reads=more.store, rows=more.rows, elsewhere=Elsewhere(word.reads, word.rows)
        )


def _share(hits: Hits) -> float:
    return int(np.count_nonzero(hits)) / len(hits) if len(hits) else 0.0


def means_of(counted: Iterable[Mapping[Key, Counted]]) -> dict[Key, Shares]:
    """Mean share of each lookup of a program over the counted mini-batches that have it."""
    shares: dict[Key, list[Shares]] = {}
    for lookups in counted:
        for key, each in lookups.items():
            shares.setdefault(key, []).append(each.shares)
    return {
        key: tuple(float(np.mean(of_one)) for of_one in zip(*each, strict=True))
        for key, each in shares.items()
    }


def shares_of(
    means: Mapping[Key, Shares], hits: Sequence[Mapping[Key, Counted]]
) -> Mapping[Key, Shares]:
    """Of each lookup of a program: what was counted in its mini-batch, else the mean."""
    keys = dict.fromkeys((*means, *(key for own in hits for key in own)))
    each = {key: [own[key].shares if key in own else means[key] for own in hits] for key in keys}
    return {
        key: tuple(column_of(of_one) for of_one in zip(*shares, strict=True))
        for key, shares in each.items()
    }


def with_hits(
    stages: Sequence[Stage], shares: Mapping[Key, Shares], masks: Mapping[Key, Hits]
) -> tuple[Stage, ...]:
    """`stages` with the hit share of each lookup; `masks`: which rows hit and are left out."""
    seen: Counter[tuple[str, ...]] = Counter()

    def filled(word: Operation) -> Operation:
        if not isinstance(word, Pool):
            return word
        (key, own), *others = [(_key(each, seen), each.rows) for each in _by_store(word)]
        rows = _without(own, masks.get(key))
        share, *tiers = shares.get(key, (0.0,))
        word = replace(word, hit_share=share, tier_hits=tuple(tiers), rows=rows)
        for key, own in others:
            assert word.elsewhere is not None, "lookups in a second store"
            rows = _without(own, masks.get(key))
            more = replace(word.elsewhere, hit_share=shares.get(key, (0.0,))[0], rows=rows)
            word = replace(word, elsewhere=more)
        return word

    return tuple(
        Stage(stage.name, tuple(tuple(map(filled, lane)) for lane in stage.lanes))
        for stage in stages
    )


def _without(rows: Flow, hits: Hits | None) -> Flow:
    """`rows` without the lookups that hit; the counts stay."""
    if hits is None:
        return rows

    def left(array: Int64s | None) -> Int64s | None:
        return array[~hits] if array is not None and len(array) == len(hits) else array

    homes = rows.homes
    if homes is not None and len(homes) == len(hits):
        homes = homes[~hits]
    return replace(rows, ids=left(rows.ids), slots=left(rows.slots), homes=homes)
