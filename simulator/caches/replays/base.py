"""What a replay is: from the mini-batches of a trace to the facts of what moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts
from simulator.caches.plan.distinct import write_slots
from simulator.caches.tiers import Tiers
from simulator.errors import InvariantError
from simulator.traces.base import MiniBatch, Trace
from simulator.traces.cuts import Parts, whole_rows

__all__ = ["Kept", "Replay", "bases", "copies", "joined", "slots_of_lookups"]

Int64s = npt.NDArray[np.int64]
Kept = tuple[int, ...] | range
"""Numbers of mini-batches."""


class Replay(ABC):
    """What must be replayed for a system: a frozen, hashable value without a trace.

    Equal replays of one trace give equal facts and run once. `keep`: mini-batches whose row
    numbers the facts hold, for hits of the processors' caches, for replay of memory addresses and
    for the checker.
    """

    keep: Kept
    parts: Parts = ()
    """Parts of tables that it replays as tables of their own; none: tables as they are."""
    tiers: Tiers | None = None
    """How tables lie over tiers of host memory, for facts that count rows by tier; None: in one.
    Asks for `keep` of all mini-batches."""

    @property
    def cycle(self) -> int:
        """Mini-batches after which what it does repeats: trends are those of whole cycles."""
        return 1

    @property
    def ahead(self) -> int:
        """Mini-batches after a timed one that it must see to tell what that one does."""
        return 0

    @property
    def ignores_numbers(self) -> bool:
        """Whether all that it tells, rows apart, is the same however the rows of each table are
        numbered: its `run` may then be given them numbered another way."""
        return False

    @property
    def unforeseen(self) -> str:
        """What of the rows that a trace looks up may be too much for it, found by replaying alone;
        empty where nothing is."""
        return ""

    @property
    def rehearsal(self) -> Replay:
        """What finds `unforeseen` in the first mini-batches alone, as it would, and tells less."""
        return self

    def require_batches(self, count: int) -> None:
        """Raise `ConfigError` where a run of `count` mini-batches, those after the timed ones
        included, is too short for it."""
        del count

    def wanted(self, facts: Iterable[BatchFacts]) -> float | None:
        """Rows that must be in its slots at once for none to be read where it lies, mean over
        mini-batches; None where all find a slot, or there is nothing to tell it from."""
        del facts
        return None

    def counted(self, facts: BatchFacts) -> BatchFacts:
        """`facts` where rows are meant and not their pieces: parts by columns count once."""
        shards = whole_rows(self.parts, facts.shards)
        return facts if len(shards) == facts.shards else facts.of_shards(shards)

    @property
    def whole_slots(self) -> int:
        """Slots for whole rows: those of parts by columns count once."""
        slots = self.slots
        return sum(slots[k] for k in whole_rows(self.parts if slots else (), len(slots)))

    @property
    def twins(self) -> tuple[int, ...]:
        """For each part the number of the first that does the same; those need not be replayed."""
        return ()

    def of_parts(self, numbers: Sequence[int]) -> Replay:
        """The same for some of its parts; asked of replays that have twins."""
        raise NotImplementedError

    @property
    def slots(self) -> tuple[int, ...]:
        """Slots of the upper tier, a pool each; empty where there is no cache."""
        return ()

    @property
    def grown(self) -> bool | None:
        """Whether the cache had to be enlarged to hold its window; None where it has no window."""
        return None

    @property
    def policy(self) -> str | None:
        """Replacement policy; None where nothing is replaced."""
        return None

    @property
    def feed(self) -> Hashable | None:
        """Replays with equal feeds can share `shared` mini-batches; None: raw ones."""
        return None

    def shared(
        self, trace: Trace, group: Sequence[Replay], batches: Iterator[MiniBatch], threads: int
    ) -> Iterator[MiniBatch]:
        """`batches` prepared once for all of `group`, which have this replay's feed."""
        del trace, group, threads
        return batches

    def resident(self, trace: Trace) -> Int64s:
        """Rows (over all tables) in the first slots before the first mini-batch; -1: empty."""
        del trace
        return np.empty(0, np.int64)

    @abstractmethod
    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        """The facts of every mini-batch, in order. `threads` may be used; facts do not depend on
        how many."""


def copies(batches: Iterable[MiniBatch], count: int) -> list[Iterator[MiniBatch]]:
    """`batches`, each given `count` times and dropped as soon as all have it.

    As `itertools.tee`, which keeps the last 57 of what it gave: gigabytes of row numbers.
    """
    source = iter(batches)
    waiting: list[deque[MiniBatch]] = [deque() for _ in range(count)]

    def copy(mine: deque[MiniBatch]) -> Iterator[MiniBatch]:
        while True:
            if not mine:
                drawn = next(source, None)
                if drawn is None:
                    return
                for queue in waiting:
                    queue.append(drawn)
                del drawn
            yield mine.popleft()

    return [copy(mine) for mine in waiting]


def edges_of(batch: MiniBatch, parts: Parts) -> Sequence[Int64s | None]:
    """Edges of the samples of each table, for facts that keep them; of parts none: there may be
    thousands, with an edge for every sample each."""
    return (None,) * len(batch.ids) if parts else batch.offsets


def bases(sizes: Sequence[int]) -> Int64s:
    """Where each table (or pool) starts in one numbering of all of them."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


def joined(starts: Int64s, arrays: Sequence[Int64s]) -> Int64s:
    """Rows (slots) of all tables (pools) in one numbering."""
    return np.concatenate([array + start for array, start in zip(arrays, starts, strict=True)])


def slots_of_lookups(rows: Int64s, slots: Int64s, ids: Int64s) -> Int64s:
    """The slot of each of `ids`, where `slots[k]` is the slot of the distinct `rows[k]`; int64,
    shape (ids,).

    Raises `InvariantError` for an id that is none of the rows.
    """
    table = np.zeros(1 << max(1, (2 * len(rows) - 1).bit_length()), np.int32)
    found = np.empty(len(ids), np.int64)
    if not write_slots(rows, slots, ids, table, found):
        raise InvariantError("a row that is looked up has no slot")
    return found
