"""Workers with caches of rows in their hosts' memory, and servers that hold the tables: what HET
and Herald do with a mini-batch (HKUST-SING/herald at a91b65d, built on Hetu: cache.cc,
hetu_client.cc, ParameterServerCommunicate.py, bulk-synchronous mode).

A worker makes its ids unique and probes its cache; ids and versions of all its rows go to the
servers, rows that it lacks or that are outdated come back; a row goes to the GPU for each lookup,
and a gradient of each comes back and is added to the cached row; changes are pushed, and the server
adds them to its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts, Flow
from simulator.caches.replays.samples import of_trainer
from simulator.caches.replays.workers import LEFT, NEW, OLD, PUSHED, WorkerReplay
from simulator.config.sections import SIZE_KEYS
from simulator.errors import ConfigError
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Add,
    Buffer,
    Exchange,
    Expand,
    Gather,
    Move,
    Operation,
    Pool,
    Probe,
    Scatter,
    Sort,
    Stage,
    Store,
    Update,
)
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, cache_in, require_slots, synchronize
from simulator.systems.mlp import dense_bytes, mlp_step, mlp_weight_bytes
from simulator.systems.operators import pooled_bytes
from simulator.systems.remote import Cluster, Server, Trainer

__all__ = ["WORKER_KEYS", "WORKER_KINDS", "WorkerTables", "worker_replay"]

WORKER_KEYS = frozenset({"gpus", *(f"cache.{key}" for key in SIZE_KEYS), "cache.prefill"})
"""Keys of an entry that a system with such workers uses."""
WORKER_KINDS = ((of_trainer(0, PUSHED),),)
"""A mini-batch after which a worker pushes."""
VERSION_BYTES = 8
ID_BYTES = 8
"""Ids and versions are 64 bit there, whatever the operators' software has."""

Lane = tuple[Operation, ...]


def worker_replay(job: Job, system: str, cluster: Cluster) -> WorkerReplay:
    """The caches of the workers of `cluster`, each as large as `cache` asks for: LRU, exact, each
    worker with its samples in order.

    Raises `ConfigError` where they are to start with the hottest rows, or the optimizer is not SGD.
    """
    if job.cache.prefill == "hot":
        raise ConfigError(
            f"{system}'s caches hold what each worker has looked up: cache.prefill hot would do "
            "nothing; set cache.prefill: steady, or empty"
        )
    if job.model.optimizer != "sgd":
        raise ConfigError(
            f"{system} adds changes of rows up, which {job.model.optimizer} does not allow: set "
            "model.optimizer: sgd"
        )
    (slots,) = job.cache_size.slots([job.model.rows])
    samples = tuple(trainer.samples for trainer in cluster.trainers)
    return WorkerReplay(slots, samples, prefill=job.cache.prefill, keep=job.keep)


@dataclass(frozen=True)
class WorkerTables:
    """The workers of a job, and the stages of their mini-batches."""

    cluster: Cluster
    workers: tuple[_Worker, ...]

    @classmethod
    def of(cls, job: Job, machine: Topology, cluster: Cluster, slots: int) -> WorkerTables:
        """Each with a cache of `slots` rows and their changes in its host's memory.

        Raises `CapacityError` where those do not fit.
        """
        row, trainers = job.model.row_bytes, cluster.trainers
        for cpu in dict.fromkeys(trainer.cpu for trainer in trainers):
            caches = [slots for trainer in trainers if trainer.cpu == cpu]
            sizes = [2 * row] * len(caches)
            require_slots(caches, sizes, machine, cpu, job.cache_size.key, " and their changes")
        return cls(
            cluster, tuple(_Worker.of(job, machine, cluster, each, slots) for each in trainers)
        )

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        """From looking rows up to pushing their changes."""
        each = self.workers
        return (
            Stage("find", tuple(worker.found(facts) for worker in each)),
            Stage("pull", tuple(lane for worker in each for lane in worker.pulled(facts))),
            Stage("lookup", tuple(worker.looked_up(facts) for worker in each)),
            Stage("train", tuple(worker.trained(facts) for worker in each)),
            Stage("gradients", tuple(lane for w in each for lane in w.updated(facts))),
            Stage("push", tuple(lane for worker in each for lane in worker.pushed(facts))),
        )


