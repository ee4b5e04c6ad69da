"""The replay of Bagpipe: rows fetched and evicted a chunk of mini-batches at a time, and what each
trainer looks up, fetches, evicts and synchronises.

Clean-up c, every `chunk` mini-batches, evicts rows whose time to live is over (last use before c)
and then fetches for all mini-batches before c + look_ahead that were not fetched for yet. Its flows
are told with the first mini-batch that it fetches for. Rows lie in the same slot on all trainers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.plan.oracle import OracleCacher, Read, SlotStack
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.caches.replays.owned import Owned, Uses, owned, tally
from simulator.caches.replays.sampled import last_uses
from simulator.caches.replays.samples import Divided, SampleParts, of_trainer
from simulator.traces.base import MiniBatch, Trace

__all__ = ["ALONE", "LATER", "LISTED", "NOW", "OracleReplay"]
__all__ += ["FETCHED", "LEAVING"]

Int64s = npt.NDArray[np.int64]
Int16s = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]

FETCHED = "fetched"
"""Of a trainer: rows that it fetches in the clean-up told with a mini-batch."""
LEAVING = "leaving"
"""Of a trainer: rows that it evicts and writes back in that clean-up."""
NOW = "now"
"""Rows whose gradients are summed before the next mini-batch, which uses them too."""
LATER = "later"
"""Rows whose gradients are summed while the next mini-batch runs."""
ALONE = "alone"
"""Of a trainer: rows that one of its samples looks up, and nobody else within the look-ahead."""
LISTED = "listed"
"""Rows of all lists that trainers get with a mini-batch: fetched, kept, now, later, alone."""
_LISTS = (UNIQUE, HIT, MISS, NOW, LATER, LISTED)


@dataclass(frozen=True)
class OracleReplay(Replay):
    """Bagpipe's cache for `samples` of each trainer: a row is fetched where its last use lies
    `look_ahead` mini-batches back or more; a shard a table, all rows in one pool of slots.

    `chunk`: mini-batches from one clean-up to the next, at most `look_ahead`. `grows`: the pool is
    as large as the look-ahead may need, more than was asked for.
    """

    capacity: int
    look_ahead: int
    chunk: int
    samples: tuple[int, ...]
    prefill: str = "empty"
    keep: Kept = ()
    grows: bool = False

    @property
    def slots(self) -> tuple[int, ...]:
        return (self.capacity,)

    @property
    def grown(self) -> bool:
        return self.grows

    @property
    def policy(self) -> str:
        return "look_ahead"

    def begins_chunk(self, number: int) -> bool:
        """Whether a clean-up is told with mini-batch `number`."""
        return number == 0 or (number - self.look_ahead) % self.chunk == 0

    def _started(self, trace: Trace, cacher: OracleCacher) -> Start:
        """Tells `cacher` of the uses of rows before the first mini-batch."""
        starts = bases(trace.rows)
        if self.prefill == "empty":
            return Start("empty")
        known = last_uses(trace, self.look_ahead)
        if known is not None:
            for (rows, ages), start in zip(known, starts, strict=True):
                cacher.use_before(rows + start, -1 - np.floor(ages).astype(np.int64))
            return Start("sampled")
        past = self.look_ahead if trace.past is None else min(self.look_ahead, trace.past)
        for number in range(-past, 0):
            for ids, start in zip(trace.minibatch(number).ids, starts, strict=True):
                cacher.use_before(ids + start, number)
        return Start("planned", past) if past else Start("empty")

    def resident(self, trace: Trace) -> Int64s:
        reader = _Reader(self, trace, iter(()), 1)
        reader.ahead_of(0)
        return np.concatenate(reader.residents())

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        reader = _Reader(self, trace, batches, threads)
        reader.ahead_of(0)
        held, waiting = reader.residents()
        edges = (*bases(trace.rows).tolist(), sum(trace.rows))
        slots = SlotStack(edges[-1], self.capacity, np.concatenate([held, waiting]))
        evicted = Owned.of_all(waiting, edges, len(self.samples))
        cleaning = _Cleaning(self, slots, edges, deque([(-1, evicted)]))
        for number in count():
            ahead = reader.ahead_of(number)
            if number >= reader.batches or not ahead:
                return
            lanes = cleaning.told(number, ahead)
            yield _Facts(self, ahead[0], slots, reader.start).told(lanes)
            cleaning.left(ahead[0])


@dataclass(slots=True, eq=False)
class _Ahead:
    """A mini-batch that was read, and who looks up what of it."""

    read: Read
    divided: Divided
    _owners: Int16s | None = None

    @property
    def owners(self) -> Int16s:
        """The trainer that has a row alone: looks it up, once, and nobody does again within the
        look-ahead; -1: all have it. Asked once that is known."""
        if self._owners is None:
            self._owners = self.divided.who
            self._owners[self.read.kept | self.read.again] = -1
        return self._owners

    def owned(self, chosen: Bools, trainers: int) -> Owned:
        """The chosen of its rows."""
        return owned(self.read.rows, self.owners, chosen, self.divided.edges, trainers)


class _Reader:
    """Reads a trace ahead of the mini-batch that is told, beyond the run where it goes on."""

    def __init__(
        self, replay: OracleReplay, trace: Trace, batches: Iterator[MiniBatch], threads: int
    ) -> None:
        self._replay, self._trace, self._batches = replay, trace, batches
        self._cacher = OracleCacher(sum(trace.rows), replay.look_ahead)
        self.start = replay._started(trace, self._cacher)
        self._recent = self._cacher.used_from(-replay.chunk)
        self._parts = SampleParts(trace.rows, replay.samples, threads)
        self._ahead: deque[_Ahead] = deque()
        self._held: list[Int64s] = []
        self._next = 0
        self.batches = 2**62
        """Of the run, once its end was read."""
        self._ended = False

    def ahead_of(self, number: int) -> deque[_Ahead]:
        """Mini-batch `number` and all that have to be known to tell it."""
        replay, ahead = self._replay, self._ahead
        while ahead and ahead[0].read.number < number:
            ahead.popleft()
        until = number + replay.chunk + max(1, replay.look_ahead - 1)
        while self._next < until and not self._ended:
            self._read_on()
        return ahead

    def _read_on(self) -> None:
        batch = self._drawn()
        if batch is None:
            self._ended = True
            self._cacher.end()
            return
        divided = self._parts.divided(batch, keeps=batch.index in self._replay.keep)
        read = self._cacher.read(divided.rows)
        if len(read.held):
            self._held.append(read.held)
        self._ahead.append(_Ahead(read, divided))
        self._next += 1

    def _drawn(self) -> MiniBatch | None:
        """The next mini-batch of the run, then of the trace; None at its end."""
        batch = next(self._batches, None)
        if batch is not None:
            return batch
        self.batches = min(self.batches, self._next)
        if self._trace.batches is not None and self._next >= self._trace.batches:
            return None
        return self._trace.minibatch(self._next)

    def residents(self) -> tuple[Int64s, Int64s]:
        """Rows in the cache before the first mini-batch: those that are kept, and those that wait
        for clean-up 0; once, after what is ahead of mini-batch 0 was read."""
        kept = np.sort(np.concatenate([np.empty(0, np.int64), *self._held]))
        waiting = np.setdiff1d(self._recent, kept, assume_unique=True)
        self._held, self._recent = [], waiting[:0]
        return kept, waiting


@dataclass(slots=True)
class _Cleaning:
    """Clean-ups, each told with the first mini-batch that it fetches for."""

    replay: OracleReplay
    slots: SlotStack
    edges: tuple[int, ...]
    """The first row of each table, and the end."""
    gone: deque[tuple[int, Owned]]
    """Rows that were not kept, by mini-batch."""

    def left(self, batch: _Ahead) -> None:
        """A mini-batch was told: who of it is not kept waits for a clean-up."""
        over = batch.owned(~batch.read.kept, len(self.replay.samples))
        self.gone.append((batch.read.number, over))

    def told(self, number: int, ahead: deque[_Ahead]) -> dict[str, tuple[Flow, ...]]:
        """What the trainers evict and fetch with mini-batch `number`, by flow, a shard a table."""
        begins, keeps = self.replay.begins_chunk(number), number in self.replay.keep
        evicts = self._joined(self._over(number) if begins else ()).by_row()
        left = self.slots.give(evicts.rows)
        fetches = self._joined(self._coming(number, ahead) if begins else ())
        self._take(number, fetches.rows)
        taken = left
        if keeps:
            fetches = fetches.by_row()
            taken = self.slots.of(fetches.rows)
        flows: dict[str, tuple[Flow, ...]] = {}
        for trainer in range(len(self.replay.samples)):
            share = evicts.dealt(trainer, left if keeps else None)
            own = fetches.of(trainer, taken if keeps else None)
            flows |= {of_trainer(trainer, LEAVING): share, of_trainer(trainer, FETCHED): own}
        return flows

    def _joined(self, parts: Iterable[Owned]) -> Owned:
        return Owned.joined(list(parts), len(self.edges) - 1, len(self.replay.samples))

    def _over(self, number: int) -> Iterator[Owned]:
        """Rows whose last use lies before the clean-up."""
        clean_up = number - self.replay.look_ahead + self.replay.chunk
        while self.gone and self.gone[0][0] < clean_up:
            yield self.gone.popleft()[1]

    def _coming(self, number: int, ahead: deque[_Ahead]) -> Iterator[Owned]:
        """Rows that come in for the mini-batches of a chunk."""
        for batch in ahead:
            read = batch.read
            if read.number > number and self.replay.begins_chunk(read.number):
                return
            yield batch.owned(read.fetched, len(self.replay.samples))

    def _take(self, number: int, rows: Int64s) -> None:
        self.slots.take(
            rows,
            f"bagpipe keeps rows of look_ahead {self.replay.look_ahead} mini-batches (mini-batch "
            f"{number}): set cache.if_too_small: grow, or lower look_ahead",
        )


@dataclass(slots=True)
class _Facts:
    """Turns what was decided for a mini-batch into facts; `slots`: those of all rows."""

    replay: OracleReplay
    batch: _Ahead
    slots: SlotStack
    start: Start

    def told(self, cleaned: dict[str, tuple[Flow, ...]]) -> BatchFacts:
        """`cleaned`: flows of the clean-up that is told with it."""
        divided, flows = self.batch.divided, self._counted()
        slots = np.empty(0, np.int64)
        if divided.places is not None:
            divided, slots = divided.widened(), self.slots.of(divided.rows)
            chosen = self._chosen()
            flows |= {name: divided.kept(flows[name], rows, slots) for name, rows in chosen.items()}
        flows[LOOKUP] = divided.lookups(slots)
        for trainer in range(len(self.replay.samples)):
            each = divided.of(trainer, slots, flows[LOOKUP])
            flows |= {of_trainer(trainer, name): own for name, own in each.items()}
        number, samples = self.batch.read.number, sum(self.replay.samples)
        return BatchFacts(number, samples, flows | cleaned, self.start, pooled=True)

    def _counted(self) -> dict[str, tuple[Flow, ...]]:
        """How many rows are in the lists, and of how many lookups."""
        read, divided = self.batch.read, self.batch.divided
        trainers, tables = len(self.replay.samples), len(divided.edges) - 1
        lists = np.zeros((len(_LISTS), tables, 2), np.int64)
        alone = np.zeros((trainers, tables), np.int64)
        uses = Uses(read.fetched, read.again, read.kept, self.batch.owners)
        tally(divided.times, uses, np.array(divided.edges), lists, alone)
        flows = {
            name: tuple(Flow(lookups, rows) for lookups, rows in counts)
            for name, counts in zip(_LISTS, lists.tolist(), strict=True)
        }
        for trainer, counts in enumerate(alone.tolist()):
            flows[of_trainer(trainer, ALONE)] = tuple(Flow(count, count) for count in counts)
        return flows

    def _chosen(self) -> dict[str, Bools | slice]:
        """Which rows those are."""
        read, owners = self.batch.read, self.batch.owners
        chosen: dict[str, Bools | slice] = {
            UNIQUE: slice(None),
            HIT: ~read.fetched,
            MISS: read.fetched,
            NOW: read.again,
            LATER: ~read.again & (owners < 0),
        }
        for trainer in range(len(self.replay.samples)):
            chosen[of_trainer(trainer, ALONE)] = owners == trainer
        return chosen
