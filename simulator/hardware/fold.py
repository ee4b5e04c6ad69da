"""Equal ranks folded: simulated once, with a multiplicity on what they share.

Ranks are processors that do the same at the same time (GPUs of a data-parallel job with equal
shards). The first stands for all. What belongs to it alone (its memory, its cores, its ports) is
used as it is, once; what k of n ranks share (a PCIe uplink, the DRAM of the host) is asked for k
times as much. Exact for equal shards: the others would ask for the same at the same moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulator.errors import ConfigError
from simulator.hardware.demand import Demand, Service, StageDemand
from simulator.hardware.devices.base import Link
from simulator.hardware.topology import Topology

__all__ = ["Fold"]


class Fold:
    """`ranks` of `machine`, the first in place of all.

    Raises `ConfigError` where they are not joined alike.
    """

    def __init__(self, machine: Topology, ranks: Sequence[str]) -> None:
        self._machine, self.ranks = machine, tuple(ranks)
        own = [_own(machine, rank) for rank in self.ranks] or [[]]
        if len({tuple(len(names) for names in each) for each in own}) > 1:
            raise ConfigError(
                f"{machine.name}: {', '.join(self.ranks)} are not joined alike, so that the first "
                "cannot stand for all"
            )
        self.images: Mapping[str, tuple[str, ...]] = {
            first: tuple(dict.fromkeys(each[k][i] for each in own))
            for k, names in enumerate(own[0])
            for i, first in enumerate(names)
        }
        """Resource of the first rank -> the resources that play its part for all ranks."""

    def copies(self, resource: str) -> int:
        """How many resources are like this one, itself included."""
        return len(self.images.get(resource, (resource,)))

    def scaled(self, stage: StageDemand) -> StageDemand:
        """A stage of the first rank as all ranks do it at once."""
        lanes = tuple(tuple(self._scaled(demand) for demand in lane) for lane in stage.lanes)
        return StageDemand(stage.name, lanes)

    def _scaled(self, demand: Demand) -> Demand:
        """An operation of the first rank, times the ranks that use each of its resources."""
        if not any(resource in self.images for resource in demand.services):
            return demand  # of no rank: done once
        count = len(self.ranks)
        services = {
            name: _times(service, count // self.copies(name))
            for name, service in demand.services.items()
        }
        return replace(demand, services=services)


def _times(service: Service, factor: int) -> Service:
    return Service(
        service.read_ps * factor,
        service.write_ps * factor,
        service.bytes * factor,
        service.energy_pj * factor,
    )


def _own(machine: Topology, rank: str) -> list[tuple[str, ...]]:
    """Resources of a rank, and of the links that end at it: of each its own ports, or all."""
    own = [tuple(resource.name for resource in machine.devices[rank].resources)]
    for device in machine.devices.values():
        if isinstance(device, Link) and rank in device.members:
            names = device.ports(rank) or tuple(r.name for r in device.resources)
            own.append(names)
    return own
