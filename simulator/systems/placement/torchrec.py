"""TorchRec's planner: estimate each way to shard each table, propose, partition, keep the best.

Estimates (TorchRec `distributed/planner`, `EmbeddingPerfEstimator` with the constants of
`planner/constants.py`, October 2025; bytes per second in units of 2**30). A part serves I lookups
of B bags (one a sample and feature of its table) with D columns; P is 1 for D >= 128, 1.15 for
D >= 64, 1.75 below:

    forward   = (8 I + 4 I max(D, 32) + 4 B D) P / HBM          HBM 897
    exchange  = 4 B D / LINK  each way                          LINK 600 in a host, 12.5 between
    backward  = 2 forward                                       (fused optimizer)

| sharding | lookups I | bags B | beside that |
|---|---|---|---|
| table | of the whole mini-batch | all | |
| row, over n | I / n | all | backward: 2.455 x 4 B D / HBM (a copy) |
| column, 128 columns or more a part | all, in each part | all | D of the part |
| data-parallel | I / n | B / n | all-reduce 4 R D / LINK, 9.22 x 4 R D / HBM; no exchange |

A part needs its rows with optimizer state, 8 B a lookup and 4 D a bag; 15 % of a GPU's memory are
kept free (`HeuristicalStorageReservation`).

Proposals: every combination where there are at most 10,000 (`GridSearchProposer`); the fastest
option of each table, then again and again the next one of the table with the most storage
(`GreedyProposer`, by the slowest part and by the sum); all tables alike (`UniformProposer`).
Partition (`GreedyPerfPartitioner`): what is on all GPUs first, then parts by falling storage, each
to the GPU with the least time that has room. The best proposal has the least time on its slowest
GPU. A baseline, not a truth.

Left out: tables in host memory (UVM), cached tables, `table_row_wise`, `grid`; weighted features.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.errors import CapacityError
from simulator.systems.placement.base import Cut, Part, Plan, Sharding, Task, cut_table, no_room

__all__ = ["part_time", "torchrec"]

GIB = 1024**3
HBM = 897.0 * GIB
IN_HOST = 600.0 * GIB
BETWEEN_HOSTS = 12.5 * GIB
ID_BYTES, FLOAT_BYTES = 8, 4
COPY_FACTOR = 2.455
"""`BATCHED_COPY_PERF_FACTOR`."""
ELEMENTWISE_FACTOR = 9.22
"""`DP_ELEMENTWISE_KERNELS_PERF_FACTOR`."""
LEAST_COLUMNS = 128
"""`MIN_CW_DIM`."""
RESERVED = 0.15
GRID = 10_000
"""`MAX_PROPOSALS`."""

_CUTS: dict[Sharding, tuple[Cut, ...]] = {
    "table": ("table",),
    "row": ("row",),
    "column": ("column",),
    "auto": ("table", "row", "column", "replica"),
}
_UNIFORM: tuple[Cut, ...] = ("row", "replica")
"""Cuts that lie on all GPUs."""


@dataclass(frozen=True, slots=True)
class _Option:
    """A table in one way to shard it, with what its parts (the largest first) need of a GPU while
    they train."""

    cut: Cut
    parts: tuple[Part, ...]
    needs: tuple[int, ...]
    storage: int
    """Of all parts."""

    @property
    def slowest(self) -> float:
        return max(part.cost for part in self.parts)

    @property
    def seconds(self) -> float:
        return math.fsum(part.cost for part in self.parts)


Proposal = tuple[int, ...]
"""The option of each table."""


def torchrec(task: Task) -> Plan:
    """TorchRec's planner: tables whole, by rows, by columns or copied, by estimated time.

    Raises `CapacityError` where no proposal fits.
    """
    options = [_options(task, table) for table in range(len(task.tables))]
    room = int(task.gpus.memory * (1.0 - RESERVED))
    fastest, best = math.inf, None
    for proposal in dict.fromkeys(_proposals(options)):
        chosen = [options[table][number] for table, number in enumerate(proposal)]
        partition = _partition(chosen, task.gpus.count, room)
        if partition is not None and partition[0] < fastest:
            fastest, best = partition[0], (chosen, partition[1])
    if best is None:
        raise _out_of_room(task, options, room)
    return Plan("torchrec", "s", task, _placed(*best, task.gpus.count))


def part_time(task: Task, table: int, cut: Cut, columns: int) -> float:
    """Seconds of one part of a table that is cut in the way `cut`: see the module."""
    shape, gpus = task.tables[table], task.gpus
    link = IN_HOST if gpus.hosts == 1 else BETWEEN_HOSTS
    shared = gpus.count if cut in _UNIFORM else 1
    lookups = task.batch_size * shape.lookups / shared
    bags = task.batch_size * shape.features / (gpus.count if cut == "replica" else 1)
    vectors = FLOAT_BYTES * bags * columns
    penalty = 1.0 if columns >= 128 else 1.15 if columns >= 64 else 1.75
    forward = ID_BYTES * lookups + FLOAT_BYTES * lookups * max(columns, 32) + vectors
    seconds = 3.0 * forward * penalty / HBM
    table_bytes = FLOAT_BYTES * shape.rows * shape.dim
    if cut == "replica":
        return seconds + table_bytes / link + ELEMENTWISE_FACTOR * table_bytes / HBM
    if gpus.count > 1:
        seconds += 2.0 * vectors / link
    return seconds + (COPY_FACTOR * vectors / HBM if cut == "row" else 0.0)


def _options(task: Task, table: int) -> tuple[_Option, ...]:
    """Every way to shard a table."""
    cuts = _CUTS[task.sharding] if task.gpus.count > 1 else ("table",)
    made = []
    for cut in cuts:
        parts = _count(task, table, cut)
        if cut == "column" and parts == 1 and len(cuts) > 1:
            continue
        named: Cut = "table" if parts == 1 else cut
        priced = [
            replace(part, cost=part_time(task, table, named, part.columns))
            for part in cut_table(task, table, named, parts, 0.0)
        ]
        bags = task.batch_size * task.tables[table].features / (parts if cut == "replica" else 1)
        needs = tuple(
            math.ceil(p.bytes + ID_BYTES * p.lookups + FLOAT_BYTES * bags * p.columns)
            for p in priced
        )
        made.append(_Option(named, tuple(priced), needs, sum(needs)))
    return tuple(made)


def _count(task: Task, table: int, cut: Cut) -> int:
    if cut == "table":
        return 1
    if cut == "column":
        return max(1, min(task.gpus.count, task.tables[table].dim // LEAST_COLUMNS))
    return task.gpus.count


def _proposals(options: Sequence[Sequence[_Option]]) -> Iterator[Proposal]:
    if math.prod(len(each) for each in options) <= GRID:
        yield from itertools.product(*(range(len(each)) for each in options))
        return
    yield from _greedy(options, [[o.slowest for o in each] for each in options])
    yield from _greedy(options, [[o.seconds for o in each] for each in options])
    for cut in _CUTS["auto"]:
        alike = [[n for n, o in enumerate(each) if o.cut == cut] for each in options]
        if all(alike):
            yield tuple(numbers[0] for numbers in alike)


def _greedy(
    options: Sequence[Sequence[_Option]], times: Sequence[Sequence[float]]
) -> Iterator[Proposal]:
    """The fastest option of each table, then the next of the one with the most storage."""
    orders = [sorted(range(len(each)), key=each.__getitem__) for each in times]
    current = [0] * len(options)
    waiting = [
        (-options[t][orders[t][0]].storage, t) for t in range(len(options)) if len(orders[t]) > 1
    ]
    heapq.heapify(waiting)
    yield tuple(order[0] for order in orders)
    while waiting:
        _, table = heapq.heappop(waiting)
        current[table] += 1
        order = orders[table]
        if current[table] + 1 < len(order):
            heapq.heappush(waiting, (-options[table][order[current[table]]].storage, table))
        yield tuple(order[place] for order, place in zip(orders, current, strict=True))


def _partition(
    chosen: Sequence[_Option], gpus: int, room: int
) -> tuple[float, tuple[int, ...]] | None:
    """Seconds of the slowest GPU, and the GPU of each part that lies on one, in the order of
    `_single`; None where there is no room."""
    everywhere = [option for option in chosen if option.cut in _UNIFORM]
    used = [sum(option.needs[0] for option in everywhere)] * gpus
    if used[0] > room:
        return None
    base = math.fsum(option.parts[0].cost for option in everywhere)
    loads = [(base, gpu) for gpu in range(gpus)]
    homes = []
    for option in _single(chosen):
        for part, need in zip(option.parts, option.needs, strict=True):
            passed = []
            while loads and used[loads[0][1]] + need > room:
                passed.append(heapq.heappop(loads))
            if not loads:
                return None
            seconds, gpu = heapq.heappop(loads)
            for entry in (*passed, (seconds + part.cost, gpu)):
                heapq.heappush(loads, entry)
            used[gpu] += need
            homes.append(gpu)
    return max(loads)[0], tuple(homes)


def _single(chosen: Sequence[_Option]) -> list[_Option]:
    """Options whose parts each lie on one GPU of choice, by falling storage."""
    single = [option for option in chosen if option.cut not in _UNIFORM]
    return sorted(single, key=lambda option: (-option.storage, option.parts[0].table))


def _placed(chosen: Sequence[_Option], homes: Sequence[int], gpus: int) -> tuple[Part, ...]:
    """All parts on their GPUs, by GPU."""
    placed: list[list[Part]] = [[] for _ in range(gpus)]
    for option in chosen:
        if option.cut in _UNIFORM:
            for gpu, part in enumerate(option.parts):
                placed[gpu].append(replace(part, gpu=gpu))
    single = [part for option in _single(chosen) for part in option.parts]
    for gpu, part in zip(homes, single, strict=True):
        placed[gpu].append(replace(part, gpu=gpu))
    return tuple(part for parts in placed for part in parts)


def _out_of_room(task: Task, options: Sequence[Sequence[_Option]], room: int) -> CapacityError:
    """An error with what the options with the smallest parts would need, evenly spread."""
    least = [min(each, key=lambda o: (max(o.needs), o.storage)) for each in options]
    needs, parts = [0] * task.gpus.count, [0] * task.gpus.count
    for need in sorted((n for option in least for n in option.needs), reverse=True):
        gpu = needs.index(min(needs))
        needs[gpu] += need
        parts[gpu] += 1
    kept = f" ({1 - RESERVED:.0%} of the memory)"
    return no_room(needs, parts, room, "torchrec", task.sharding, kept)
