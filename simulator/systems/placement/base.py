"""What a plan of tables over GPUs is: parts of tables, where they lie, what each GPU has of them.

A table lies on one GPU, is cut by rows or by columns, or is replicated. Row r of a table that is
cut by rows lies in part r mod n, so that frequent rows, which data sets number first, are spread;
columns are cut into n runs as long as each other, to one element.

Lookups are expected values: a part by rows serves its share of those of its table, a replica those
of the samples of its GPU, a part by columns all of them. Ignored: how the ids of a trace fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from simulator.config.model import Sharding
from simulator.errors import CapacityError, InvariantError
from simulator.traces.cuts import Cut
from simulator.units import format_bytes

__all__ = ["Cut", "Gpus", "Part", "Plan", "Sharding", "Table", "Task", "cut_table"]

SHOWN = 4
"""GPUs that a message tells one by one."""


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding table as a planner sees it."""

    rows: int
    dim: int
    lookups: int
    """Of a sample (pooling factor), over all features that share the table."""
    entry_bytes: int
    """A row with its optimizer state."""
    features: int = 1
    """Pooled vectors that a sample gets from it."""

    @property
    def bytes(self) -> int:
        """All rows with their optimizer state."""
        return self.rows * self.entry_bytes


@dataclass(frozen=True, slots=True)
class Gpus:
    """Equal GPUs on equal hosts: memory in bytes, rates in bytes per second."""

    count: int
    memory: int
    """Of each."""
    hosts: int = 1
    memory_rate: float = 0.0
    """Peak of the memory of each."""
    link_rate: float = 0.0
    """From one GPU to others on its host."""
    network_rate: float = 0.0
    """From one GPU to those of other hosts."""

    @property
    def on_host(self) -> int:
        """GPUs of a host."""
        return self.count // self.hosts


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be placed where."""

    tables: tuple[Table, ...]
    batch_size: int
    """Samples of a mini-batch, over all GPUs."""
    gpus: Gpus
    sharding: Sharding = "table"


@dataclass(frozen=True, slots=True)
class Part:
    """A table, or a part of one, on a GPU (-1: not yet placed)."""

    table: int
    cut: Cut
    index: int
    """Which of the parts."""
    parts: int
    """Into which its table is cut (or copies that there are)."""
    rows: int
    columns: int
    bytes: int
    """With optimizer state."""
    lookups: float
    """Expected in a mini-batch on this GPU."""
    cost: float
    """By the planner's estimate, in the plan's unit."""
    gpu: int = -1


def cut_table(task: Task, table: int, cut: Cut, parts: int, cost: float) -> tuple[Part, ...]:
    """`parts` parts of a table, not yet placed, each at `cost`."""
    shape = task.tables[table]
    lookups = task.batch_size * shape.lookups
    made = []
    for index in range(parts):
        rows = _share(shape.rows, index, parts) if cut == "row" else shape.rows
        columns = _share(shape.dim, index, parts) if cut == "column" else shape.dim
        size = rows * (shape.entry_bytes * columns // shape.dim)
        served = lookups if cut in ("table", "column") else lookups / parts
        made.append(Part(table, cut, index, parts, rows, columns, size, served, cost))
    return tuple(made)


def _share(whole: int, index: int, parts: int) -> int:
    """Members of 0 .. `whole` - 1 that are `index` modulo `parts`."""
    return (whole - index + parts - 1) // parts


@dataclass(frozen=True)
class Plan:
    """Which table, or part of one, lies on which GPU."""

    planner: str
    unit: str
    """Of costs: `B`, `lookups`, `s`, or what the planner counts."""
    task: Task
    parts: tuple[Part, ...]
    """All of them, placed; by GPU, then table."""

    @cached_property
    def by_gpu(self) -> tuple[tuple[Part, ...], ...]:
        """Parts of each GPU."""
        placed: list[list[Part]] = [[] for _ in range(self.task.gpus.count)]
        for part in self.parts:
            placed[part.gpu].append(part)
        return tuple(tuple(parts) for parts in placed)

    def bytes(self, gpu: int) -> int:
        """Tables and optimizer state on a GPU."""
        return sum(part.bytes for part in self.by_gpu[gpu])

    def lookups(self, gpu: int) -> float:
        """Lookups of a mini-batch that a GPU serves."""
        return sum(part.lookups for part in self.by_gpu[gpu])

    def cost(self, gpu: int) -> float:
        """The planner's estimate for a GPU."""
        return sum(part.cost for part in self.by_gpu[gpu])

    @property
    def worst(self) -> float:
        """The planner's estimate for the GPU that the others wait for."""
        return max(map(self.cost, range(self.task.gpus.count)))

    @property
    def whole(self) -> bool:
        """Whether every table lies on one GPU."""
        return all(part.cut == "table" for part in self.parts)

    def check(self) -> None:
        """Every row once, in all its columns, or on every GPU.

        Raises `InvariantError` naming the table.
        """
        count = self.task.gpus.count
        of_table: list[list[Part]] = [[] for _ in self.task.tables]
        for part in self.parts:
            of_table[part.table].append(part)
        for number, (shape, parts) in enumerate(zip(self.task.tables, of_table, strict=True)):
            elements = sum(part.rows * part.columns for part in parts)
            copies = count if parts and parts[0].cut == "replica" else 1
            pieces = {(part.cut, part.index, part.parts) for part in parts}
            placed = all(0 <= part.gpu < count for part in parts)
            whole = copies * shape.rows * shape.dim
            if not placed or len(pieces) != len(parts) or elements != whole:
                raise InvariantError(
                    f"plan {self.planner}: table {number} has {shape.rows:,} x {shape.dim} "
                    f"elements, its {len(parts)} parts {elements:,}"
                )

    def require_room(self) -> None:
        """Raise `CapacityError`, with the arithmetic of each GPU, where tables do not fit."""
        memory = self.task.gpus.memory
        needs = [self.bytes(gpu) for gpu in range(self.task.gpus.count)]
        if max(needs) > memory:
            parts = [len(parts) for parts in self.by_gpu]
            raise no_room(needs, parts, memory, self.planner, self.task.sharding)


def no_room(
    needs: Sequence[int],
    parts: Sequence[int],
    memory: int,
    planner: str,
    sharding: Sharding,
    extra: str = "",
) -> CapacityError:
    """An error with what each GPU would hold, the fullest first."""
    order = sorted(range(len(needs)), key=lambda gpu: (-needs[gpu], gpu))
    told = [
        f"gpu{g} {format_bytes(needs[g])} in {parts[g]} part{'s' * (parts[g] != 1)}"
        for g in order[:SHOWN]
    ]
    if len(order) > SHOWN:
        told.append(f"{len(order) - SHOWN} more GPUs less than these")
    other = "another model.placement" if sharding == "auto" else "model.sharding: auto"
    return CapacityError(
        f"placement {planner}: {format_bytes(sum(needs))} of tables on {len(needs)} GPUs with "
        f"{format_bytes(memory)} each for them{extra}: {', '.join(told)}: use more GPUs, a smaller "
        f"model, or {other}"
    )
