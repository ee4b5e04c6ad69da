"""Caches of several workers with versions in plain Python: what HET and Herald do, row by row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["WorkersTold", "reference_workers"]


@dataclass
class _Copy:
    version: int
    updates: int = 0
    uses: int = 1
    """Mini-batches since it came in."""


@dataclass
class WorkersTold:
    """What happened in a mini-batch: pairs of worker and row."""

    owners: list[int]
    new: set[tuple[int, int]] = field(default_factory=set)
    old: set[tuple[int, int]] = field(default_factory=set)
    hit: set[tuple[int, int]] = field(default_factory=set)
    left: set[tuple[int, int]] = field(default_factory=set)
    """Evicted with changes."""
    pushed: set[tuple[int, int]] = field(default_factory=set)
    lacking: int = 0
    """Most updates that the server had and a copy that was hit lacked."""


def reference_workers(
    batches: Sequence[Sequence[Sequence[int]]],
    samples: Sequence[int],
    slots: int,
    *,
    bound: int = 0,
    allocates: bool = False,
    counts: bool = False,
    scored: int | None = None,
) -> list[WorkersTold]:
    """`batches`: rows of each sample, as they are looked up. `samples`: of each worker. `counts`:
    the victim is the row of the fewest uses; `scored`: the first rows of a sample alone say where
    it goes."""
    caches: list[OrderedDict[int, _Copy]] = [OrderedDict() for _ in samples]
    versions: dict[int, int] = {}
    told: list[WorkersTold] = []

    def fresh(worker: int, row: int) -> bool:
        copy = caches[worker].get(row)
        return copy is not None and copy.version == versions.get(row, 0)

    for number, batch in enumerate(batches):
        owners = _in_order(samples)
        if allocates:
            parts = [sample[:scored] for sample in batch]
            scores = [[sum(fresh(w, r) for r in s) for w in range(len(samples))] for s in parts]
            owners = _allocated(scores, samples, number)
            for sample, owner in zip(batch, owners, strict=True):
                for row in sample:
                    for worker in range(len(samples)):
                        if worker != owner and fresh(worker, row):
                            told[-1].pushed.add((worker, row))
                            versions[row] = versions.get(row, 0) + caches[worker][row].updates
                            caches[worker][row].updates = 0
        now = WorkersTold(owners)
        told.append(now)
        uses = [
            list(dict.fromkeys(r for s, o in zip(batch, owners, strict=True) if o == w for r in s))
            for w in range(len(samples))
        ]
        gone: list[tuple[int, int]] = []
        for worker, rows in enumerate(uses):
            cache = caches[worker]
            for row in rows:
                if row in cache:
                    lacks = versions.get(row, 0) - cache[row].version
                    (now.old if lacks > bound else now.hit).add((worker, row))
                    if lacks > bound:
                        cache[row].version = versions[row]
                    else:
                        now.lacking = max(now.lacking, lacks)
                    cache[row].uses += 1
                    cache.move_to_end(row)
            for row in rows:
                if row not in cache:
                    now.new.add((worker, row))
                    if len(cache) == slots:
                        victim = _victim(cache, rows, counts=counts)
                        copy = cache.pop(victim)
                        if copy.updates:
                            now.left.add((worker, victim))
                            gone.append((victim, copy.updates))
                    cache[row] = _Copy(versions.get(row, 0))
            for row in rows:
                cache[row].updates += 1
        for row, updates in gone:
            versions[row] = versions.get(row, 0) + updates
        _push(now, uses, caches, versions, None if allocates else bound)
    return told


def _victim(cache: OrderedDict[int, _Copy], rows: Sequence[int], *, counts: bool) -> int:
    """The oldest row that is none of `rows`; where uses count, of those with the fewest."""
    others = [row for row in cache if row not in rows]
    return min(others, key=lambda row: cache[row].uses) if counts else others[0]


def _push(
    now: WorkersTold,
    uses: Sequence[Sequence[int]],
    caches: Sequence[OrderedDict[int, _Copy]],
    versions: dict[int, int],
    bound: int | None,
) -> None:
    """Rows with more than `bound` updates; without one those that several workers have trained."""
    for worker, rows in enumerate(uses):
        for row in rows:
            copy = caches[worker][row]
            shared = sum(row in others for others in uses) > 1
            if copy.updates > bound if bound is not None else shared:
                now.pushed.add((worker, row))
                versions[row] = versions.get(row, 0) + copy.updates
                copy.version += copy.updates if bound is not None else 0
                copy.updates = 0


def _in_order(samples: Sequence[int]) -> list[int]:
    return [worker for worker, count in enumerate(samples) for _ in range(count)]


def _allocated(scores: Sequence[Sequence[int]], samples: Sequence[int], number: int) -> list[int]:
    """In the order of samples the worker with room and the best score."""
    room, owners = list(samples), []
    workers = len(samples)
    for sample, score in enumerate(scores):
        turn = [(sample + number + step) % workers for step in range(workers)]
        best = max((w for w in turn if room[w]), key=lambda w: score[w])
        room[best] -= 1
        owners.append(best)
    return owners
