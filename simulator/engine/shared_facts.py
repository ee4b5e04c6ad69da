"""What points that share a replay need of its facts alike, made once for all of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts, check_all
from simulator.caches.row_filter import row_hits
from simulator.caches.run_facts import RunFacts
from simulator.engine.known_words import KnownWords
from simulator.engine.together import Groups, facts_of
from simulator.hardware.known_prices import KnownPrices

__all__ = ["SharedFacts"]

T = TypeVar("T")
Int64s = npt.NDArray[np.int64]
_MOST = 32
"""Results with row numbers that are kept at a time: a few MB each."""


@dataclass(frozen=True)
class SharedFacts:
    """Facts of one replay in other forms. Arguments count as equal where they are the same object;
    they are kept beside what was made of them."""

    _checked: dict[int, RunFacts] = field(default_factory=dict)
    _bare: dict[int, tuple[BatchFacts, BatchFacts]] = field(default_factory=dict)
    prices: KnownPrices | None = None
    """Of the points that were timed before; None where no others are."""
    words: KnownWords | None = None
    """Of the run that was before; None where no others are."""
    groups: dict[str, Groups] = field(default_factory=dict)
    """How the mini-batches of a system were divided, by its name: a first try for others."""
    _kept: OrderedDict[Hashable, tuple[tuple[object, ...], Any]] = field(
        default_factory=OrderedDict
    )
    _told: dict[Hashable, Any] = field(default_factory=dict)
    _turn: Lock = field(default_factory=Lock)
    """Of threads that look at `_kept`."""

    def check(self, batches: RunFacts) -> None:
        """See `simulator.caches.facts.check_all`."""
        if id(batches) not in self._checked:
            for first in batches.starts:
                check_all(batches.block(first))
            self._checked[id(batches)] = batches

    def told(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives for `key` the first time: of the facts alone, and not to be changed."""
        if key not in self._told:
            self._told[key] = make()
        known: T = self._told[key]
        return known

    def without_rows(self, facts: BatchFacts) -> BatchFacts:
        """See `BatchFacts.without_rows`."""
        if not facts.says_which:
            return facts
        if id(facts) not in self._bare:
            self._bare[id(facts)] = (facts, facts.without_rows())
        return self._bare[id(facts)][1]

    def in_sample_order(self, facts: BatchFacts) -> BatchFacts:
        """See `BatchFacts.in_sample_order`."""
        return self._once(("order", id(facts)), (facts,), facts.in_sample_order)

    def together(self, batches: Sequence[BatchFacts]) -> BatchFacts:
        """See `simulator.engine.together.facts_of`; kept where other points will ask for it."""
        if len(batches) == 1:
            return batches[0]
        if self.prices is None:
            return facts_of(batches)
        key = ("together", *map(id, batches))
        return self._once(key, tuple(batches), lambda: facts_of(batches))

    def row_hits(self, before: Int64s, lookups: Int64s, capacity: int) -> npt.NDArray[np.bool_]:
        """See `simulator.caches.row_filter.row_hits`."""
        key = ("hits", id(before), id(lookups), capacity)
        return self._once(key, (before, lookups), lambda: row_hits(before, lookups, capacity))

    def counted(self, key: Hashable, made_of: tuple[object, ...], make: Callable[[], T]) -> T:
        """Lookups that hit in processors' caches, of which `key` says the rest."""
        return self._once(("counted", key), made_of, make)

    def _once(self, key: Hashable, made_of: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` gives, kept until `_MOST` others were asked for since; several threads may
        ask at a time."""
        with self._turn:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
        if known is None:
            known = (made_of, make())
            with self._turn:
                self._kept[key] = known
                if len(self._kept) > _MOST:
                    self._kept.popitem(last=False)
        made: T = known[1]
        return made
