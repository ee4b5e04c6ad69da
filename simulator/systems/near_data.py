"""Tables in a memory or a drive with logic beside it: the operations that systems upon one share.

Ids of a mini-batch go there, rows are gathered and added up beside where they lie, pooled vectors
go to the GPU and their gradients come back: nothing else of embeddings crosses the link. What order
that happens in is each system's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.errors import ConfigError
from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Buffer,
    Move,
    Operation,
    Pool,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, move, require_tables, synchronize, tables_in
from simulator.systems.groups import Group, groups_of
from simulator.systems.mlp import dense_bytes, mlp_step
from simulator.systems.operators import pooled_bytes

__all__ = ["NearData", "NearTables", "device_of"]


@dataclass(frozen=True)
class NearTables:
    """Tables of one dim beside the logic."""

    group: Group
    store: Store

    @property
    def width(self) -> int:
        """Bytes of a vector, or of its gradient."""
        return self.group.job.model.width * GRADIENT_BYTES


class NearData:
    """The tables of a job in `memory` of the device `at`, and operations on them there.

    `buffers`: the memory that ids, pooled vectors and gradients wait in.
    """

    def __init__(
        self, job: Job, machine: Topology, system: str, at: str, *, memory: str, buffers: str
    ) -> None:
        self.job, self.at, self.buffers = job, at, f"{at}.{buffers}"
        self.gpu = machine.first("gpu", system)
        self.cpu = machine.only("cpu", system, near=self.gpu)
        self.dram, self.hbm = (machine.memory(place).place for place in (self.cpu, self.gpu))
        place = f"{at}.{memory}"
        require_tables(job.model, machine, place)
        self.tables = tuple(
            NearTables(g, tables_in(g.job, machine, place, name=g.named("tables")))
            for g in groups_of(job)
        )

    # forward

    def ids(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Ids to the device, dense features to the GPU."""
        size = facts[LOOKUP].lookups * self.job.software.id_bytes
        return (
            move("ids_to_device", self.dram, self.buffers, size),
            move("dense_to_gpu", self.dram, self.hbm, dense_bytes(self.job.model)),
        )

    def pooled(
        self, facts: BatchFacts, stores: Iterable[Store] = (), *, early: bool = False
    ) -> tuple[Pool, ...]:
        """Sums of all lookups, an operation for tables of each dim; `stores`: where their rows lie
        if not in the tables; `early`: see `EarlyPool`."""
        kind = EarlyPool if early else Pool
        read = tuple(stores) or tuple(own.store for own in self.tables)
        return tuple(
            kind(
                own.group.named("gather_reduce"),
                self.at,
                store,
                own.group.of(facts)[LOOKUP],
                self.sums(own),
                max(map(max, own.group.job.model.lookups_per_table)),
                features=own.group.job.model.features,
            )
            for own, store in zip(self.tables, read, strict=True)
        )

    def amended(
        self, facts: BatchFacts, flow: str, copies: Iterable[tuple[Store, Flow]] = ()
    ) -> Iterator[Amend]:
        """What the mini-batch before changed, added to the sums of the lookups of `flow`; and to
        `copies` of rows, a store and rows for tables of each dim."""
        nowhere: tuple[Store | None, Flow | None] = (None, None)
        given: tuple[tuple[Store | None, Flow | None], ...]
        given = tuple(copies) or (nowhere,) * len(self.tables)
        for own, (store, rows) in zip(self.tables, given, strict=True):
            name = own.group.named("amend")
            lookups = own.group.of(facts)[flow]
            yield Amend(name, self.at, lookups, self.sums(own), own.width, store, rows)

    def sums(self, own: NearTables) -> Buffer:
        """Pooled vectors of some tables."""
        return Buffer(own.group.named("sums"), self.buffers, pooled_bytes(own.group.job.model))

    def sent(self) -> Move:
        """Pooled vectors on their way to the GPU."""
        return move("pooled_to_gpu", self.buffers, self.hbm, pooled_bytes(self.job.model))

    # the GPU, and backward

    def mlp(self) -> Stage:
        """The MLPs of one mini-batch."""
        return Stage("mlp", ((mlp_step(self.job.model, self.gpu),),))

    def gradients(self) -> tuple[Operation, ...]:
        """Gradients of pooled vectors on their way back."""
        size = pooled_bytes(self.job.model)
        sent = move("gradients_to_device", self.hbm, self.buffers, size)
        return (sent, synchronize(self.gpu))

    def updated(
        self, facts: BatchFacts, flow: str, stores: Iterable[Store] = ()
    ) -> tuple[Update, ...]:
        """The rows of `flow`, trained where they lie; `stores`: if not in the tables."""
        written = tuple(stores) or tuple(own.store for own in self.tables)
        return tuple(
            Update(
                own.group.named("update"),
                self.at,
                store,
                own.group.of(facts)[flow],
                Buffer("gradients", self.buffers, pooled_bytes(own.group.job.model)),
                own.width,
                coalesce=True,
                expanded=False,
                optimizer=own.group.job.model.optimizer,
            )
            for own, store in zip(self.tables, written, strict=True)
        )


def device_of(machine: Topology, kind: str, system: str, remedy: str) -> str:
    """The one device of a kind on `machine`.

    Raises `ConfigError` with the `remedy` where there is none, and where there are several.
    """
    names = machine.all(kind)
    if not names:
        raise ConfigError(f"{system} needs {remedy.format(machine=machine.name)}")
    if len(names) > 1:
        raise ConfigError(
            f"{system} keeps its tables on one device, but {machine.name} has {len(names)} "
            f"({', '.join(names)}): name a platform with one"
        )
    return names[0]
