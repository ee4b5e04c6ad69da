"""What containers of a deployment take for a query on a node, and what they hold.

A container has some cores of its node, works on one query at a time, and uses what it needs of the
memory's bandwidth and of the network; a node has no more containers than it has of both when all
are busy. Approximated: it has its share of the last cache by cores, and the lookups in a sparse
shard are spread evenly over its rows; a call takes each end the same time of a core, beside its
bytes; while a dense shard waits for others it goes on with the next query.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from simulator.config.machine import MachineConfig
from simulator.config.model import ModelConfig
from simulator.config.point import PointConfig
from simulator.engine.first_fit import Room
from simulator.errors import ConfigError
from simulator.hardware.demand import Demand
from simulator.hardware.program import Operation
from simulator.hardware.topology import Topology, build_topology
from simulator.systems.elastic import DenseShard, sparse_shard
from simulator.systems.mlp import mlp_weight_bytes
from simulator.systems.operators import pooled_bytes
from simulator.units import PS_PER_S

__all__ = ["Container", "Containers", "Setting", "model_bytes"]


_ALL = 1_000_000
"""The whole of a memory's bandwidth."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What containers are given."""

    shard_cores: int
    dense_cores: int
    overhead: int
    """Bytes of a container beside its rows and weights."""
    call_ps: int
    """Of a core, at each end of a remote call."""
    network: int
    """Bytes a second of a node, each way."""
    shard_platform: MachineConfig | None = None
    """Nodes of sparse shards; None: the same as those of the dense part."""


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of container: what a query takes it, what it needs."""

    service_ps: float
    needs: Room
    """When it is busy all the time."""

    @property
    def bytes(self) -> int:
        return self.needs.bytes


def model_bytes(model: ModelConfig) -> int:
    """Tables without optimizer state, and MLPs."""
    rows = zip(model.rows_per_table, model.dim, strict=True)
    width = model.of_tables((0,)).row_bytes // model.dim[0]
    return sum(count * dim * width for count, dim in rows) + mlp_weight_bytes(model)


class Containers:
    """Containers of the model of a point: dense shards on nodes of its platform, sparse ones on
    those of `Setting.shard_platform`, where that is given. `lookups`: of a query in each table.

    Raises `ConfigError` where a container would have more cores than the node.
    """

    def __init__(self, point: PointConfig, setting: Setting, lookups: Sequence[float]) -> None:
        self._point, self._setting = point, setting
        self._lookups = tuple(lookups)
        self._tables = [point.stored.of_tables((table,)) for table in range(point.stored.tables)]
        shards = setting.shard_platform or point.platform
        self._sparse = self._machine(shards, "shard", setting.shard_cores)
        self._rest = self._machine(point.platform, "dense", setting.dense_cores)

    def _machine(self, platform: MachineConfig, option: str, cores: int) -> Topology:
        size = self._point.model.common_row_bytes
        machine = build_topology(platform, size, cpu_threads=cores)
        there = _cores(machine)
        if cores > there:
            raise ConfigError(
                f"--{option}-cores {cores}: a node of {platform.name} has {there}: give fewer, or "
                "another platform"
            )
        return machine

    @cached_property
    def _dense(self) -> DenseShard:
        machine = self._rest
        gpus = machine.all("gpu")
        return DenseShard(self._point.model, machine, _cpu(machine), gpus[0] if gpus else None)

    @property
    def node(self) -> Room:
        """What a node of the dense part has."""
        return self._room(self._rest)

    @property
    def shard_node(self) -> Room:
        """What a node of sparse shards has."""
        return self._room(self._sparse)

    def _room(self, machine: Topology) -> Room:
        gpus, memory = len(machine.all("gpu")), machine.memory(_cpu(machine)).capacity
        return Room(gpus, _cores(machine), memory, _ALL, self._setting.network)

    def sparse(self, table: int, rows: int, share: float) -> Container:
        """Of `rows` rows of a table that take a share of its lookups."""
        model, setting, machine = self._tables[table], self._setting, self._sparse
        cores, cpu = setting.shard_cores, _cpu(machine)
        lookups = round(self._lookups[table] * share)
        cached = machine.processor(cpu).cached_rows(model.row_bytes) * cores / _cores(machine)
        word = sparse_shard(model, machine, cpu, rows, lookups, min(1.0, cached / rows))
        moved = max(lookups * self._point.operators.id_bytes, pooled_bytes(model))
        size = rows * model.row_bytes + setting.overhead
        return self._container(machine, (word,), 1, (0, cores, size, moved))

    def dense(self, shards: Sequence[int]) -> Container:
        """The dense shard over as many sparse ones of each table."""
        setting, own = self._setting, self._dense
        ids = sum(self._lookups)
        moved = max(round(ids) * self._point.operators.id_bytes, own.partial_bytes(tuple(shards)))
        words = (own.sorted_ids(round(ids)), *own.answered(tuple(shards)))
        size = mlp_weight_bytes(self._point.model) + setting.overhead
        needs = (0 if own.gpu is None else 1, setting.dense_cores, size, moved)
        return self._container(own.machine, words, sum(shards), needs)

    def _container(
        self,
        machine: Topology,
        words: Sequence[Operation],
        calls: int,
        needs: tuple[int, int, int, int],
    ) -> Container:
        """One that does `words` for a query, with so many calls; `needs`: GPUs, cores, bytes of
        memory, bytes over the network for a query."""
        gpus, cores, size, moved = needs
        priced = [machine.price(word, self._point.operators) for word in words]
        place = machine.memory(_cpu(machine)).place
        dram_ps = sum(demand.services[place].ps for demand in priced if place in demand.services)
        service_ps = (
            calls * self._setting.call_ps / cores
            + sum(_alone_ps(demand, machine) for demand in priced)
            + moved * PS_PER_S / self._setting.network
        )
        bandwidth = min(_ALL, math.ceil(_ALL * dram_ps / service_ps))
        network = math.ceil(moved * PS_PER_S / service_ps)
        return Container(service_ps, Room(gpus, cores, size, bandwidth, network))


def _cpu(machine: Topology) -> str:
    return machine.only("cpu", "serve-plan")


def _cores(machine: Topology) -> int:
    cores: int = machine.devices[_cpu(machine)].part.cores  # type: ignore[attr-defined]
    return cores


def _alone_ps(demand: Demand, machine: Topology) -> float:
    """An operation on an idle node, what the host submits included."""
    submitted = demand.submit_ps + demand.submit_more_ps
    longest = max(submitted, demand.alone_ps(machine.resources))
    return demand.latency_ps + longest + demand.host_ps
