"""The replay of Bagpipe: rows fetched and evicted a chunk of mini-batches at a time, and what each
trainer looks up, fetches, evicts and synchronises.

Clean-up c, every `chunk` mini-batches, evicts rows whose time to live is over (last use before c)
and then fetches for all mini-batches before c + look_ahead that were not fetched for yet. Its flows
are told with the first mini-batch that it fetches for. Rows lie in the same slot on all trainers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts, Flow, Start
from simulator.caches.plan.oracle import LONG_AGO, OracleCacher, Read, SlotStack
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.caches.replays.sampled import last_uses
from simulator.caches.replays.samples import Divided, SampleParts, of_trainer
from simulator.traces.base import MiniBatch, Trace

__all__ = ["ALONE", "LATER", "LISTED", "NOW", "OracleReplay"]
__all__ += ["FETCHED", "LEAVING"]

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
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

    def _started(self, trace: Trace) -> tuple[Int32s, Start]:
        """The last use of each row before the first mini-batch."""
        last, starts = np.full(sum(trace.rows), LONG_AGO, np.int32), bases(trace.rows)
        if self.prefill == "empty":
            return last, Start("empty")
        known = last_uses(trace, self.look_ahead)
        if known is not None:
            for (rows, ages), start in zip(known, starts, strict=True):
                last[rows + start] = -1 - np.floor(ages).astype(np.int32)
            return last, Start("sampled")
        past = self.look_ahead if trace.past is None else min(self.look_ahead, trace.past)
        for number in range(-past, 0):
            for ids, start in zip(trace.minibatch(number).ids, starts, strict=True):
                last[ids + start] = number
        return last, Start("planned", past) if past else Start("empty")

    def resident(self, trace: Trace) -> Int64s:
        last, start = self._started(trace)
        if start.kind == "empty":
            return np.empty(0, np.int64)
        reader = _Reader(self, trace, last, iter(()))
        reader.ahead_of(0)
        return np.concatenate(reader.residents())

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        del threads
        last, start = self._started(trace)
        reader = _Reader(self, trace, last, batches)
        reader.ahead_of(0)
        held, waiting = reader.residents()
        rows = sum(trace.rows)
        slots = SlotStack(rows, self.capacity, np.concatenate([held, waiting]))
        cleaning = _Cleaning(self, slots, len(trace.rows), bases(trace.rows), waiting)
        for number in count():
            ahead = reader.ahead_of(number)
            if number >= reader.batches or not ahead:
                return
            lanes = cleaning.told(number, ahead)
            batch = ahead[0]
            yield _Facts(self, batch, slots.of(batch.read.rows), start).told(lanes)
            cleaning.left(batch)


@dataclass(slots=True, eq=False)
class _Ahead:
    """A mini-batch that was read, and who looks up what of it."""

    read: Read
    divided: Divided

    @property
    def alone(self) -> Bools:
        """Rows that are looked up once, and not again within the look-ahead."""
        return self.divided.once & ~self.read.kept & ~self.read.again


class _Reader:
    """Reads a trace ahead of the mini-batch that is told, beyond the run where it goes on."""

    def __init__(
        self, replay: OracleReplay, trace: Trace, last: Int32s, batches: Iterator[MiniBatch]
    ) -> None:
        self._replay, self._trace, self._batches = replay, trace, batches
        self._past = last.copy() if (last > LONG_AGO).any() else None
        self._cacher = OracleCacher(len(last), replay.look_ahead, last)
        self._parts = SampleParts(trace.rows, replay.samples)
        self._ahead: deque[_Ahead] = deque()
        self._first: list[Read] = []
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
        if self._past is not None and read.number < self._replay.look_ahead:
            self._first.append(read)
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
        for clean-up 0."""
        if self._past is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        last, far = self._past, 2**30
        numbers = np.full(len(last), far, np.int32)
        for read in reversed(self._first):
            numbers[read.rows] = read.number
        near = np.flatnonzero(last >= -self._replay.look_ahead)
        kept = near[numbers[near] - last[near] < self._replay.look_ahead]
        recent = np.flatnonzero(last >= -self._replay.chunk)
        return kept, np.setdiff1d(recent, kept, assume_unique=True)


