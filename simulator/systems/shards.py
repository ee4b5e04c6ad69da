"""Tables and samples over the GPUs of one host: what each has, and what they exchange.

Whole tables go to GPUs (model-parallel); the MLPs run on each GPU on its share of the samples
(data-parallel; where the GPUs do not divide a mini-batch, the first ones have a sample more). An
all-to-all turns pooled vectors by table into pooled vectors by sample, another one their gradients
back, and the MLPs' gradients are all-reduced. Each GPU has its own work: in a stage their lanes run
side by side, and it ends with the last.

Approximated: an all-to-all divides what a GPU holds evenly among all; gradients go back as the
vectors came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.caches.facts import BatchFacts
from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.program import GRADIENT_BYTES, Exchange, Pattern, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Job
from simulator.systems.mlp import dense_bytes, mlp_weight_bytes
from simulator.systems.operators import pooled_bytes
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
    placed: tuple[tuple[int, ...], ...]
    """The tables of each of them."""
    whole: Job
    """The job of all GPUs together."""

    @property
    def job(self) -> Job:
        """The job with its tables alone."""
        if self.alone:
            return self.whole
        return replace(self.whole, model=self.model.of_tables(self.tables))

    @property
    def model(self) -> ModelConfig:
        """All tables, and the MLPs."""
        return self.whole.model

    @property
    def counted(self) -> int | None:
        """Its tables, for messages; None where it has all."""
        return None if self.alone else len(self.tables)

    @property
    def alone(self) -> bool:
        """Whether it is the only GPU."""
        return len(self.group) == 1

    @property
    def dense_bytes(self) -> int:
        """Dense features and labels of its samples."""
        return dense_bytes(self.model) * self.samples // self.model.batch_size

    def own(self, buffer: str) -> str:
        """The name of a buffer of this GPU in a memory that all of them use."""
        return buffer if self.alone else f"{buffer}.{self.gpu}"

    def facts(self, facts: BatchFacts) -> BatchFacts:
        """What happens to its tables."""
        return facts if self.alone else facts.of_tables(self.tables)

    def all_to_all(self, name: str) -> tuple[Exchange, ...]:
        """Pooled vectors of its tables for those of its samples, or gradients back; nothing for a
        GPU alone."""
        width = self.whole.software.gpu.exchange_bytes
        held = tuple(
            pooled_bytes(self.model.of_tables(tables)) // GRADIENT_BYTES * width
            for tables in self.placed
        )
        own = held[self.group.index(self.gpu)]
        uneven = held if len(set(held)) > 1 else ()
        return () if self.alone else (self._exchange(name, "all_to_all", own, held=uneven),)

    def exchange(self, name: str) -> tuple[Stage, ...]:
        """`all_to_all` as a stage of its own; none for a GPU alone."""
        return () if self.alone else (Stage(name, (self.all_to_all(name),)),)

    def reducing(self, after: str = "") -> tuple[tuple[Exchange, ...], ...]:
        """A lane in which the gradients of the MLPs are all-reduced, once the operation called
        `after` in another lane is done; none for a GPU alone."""
        size = mlp_weight_bytes(self.model)
        exchange = self._exchange("all_reduce", "all_reduce", size, after=after)
        return () if self.alone else ((exchange,),)

    def _exchange(self, name: str, pattern: Pattern, size: int, **keys: Any) -> Exchange:
        return Exchange(name, self.gpu, self.group, pattern, size, **keys)


@dataclass(frozen=True)
class Shards:
    """The GPUs of a job, the first ones of the machine."""

    each: tuple[Shard, ...]

    @classmethod
    def of(cls, job: Job, machine: Topology, system: str, *, tables: bool = True) -> Shards:
        """As many GPUs as the job asks for, one by default; `tables`: spread over them.

        Raises `ConfigError` where the machine has fewer, or no link among them, and where some
        would have no table or no sample.
        """
        machine.first("gpu", system)
        count, there = job.gpus or 1, machine.all("gpu")
        model = job.model
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
        group = there[:count]
        if count > 1:
            machine.groups.of(group, group[0])
        placed = _placed(job, machine, system, group) if tables else ((),) * count
        samples, more = divmod(model.batch_size, count)
        return cls(
            tuple(
                Shard(gpu, tuple(sorted(own)), samples + (number < more), group, placed, job)
                for number, (gpu, own) in enumerate(zip(group, placed, strict=True))
            )
        )

    def __len__(self) -> int:
        return len(self.each)

    def __iter__(self) -> Iterator[Shard]:
        return iter(self.each)


def _placed(
    job: Job, machine: Topology, system: str, group: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """The tables of each GPU, as `model.placement` says; all on one alone."""
    if len(group) == 1:
        return (tuple(range(job.model.tables)),)
    return place_on(job.model, machine, group).whole_tables(system)


def side_by_side(programs: Iterable[Sequence[Stage]]) -> tuple[Stage, ...]:
    """The programs of several GPUs, which have the same stages, as one: lanes of all in each."""
    return tuple(
        Stage(stages[0].name, tuple(lane for stage in stages for lane in stage.lanes))
        for stages in zip(*programs, strict=True)
    )
