"""Hits of the processors' own caches: a CPU's last-level cache, a GPU's L2.

Counted exactly (LRU over rows, warmed with the mini-batch before) on some mini-batches; the others
get their mean share. Only operations that look rows up repeat rows within a mini-batch; streams of
unique rows are taken to miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts, Flow
from simulator.caches.replays import Kept
from simulator.caches.row_filter import row_hits
from simulator.hardware.program import Operation, Pool, Stage
from simulator.hardware.topology import Topology

__all__ = ["ProcessorCaches", "Program"]

Int64s = npt.NDArray[np.int64]
Program = Callable[[BatchFacts], tuple[Stage, ...]]
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class ProcessorCaches:
    """Programs of mini-batches whose lookups know what the processors' caches hold.

    `samples`: mini-batches whose facts keep rows and that are counted. `keep_rows`: leave the rows
    of the samples in, lookups without those that hit; else no rows are left.
    """

    program: Program
    machine: Topology
    samples: Kept
    keep_rows: bool

    def programs(self, batches: Sequence[BatchFacts]) -> list[tuple[Stage, ...]]:
        """The stages of every mini-batch."""
        counted = self._counted(batches)
        means = _means([[hits for _, hits in lookups] for lookups in counted.values()])
        programs = []
        for facts in batches:
            rows = self.keep_rows and facts.index in self.samples
            stages = self.program(facts if rows else facts.without_rows())
            if facts.index in counted:
                lookups = counted[facts.index]
                shares = [_share(hits) for _, hits in lookups]
                masks = [hits for _, hits in lookups] if rows else None
            else:
                shares, masks = means, None
            programs.append(_with_hits(stages, shares, masks))
        return programs

    def _counted(
        self, batches: Sequence[BatchFacts]
    ) -> dict[int, list[tuple[Pool, npt.NDArray[np.bool_]]]]:
        """For each sample its lookups, and which of them hit."""
        counted = {}
        before: list[Pool] = []
        for facts in batches:
            wanted = facts.index in self.samples
            lookups: list[Pool] = []
            if facts.keeps_rows and (wanted or facts.index + 1 in self.samples):
                lookups = _lookups(self.program(facts))
            if wanted:
                warm: Sequence[Pool | None] = before or [None] * len(lookups)
                counted[facts.index] = [
                    (word, self._hits(previous, word))
                    for previous, word in zip(warm, lookups, strict=True)
                ]
            before = lookups
        return counted

    def _hits(self, before: Pool | None, word: Pool) -> npt.NDArray[np.bool_]:
        rows = word.reads.pieces(word.rows)
        if rows is None:
            return np.empty(0, np.bool_)
        warm = None if before is None else before.reads.pieces(before.rows)
        capacity = self.machine.processor(word.at).cached_rows(word.reads.row_bytes)
        return row_hits(_NOTHING if warm is None else warm, rows, capacity)


def _lookups(stages: Sequence[Stage]) -> list[Pool]:
    return [word for stage in stages for word in stage.operations if isinstance(word, Pool)]


def _share(hits: npt.NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else 0.0


def _means(counted: Sequence[Sequence[npt.NDArray[np.bool_]]]) -> list[float]:
    """Mean share of each lookup of a program over the counted mini-batches."""
    return [
        float(np.mean([_share(hits) for hits in column])) for column in zip(*counted, strict=True)
    ]


def _with_hits(
    stages: Sequence[Stage],
    shares: Sequence[float],
    masks: Sequence[npt.NDArray[np.bool_]] | None,
) -> tuple[Stage, ...]:
    """`stages` with the hit share of each lookup; `masks`: which rows hit and are left out."""
    number = 0
    filled = []
    for stage in stages:
        lanes = []
        for lane in stage.lanes:
            words: list[Operation] = []
            for word in lane:
                if isinstance(word, Pool) and number < len(shares):
                    rows = word.rows if masks is None else _without(word.rows, masks[number])
                    word = replace(word, hit_share=shares[number], rows=rows)
                    number += 1
                words.append(word)
            lanes.append(tuple(words))
        filled.append(Stage(stage.name, tuple(lanes)))
    return tuple(filled)


def _without(rows: Flow, hits: npt.NDArray[np.bool_]) -> Flow:
    """`rows` without the lookups that hit; the counts stay."""

    def left(array: Int64s | None) -> Int64s | None:
        return array[~hits] if array is not None and len(array) == len(hits) else array

    return replace(rows, ids=left(rows.ids), slots=left(rows.slots))