@dataclass(slots=True)
class _Cleaning:
    """Clean-ups, each told with the first mini-batch that it fetches for."""

    replay: OracleReplay
    slots: SlotStack
    tables: int
    starts: Int64s
    """The first row of each table."""
    waiting: Int64s
    """Rows of the past that clean-up 0 evicts."""
    gone: deque[tuple[int, Int64s, npt.NDArray[np.int16]]] = field(default_factory=deque)
    """Rows that were not kept, by mini-batch, and the trainer that has each alone (-1: all)."""

    def left(self, batch: _Ahead) -> None:
        """A mini-batch was told: who of it is not kept waits for a clean-up."""
        over = ~batch.read.kept
        who = np.where(batch.alone, batch.divided.who, np.int16(-1))
        self.gone.append((batch.read.number, batch.read.rows[over], who[over]))

    def told(self, number: int, ahead: deque[_Ahead]) -> dict[str, tuple[Flow, ...]]:
        """What the trainers evict and fetch with mini-batch `number`, by flow, a shard a table."""
        flows: dict[str, tuple[Flow, ...]] = {}
        evicts, fetches = self._evicted(number), self._fetched(number, ahead)
        keeps = number in self.replay.keep
        for name, (rows, slots, who) in ((LEAVING, evicts), (FETCHED, fetches)):
            for trainer in range(len(self.replay.samples)):
                own = self._own(name, who, trainer)
                flows[of_trainer(trainer, name)] = self._by_table(rows[own], slots[own], keeps)
        return flows

    def _own(self, name: str, who: npt.NDArray[np.int16], trainer: int) -> Bools:
        """Rows that a trainer moves: those it has alone, and of the others all that are fetched and
        its share of those that leave."""
        own: Bools = who < 0
        if name == LEAVING:
            own &= np.cumsum(own) % len(self.replay.samples) == trainer
        return own | np.equal(who, trainer)

    def _evicted(self, number: int) -> tuple[Int64s, Int64s, npt.NDArray[np.int16]]:
        """Rows whose last use lies before the clean-up, with their slots and whose they are."""
        replay, rows, who = self.replay, [np.empty(0, np.int64)], [np.empty(0, np.int16)]
        clean_up = number - replay.look_ahead + replay.chunk
        if replay.begins_chunk(number) and clean_up == 0:
            rows.append(self.waiting)
            who.append(np.full(len(self.waiting), -1, np.int16))
        while replay.begins_chunk(number) and self.gone and self.gone[0][0] < clean_up:
            _, left, whose = self.gone.popleft()
            rows.append(left)
            who.append(whose)
        joined = np.concatenate(rows)
        order = np.argsort(joined)
        return joined[order], self.slots.give(joined[order]), np.concatenate(who)[order]

    def _fetched(
        self, number: int, ahead: deque[_Ahead]
    ) -> tuple[Int64s, Int64s, npt.NDArray[np.int16]]:
        """Rows that come in for the mini-batches of a chunk."""
        replay, rows, who = self.replay, [np.empty(0, np.int64)], [np.empty(0, np.int16)]
        for batch in ahead if replay.begins_chunk(number) else ():
            read = batch.read
            if read.number > number and replay.begins_chunk(read.number):
                break
            rows.append(read.rows[read.fetched])
            who.append(np.where(batch.alone, batch.divided.who, np.int16(-1))[read.fetched])
        joined = np.concatenate(rows)
        self.slots.take(
            joined,
            f"bagpipe keeps rows of look_ahead {replay.look_ahead} mini-batches (mini-batch "
            f"{number}): set cache.if_too_small: grow, or lower look_ahead",
        )
        order = np.argsort(joined)
        return joined[order], self.slots.of(joined[order]), np.concatenate(who)[order]

    def _by_table(self, rows: Int64s, slots: Int64s, keeps: bool) -> tuple[Flow, ...]:
        edges = [*np.searchsorted(rows, self.starts).tolist(), len(rows)]
        parts = [slice(a, b) for a, b in pairwise(edges)]
        if not keeps:
            return tuple(Flow(0, part.stop - part.start) for part in parts)
        return tuple(Flow(0, part.stop - part.start, rows[part], slots[part]) for part in parts)


@dataclass(slots=True)
class _Facts:
    """Turns what was decided for a mini-batch into facts; `slots`: of its distinct rows."""

    replay: OracleReplay
    batch: _Ahead
    slots: Int64s
    start: Start

    def told(self, cleaned: dict[str, tuple[Flow, ...]]) -> BatchFacts:
        """`cleaned`: flows of the clean-up that is told with it."""
        read, divided = self.batch.read, self.batch.divided
        alone = self.batch.alone
        lists = ((HIT, ~read.fetched), (MISS, read.fetched), (NOW, read.again),
                 (LATER, ~read.again & ~alone))  # fmt: skip
        flows = {name: self._chosen(chosen) for name, chosen in lists}
        flows[UNIQUE] = self._chosen(np.ones(len(read.rows), np.bool_))
        flows[LOOKUP] = divided.lookups(self.slots)
        flows[LISTED] = self._listed()
        for trainer in range(len(self.replay.samples)):
            own = divided.of(trainer, self.slots)
            flows |= {of_trainer(trainer, name): each for name, each in own.items()}
            mine = alone & (divided.who == trainer)
            flows[of_trainer(trainer, ALONE)] = self._chosen(mine)
        number, samples = read.number, sum(self.replay.samples)
        return BatchFacts(number, samples, flows | cleaned, self.start, pooled=True)

    def _chosen(self, chosen: Bools) -> tuple[Flow, ...]:
        return self.batch.divided.chosen(chosen, self.slots)

    def _listed(self) -> tuple[Flow, ...]:
        """Each row is in one of the lists of what to synchronise, some in others too."""
        read = self.batch.read
        edges = self.batch.divided.edges
        twice = read.fetched.astype(np.int64) + read.kept + 1
        return tuple(Flow(0, int(twice[a:b].sum())) for a, b in pairwise(edges))
