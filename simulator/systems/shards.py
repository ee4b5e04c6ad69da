"""Tables and samples over GPUs: what each has, and what they exchange.

Tables, or parts of them, go to GPUs as `model.placement` and `model.sharding` say (`layout`); the
MLPs run on each GPU on its share of the samples (data-parallel; where the GPUs do not divide a
mini-batch, the first ones have a sample more). An all-to-all turns pooled vectors by table into
pooled vectors by sample, another one their gradients back, and the MLPs' gradients are all-reduced.
Each GPU has its own work: in a stage their lanes run side by side, and it ends with the last.

Approximated: in an all-to-all each GPU sends as much to one as to another, though shares of samples
may differ by one; gradients, which go the way of the pooled vectors back, take as long as those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from simulator.caches.facts import BatchFacts
from simulator.errors import ConfigError
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Add,
    Buffer,
    Exchange,
    Operation,
    Pattern,
    Stage,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.layout import Crossing, Layout
from simulator.systems.mlp import dense_bytes, mlp_weight_bytes
from simulator.systems.placement import place_on

__all__ = ["Shard", "Shards", "side_by_side"]


@dataclass(frozen=True)
class Shard:
    """What one GPU of a job has."""

    gpu: str
    tables: tuple[int, ...]
    """Those (or parts) whose rows it caches and trains."""
    samples: int
    """Of a mini-batch, for its MLPs."""
    group: tuple[str, ...]
    """All GPUs of the job, itself included."""
    crossing: Crossing
    """What they exchange."""
    whole: Job
    """That of all GPUs, with whole tables."""
    parted: Job
    """The same with parts as tables."""

    @property
    def alone(self) -> bool:
        """Whether it is the only GPU."""
        return len(self.group) == 1

    @property
    def dense_bytes(self) -> int:
        """Dense features and labels of its samples."""
        model = self.whole.model
        return dense_bytes(model) * self.samples // model.batch_size

    @property
    def job(self) -> Job:
        """The job with its tables alone."""
        if self.alone:
            return self.whole
        return self.parted.of_tables(self.tables)

    @property
    def whose(self) -> str:
        """What messages say of its tables; nothing for a GPU alone."""
        what = "parts of tables" if self.parted.parts else "tables"
        return "" if self.alone else f" for the {len(self.tables)} {what} of {self.gpu}"

    def own(self, buffer: str) -> str:
        """The name of a buffer of this GPU in a memory that all of them use."""
        return buffer if self.alone else f"{buffer}.{self.gpu}"

    def facts(self, facts: BatchFacts) -> BatchFacts:
        """What happens to its tables."""
        return facts if self.alone else facts.of_tables(self.tables)

    def to_samples(self) -> tuple[Operation, ...]:
        """Pooled vectors of its tables become those of its samples; nothing for a GPU alone."""
        crossing, words = self.crossing, self._exchanged("all_to_all", "reduce_scatter")
        if not crossing.added:
            return words
        sums, pooled = (
            Buffer(name, f"{self.gpu}.hbm", elements * self.samples * GRADIENT_BYTES)
            for name, elements in (("partial_sums", crossing.partial), ("pooled", crossing.added))
        )
        return (*words, Add("add_partial_sums", self.gpu, (sums,), pooled))

    def to_tables(self) -> tuple[Operation, ...]:
        """Gradients of the vectors of its samples go back; nothing for a GPU alone."""
        return self._exchanged("all_to_all_back", "all_gather")

    def _exchanged(self, pairwise: str, pattern: Pattern) -> tuple[Operation, ...]:
        """What goes from each to each, then what is summed on its way (or handed out to all)."""
        if self.alone:
            return ()
        crossing, words = self.crossing, []
        if any(crossing.pairwise):
            size = crossing.pairwise[self.group.index(self.gpu)]
            words.append(
                Exchange(pairwise, self.gpu, self.group, "all_to_all", size, crossing.uneven)
            )
        if crossing.scattered:
            words.append(Exchange(pattern, self.gpu, self.group, pattern, crossing.scattered))
        return tuple(words)

    def exchange(self, name: str) -> tuple[Stage, ...]:
        """`to_samples` or `to_tables` (`all_to_all_back`) as a stage of its own; none for a GPU
        alone."""
        if self.alone:
            return ()
        return (Stage(name, (self.to_samples() if name == "all_to_all" else self.to_tables(),)),)

    def of_copies(self) -> tuple[Operation, ...]:
        """The gradients of tables with a copy on each GPU are summed, and the sums applied."""
        if not self.crossing.copied:
            return ()
        size = self.crossing.copied * GRADIENT_BYTES
        place = f"{self.gpu}.hbm"
        sums, copies = (Buffer(name, place, size) for name in ("gradients_of_copies", "copies"))
        return (
            Exchange("all_reduce_copies", self.gpu, self.group, "all_reduce", size),
            Add("apply_to_copies", self.gpu, (sums, copies), copies),
        )

    def reducing(
        self, after: str = "", sums: tuple[Operation, ...] = (), size: int = 0
    ) -> tuple[tuple[Operation, ...], ...]:
        """A lane in which the gradients of the MLPs are all-reduced, once the operation called
        `after` in another lane is done, together with `size` bytes more that `sums` makes; none for
        a GPU alone."""
        if self.alone:
            return ()
        element = self.whole.software.gpu.exchange_bytes
        size += mlp_weight_bytes(self.whole.model) * element // GRADIENT_BYTES
        exchange = Exchange("all_reduce", self.gpu, self.group, "all_reduce", size, after=after)
        return ((*sums, exchange),)


@dataclass(frozen=True)
class Shards:
    """The GPUs of a job, the first ones of the machine."""

    each: tuple[Shard, ...]

    @classmethod
    def of(cls, job: Job, machine: Topology, system: str, *, tables: bool = True) -> Shards:
        """As many GPUs as the job asks for, one by default; `tables`: placed on them.

        Raises `ConfigError` where the machine has fewer, or no links lead between them, where some
        would have no table or no sample, and where the plan copies tables.
        """
        group = _first(job, machine, system, tables=tables)
        if len(group) > 1:
            machine.groups.of(group, group[0])
        if not tables:
            return cls.spread(Layout(job, job, ((),) * len(group)), group)
        return cls.spread(_placed(job, machine, system, group), group)

    @classmethod
    def spread(cls, layout: Layout, group: tuple[str, ...]) -> Shards:
        """The GPUs of `group` with the tables that `layout` gives to each."""
        samples, more = divmod(layout.whole.model.batch_size, len(group))
        crossing = layout.crossing()
        return cls(
            tuple(
                Shard(gpu, own, samples + (k < more), group, crossing, layout.whole, layout.job)
                for k, (gpu, own) in enumerate(zip(group, layout.placed, strict=True))
            )
        )

    @property
    def job(self) -> Job:
        """That of all GPUs, with parts of tables as tables."""
        return self.each[0].parted

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        """Tables of each GPU."""
        return tuple(shard.tables for shard in self.each)

    def __len__(self) -> int:
        return len(self.each)

    def __iter__(self) -> Iterator[Shard]:
        return iter(self.each)


def _first(job: Job, machine: Topology, system: str, *, tables: bool) -> tuple[str, ...]:
    """The GPUs that a job uses."""
    machine.first("gpu", system)
    count, there, model = job.gpus or 1, machine.all("gpu"), job.model
    if count > len(there):
        raise ConfigError(
            f"{system} asks for {count} GPUs but {machine.name} has {len(there)}: lower gpus"
        )
    whole = tables and model.sharding == "table"
    divided = [(model.tables, "tables", "model.sharding: row or column")] if whole else []
    divided.append((model.batch_size, "samples a mini-batch", "a larger model.batch_size"))
    for number, what, remedy in divided:
        if count > number:
            raise ConfigError(
                f"{system} spreads {number} {what} over {count} GPUs, so that "
                f"{count - number} have none: gpus {number} at most, or {remedy}"
            )
    return there[:count]


def _placed(job: Job, machine: Topology, system: str, group: Sequence[str]) -> Layout:
    """Tables of each GPU; they lie on the host, so that any plan has room."""
    if len(group) == 1:
        return Layout(job, job, (tuple(range(job.model.tables)),))
    plan = place_on(job.model, machine, group, on_host=True)
    layout = Layout.of(job, plan)
    layout.refuse_copies(system)
    empty = [gpu for gpu, own in zip(group, layout.placed, strict=True) if not own]
    if empty:
        raise ConfigError(
            f"{system} needs a table on each of {len(group)} GPUs, but placement {plan.planner} "
            f"leaves {', '.join(empty)} without: lower gpus, or set model.placement: size"
        )
    return layout


def side_by_side(programs: Iterable[Sequence[Stage]]) -> tuple[Stage, ...]:
    """The programs of several GPUs, which have the same stages, as one: lanes of all in each that
    have something to do."""
    return tuple(
        Stage(stages[0].name, tuple(lane for stage in stages for lane in stage.lanes if lane))
        for stages in zip(*programs, strict=True)
    )
