"""Where embedding tables go: planners that spread tables, or parts of them, over GPUs.

Pure functions from a `Task` (tables, mini-batch, GPUs, sharding) to a `Plan`; no machine, no clock.
Estimates are the planner's own: what a plan really takes is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.topology import Topology
from simulator.systems.placement.base import Cut, Gpus, Part, Plan, Sharding, Table, Task
from simulator.systems.placement.greedy import by_lookups, by_size
from simulator.systems.placement.hugectr import hugectr
from simulator.systems.placement.torchrec import torchrec

__all__ = ["PLANNERS", "Cut", "Gpus", "Part", "Plan", "Sharding", "Table", "Task"]
__all__ += ["gpus_of", "place", "tables_of"]

PLANNERS: Mapping[str, Callable[[Task], Plan]] = {
    "size": by_size,
    "lookups": by_lookups,
    "hugectr": hugectr,
    "torchrec": torchrec,
}
"""Planner by the name that `model.placement` takes."""


def place(model: ModelConfig, gpus: Gpus) -> Plan:
    """The plan of `model.placement` for the tables of `model`, with conservation checked.

    Raises `CapacityError` where the planner finds none that fits, `ConfigError` for a sharding that
    it does not know.
    """
    plan = PLANNERS[model.placement](Task(tables_of(model), model.batch_size, gpus, model.sharding))
    plan.check()
    return plan


def tables_of(model: ModelConfig) -> tuple[Table, ...]:
    """The tables of `model` as planners see them."""
    each = zip(
        model.rows_per_table, model.dim, model.lookups_per_table, model.entry_bytes, strict=True
    )
    return tuple(Table(*numbers) for numbers in each)


def gpus_of(machine: Topology, ranks: Sequence[str]) -> Gpus:
    """The GPUs called `ranks`, with the rates of the ways from the first to others."""
    memory = machine.memory(ranks[0])
    host_of = [rank.rpartition(".")[0] for rank in ranks]
    near = [rank for rank, host in zip(ranks[1:], host_of[1:], strict=True) if host == host_of[0]]
    far = [rank for rank, host in zip(ranks, host_of, strict=True) if host != host_of[0]]
    return Gpus(
        count=len(ranks),
        memory=memory.capacity,
        hosts=len(set(host_of)),
        memory_rate=memory.timing.peak_bandwidth,
        link_rate=_rate(machine, ranks[0], near),
        network_rate=_rate(machine, ranks[0], far),
    )


def _rate(machine: Topology, source: str, targets: Sequence[str]) -> float:
    """Bytes per second of the slowest link on the way to the first of `targets`; 0 where none
    leads there."""
    if not targets:
        return 0.0
    try:
        route = machine.route(source, targets[0])
    except ConfigError:
        return 0.0
    return float(min(getattr(hop.link.part, "bandwidth", 0) for hop in route))
