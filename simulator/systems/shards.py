"""Tables and samples over the GPUs of one host: what each has, and what they exchange.

Whole tables go to GPUs as `model.placement` says (model-parallel); the MLPs run on each GPU on its
share of the samples (data-parallel; where the GPUs do not divide a mini-batch, the first ones have
a sample more). An all-to-all turns pooled vectors by table into pooled vectors by sample, another
one their gradients back, and the MLPs' gradients are all-reduced. Each GPU has its own work: in a
stage their lanes run side by side, and it ends with the last.

Approximated: in an all-to-all each GPU sends as much to one as to another, though shares of samples
may differ by one; gradients, which go the way of the pooled vectors back, take as long as those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts
from simulator.errors import ConfigError
from simulator.hardware.program import Exchange, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.mlp import dense_bytes, mlp_weight_bytes
from simulator.systems.placement import place_on

__all__ = ["Shard", "Shards", "side_by_side"]


@dataclass(frozen=True)
class Shard:
    """What one GPU of a job has."""

    gpu: str
    tables: tuple[int, ...]
    """Those whose rows it caches and trains."""
    samples: int
    """Of a mini-batch, for its MLPs."""
    group: tuple[str, ...]
    """All GPUs of the job, itself included."""
    exchanged: tuple[int, ...]
    """Bytes of the pooled vectors of each GPU's tables, as they cross links."""
    whole: Job
    """That of all GPUs."""

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
        return replace(self.whole, model=self.whole.model.of_tables(self.tables))

    @property
    def whose(self) -> str:
        """What messages say of its tables; nothing for a GPU alone."""
        return "" if self.alone else f" for the {len(self.tables)} tables of {self.gpu}"

    def own(self, buffer: str) -> str:
        """The name of a buffer of this GPU in a memory that all of them use."""
        return buffer if self.alone else f"{buffer}.{self.gpu}"

    def facts(self, facts: BatchFacts) -> BatchFacts:
        """What happens to its tables."""
        return facts if self.alone else facts.of_tables(self.tables)

    def all_to_all(self, name: str) -> tuple[Exchange, ...]:
        """Pooled vectors of its tables for those of its samples, or gradients back; nothing for a
        GPU alone."""
        if self.alone:
            return ()
        size = self.exchanged[self.group.index(self.gpu)]
        uneven = self.exchanged if len(set(self.exchanged)) > 1 else ()
        return (Exchange(name, self.gpu, self.group, "all_to_all", size, uneven),)

    def exchange(self, name: str) -> tuple[Stage, ...]:
        """`all_to_all` as a stage of its own; none for a GPU alone."""
        return () if self.alone else (Stage(name, (self.all_to_all(name),)),)

    def reducing(self, after: str = "") -> tuple[tuple[Exchange, ...], ...]:
        """A lane in which the gradients of the MLPs are all-reduced, once the operation called
        `after` in another lane is done; none for a GPU alone."""
        if self.alone:
            return ()
        size = mlp_weight_bytes(self.whole.model)
        return ((Exchange("all_reduce", self.gpu, self.group, "all_reduce", size, after=after),),)


@dataclass(frozen=True)
class Shards:
    """The GPUs of a job, the first ones of the machine."""

    each: tuple[Shard, ...]

    @classmethod
    def of(cls, job: Job, machine: Topology, system: str, *, tables: bool = True) -> Shards:
        """As many GPUs as the job asks for, one by default; `tables`: placed on them.

        Raises `ConfigError` where the machine has fewer, or no link among them, where some would
        have no table or no sample, and where the plan cuts tables.
        """
        group = _first(job, machine, system, tables=tables)
        count, model = len(group), job.model
        if count > 1:
            machine.groups.of(group, group[0])
        placed = _placed(job, machine, system, group) if tables else ((),) * count
        exchanged = tuple(_exchanged(job, own) for own in placed)
        samples, more = divmod(model.batch_size, count)
        return cls(
            tuple(
                Shard(gpu, own, samples + (number < more), group, exchanged, job)
                for number, (gpu, own) in enumerate(zip(group, placed, strict=True))
            )
        )

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
    divided = [(model.tables, "tables", "model.tables")] if tables else []
    divided.append((model.batch_size, "samples a mini-batch", "model.batch_size"))
    for number, what, key in divided:
        if count > number:
            raise ConfigError(
                f"{system} spreads {number} {what} over {count} GPUs, so that "
                f"{count - number} have none: gpus {number} at most, or a larger {key}"
            )
    return there[:count]


def _placed(
    job: Job, machine: Topology, system: str, group: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Tables of each GPU by number; they lie on the host, so that any plan has room."""
    if len(group) == 1:
        return (tuple(range(job.model.tables)),)
    plan = place_on(job.model, machine, group, on_host=True)
    placed = tuple(tuple(sorted(own)) for own in plan.whole_tables(system))
    empty = [gpu for gpu, own in zip(group, placed, strict=True) if not own]
    if empty:
        raise ConfigError(
            f"{system} needs a table on each of {len(group)} GPUs, but placement {plan.planner} "
            f"leaves {', '.join(empty)} without: lower gpus, or set model.placement: size"
        )
    return placed


def _exchanged(job: Job, tables: Sequence[int]) -> int:
    """Bytes of the pooled vectors of `tables` for a mini-batch, as they cross links."""
    elements = job.model.batch_size * sum(job.model.dim[table] for table in tables)
    return elements * job.software.gpu.exchange_bytes


def side_by_side(programs: Iterable[Sequence[Stage]]) -> tuple[Stage, ...]:
    """The programs of several GPUs, which have the same stages, as one: lanes of all in each."""
    return tuple(
        Stage(stages[0].name, tuple(lane for stage in stages for lane in stage.lanes))
        for stages in zip(*programs, strict=True)
    )
