"""The memory of a compiled run: the words of a mini-batch are written before its stages begin, and
the pages of those that are over are given back, so that a long run holds those under way alone."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from simulator.engine import memory
from simulator.engine.known_words import Image, KnownWords, changed
from simulator.engine.memory import Floats, Int64s
from simulator.engine.run_order import RunOrder
from simulator.engine.run_room import Block, Room
from simulator.engine.together import Group
from simulator.engine.word_tables import ADDRESSES, BY_BATCH, ENDED, fill
from simulator.hardware import filling

__all__ = ["CHUNK", "Fixed", "RunWords"]

CHUNK = 256
"""Mini-batches whose words are written at a time: a few MB."""
_BEHIND = 2
"""Mini-batches that are kept behind the last one that a stage under way may look at: what a
host thread has submitted of them may still be told, at the moment at which they are over."""
_BEFORE = 3
"""Mini-batches that are there before a stage of the first of them begins: records end where those
of the next begin."""


@dataclass(frozen=True)
class Fixed:
    """What is there from the begin: the `order` of stages, `tables` of the machine, `room` for
    records, words of more by name in `sizes`, where in it words of a `division` of resources say
    that its parts begin; how many mini-batches back, and ahead, those are at most that a stage
    waits for, and the number of all in `befores`, at most."""

    order: RunOrder
    tables: Mapping[str, Int64s]
    room: Room
    sizes: Mapping[str, int]
    division: Mapping[int, int]
    back: int
    ahead: int
    befores: int

    @property
    def lists(self) -> dict[str, int]:
        """Words of the lists of stages, at most: those that others wait for, and those in the order
        in which a host thread submits them."""
        order = self.order
        submitted = order.batches * order.count if order.one_program else 0
        return {"BEFORES": self.befores, "ORDER": submitted}


class RunWords:
    """The words of a run as integers, `m`, and as floats, `x`. Tables lie one after the other
    behind the head, then free room; each record has its address from the begin."""

    def __init__(
        self,
        blocks: Iterator[Block],
        fixed: Fixed,
        chunk: int,
        before: KnownWords | None = None,
    ) -> None:
        self._blocks, self._fixed, self._chunk = blocks, fixed, chunk
        self._count, self._batches = fixed.order.count, fixed.order.batches
        self._width = {name: record.itemsize // 8 for name, record in BY_BATCH.items()}
        self._width |= {name: table.shape[1] for name, table in fixed.tables.items()}
        self._width |= dict.fromkeys(fixed.lists, 1)
        self._base: dict[str, int] = {}
        end = memory.HEAD_SIZE
        for name, most in fixed.room.records.items():
            self._base[name] = end
            end += (most + (name in ENDED)) * self._width[name]
        tables = ((name, table.size) for name, table in fixed.tables.items())
        for name, size in (*fixed.lists.items(), *tables, *fixed.sizes.items()):
            self._base[name], end = end, end + size
        self._ends = dict.fromkeys((*BY_BATCH, *fixed.lists), 0)
        """Records of each table so far."""
        self._there = 0
        """Mini-batches whose words were written."""
        self._order = fixed.order.submitted() if fixed.order.one_program else iter(())
        self._marks: deque[tuple[int, dict[str, int]]] = deque()
        """Mini-batches that were written next, and the first records of each."""
        self._take()
        whole = self._last_of(0) == self._batches
        self._pages = None if whole else _pages(8 * end)
        """None where memory is not given back."""
        if whole and before is not None and self._block.batches == self._batches:
            self.m = self._as_before(end, before)
        elif self._pages is None:
            self.m = np.empty(end, np.int64)
        else:
            self.m = np.frombuffer(self._pages, np.int64, end)
        self.x: Floats = self.m.view(np.float64)
        if self._there:
            return
        self._begin()
        self._write(self._last_of(0))

    def _take(self) -> None:
        """Go on to the next block of mini-batches."""
        self._first = self._there
        self._block = next(self._blocks)
        starts = self._block.starts
        self._starts = {name: self._ends[name] + own for name, own in starts.items()}
        """The first record of each of its mini-batches in the tables of the run, and of what comes
        behind."""
        self._fixed.room.require(self._block, {n: int(s[-1]) for n, s in self._starts.items()})

    def _as_before(self, end: int, before: KnownWords) -> Int64s:
        """The words of a whole run, of which those of the run before are taken that are the
        same."""
        fixed, groups, lists = self._fixed, self._block.groups, self._block.lists
        rows = [own.rows for own in lists]
        tables = (array for pair in fixed.tables.items() for array in pair)
        layout = (end, self._base, fixed.division, fixed.order, *tables)
        counts = [[len(own[name]) for name in BY_BATCH] for own in rows]
        known = before.image
        if known is None or not known.fits(groups, (*layout, counts)):
            self.m = np.empty(end, np.int64)
            self._begin()
            self._write(self._batches)
        else:
            self.m = known.words
            self._listed, self._before = 0, fixed.order.conditions(0, self._batches)[0]
            for group, own, old in zip(groups, rows, known.rows, strict=True):
                for name in BY_BATCH:
                    for some in changed(own[name], old[name]):
                        self._write_table(name, own[name], group, slice(None), some)
            self._there = self._batches
        before.image = Image(self.m, groups, (*layout, counts), rows)
        return before.copied(self.m)

    def go_on(self) -> bool:
        """Whether the run paused for words of later mini-batches; they are there then.

        Raises `FullError` where they do not fit."""
        m = self.m
        paused = self._there < self._batches and m[memory.REACHED] >= m[memory.PAUSE]
        if not paused or m[memory.OVERFLOW]:
            return False
        self._give_back(self._oldest() - self._fixed.back - _BEHIND)
        self._write(self._last_of(self._batch_of(int(m[memory.REACHED]))))
        return True

    def spans(self) -> Int64s:
        """The stages that ended since this was asked for: see `RunSpans.extend`."""
        first, m = self._base["SPANS"], self.m
        words = m[first : m[memory.SPAN]].reshape(-1, memory.SPAN_SIZE)
        m[memory.SPAN] = first
        numbers = np.where(words > 0, (words - m[memory.STAGES]) // memory.STAGE_SIZE, -1)
        columns = (
            numbers[:, memory.SPAN_STAGE],
            words[:, memory.SPAN_START],
            words[:, memory.SPAN_END],
            numbers[:, memory.SPAN_AFTER],
        )
        return np.stack(columns, axis=1)

    def _last_of(self, reached: int) -> int:
        """Up to which mini-batch words are written when stages have `reached` one."""
        return min(self._batches, reached + _BEFORE + self._fixed.ahead + self._chunk)

    def _batch_of(self, stage: int) -> int:
        """The mini-batch of the stage at an address."""
        first, size = self._base["STAGES"], self._count * memory.STAGE_SIZE
        return max(0, stage - first) // size

    def _oldest(self) -> int:
        """The first mini-batch of which a stage is not over, or not submitted."""
        numbers = range(self._count + self._fixed.order.one_program)
        first = self._base["FRESH"] + memory.STAGE
        stages = [int(self.m[first + number * memory.PROCESS_SIZE]) for number in numbers]
        return min(map(self._batch_of, stages))

    def _begin(self) -> None:
        """The head, and the tables that are no mini-batch's."""
        m, base, width, fixed = self.m, self._base, self._width, self._fixed
        m[: memory.HEAD_SIZE] = 0
        for name, address in base.items():
            m[getattr(memory, name)] = address
        m[memory.COUNT], m[memory.ONE_PROGRAM] = self._count, fixed.order.one_program
        m[memory.SPAN] = base["SPANS"]
        m[memory.END_OF_ORDER] = base["RESOURCES"]
        m[base["READINGS"] : base["FRESH"]] = 0
        m[base["DIVISION"] + filling.WHOLE] = 0
        for word, start in fixed.division.items():
            m[base["DIVISION"] + word] = base["DIVISION"] + start
        for name, table in fixed.tables.items():
            place = m[base[name] : base[name] + table.size].reshape(table.shape)
            place[:] = table
            for word, other in ADDRESSES.get(name, {}).items():
                place[:, word] = _addresses(table[:, word], base[other], width[other])

    def _write(self, end: int) -> None:
        """The words of the mini-batches up to `end`."""
        while self._there < end:
            if self._there == self._first + self._block.batches:
                self._take()
            self._write_some(min(end, self._first + self._block.batches))
        count, base = self._count, self._base
        whole, margin = end == self._batches, _BEFORE + self._fixed.ahead
        pause = base["STAGES"] + (end - margin) * count * memory.STAGE_SIZE
        self.m[memory.PAUSE] = memory.NEVER if whole else pause
        if whole:
            self._end()

    def _write_some(self, end: int) -> None:
        """The words of mini-batches of the block up to `end`."""
        begin, self._there = self._there, end
        self._marks.append((begin, dict(self._ends)))
        self._write_lists(begin, end)
        places = (begin - self._first, end - self._first)
        for group, own in zip(self._block.groups, self._block.lists, strict=True):
            low, high = np.searchsorted(group, places).tolist()
            if low < high:
                for name in BY_BATCH:
                    self._write_table(name, own.rows[name], group, slice(low, high))
        for name, starts in self._starts.items():
            self._ends[name] = int(starts[places[1]])

    def _write_lists(self, begin: int, end: int) -> None:
        """What stages of the mini-batches `begin` to `end` - 1 wait for; as many more stages in the
        order in which a host thread submits them."""
        first, stages = self._fixed.order.conditions(begin, end)
        self._listed, self._before = begin, self._ends["BEFORES"] + first
        order = np.fromiter(islice(self._order, (end - begin) * self._count), np.int64)
        for name, numbers in (("BEFORES", stages), ("ORDER", order)):
            here = self._base[name] + self._ends[name]
            addresses = self._base["STAGES"] + numbers * memory.STAGE_SIZE
            self.m[here : here + len(numbers)] = addresses
            self._ends[name] += len(numbers)

    def _end(self) -> None:
        """What comes behind the words of the last mini-batch."""
        m, base, width, ends = self.m, self._base, self._width, self._ends
        for name in ENDED:
            last = base[name] + ends[name] * width[name]
            m[last : last + width[name]] = 0
            for word, other in ADDRESSES[name].items():
                if other in ends and (name, word) != ("LANES", memory.BLOCK_OP):
                    m[last + word] = base[other] + ends[other] * width[other]

    def _write_table(
        self,
        name: str,
        rows: Sequence[tuple[Any, ...]],
        group: Group,
        some: slice,
        which: slice = slice(None),
    ) -> None:
        """`rows`, or `which` of them, of `some` mini-batches of a group."""
        if not rows:
            return
        base, width, starts = self._base, self._width, self._starts
        places = group[some]
        own, size = starts[name][places], width[name]
        follow = bool((np.diff(own) == len(rows)).all())
        first, shape = base[name] + int(own[0]) * size, (len(own), len(rows), size)
        here = self.m[first : first + len(own) * len(rows) * size]
        records = (here.reshape(shape) if follow else np.empty(shape, np.int64))[:, which]
        fill(records, rows[which], BY_BATCH[name], some)
        for word, other in ADDRESSES.get(name, {}).items():
            named = records[:, :, word]
            before = starts[other][places][:, None] if other in BY_BATCH else 0
            named[:] = np.where(named < 0, 0, _addresses(named + before, base[other], width[other]))
        if name == "STAGES":
            numbers = own[:, None] + np.arange(len(rows))[which] - self._listed * self._count
            records[:, :, memory.BEFORE] = base["BEFORES"] + self._before[numbers]
        if not follow:
            words = np.arange(len(rows) * size).reshape(len(rows), size)[which].ravel()
            spots = (base[name] + own * size)[:, None] + words
            self.m[spots] = records.reshape(len(own), -1)

    def _give_back(self, end: int) -> None:
        """Let go of the pages of the mini-batches before `end`, as far as they were written
        together."""
        ends: Mapping[str, int] = {}
        while self._marks and self._marks[0][0] <= end:
            ends = self._marks.popleft()[1]
        if self._pages is None:
            return
        for name, records in ends.items():
            first = -(-8 * self._base[name] // mmap.PAGESIZE)
            last = 8 * (self._base[name] + records * self._width[name]) // mmap.PAGESIZE
            if last > first:
                size = (last - first) * mmap.PAGESIZE
                self._pages.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, size)


def _addresses(numbers: Int64s, base: int, width: int) -> Int64s:
    """Of records by their number; 0 for those below 0, which name none."""
    return np.where(numbers < 0, 0, base + numbers * width)


def _pages(size: int) -> mmap.mmap | None:
    """Memory of `size` bytes whose pages can be given back; None where the system has none."""
    wanted = ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_DONTNEED")
    if not all(hasattr(mmap, name) for name in wanted):
        return None
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
