"""The memory of a compiled run: the words of a mini-batch are written before its stages begin, and
the pages of those that are over are given back, so that a long run holds those under way alone."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from simulator.engine import memory
from simulator.engine.known_words import Image, KnownWords, changed
from simulator.engine.memory import Floats, Int64s
from simulator.engine.together import Group, Groups
from simulator.engine.word_tables import ADDRESSES, BY_BATCH, ENDED, fill
from simulator.hardware import filling

__all__ = ["CHUNK", "Fixed", "Rows", "RunWords", "starts_of"]

CHUNK = 256
"""Mini-batches whose words are written at a time: a few MB."""
_BEHIND = 2
"""Mini-batches that are kept behind the last one that a stage under way may look at: what a
host thread has submitted of them may still be told, at the moment at which they are over."""
_BEFORE = 3
"""Mini-batches that are there before a stage of the first of them begins: records end where those
of the next begin."""


class Rows(Protocol):
    """Records of a mini-batch, or with columns of a group of them, table by table."""

    rows: dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Fixed:
    """What is there from the begin: `tables` of the machine and of the order of stages, words of
    `room` by name, where in it words of a `division` of resources say that its parts begin, `count`
    stages of a mini-batch, for each stage where in `BEFORES` those `begin` that it waits for:
    int64, shape (mini-batches x count + 1,); how many mini-batches back, and ahead, these are at
    most."""

    tables: Mapping[str, Int64s]
    room: Mapping[str, int]
    division: Mapping[int, int]
    count: int
    one_program: bool
    begin: Int64s
    back: int
    ahead: int


def starts_of(groups: Groups, lists: Sequence[Rows]) -> dict[str, Int64s]:
    """The first record of each mini-batch in each of its tables, and the number of all: int64,
    shape (mini-batches + 1,)."""
    starts = {}
    for name in BY_BATCH:
        sizes = np.zeros(sum(map(len, groups)) + 1, np.int64)
        for group, own in zip(groups, lists, strict=True):
            sizes[group + 1] = len(own.rows[name])
        starts[name] = np.cumsum(sizes)
    return starts


class RunWords:
    """The words of a run as integers, `m`, and as floats, `x`. Tables lie one after the other
    behind the head, then free room; each record has its address from the begin."""

    def __init__(
        self,
        groups: Groups,
        lists: Sequence[Rows],
        fixed: Fixed,
        chunk: int,
        before: KnownWords | None = None,
    ) -> None:
        self._groups, self._lists, self._fixed, self._chunk = groups, lists, fixed, chunk
        self._starts = starts_of(groups, lists)
        self._batches = sum(map(len, groups))
        self._width = {name: record.itemsize // 8 for name, record in BY_BATCH.items()}
        self._width |= {name: table.shape[1] for name, table in fixed.tables.items()}
        self._base: dict[str, int] = {}
        end = memory.HEAD_SIZE
        for name, starts in self._starts.items():
            self._base[name] = end
            end += (int(starts[-1]) + (name in ENDED)) * self._width[name]
        for name, size in (*((n, t.size) for n, t in fixed.tables.items()), *fixed.room.items()):
            self._base[name], end = end, end + size
        self._there = 0
        """Mini-batches whose words were written."""
        whole = self._last_of(0) == self._batches
        self._pages = None if whole else _pages(8 * end)
        """None where memory is not given back."""
        if self._pages is None and before is not None:
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

    def _as_before(self, end: int, before: KnownWords) -> Int64s:
        """The words of a whole run, of which those of the run before are taken that are the
        same."""
        fixed, rows = self._fixed, [own.rows for own in self._lists]
        tables = (array for pair in fixed.tables.items() for array in pair)
        layout = (end, self._base, fixed.division, fixed.one_program, fixed.begin, *tables)
        counts = [[len(own[name]) for name in BY_BATCH] for own in rows]
        known = before.image
        if known is None or not known.fits(self._groups, (*layout, counts)):
            self.m = np.empty(end, np.int64)
            self._begin()
            self._write(self._batches)
        else:
            self.m = known.words
            for group, own, old in zip(self._groups, rows, known.rows, strict=True):
                for name in BY_BATCH:
                    for some in changed(own[name], old[name]):
                        self._write_table(name, own[name], group, slice(None), some)
            self._there = self._batches
        before.image = Image(self.m, self._groups, (*layout, counts), rows)
        return before.copied(self.m)

    def go_on(self) -> bool:
        """Whether the run paused for words of later mini-batches; they are there then."""
        m = self.m
        paused = self._there < self._batches and m[memory.REACHED] >= m[memory.PAUSE]
        if not paused or m[memory.OVERFLOW]:
            return False
        self._give_back(self._oldest() - self._fixed.back - _BEHIND)
        self._write(self._last_of(self._batch_of(int(m[memory.REACHED]))))
        return True

    def _last_of(self, reached: int) -> int:
        """Up to which mini-batch words are written when stages have `reached` one."""
        return min(self._batches, reached + _BEFORE + self._fixed.ahead + self._chunk)

    def _batch_of(self, stage: int) -> int:
        """The mini-batch of the stage at an address."""
        first, size = self._base["STAGES"], self._fixed.count * memory.STAGE_SIZE
        return max(0, stage - first) // size

    def _oldest(self) -> int:
        """The first mini-batch of which a stage is not over, or not submitted."""
        numbers = range(self._fixed.count + self._fixed.one_program)
        first = self._base["FRESH"] + memory.STAGE
        stages = [int(self.m[first + number * memory.PROCESS_SIZE]) for number in numbers]
        return min(map(self._batch_of, stages))

    def _begin(self) -> None:
        """The head, the tables that are no mini-batch's, and what comes behind the last one's."""
        m, base, width, fixed = self.m, self._base, self._width, self._fixed
        m[: memory.HEAD_SIZE] = 0
        for name, address in base.items():
            m[getattr(memory, name)] = address
        m[memory.COUNT], m[memory.ONE_PROGRAM] = fixed.count, fixed.one_program
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
        for name in ENDED:
            last = base[name] + int(self._starts[name][-1]) * width[name]
            m[last : last + width[name]] = 0
            for word, other in ADDRESSES[name].items():
                if other in BY_BATCH and (name, word) != ("LANES", memory.BLOCK_OP):
                    m[last + word] = base[other] + int(self._starts[other][-1]) * width[other]
            if name == "STAGES":
                m[last + memory.BEFORE] = base["BEFORES"] + int(fixed.begin[-1])

    def _write(self, end: int) -> None:
        """The words of the mini-batches up to `end`."""
        begin, self._there = self._there, end
        for group, own in zip(self._groups, self._lists, strict=True):
            low, high = np.searchsorted(group, (begin, end)).tolist()
            if low < high:
                for name in BY_BATCH:
                    self._write_table(name, own.rows[name], group, slice(low, high))
        count, base = self._fixed.count, self._base
        whole, margin = end == self._batches, _BEFORE + self._fixed.ahead
        pause = base["STAGES"] + (end - margin) * count * memory.STAGE_SIZE
        self.m[memory.PAUSE] = memory.NEVER if whole else pause

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
            numbers = own[:, None] + np.arange(len(rows))[which]
            records[:, :, memory.BEFORE] = base["BEFORES"] + self._fixed.begin[numbers]
        if not follow:
            words = np.arange(len(rows) * size).reshape(len(rows), size)[which].ravel()
            spots = (base[name] + own * size)[:, None] + words
            self.m[spots] = records.reshape(len(own), -1)

    def _give_back(self, end: int) -> None:
        """Let go of the pages of the mini-batches before `end`."""
        if self._pages is None or end <= 0:
            return
        for name, starts in self._starts.items():
            first = -(-8 * self._base[name] // mmap.PAGESIZE)
            last = 8 * (self._base[name] + int(starts[end]) * self._width[name]) // mmap.PAGESIZE
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
