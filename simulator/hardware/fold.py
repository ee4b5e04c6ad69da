"""Equal ranks folded: simulated once, with a multiplicity on what they share.

Ranks are processors that do the same at the same time (GPUs of a data-parallel job with equal
shards). The first of a group stands for all of it. What belongs to it alone (its memory, its cores,
its ports) is used as it is, once; what k of n ranks share (a PCIe uplink, the DRAM of the host) is
asked for k times as much. Exact for equal shards: the others would ask for the same at the same
moments. What a host has beside its ranks is taken to be shared by all of them. Approximated: where
one process submits for all, each begins when the last of them was submitted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulator.errors import ConfigError
from simulator.hardware.collectives.groups import host_of
from simulator.hardware.demand import Demand, StageDemand
from simulator.hardware.devices.base import Link
from simulator.hardware.devices.switch import SwitchDevice
from simulator.hardware.topology import Topology

__all__ = ["Fold", "Folds"]


class Folds:
    """Groups of equal ranks of `machine`, the first of each in place of all of it.

    `one_process`: as `Fold`. Raises `ConfigError` where ranks of a group are not joined alike.
    """

    def __init__(
        self, machine: Topology, groups: Sequence[Sequence[str]], *, one_process: bool = False
    ) -> None:
        hosts = {host_of(rank) for group in groups for rank in group}
        self._folds = tuple(
            Fold(machine, group, one_process=one_process, networked=len(hosts) > 1)
            for group in groups
            if len(group) > 1
        )
        self.images: Mapping[str, tuple[str, ...]] = {
            name: images for fold in self._folds for name, images in fold.images.items()
        }
        """Resource of the first rank of a group, or of its host -> those that play its part."""

    def copies(self, resource: str) -> int:
        """How many resources are like this one, itself included."""
        return len(self.images.get(resource, (resource,)))

    def scaled(self, stage: StageDemand) -> StageDemand:
        """A stage of the first ranks as all ranks do it at once."""
        for fold in self._folds:
            stage = fold.scaled(stage)
        return stage


class Fold:
    """`ranks` of `machine`, the first in place of all.

    `one_process`: one process of the host submits the work of all ranks in turn; else each has its
    own. `networked`: ranks exchange with other hosts, even where these are of one. Raises
    `ConfigError` where they are not joined alike.
    """

    def __init__(
        self,
        machine: Topology,
        ranks: Sequence[str],
        *,
        one_process: bool = False,
        networked: bool = False,
    ) -> None:
        self._machine, self.ranks = machine, tuple(ranks)
        hosts = max(1, len({host_of(rank) for rank in self.ranks}))
        self._in_turn = max(1, len(self.ranks) // hosts) if one_process else 1
        own = _resources_by_device(machine)
        self._of_first = {
            resource.name for rank in ranks[:1] for resource in machine.devices[rank].resources
        }
        if hosts > 1 or networked:
            own |= {rank: [*own[rank], *machine.groups.private(rank)] for rank in self.ranks}
        around = _around(own, self.ranks)
        alike = [[*own[rank], *around.get(host_of(rank), ())] for rank in self.ranks]
        if len({len(names) for names in alike}) > 1 or not all(
            _shared_alike(column) for column in zip(*alike, strict=True)
        ):
            raise ConfigError(
                f"{machine.name}: {_listed(self.ranks)} are not joined alike, so that the first "
                "cannot stand for all"
            )
        self.images: Mapping[str, tuple[str, ...]] = {
            column[0]: tuple(dict.fromkeys(column)) for column in zip(*alike, strict=True)
        }
        """Resource of the first rank, or of its host -> those that play its part for all ranks."""

    def copies(self, resource: str) -> int:
        """How many resources are like this one, itself included."""
        return len(self.images.get(resource, (resource,)))

    def scaled(self, stage: StageDemand) -> StageDemand:
        """A stage of the first rank as all ranks do it at once."""
        lanes = tuple(tuple(self._scaled(demand) for demand in lane) for lane in stage.lanes)
        return replace(stage, lanes=lanes)

    def _scaled(self, demand: Demand) -> Demand:
        """An operation of the first rank, times the ranks that use each of its resources."""
        if self._of_first.isdisjoint((*demand.services, demand.host)):
            return demand  # of no rank, or of others: as it is
        count = len(self.ranks)
        alike = {name: count // self.copies(name) for name in demand.services}
        services = {name: s.times(alike[name]) for name, s in demand.services.items()}
        alone_ps = demand.alone_ps(self._machine.resources)
        turns = self._in_turn
        return replace(
            demand,
            services=services,
            one_of_ps=alone_ps,
            submit_ps=demand.submit_ps * turns,
            submit_more_ps=demand.submit_more_ps * turns,
            host_ps=demand.host_ps * turns,
            alike=alike,
        )


def _shared_alike(column: Sequence[str]) -> bool:
    """Whether each of the resources that play one part does so for as many ranks."""
    return len(set(Counter(column).values())) == 1


def _resources_by_device(machine: Topology) -> dict[str, list[str]]:
    """Resources of each device, and of the links that end at it: of each its own ports, or all;
    those of the switches at the other ends, too."""
    own = {name: [r.name for r in device.resources] for name, device in machine.devices.items()}
    above: dict[str, list[str]] = {}
    for device in machine.devices.values():
        if isinstance(device, Link):
            whole = [resource.name for resource in device.resources]
            for member in device.members:
                own[member] += device.ports(member) or whole
            root, *below = device.members
            for leaf in below if isinstance(machine.devices[root], SwitchDevice) else ():
                above.setdefault(leaf, []).append(root)
    for member, roots in above.items():
        own[member] += [name for root in roots for name in own[root] if name not in own[member]]
    return own


def _around(own: Mapping[str, Sequence[str]], ranks: Sequence[str]) -> dict[str, list[str]]:
    """What each host has beside its ranks, where ranks are on several."""
    around: dict[str, list[str]] = {host_of(rank): [] for rank in ranks}
    if len(around) == 1:
        return {}
    taken = {name for rank in ranks for name in (rank, *own[rank])}
    for device, names in own.items():
        if device not in taken and host_of(device) in around:
            around[host_of(device)] += [name for name in names if name not in taken]
    return around


def _listed(ranks: Sequence[str]) -> str:
    """Names for a message, the first and the last where there are many."""
    if len(ranks) > 16:
        return f"{ranks[0]} to {ranks[-1]}"
    return ", ".join(ranks)
