"""Tables on hosts of their own behind a network: who trains, who serves, and how rows go between.

A *trainer* is a GPU of any host that has one, with the CPU of its host; a *server* is a host
without a GPU, whose DRAM holds whole tables, dealt out in turn, and whose cores gather and scatter
their rows. A host called `oracle` serves nothing: it is there for whoever plans ahead. Rows pass
the DRAM of the trainer's host on their way. A request and its answer are one remote call.

Approximated: a server works on the requests of all trainers at once, with all of its threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from simulator.caches.facts import BatchFacts, Flow
from simulator.errors import ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.program import Buffer, Gather, Move, Operation, Scatter, Store
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, entry_sizes, tables_in

__all__ = ["Cluster", "Server", "Trainer"]

ORACLE = "oracle"


@dataclass(frozen=True)
class Trainer:
    """One GPU with the CPU of its host, and the samples of a mini-batch that it trains."""

    number: int
    gpu: str
    cpu: str
    dram: str
    hbm: str
    samples: int
    group: tuple[str, ...]
    """GPUs of all trainers."""

    def named(self, buffer: str) -> str:
        """The name of a buffer of its own."""
        return f"{buffer}.{self.gpu}"


@dataclass(frozen=True)
class Server:
    """A host that serves some tables."""

    cpu: str
    store: Store
    tables: tuple[int, ...]
    whole: bool
    """Whether it serves all tables."""

    def of(self, facts: BatchFacts, name: str) -> Flow:
        """The flow called `name` of its tables."""
        return (facts if self.whole else facts.of_tables(self.tables))[name]


@dataclass(frozen=True)
class Cluster:
    """The trainers of a job, the servers of its tables, and where plans are made."""

    trainers: tuple[Trainer, ...]
    servers: tuple[Server, ...]
    planner: str
    """The CPU of the oracle's host, or of the first server."""
    id_bytes: int
    call: int
    """Picoseconds of a remote procedure call beside its bytes."""

    @classmethod
    def of(cls, job: Job, machine: Topology, system: str, call: int, *, shown_on: str) -> Cluster:
        """The hosts of `machine`; as many GPUs train as the job asks for, by default all that have
        a sample. `shown_on`: a platform of the catalogue that `system` runs on.

        Raises `ConfigError` where no host is there to serve, fewer GPUs than asked for, or more
        than samples; tables of unlike dim or cut ones; `CapacityError` where tables do not fit.
        """
        _require_whole_tables(job, system)
        gpus = _gpus(job, machine, system)
        planner, serving = _serving(machine, system, shown_on)
        samples, more = divmod(job.model.batch_size, len(gpus))
        trainers = []
        for number, gpu in enumerate(gpus):
            cpu = machine.only("cpu", system, near=gpu)
            dram, hbm = (machine.memory(place).place for place in (cpu, gpu))
            trainers.append(Trainer(number, gpu, cpu, dram, hbm, samples + (number < more), gpus))
        if len(gpus) > 1:
            machine.groups.of(gpus, gpus[0])
        servers = tuple(_servers(job, machine, system, serving))
        for end in (planner, *serving, *(trainer.cpu for trainer in trainers)):
            machine.groups.interface(end)
        return cls(tuple(trainers), servers, planner, job.software.id_bytes, call)

    def fetched(
        self, facts: BatchFacts, trainer: Trainer, name: str, buffer: str, entry: int
    ) -> Iterator[tuple[Server, Buffer, tuple[Operation, ...]]]:
        """For each server the call by which a trainer gets the rows of a flow (`entry` bytes each)
        into the DRAM of its host, where they lie in the buffer that is given."""
        for server in self.servers:
            rows = server.of(facts, name)
            below = self._buffer(server, trainer, buffer, server.store.memory, rows, entry)
            words = (
                self._ids(trainer, server, rows),
                Gather(f"gather_{buffer}", server.cpu, server.store, rows, below),
                Move(buffer, server.store.memory, below, trainer.dram, self.call),
            )
            yield server, replace(below, memory=trainer.dram), words

    def sent(
        self, facts: BatchFacts, trainer: Trainer, name: str, buffer: str, entry: int
    ) -> Iterator[tuple[Server, Buffer, tuple[Operation, ...]]]:
        """For each server the call by which a trainer sends the rows of a flow, which lie in the
        buffer that is given."""
        for server in self.servers:
            rows = server.of(facts, name)
            at = self._buffer(server, trainer, buffer, trainer.dram, rows, entry)
            move = Move(buffer, trainer.dram, at, server.store.memory, self.call)
            yield server, at, (self._ids(trainer, server, rows), move)

    def written(
        self, facts: BatchFacts, trainer: Trainer, name: str, buffer: str, entry: int
    ) -> Iterator[tuple[Operation, ...]]:
        """Each server writes the rows that a trainer has sent into its tables."""
        for server in self.servers:
            rows = server.of(facts, name)
            at = self._buffer(server, trainer, buffer, server.store.memory, rows, entry)
            yield (Scatter(f"write_{buffer}", server.cpu, at, server.store, rows),)

    def _buffer(
        self, server: Server, trainer: Trainer, name: str, memory: str, rows: Flow, entry: int
    ) -> Buffer:
        name = trainer.named(name)
        name = name if server.whole else f"{name}.{server.cpu}"
        return Buffer(name, memory, rows.rows * entry)

    def _ids(self, trainer: Trainer, server: Server, rows: Flow) -> Move:
        """The ids of `rows` to a server."""
        what = Buffer("row_ids", trainer.dram, rows.rows * self.id_bytes)
        return Move("row_ids", trainer.dram, what, server.store.memory)


