"""HugeCTR's planner for DLRM-DCNv2 (NVIDIA, MLPerf Training v3.0: `sharding/planner.py`).

A GPU costs the lookups of a sample that it serves, and something for each part that it holds,
whose pooled vectors leave over the links:

    cost = sum over its parts of lookups / parts of their table
           + (memory rate / link rate) / 4 x number of its parts

The ratio of rates is rounded: 7 for H100 in a host (3.35 TB/s over 450 GB/s), 67 between hosts
(50 GB/s), 11 for H200, 9 for B200, as the submissions set it; 4 is their ratio of work (8 to 2).

Tables below a threshold are replicated. The others: parts by falling lookups, each to the cheapest
GPU with room that has no other part of its table; then the hottest table is cut into twice as many
parts by rows, 20 rounds; a part that fits nowhere has its table cut instead. The plan whose dearest
GPU is the cheapest wins; one more candidate cuts every table over all GPUs. On several hosts tables
are planned over hosts, and each host cuts what it has by rows over its GPUs (`hier_auto`).

With `sharding: table` it does one round without copies; with `row` it is HugeCTR's `uniform`.
Approximated: all tables are taken to have one dim, as the planner of v3.0 had it. Assumed: a table
that several features share counts as so many parts, for each has pooled vectors of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.errors import CapacityError, ConfigError
from simulator.systems.placement.base import Part, Plan, Task, cut_table, no_room

__all__ = ["PART_WORK_RATIO", "ROUNDS", "hugectr", "memory_to_link"]

PART_WORK_RATIO = 4.0
"""`mem_comm_work_ratio`: 8 bytes of memory traffic to 2 of communication an element."""
ROUNDS = 20
MEMORY_SHARE = 0.75
"""Of a GPU's memory, for tables: 60 of 80 GB in the submissions."""
REPLICATED_BELOW = 8_000_000
"""Bytes with state, one host (`dp_sharding_threshold` 0.008 GB)."""
REPLICATED_BELOW_ON_HOSTS = 12_500_000
"""The same on several hosts (0.0125 GB)."""

Bins = tuple[tuple[int, ...], ...]
"""Tables of each bin (GPU, or host)."""


def hugectr(task: Task) -> Plan:
    """HugeCTR's planner: copies of small tables, hot tables cut by rows, by lookups and parts.

    Raises `CapacityError` where no plan fits, `ConfigError` for `sharding: column`.
    """
    if task.sharding == "column":
        raise ConfigError("placement hugectr cuts by rows alone: set model.sharding: row or auto")
    gpus = task.gpus
    hosts = gpus.hosts if task.sharding == "auto" else 1
    copied = _replicated(task)
    on_bin = gpus.count if hosts == 1 else gpus.on_host
    room = int(gpus.memory * MEMORY_SHARE) - sum(task.tables[t].bytes for t in copied)
    bins = gpus.count if hosts == 1 else hosts
    model = _Costs(task, bins, room if hosts == 1 else room * on_bin, memory_to_link(task))
    kept = [table for table in range(len(task.tables)) if table not in copied]
    best = min(model.candidates(kept), key=model.worst, default=None)
    if best is None:
        raise model.out_of_room(kept)
    return Plan("hugectr", "lookups a sample", task, model.parts(best, copied))


def memory_to_link(task: Task) -> int:
    """Rate of a GPU's memory over that of its slowest way to others, rounded; 0 for one GPU.

    Raises `ConfigError` where no way leads to the others.
    """
    gpus = task.gpus
    if gpus.count == 1:
        return 0
    rate = gpus.link_rate if gpus.hosts == 1 else gpus.network_rate
    if not rate:
        raise ConfigError("placement hugectr weighs memory against links, but none joins the GPUs")
    return round(gpus.memory_rate / rate)


def _replicated(task: Task) -> frozenset[int]:
    """Tables that every GPU has."""
    if task.sharding != "auto" or task.gpus.count == 1:
        return frozenset()
    limit = REPLICATED_BELOW if task.gpus.hosts == 1 else REPLICATED_BELOW_ON_HOSTS
    return frozenset(n for n, table in enumerate(task.tables) if table.bytes < limit)


