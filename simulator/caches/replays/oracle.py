"""The replay of Bagpipe: rows fetched and evicted a chunk of mini-batches at a time, and what each
trainer looks up, fetches, evicts and synchronises.

Tables are read and their slots given on threads. Slots are those of a stack, so that each follows
from all before; none is given after the last mini-batch whose rows are kept.

Clean-up c, every `chunk` mini-batches, evicts rows whose time to live is over (last use before c)
and then fetches for all mini-batches before c + look_ahead that were not fetched for yet. Its flows
are told with the first mini-batch that it fetches for. Rows lie in the same slot on all trainers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simulator._threads import map_threads
from simulator.caches.facts import BatchFacts, Flow, Start
from simulator.caches.plan.planning import together
from simulator.caches.replays.base import Kept, Replay, bases
from simulator.caches.replays.drawing import drawn
from simulator.caches.replays.oracle_facts import FETCHED, LEAVING, ToldBatch
from simulator.caches.replays.oracle_slots import PoolSlots
from simulator.caches.replays.oracle_tables import Reading, TableReader, TableUse
from simulator.caches.replays.owned import Owned, of_all
from simulator.caches.replays.sampled import last_uses
from simulator.caches.replays.samples import of_trainer
from simulator.traces.base import MiniBatch, Trace

__all__ = ["OracleReplay"]

Int64s = npt.NDArray[np.int64]


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
    lookups_alone: bool = False
    """Keep rows and slots of lookups, not of what moves."""

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

    def chunk_end(self, number: int) -> int:
        """The mini-batch that the next clean-up after that of `number` is told with."""
        return number + self.chunk - (number - self.look_ahead) % self.chunk

    @property
    def last_slots(self) -> int:
        """Slots are asked for up to this mini-batch, that of the last rows that are kept; -1: of
        none."""
        last = self.keep[-1:] if isinstance(self.keep, range) else sorted(self.keep)[-1:]
        return last[0] if last else -1

    def read_until(self, number: int) -> int:
        """Mini-batches that have to be read to tell those of the chunk of `number`."""
        return self.chunk_end(number) + max(1, self.look_ahead - 1)

    def read_of(self, number: int) -> Reading:
        """What is to be told of mini-batch `number`; slots up to the end of its last chunk."""
        lookups, last = number in self.keep, self.last_slots
        slots = last >= 0 and number < self.chunk_end(last)
        return Reading(lookups, lookups and not self.lookups_alone, slots)

    def resident(self, trace: Trace) -> Int64s:
        reader = _Reader(self, trace, iter(()), 1)
        reader.ahead_of(0)
        kept, waiting = reader.residents()
        starts = bases(trace.rows)
        tables = zip((*kept, *waiting), (*starts, *starts), strict=True)
        return np.concatenate([rows + start for rows, start in tables])

    def run(self, trace: Trace, batches: Iterator[MiniBatch], threads: int) -> Iterator[BatchFacts]:
        reader = _Reader(self, trace, batches, threads)
        slots = PoolSlots(trace.rows, self.capacity, threads)
        starts = bases(trace.rows).tolist()
        reader.ahead_of(0)
        cleaning = _Cleaning(self, slots, starts)
        cleaning.begin(*reader.residents())
        for number in count():
            if number >= reader.batches:
                return
            reader.ahead_of(number)
            lanes = cleaning.told(number, [table.uses for table in reader.tables])
            uses = [table.uses.popleft() for table in reader.tables]
            told = ToldBatch(len(self.samples), uses, starts, reader.offsets.pop(number, None))
            flows = told.flows(slots) | lanes
            cleaning.left(uses)
            facts = BatchFacts(number, sum(self.samples), flows, reader.start, pooled=True)
            yield facts.with_lookups_alone() if self.lookups_alone else facts


class _Reader:
    """Reads a trace ahead of the mini-batch that is told, beyond the run where it goes on."""

    def __init__(
        self, replay: OracleReplay, trace: Trace, batches: Iterator[MiniBatch], threads: int
    ) -> None:
        self._replay, self._trace, self._threads = replay, trace, threads
        self.tables = tuple(
            TableReader(number, rows, replay.look_ahead, replay.samples)
            for number, rows in enumerate(trace.rows)
        )
        self.start = self._started()
        self.batches = 2**62
        """Of the run, once its end was read."""
        self.offsets: dict[int, Sequence[Int64s]] = {}
        """Of samples, of mini-batches whose lookups are to be told."""
        self._coming = self._drawn(batches)
        self._next = 0
        self._ended = False

    def _started(self) -> Start:
        """Tells the readers of the uses of rows before the first mini-batch."""
        replay, trace, tables = self._replay, self._trace, self.tables
        if replay.prefill == "empty":
            return Start("empty")
        known, past = last_uses(trace, replay.look_ahead), 0
        if known is None:
            past = replay.look_ahead if trace.past is None else min(replay.look_ahead, trace.past)
        for number in range(-past, 0):
            for ids, table in zip(trace.minibatch(number).ids, tables, strict=True):
                table.cacher.use_before(ids, number)

        def begin(number: int) -> None:
            if known is not None:
                rows, ages = known[number]
                tables[number].cacher.use_before(rows, -1 - np.floor(ages).astype(np.int64))
            tables[number].recent = tables[number].cacher.used_from(-replay.chunk)

        map_threads(begin, len(tables), self._threads)
        if known is not None:
            return Start("sampled")
        return Start("planned", past) if past else Start("empty")

    def ahead_of(self, number: int) -> None:
        """All that has to be known of the mini-batches of the chunk of `number` to tell them."""
        until = self._replay.read_until(number)
        if not self._ended:
            for group in together(islice(self._coming, max(0, until - self._next))):
                self._read(group)
        if self._next < until and not self._ended:
            self._ended = True
            for table in self.tables:
                table.end()

    def _read(self, group: list[MiniBatch]) -> None:
        """The next mini-batches; tables on threads."""
        pairs = [(batch, self._replay.read_of(k)) for k, batch in enumerate(group, self._next)]

        def read(table: int) -> None:
            for batch, each in pairs:
                self.tables[table].read(batch, each)

        map_threads(read, len(self.tables), self._threads)
        for number, (batch, each) in enumerate(pairs, self._next):
            if each.lookups:
                self.offsets[number] = batch.offsets
        self._next += len(group)
        group.clear()  # nobody needs them any more

    def _drawn(self, batches: Iterator[MiniBatch]) -> Iterator[MiniBatch]:
        """Mini-batches of the run, then those of the trace that it has to read."""
        run = 0
        for batch in batches:
            run += 1
            yield batch
            del batch
        self.batches = run
        more, whole = self._replay.read_until(max(0, run - 1)) - run, self._trace.batches
        if whole is not None:
            more = max(0, min(more, whole - run))
        yield from drawn(self._trace, more, first=run, ahead=self._threads > 1)

    def residents(self) -> tuple[list[Int64s], list[Int64s]]:
        """Rows of each table in the cache before the first mini-batch: those that are kept, and
        those that wait for clean-up 0 (`TableReader.residents`)."""
        found = map_threads(
            lambda number: self.tables[number].residents(), len(self.tables), self._threads
        )
        return [kept for kept, _ in found], [waiting for _, waiting in found]


class _Moved(NamedTuple):
    """Rows of a mini-batch that come in or leave."""

    rows: Sequence[Int64s]
    """Of each table, packed, where slots are asked for."""
    owners: Int64s
    """How many of each table have all trainers, or each alone: shape (tables, trainers + 1)."""


class _Cleaning:
    """Clean-ups, each told with the first mini-batch that it fetches for; `starts`: the first row
    of each table."""

    def __init__(self, replay: OracleReplay, slots: PoolSlots, starts: Sequence[int]) -> None:
        self._replay, self._slots, self._starts = replay, slots, starts
        self._gone: deque[tuple[int, _Moved]] = deque()
        """Rows that were not kept, by mini-batch."""

    def begin(self, kept: Sequence[Int64s], waiting: Sequence[Int64s]) -> None:
        """Rows of each table that are there before the first mini-batch."""
        owners = np.zeros((len(waiting), len(self._replay.samples) + 1), np.int64)
        owners[:, 0] = [len(rows) for rows in waiting]
        self._gone.append((-1, _Moved([of_all(rows) for rows in waiting], owners)))
        if self._replay.last_slots >= 0:
            self._slots.begin([kept, waiting], self._why(0))
        else:
            self._slots.free.counted(0, sum(map(len, (*kept, *waiting))), self._why(0))

    def left(self, uses: Sequence[TableUse]) -> None:
        """A mini-batch was told: who of it is not kept waits for a clean-up."""
        owners = np.array([use.counts[2] for use in uses])
        self._gone.append((uses[0].read.number, _Moved([use.left for use in uses], owners)))

    def told(self, number: int, ahead: Sequence[deque[TableUse]]) -> dict[str, tuple[Flow, ...]]:
        """What the trainers evict and fetch with mini-batch `number`, by flow, a shard a table;
        `ahead`: it and those after it, by table."""
        begins = self._replay.begins_chunk(number)
        over = list(self._over(number)) if begins else []
        coming = list(self._coming(number, ahead)) if begins else []
        leaves, comes = self._owners(over), self._owners(coming)
        if number > self._replay.last_slots:
            self._slots.free.counted(int(leaves.sum()), int(comes.sum()), self._why(number))
            return self._flows(Owned.counted(leaves), None, Owned.counted(comes), None)
        gone, left = self._slots.give([each.rows for each in over])
        came = [each.rows for each in coming]
        self._slots.take(came, self._why(number))
        if not self._replay.read_of(number).lists:
            return self._flows(Owned.counted(leaves), None, Owned.counted(comes), None)
        ordered, taken = self._slots.in_order(came)
        evicts, fetches = (
            Owned.of_tables(rows, self._starts, counts)
            for rows, counts in ((gone, leaves), (ordered, comes))
        )
        return self._flows(evicts, left, fetches, taken)

    def _flows(
        self, evicts: Owned, left: Int64s | None, fetches: Owned, taken: Int64s | None
    ) -> dict[str, tuple[Flow, ...]]:
        flows: dict[str, tuple[Flow, ...]] = {}
        for trainer in range(len(self._replay.samples)):
            share, own = evicts.dealt(trainer, left), fetches.of(trainer, taken)
            flows |= {of_trainer(trainer, LEAVING): share, of_trainer(trainer, FETCHED): own}
        return flows

    def _owners(self, moved: Sequence[_Moved]) -> Int64s:
        none = np.zeros((len(self._starts), len(self._replay.samples) + 1), np.int64)
        return sum((each.owners for each in moved), none)

    def _over(self, number: int) -> Iterator[_Moved]:
        """Rows whose last use lies before the clean-up."""
        clean_up = number - self._replay.look_ahead + self._replay.chunk
        while self._gone and self._gone[0][0] < clean_up:
            yield self._gone.popleft()[1]

    def _coming(self, number: int, ahead: Sequence[deque[TableUse]]) -> Iterator[_Moved]:
        """Rows that come in for the mini-batches of a chunk."""
        chunk = self._replay.chunk_end(number) - number
        for uses in zip(*(islice(each, chunk) for each in ahead), strict=True):
            owners = np.array([use.counts[1] for use in uses])
            yield _Moved([use.fetched for use in uses], owners)

    def _why(self, number: int) -> str:
        return (
            f"bagpipe keeps rows of look_ahead {self._replay.look_ahead} mini-batches (mini-batch "
            f"{number}): set cache.if_too_small: grow, or lower look_ahead"
        )
