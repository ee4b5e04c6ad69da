"""Where embedding tables go: planners that spread tables, or parts of them, over GPUs.

Pure functions from a `Task` (tables, mini-batch, GPUs, sharding) to a `Plan`; no machine, no clock.
Estimates are the planner's own: what a plan really takes is simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.devices.mesh import MeshDevice
from simulator.hardware.topology import Topology
from simulator.systems.placement.base import Cut, Gpus, Part, Plan, Sharding, Table, Task
from simulator.systems.placement.greedy import by_lookups, by_size
from simulator.systems.placement.hugectr import hugectr
from simulator.systems.placement.torchrec import part_time, torchrec

__all__ = ["PLANNERS", "Cut", "Gpus", "Part", "Plan", "Sharding", "Table", "Task"]
__all__ += ["expected", "gpus_of", "link_rate", "place", "place_on", "tables_of"]

PLANNERS: Mapping[str, Callable[[Task], Plan]] = {
    "size": by_size,
    "lookups": by_lookups,
    "hugectr": hugectr,
    "torchrec": torchrec,
}
"""Planner by the name that `model.placement` takes."""
UNBOUNDED = 1 << 60
"""Bytes, more than any tables have."""
WEIGH_LINKS = ("hugectr",)
"""Planners that ask for the rates of the machine."""


def place(model: ModelConfig, gpus: Gpus) -> Plan:
    """The plan of `model.placement` for the tables of `model`, with conservation checked.

    Raises `CapacityError` where the planner finds none that fits, `ConfigError` for a sharding that
    it does not know.
    """
    plan = PLANNERS[model.placement](Task(tables_of(model), model.batch_size, gpus, model.sharding))
    plan.check()
    return plan


def expected(plan: Plan) -> tuple[float, ...]:
    """Seconds of each part of a plan, whoever made it, by TorchRec's estimator (`part_time`), with
    its own rates and not those of the machine."""
    return tuple(part_time(plan.task, p.table, p.cut, p.columns) for p in plan.parts)


def tables_of(model: ModelConfig) -> tuple[Table, ...]:
    """The tables of `model` as planners see them."""
    each = zip(
        model.rows_per_table,
        model.dim,
        model.table_lookups,
        model.entry_bytes,
        model.features_per_table,
        strict=True,
    )
    return tuple(Table(*numbers) for numbers in each)


def place_on(
    model: ModelConfig, machine: Topology, ranks: Sequence[str], *, on_host: bool = False
) -> Plan:
    """The plan of `model.placement` on the GPUs of `machine` called `ranks`; raises as `place` and
    `gpus_of`.

    `on_host`: the GPUs train the tables, which lie in the memory of the host: theirs does not
    bound the plan.
    """
    gpus = gpus_of(machine, ranks, rates=model.placement in WEIGH_LINKS)
    return place(model, replace(gpus, memory=UNBOUNDED) if on_host else gpus)


def gpus_of(machine: Topology, ranks: Sequence[str], *, rates: bool = True) -> Gpus:
    """The GPUs called `ranks`; `rates`: with those of memory, links and network.

    Raises `ConfigError` where links or network interfaces are missing whose rates are asked for.
    """
    memory = machine.memory(ranks[0])
    hosts = len({rank.rpartition(".")[0] for rank in ranks})
    gpus = Gpus(len(ranks), memory.capacity, hosts)
    if not rates:
        return gpus
    return replace(
        gpus,
        memory_rate=memory.timing.peak_bandwidth,
        link_rate=link_rate(machine, *ranks[:2]) if gpus.on_host > 1 else 0.0,
        network_rate=_network_rate(machine) if hosts > 1 else 0.0,
    )


def link_rate(machine: Topology, source: str, target: str) -> float:
    """Bytes per second of the slowest link from one processor to another; of a mesh over all of its
    links."""
    links = (hop.link for hop in machine.route(source, target))
    rates = (
        link.out_rate(source) if isinstance(link, MeshDevice) else link.part.bandwidth
        for link in links
        if hasattr(link.part, "bandwidth")
    )
    return float(min(rates, default=0.0))


def _network_rate(machine: Topology) -> float:
    """Bytes per second of a GPU's share of the interfaces of its host, of one at most."""
    interfaces = machine.all("nic")
    if not interfaces:
        raise ConfigError(f"{machine.name} has GPUs on several hosts but no interface (nic)")
    rate = float(getattr(machine.devices[interfaces[0]].part, "bandwidth", 0.0))
    return rate * min(1.0, len(interfaces) / len(machine.all("gpu")))