@dataclass(frozen=True)
class _Worker:
    """What one worker does with its samples of a mini-batch."""

    job: Job
    """With its samples alone."""
    cluster: Cluster
    place: Trainer
    cache: Store

    @classmethod
    def of(
        cls, job: Job, machine: Topology, cluster: Cluster, place: Trainer, slots: int
    ) -> _Worker:
        cache = cache_in(job, machine, place.cpu, slots, place.named("cache"))
        own = replace(job, model=job.model.changed(batch_size=place.samples))
        return cls(own, cluster, place, cache)

    def _own(self, facts: BatchFacts, name: str) -> Flow:
        return facts[of_trainer(self.place.number, name)]

    def _at(self, server: Server, facts: BatchFacts, name: str) -> Flow:
        return server.of(facts, of_trainer(self.place.number, name))

    def told(self, facts: BatchFacts) -> int:
        """Numbers in its part of a plan: of its samples, and of rows that it pushes."""
        return self.place.samples + self._own(facts, PUSHED).rows

    def found(self, facts: BatchFacts) -> Lane:
        """Changes of rows that leave, unique ids, the cache probed."""
        place, model = self.place, self.job.model
        unique, largest = self._own(facts, UNIQUE), max(model.rows_per_table)
        missed = self._own(facts, NEW).rows
        return (
            *(self._taken(server, facts, LEFT) for server in self.cluster.servers),
            Sort("unique", place.cpu, self._own(facts, LOOKUP), model.tables, largest, largest),
            Probe("probe", place.cpu, unique.rows, missed, 1),
        )

    def _taken(self, server: Server, facts: BatchFacts, name: str) -> Gather:
        """The changes of some rows of a server's tables, out of the cache."""
        rows = self._at(server, facts, name)
        into = self._buffer(server, name, self.place.dram, rows)
        return Gather(f"gather_{name}", self.place.cpu, self.cache, rows, into, changes=True)

    def _buffer(self, server: Server, name: str, memory: str, rows: Flow) -> Buffer:
        """Rows between a server and the worker, each with its id and version."""
        size = self.cache.row_bytes + ID_BYTES + VERSION_BYTES
        return Buffer(f"{self.place.named(name)}.{server.cpu}", memory, rows.rows * size)

    def pulled(self, facts: BatchFacts) -> Iterator[Lane]:
        """A call to each server."""
        place = self.place
        for server in self.cluster.servers:
            unique = self._at(server, facts, UNIQUE).rows
            ids = Buffer("versions", place.dram, unique * (ID_BYTES + VERSION_BYTES))
            memory, call = server.store.memory, self.cluster.call
            words: list[Operation] = [Move("versions", place.dram, ids, memory)]
            kinds = [(name, self._at(server, facts, name)) for name in (NEW, OLD)]
            buffers = [self._buffer(server, name, memory, rows) for name, rows in kinds]
            for (name, rows), out in zip(kinds, buffers, strict=True):
                words.append(Gather(f"gather_{name}", server.cpu, server.store, rows, out))
            for (name, _), out in zip(kinds, buffers, strict=True):
                words.append(Move(f"{name}_rows", memory, out, place.dram, call))
                call = 0  # one answer
            for (name, rows), out in zip(kinds, buffers, strict=True):
                here = replace(out, memory=place.dram)
                how = "replace" if name == NEW else "renew"
                words.append(Scatter(f"put_{name}", place.cpu, here, self.cache, rows, how))  # type: ignore[arg-type]
            yield tuple(words)

    def looked_up(self, facts: BatchFacts) -> Lane:
        """A copy of a row for each lookup, to the GPU with the dense features."""
        place, model, rows = self.place, self.job.model, self._own(facts, LOOKUP)
        copies = Buffer(place.named("copies"), place.dram, rows.lookups * self._vector)
        dense = Buffer("dense", place.dram, dense_bytes(model))
        return (
            Pool("copy_rows", place.cpu, self.cache, rows, copies, 1, features=model.features),
            Move("copies", place.dram, copies, place.hbm),
            Move("dense", place.dram, dense, place.hbm),
        )

    @property
    def _vector(self) -> int:
        return self.job.model.width * GRADIENT_BYTES

    @property
    def _sums(self) -> bool:
        """Whether the GPU sums several rows of a sample and spreads their gradient."""
        return max(map(max, self.job.model.lookups_per_table)) > 1

    def trained(self, facts: BatchFacts) -> Lane:
        """The MLPs; the GPU sums the rows of a sample and copies their gradient for each lookup."""
        place, model, rows = self.place, self.job.model, self._own(facts, LOOKUP)
        step = mlp_step(model, place.gpu)
        if not self._sums:
            return (step, synchronize(place.gpu))
        copies = Buffer("copies", place.hbm, rows.lookups * self._vector)
        pooled = Buffer("pooled", place.hbm, pooled_bytes(model))
        return (
            Add("pool", place.gpu, (copies,), pooled),
            step,
            Expand("expand", place.gpu, pooled, rows, self._vector, model.features),
            synchronize(place.gpu),
        )

    def updated(self, facts: BatchFacts) -> Iterator[Lane]:
        """A gradient of each lookup comes back and is added to the row in the cache; beside it the
        gradients of the MLPs are summed."""
        place, unique = self.place, self._own(facts, UNIQUE)
        size = unique.lookups * self._vector
        back = Buffer(place.named("gradients"), place.hbm, size)
        here = replace(back, memory=place.dram)
        yield (
            Move("gradients", place.hbm, back, place.dram),
            synchronize(place.gpu),
            Update(
                "add_up", place.cpu, self.cache, unique, here, self._vector, True, True, part=True
            ),
        )
        if len(place.group) > 1:
            weights = mlp_weight_bytes(self.job.model)
            yield (Exchange("all_reduce", place.gpu, place.group, "all_reduce", weights),)

    def pushed(self, facts: BatchFacts) -> Iterator[Lane]:
        """Changes to each server: of rows that left, and of those that are to be pushed."""
        place = self.place
        for server in self.cluster.servers:
            words: list[Operation] = [self._taken(server, facts, PUSHED)]
            call, memory = self.cluster.call, server.store.memory
            kinds = [(name, self._at(server, facts, name)) for name in (LEFT, PUSHED)]
            for name, rows in kinds:
                out = self._buffer(server, name, place.dram, rows)
                words.append(Move(f"{name}_changes", place.dram, out, memory, call))
                call = 0  # one request
            for name, rows in kinds:
                there = self._buffer(server, name, memory, rows)
                words.append(Scatter(f"add_{name}", server.cpu, there, server.store, rows, "add"))
            if any(rows.rows for _, rows in kinds):
                yield tuple(words)