@dataclass(frozen=True)
class _Costs:
    """The cost model, and the search for a plan over bins."""

    task: Task
    bins: int
    room: int
    """Bytes of a bin."""
    ratio: int

    def _each(self, table: int) -> float:
        """Cost of a part of a table, however much it serves."""
        return self.task.tables[table].features * (self.ratio / PART_WORK_RATIO)

    def candidates(self, tables: Sequence[int]) -> Iterator[Bins]:
        """Every plan that was met and fits."""
        everywhere: Bins = (tuple(tables),) * self.bins
        if self.task.sharding != "table" and self._fits(everywhere):
            yield everywhere
        if self.task.sharding == "row":
            return
        cuts = dict.fromkeys(tables, 1)
        rounds = ROUNDS if self.task.sharding == "auto" else 1
        for _ in range(rounds):
            placed, homeless = self._round(cuts)
            if homeless is None:
                yield placed
            order = self._hottest(cuts) if homeless is None else [homeless]
            divisible = [table for table in order if 2 * cuts[table] <= self.bins]
            if not divisible:
                return
            cuts[divisible[0]] *= 2

    def _hottest(self, cuts: dict[int, int]) -> list[int]:
        return sorted(cuts, key=lambda table: (-self._lookups(table, cuts[table]), table))

    def _lookups(self, table: int, parts: int) -> float:
        return self.task.tables[table].lookups / parts

    def _round(self, cuts: dict[int, int]) -> tuple[Bins, int | None]:
        """Tables of each bin, and the first table of which a part has no room."""
        costs, used = [0.0] * self.bins, [0] * self.bins
        placed: list[list[int]] = [[] for _ in range(self.bins)]
        for table in self._hottest(cuts):
            size = -(-self.task.tables[table].bytes // cuts[table])
            for _ in range(cuts[table]):
                fits = [
                    (costs[k], k)
                    for k in range(self.bins)
                    if table not in placed[k] and used[k] + size <= self.room
                ]
                if not fits:
                    return (), table
                _, chosen = min(fits)
                placed[chosen].append(table)
                costs[chosen] += self._lookups(table, cuts[table]) + self._each(table)
                used[chosen] += size
        return tuple(tuple(tables) for tables in placed), None

    def _cuts(self, placed: Bins) -> dict[int, int]:
        cuts: dict[int, int] = {}
        for tables in placed:
            for table in tables:
                cuts[table] = cuts.get(table, 0) + 1
        return cuts

    def _fits(self, placed: Bins) -> bool:
        return max(self._sizes(placed)) <= self.room

    def _sizes(self, placed: Bins) -> list[int]:
        cuts = self._cuts(placed)
        return [sum(-(-self.task.tables[t].bytes // cuts[t]) for t in tables) for tables in placed]

    def worst(self, placed: Bins) -> float:
        """Cost of the dearest bin."""
        cuts = self._cuts(placed)
        return max(
            math.fsum(self._lookups(t, cuts[t]) + self._each(t) for t in tables)
            for tables in placed
        )

    def parts(self, placed: Bins, copied: frozenset[int]) -> tuple[Part, ...]:
        """The parts of a plan, by GPU."""
        task, cuts = self.task, self._cuts(placed)
        on_bin = task.gpus.count // self.bins
        made: list[list[Part]] = [[] for _ in range(task.gpus.count)]
        unplaced = {
            table: iter(
                cut_table(
                    task,
                    table,
                    "table" if count * on_bin == 1 else "row",
                    count * on_bin,
                    self._lookups(table, count * on_bin) + self._each(table),
                )
            )
            for table, count in cuts.items()
        }
        for number, tables in enumerate(placed):
            for table in tables:
                for gpu in range(number * on_bin, (number + 1) * on_bin):
                    made[gpu].append(replace(next(unplaced[table]), gpu=gpu))
        for table in sorted(copied):
            for copy in cut_table(task, table, "replica", task.gpus.count, 0.0):
                made[copy.index].append(replace(copy, gpu=copy.index))
        return tuple(part for parts in made for part in parts)

    def out_of_room(self, tables: Sequence[int]) -> CapacityError:
        """An error with what the plan needs that needs the least, or that one of whole tables."""
        if self.task.sharding == "table":
            order = sorted(tables, key=lambda t: -self.task.tables[t].bytes)
            bins: list[list[int]] = [[] for _ in range(self.bins)]
            for table in order:
                min(bins, key=lambda b: sum(self.task.tables[t].bytes for t in b)).append(table)
            placed: Bins = tuple(tuple(b) for b in bins)
        else:
            placed = (tuple(tables),) * self.bins
        needs, sharding = self._sizes(placed), self.task.sharding
        share = f" ({MEMORY_SHARE:.0%} of the memory, less copies of small tables)"
        return no_room(needs, [len(b) for b in placed], self.room, "hugectr", sharding, share)
