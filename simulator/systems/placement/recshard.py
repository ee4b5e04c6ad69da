"""RecShard's placement: how many of the hottest rows of each table lie in HBM, and on which GPU.

Recalled (Sethi et al., RecShard, ASPLOS 2022): a mixed-integer program with, for each table,

    cost = lookups of a mini-batch x bytes of a row x (p / HBM rate + (1 - p) / link rate)

where p is the share of its lookups that its rows in HBM take (the distribution of its accesses in
100 steps); it minimises the largest sum of costs over GPUs subject to the capacities of HBM and
host memory. Ours in place of the program: HBM goes, over all GPUs, to the steps that save the most
time a byte (the optimum of the sum, distributions being concave), then tables go by falling cost to
the GPU with the least so far (Graham's bound, 4/3 of the best).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.traces.coverage import Coverage

__all__ = ["Budget", "HotTable", "Placed", "place_rows", "split_rows"]


@dataclass(frozen=True)
class HotTable:
    """A table as the placement sees it."""

    rows: int
    entry_bytes: int
    """A row with its optimizer state."""
    read_bytes: int
    """Bytes of the rows that a mini-batch looks up in it, each lookup counted."""
    coverage: Coverage


@dataclass(frozen=True)
class Budget:
    """What there is to place rows in."""

    hot_bytes: int
    """For rows in HBM, over all GPUs."""
    gpus: int
    gpu_bytes: int
    """Of a GPU, for rows in HBM."""
    hbm_rate: float
    """Bytes per second of rows in HBM, and of rows that are read over the link."""
    link_rate: float


@dataclass(frozen=True)
class Placed:
    """Where the rows of all tables lie."""

    hot: tuple[int, ...]
    """Rows of each table in HBM, its hottest."""
    by_gpu: tuple[tuple[int, ...], ...]
    """Tables of each GPU."""


def split_rows(tables: Sequence[HotTable], hot_bytes: int, most_bytes: int) -> tuple[int, ...]:
    """Rows of each table in HBM where `hot_bytes` are for all of them, and at most `most_bytes` for
    one: step by step those that take the most lookups a byte."""
    hot = [0] * len(tables)
    steps = [(-_gain(table, 0), number, 0) for number, table in enumerate(tables)]
    heapq.heapify(steps)
    while steps:
        _, number, step = heapq.heappop(steps)
        table = tables[number]
        edges = table.coverage.rows
        room = min(hot_bytes // table.entry_bytes, most_bytes // table.entry_bytes - hot[number])
        wanted = int(edges[step + 1] - edges[step])
        taken = min(wanted, room)
        hot[number] += taken
        hot_bytes -= taken * table.entry_bytes
        if taken == wanted and step + 2 < len(edges):
            heapq.heappush(steps, (-_gain(table, step + 1), number, step + 1))
    return tuple(hot)


def _gain(table: HotTable, step: int) -> float:
    """Bytes of lookups that a byte of HBM saves in a step of the distribution."""
    rows, share = table.coverage.rows, table.coverage.share
    size = (rows[step + 1] - rows[step]) * table.entry_bytes
    return float(table.read_bytes * (share[step + 1] - share[step]) / size)


def place_rows(tables: Sequence[HotTable], budget: Budget) -> Placed:
    """The split of each table, and its GPU; rows that no GPU has room for stay below."""
    hot = list(split_rows(tables, budget.hot_bytes, budget.gpu_bytes))
    costs = [_cost(table, rows, budget) for table, rows in zip(tables, hot, strict=True)]
    gpus = [_Gpu(0.0, budget.gpu_bytes) for _ in range(budget.gpus)]
    for number in sorted(range(len(tables)), key=lambda k: (-costs[k], k)):
        size = tables[number].entry_bytes
        fits = [k for k, gpu in enumerate(gpus) if hot[number] * size <= gpu.room]
        if not fits:
            fits = [max(range(len(gpus)), key=lambda k: gpus[k].room)]
            hot[number] = gpus[fits[0]].room // size
        chosen = min(fits, key=lambda k: (gpus[k].cost, k))
        gpu = gpus[chosen]
        gpus[chosen] = replace(
            gpu,
            cost=gpu.cost + _cost(tables[number], hot[number], budget),
            room=gpu.room - hot[number] * size,
            tables=(*gpu.tables, number),
        )
    return Placed(tuple(hot), tuple(tuple(sorted(gpu.tables)) for gpu in gpus))


def _cost(table: HotTable, rows: int, budget: Budget) -> float:
    """Seconds of its lookups with `rows` rows in HBM."""
    share = table.coverage.of(rows)
    return table.read_bytes * (share / budget.hbm_rate + (1.0 - share) / budget.link_rate)


@dataclass(frozen=True)
class _Gpu:
    """A GPU while tables go to it."""

    cost: float
    room: int
    """Bytes that are left for rows."""
    tables: tuple[int, ...] = ()
