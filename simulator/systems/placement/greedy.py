"""Greedy planners: the heaviest part first, to the GPU with the least so far.

Longest processing time first (Graham, "Bounds on multiprocessing timing anomalies", SIAM J. Appl.
Math. 17, 1969): the heaviest GPU gets at most 4/3 - 1/(3 n) of what the best plan gives it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace

from simulator.systems.placement.base import Cut, Part, Plan, Task, cut_table

__all__ = ["by_lookups", "by_size", "spread"]

COLUMNS = 4
"""Columns (16 bytes of fp32) that a cut leaves together."""


def by_size(task: Task) -> Plan:
    """Greedy by bytes: the largest table first, to the GPU with the fewest bytes.

    Sharding `row` and `column` cut every table over all GPUs; `auto` cuts by rows what is larger
    than an equal share, into as many parts as bring it below.
    """
    return _greedy(task, "size", "B", [float(table.bytes) for table in task.tables])


def by_lookups(task: Task) -> Plan:
    """Greedy by lookups: the most looked-up table first, to the GPU with the fewest lookups.

    Memory is not looked at: a plan may not fit. Cuts as `size`, by lookups.
    """
    weights = [float(task.batch_size * table.lookups) for table in task.tables]
    return _greedy(task, "lookups", "lookups", weights)


def _greedy(task: Task, planner: str, unit: str, weights: Sequence[float]) -> Plan:
    items: list[Part] = []
    for table, weight in enumerate(weights):
        parts = _parts(task, table, weight, sum(weights))
        cut: Cut = "table" if parts == 1 else "column" if task.sharding == "column" else "row"
        items += cut_table(task, table, cut, parts, weight / parts)
    return Plan(planner, unit, task, spread(items, task.gpus.count))


def _parts(task: Task, table: int, weight: float, total: float) -> int:
    """Parts into which a table is cut."""
    shape, gpus = task.tables[table], task.gpus.count
    if task.sharding == "table" or not total:
        return 1
    if task.sharding == "column":
        return max(1, min(gpus, shape.dim // COLUMNS))
    wanted = gpus if task.sharding == "row" else -(-weight * gpus // total)
    return max(1, min(gpus, shape.rows, int(wanted)))


def spread(items: Iterable[Part], gpus: int) -> tuple[Part, ...]:
    """`items` by falling cost (ties: by table), each to the GPU with the least cost so far (ties:
    the first) that has no other part of the same table; by GPU."""
    loads = [(0.0, gpu) for gpu in range(gpus)]
    tables: list[set[int]] = [set() for _ in range(gpus)]
    placed: list[list[Part]] = [[] for _ in range(gpus)]
    for item in sorted(items, key=lambda part: (-part.cost, part.table, part.index)):
        passed = []
        while loads and item.table in tables[loads[0][1]]:
            passed.append(heapq.heappop(loads))
        load, gpu = heapq.heappop(loads)
        for entry in (*passed, (load + item.cost, gpu)):
            heapq.heappush(loads, entry)
        tables[gpu].add(item.table)
        placed[gpu].append(replace(item, gpu=gpu))
    return tuple(part for parts in placed for part in parts)