def _require_whole_tables(job: Job, system: str) -> None:
    model = job.model
    if model.sharding != "table":
        raise ConfigError(
            f"{system} keeps whole tables on its servers: model.sharding {model.sharding} would do "
            "nothing; set model.sharding: table"
        )
    if len(model.tables_by_dim) > 1:
        raise ConfigError(
            f"{system} caches rows of one size, but rows have {entry_sizes(model)}: use a model "
            "whose tables have one dim, as with model.dim=64"
        )


def _gpus(job: Job, machine: Topology, system: str) -> tuple[str, ...]:
    """The GPUs that train."""
    machine.first("gpu", system)
    there, samples = machine.all("gpu"), job.model.batch_size
    count = min(len(there), samples) if job.gpus is None else job.gpus
    if count > len(there):
        raise ConfigError(
            f"{system} asks for {count} GPUs but {machine.name} has {len(there)}: lower gpus"
        )
    if count > samples:
        raise ConfigError(
            f"{system} spreads {samples} samples a mini-batch over {count} GPUs, so that "
            f"{count - samples} have none: gpus {samples} at most, or a larger model.batch_size"
        )
    return there[:count]


def _serving(machine: Topology, system: str, shown_on: str) -> tuple[str, list[str]]:
    """The CPU where plans are made, and those of the hosts that serve tables."""
    train = {host_of(gpu) for gpu in machine.all("gpu")}
    hosts = {host_of(cpu): cpu for cpu in machine.all("cpu") if host_of(cpu) not in train}
    serving = [cpu for host, cpu in hosts.items() if host != ORACLE]
    if not serving:
        count = len({host_of(device) for device in machine.devices} - {""})
        there = f"none of the {count} hosts of {machine.name}" if count > 1 else machine.name
        raise ConfigError(
            f"{system} keeps its tables on hosts without a GPU behind a network, and {there} "
            f"is {'one' if count > 1 else 'a single host'}: name a platform that has one, as in "
            f"{{name: {system}, platform: {shown_on}}}, or give yours under hosts: one with a cpu "
            f"and a nic alone (`scratchpipe machine show {shown_on}`)"
        )
    return hosts.get(ORACLE, serving[0]), serving


def _servers(job: Job, machine: Topology, system: str, serving: Sequence[str]) -> Iterator[Server]:
    tables, count = job.model.tables, len(serving)
    if count > tables:
        raise ConfigError(
            f"{system} spreads {tables} tables over {count} servers, so that {count - tables} have "
            f"none: a platform with {tables} at most, or a larger model.tables"
        )
    for number, cpu in enumerate(serving):
        own = tuple(range(number, tables, count))
        name = "tables" if count == 1 else f"tables.{cpu}"
        store = tables_in(job, machine, cpu, own, name)
        yield Server(cpu, store, own, count == 1)
