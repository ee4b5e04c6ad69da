"""What the processors' own caches hold: hits of lookups, changed lines that wait for their way out.

Hits are counted exactly on some mini-batches (LRU over rows, in the order of the kernels: table by
table, or sample by sample where they are fused; a CPU's cache warmed with the mini-batch before);
the others get their mean share. Ids and pooled vectors that pass beside the rows take their part of
the cache; where one operation looks rows up in two stores, those of each get a part of it by their
lookups. Only operations that look rows up repeat rows within a mini-batch; streams of unique rows
are taken to miss. Rows that a kernel finds pinned are those with the most lookups in the mini-batch
before, of all its kernels together; the first mini-batch finds none.

Lines that an operation of a CPU changes stay in its cache as far as that holds them; the next
operation there that drives them out pays for their way to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator._threads import cores, map_threads
from simulator.caches.facts import BatchFacts
from simulator.caches.replays import Kept
from simulator.caches.run_facts import RunFacts
from simulator.columns import Column, column_of, some
from simulator.config.operators import OperatorProfile
from simulator.engine.cache_hits import (
    Counted,
    Hits,
    Key,
    lookups_of,
    means_of,
    shares_of,
    with_hits,
)
from simulator.engine.shared_facts import SharedFacts
from simulator.engine.together import MOST_GROUPS, Group, Groups, each_group, one_by_one
from simulator.hardware.devices.base import Processor
from simulator.hardware.program import Operation, Pool, Stage
from simulator.hardware.topology import Topology

__all__ = ["Counts", "ProcessorCaches", "Program"]

Int64s = npt.NDArray[np.int64]
Program = Callable[[BatchFacts], tuple[Stage, ...]]
Programs = list[tuple[Stage, ...]]
Counts = Mapping[int, Mapping[Key, Counted]]
"""Of each mini-batch that is counted which lookups hit."""
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class ProcessorCaches:
    """Programs of mini-batches whose lookups know what the processors' caches hold.

    `samples`: mini-batches whose facts keep rows and that are counted. `keep_rows`: leave the rows
    of the samples in, lookups without those that hit; else no rows are left.
    `shared`: what other points with the same replay have made of its facts.
    """

    program: Program
    machine: Topology
    samples: Kept
    keep_rows: bool
    software: OperatorProfile
    shared: SharedFacts = field(default_factory=SharedFacts)

    def programs(self, batches: Sequence[BatchFacts]) -> list[tuple[Stage, ...]]:
        """The stages of every mini-batch."""
        return self.grouped(batches, one_by_one(range(len(batches))))

    def grouped(self, batches: Sequence[BatchFacts], groups: Groups) -> list[tuple[Stage, ...]]:
        """The stages of each group of mini-batches, in columns where it has several (see
        `divided`)."""
        bare = self._bare_programs(batches, groups)
        known = self._alike(bare)
        counted = (self._known_counts if known else self._counted)(batches, groups, known or bare)
        programs = self._with_counted(batches, groups, known or bare, counted)
        return self._with_changed_lines(programs, groups)[0]

    def counted_in(self, run: RunFacts) -> Counts:
        """What is counted in a run, for all its blocks."""
        held = run.with_rows()
        alone = one_by_one(range(len(held)))
        return self._counted(held, alone, self._bare_programs(held, alone))

    def left_last(self, last: BatchFacts, counted: Counts) -> dict[str, int]:
        """Bytes that the `last` mini-batch of a run leaves changed in the cache of each
        processor."""
        alone = one_by_one((0,))
        bare = self._bare_programs([last], alone)
        (program,) = self._with_counted([last], alone, bare, counted)
        return {at: size for at, size in self._left(program) if size is not None}

    def in_block(
        self,
        batches: Sequence[BatchFacts],
        groups: Groups,
        counted: Counts,
        waiting: Mapping[str, int],
    ) -> tuple[list[tuple[Stage, ...]], dict[str, int]]:
        """As `grouped`, of a block of a run of which the rest is `counted`; `waiting`: what is
        changed in the cache of each processor when it begins; the same when it ends."""
        bare = self._bare_programs(batches, groups)
        programs = self._with_counted(batches, groups, bare, counted)
        return self._with_changed_lines(programs, groups, waiting)

    def _bare_programs(self, batches: Sequence[BatchFacts], groups: Groups) -> Programs:
        """Those of groups, without rows."""
        return each_group(groups, lambda _, own: self._together([batches[k] for k in own]))

    def _with_counted(
        self,
        batches: Sequence[BatchFacts],
        groups: Groups,
        bare: Sequence[tuple[Stage, ...]],
        counted: Counts,
    ) -> list[tuple[Stage, ...]]:
        """Programs whose lookups know which of them hit."""
        means = means_of(counted.values())

        def stages_of(number: int, group: Group) -> tuple[Stage, ...]:
            own = [batches[place] for place in group]
            rows = self.keep_rows and any(facts.index in self.samples for facts in own)
            stages = self.program(self._ordered(own[0])) if rows else bare[number]
            hits = [counted.get(facts.index, {}) for facts in own]
            masks = {key: each.hits for key, each in hits[0].items()} if rows else {}
            return with_hits(stages, shares_of(means, hits), masks)

        return each_group(groups, stages_of)

    def _together(self, members: Sequence[BatchFacts]) -> tuple[Stage, ...]:
        """The program of a group, without rows."""
        return self.program(self.shared.together([self._bare(facts) for facts in members]))

    def _with_changed_lines(
        self,
        programs: Sequence[tuple[Stage, ...]],
        groups: Groups,
        waiting: Mapping[str, int] | None = None,
    ) -> tuple[list[tuple[Stage, ...]], dict[str, int]]:
        """Programs whose operations know what they leave changed in a cache, and what they drive
        out of it; `waiting`: see `_left_before`, and what waits behind the last mini-batch."""
        left = each_group(groups, lambda number, _: self._left(programs[number]))
        last = [{at: size for at, size in own if size is not None} for own in left]
        before, behind = _left_before(last, groups, waiting)
        passed = [_passed_on(*each) for each in zip(programs, left, before, strict=True)]
        return passed, behind

    def _left(self, stages: tuple[Stage, ...]) -> list[tuple[str, int | None]]:
        """Where each operation is done, and the bytes that it leaves changed in the cache there;
        None where it does not pass one."""
        devices = self.machine.devices

        def left_by(word: Operation) -> int | None:
            device = devices.get(word.at)
            if not isinstance(device, Processor):
                return None
            return device.left_changed(word, self.software)

        words = (word for stage in stages for lane in stage.lanes for word in lane)
        return [(word.at, left_by(word)) for word in words]

    def _alike(self, programs: Sequence[tuple[Stage, ...]]) -> list[tuple[Stage, ...]]:
        """The programs of a point before that are equal to these; none where there is none, or
        nobody knows."""
        prices = self.shared.prices
        if prices is None or len(programs) > MOST_GROUPS:
            return []
        alike = [known for known in map(prices.alike, programs) if known is not None]
        return alike if len(alike) == len(programs) else []

    def _known_counts(
        self, batches: Sequence[BatchFacts], groups: Groups, bare: Sequence[tuple[Stage, ...]]
    ) -> Counts:
        """`_counted`, or what that was for a point with the same programs `bare`, under equal
        software and on processors that are alike.

        Programs of rows are those without, but for the rows: where the latter are the same, so are
        the former.
        """
        prices = self.shared.prices
        assert prices is not None, "programs of points before"
        at = dict.fromkeys(word.at for stages in bare for word in lookups_of(stages).values())
        alike = [prices.number_of(self.machine.processor(name)) for name in at]
        told = (batches[0], *bare)
        key = (*map(id, told), *(group.tobytes() for group in groups), self.samples)
        key = (*key, prices.number_of(self.software), *alike)
        return self.shared.counted(key, told, lambda: self._counted(batches, groups, bare))

    def _counted(
        self, batches: Sequence[BatchFacts], groups: Groups, bare: Sequence[tuple[Stage, ...]]
    ) -> Counts:
        """For each mini-batch that is counted which of its lookups hit: the samples, and where
        these lack a kind of mini-batch (a system may have several) the last of it that kept rows.

        `bare`: the programs of `groups`.
        """
        counted = self._hits_of(batches, self.samples)
        known = {key for hits in counted.values() for key in hits}
        lacking: dict[frozenset[Key], int] = {}
        for group, stages in zip(groups, bare, strict=True) if counted else ():
            keys = frozenset(lookups_of(stages))
            own = (batches[place] for place in group)
            left = [f.index for f in own if f.keeps_rows and f.index not in counted]
            if left:
                lacking[keys] = max(lacking.get(keys, left[-1]), left[-1])
        others = tuple(index for keys, index in lacking.items() if not keys <= known)
        return counted | self._hits_of(batches, others)

    def _hits_of(
        self, batches: Sequence[BatchFacts], wanted: Kept
    ) -> dict[int, dict[Key, Counted]]:
        """For each `wanted` mini-batch its lookups, and which of them hit, each on a thread."""
        words: list[tuple[int, Key, Pool, Pool | None]] = []
        for place, facts in enumerate(batches):
            if facts.index in wanted:
                words += self._words_of(facts, _before(batches, place))

        def counted(number: int) -> Counted:
            _, _, word, last = words[number]
            return Counted(word, self._hits(word, last))

        found = map_threads(counted, len(words), cores())
        told: dict[int, dict[Key, Counted]] = {f.index: {} for f in batches if f.index in wanted}
        for (index, key, _, _), hits in zip(words, found, strict=True):
            told[index][key] = hits
        return told

    def _words_of(
        self, facts: BatchFacts, before: BatchFacts | None
    ) -> list[tuple[int, Key, Pool, Pool | None]]:
        """Number of a mini-batch and key of each of its lookups, these, and the same lookups of the
        mini-batch `before`, where they tell what a processor holds."""
        words = self._looked_up(facts)
        recalls = any(map(self._recalls, words.values()))
        last = self._looked_up(before if recalls else None)
        return [(facts.index, key, word, last.get(key)) for key, word in words.items()]

    def _looked_up(self, facts: BatchFacts | None) -> Mapping[Key, Pool]:
        """The lookups of a mini-batch; none where it kept no rows."""
        if facts is None or not facts.keeps_rows:
            return {}
        return lookups_of(self.program(self._ordered(facts)))

    def _ordered(self, facts: BatchFacts) -> BatchFacts:
        """Lookups in the order of the kernels."""
        if self.software.gpu.kernels_per_table:
            return facts
        return self.shared.in_sample_order(facts)

    def _bare(self, facts: BatchFacts) -> BatchFacts:
        return self.shared.without_rows(facts)

    def _recalls(self, word: Pool) -> bool:
        """Whether the mini-batch before says what its processor holds."""
        processor = self.machine.processor(word.at)
        return processor.keeps_rows or processor.pinned_rows(self.software) > 0

    def _hits(self, word: Pool, last: Pool | None) -> Hits:
        """`last`: the same lookups of the mini-batch before."""
        rows = word.reads.pieces(word.rows)
        if rows is None or not len(rows):
            return np.empty(0, np.bool_)
        beside = 0 if word.elsewhere is None else word.elsewhere.rows.lookups
        processor, earlier = self.machine.processor(word.at), None
        pinned = processor.pinned_rows(self.software)
        if last is not None and (processor.keeps_rows or pinned):
            earlier = last.reads.pieces(last.rows)
        warm = _NOTHING if earlier is None or not processor.keeps_rows else earlier
        row_bytes = word.reads.row_bytes
        passing = (len(rows) + beside) * (row_bytes + self.software.id_bytes) + word.into.bytes
        own = len(rows) * row_bytes / passing
        capacity = int(own * processor.cached_rows(row_bytes))
        if not pinned or earlier is None:
            return self.shared.row_hits(warm, rows, capacity)
        pinned = pinned * len(rows) // (len(rows) + beside)
        found = np.isin(rows, _hottest(earlier, pinned * self._kernels(word)))
        left = self.shared.row_hits(warm, rows[~found], max(0, capacity - pinned))
        found[~found] = left
        return found

    def _kernels(self, word: Pool) -> int:
        """Kernels that look up rows of tables of their own, one after the other."""
        return word.reads.tables if self.software.gpu.kernels_per_table else 1


def _before(batches: Sequence[BatchFacts], place: int) -> BatchFacts | None:
    """The mini-batch before that at `place`; None where it is not there."""
    follows = place > 0 and batches[place - 1].index == batches[place].index - 1
    return batches[place - 1] if follows else None


def _hottest(lookups: Int64s, most: int) -> Int64s:
    """The rows with the most `lookups`, at most so many; of equal ones those with low numbers."""
    rows, counts = np.unique(lookups, return_counts=True)
    return rows[np.argsort(-counts, kind="stable")[:most]]


def _passed_on(
    stages: tuple[Stage, ...], left: Sequence[tuple[str, int | None]], waiting: dict[str, int]
) -> tuple[Stage, ...]:
    """`stages` whose operations know what each has `left` changed, and what waited in the cache
    there before it; `waiting`: bytes of each processor, brought up to date."""
    sizes = iter(left)

    def passed(word: Operation) -> Operation:
        at, size = next(sizes)
        if size is None:
            return word
        evicts, waiting[at] = waiting.get(at, 0), size
        changed = some(size) or some(evicts)
        return replace(word, leaves=size, evicts=evicts) if changed else word

    return tuple(
        Stage(stage.name, tuple(tuple(map(passed, lane)) for lane in stage.lanes))
        for stage in stages
    )


def _left_before(
    left: Sequence[Mapping[str, Any]], groups: Groups, first: Mapping[str, int] | None
) -> tuple[list[dict[str, int]], dict[str, int]]:
    """For each group what waits in the cache of each processor when its mini-batches begin: what
    the one before left there; before the first what is told, or what the last one left. Then what
    waits behind the last one. `left`: by each group."""
    count = sum(map(len, groups))
    before: list[dict[str, int]] = [{} for _ in groups]
    behind = dict(first or {})
    for at in dict.fromkeys(name for own in left for name in own):
        ends: list[Any] = [None] * count
        for own, group in zip(left, groups, strict=True):
            if at in own:
                numbers = (
                    own[at].tolist() if isinstance(own[at], Column) else [own[at]] * len(group)
                )
                for place, number in zip(group, numbers, strict=True):
                    ends[place] = number
        waiting, begins = (ends[-1] if first is None else first.get(at)) or 0, []
        for end in ends:
            begins.append(waiting)
            waiting = waiting if end is None else end
        for own, group in zip(before, groups, strict=True):
            own[at] = column_of([begins[place] for place in group])
        behind[at] = waiting
    return before, behind
