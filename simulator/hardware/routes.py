"""Ways over the links of a machine.

A route is the shortest way over the links that there are; two equally short ones are an error that
names both. Between hosts it begins and ends at the network interfaces of both ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping

from simulator.errors import ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.devices.base import Device, Hop, Link

__all__ = ["Routes"]


class Routes:
    """The ways between the devices of `machine`, a name for messages; `interface`: the device that
    takes what another one's host sends or receives."""

    def __init__(
        self, machine: str, devices: Mapping[str, Device], interface: Callable[[str], Device]
    ) -> None:
        self._machine = machine
        self._interface = interface
        self._links: dict[str, list[Link]] = {name: [] for name in devices}
        for device in devices.values():
            if isinstance(device, Link):
                for member in device.members:
                    self._links[member].append(device)
        self._known: dict[tuple[str, str], tuple[Hop, ...]] = {}

    def links_of(self, devices: Iterable[str]) -> tuple[Link, ...]:
        """The links that end at any of `devices`, each once."""
        return tuple(dict.fromkeys(link for name in devices for link in self._links[name]))

    def between(self, source: str, target: str) -> tuple[Hop, ...]:
        """The shortest way between two devices.

        Raises `ConfigError` where there is none, or where two are equally short.
        """
        if (source, target) not in self._known:
            self._known[source, target] = self._shortest(source, target)
        return self._known[source, target]

    def _shortest(self, source: str, target: str) -> tuple[Hop, ...]:
        if source == target:
            return ()
        ways = list(self._ways(source, target))
        if not ways:
            raise ConfigError(
                f"{self._machine}: no links lead from {source} to {target}; {source} is joined to "
                f"{self._listed(source)}, {target} to {self._listed(target)}"
            )
        if len(ways) > 1 and host_of(source) != host_of(target):
            own = {self._interface(end).name for end in (source, target)}
            ways = [way for way in ways if own <= {hop.target for hop in way}] or ways
        if len(ways) > 1:
            first, second = ("-".join(hop.link.name for hop in way) for way in ways[:2])
            raise ConfigError(
                f"{self._machine}: two ways lead from {source} to {target}, over {first} and over "
                f"{second}: leave one out"
            )
        return ways[0]

    def _ways(self, source: str, target: str) -> Iterator[tuple[Hop, ...]]:
        """All shortest ways, breadth first."""
        waiting: deque[tuple[str, tuple[Hop, ...]]] = deque([(source, ())])
        distance = {source: 0}
        shortest: int | None = None
        while waiting:
            device, way = waiting.popleft()
            if shortest is not None and len(way) >= shortest:
                continue
            for neighbour, link in self._beside(device):
                longer = (*way, Hop(link, device, neighbour))
                if neighbour == target:
                    shortest = len(longer)
                    yield longer
                elif distance.setdefault(neighbour, len(longer)) >= len(longer):
                    waiting.append((neighbour, longer))

    def _listed(self, device: str) -> str:
        return ", ".join(dict.fromkeys(n for n, _ in self._beside(device))) or "nothing"

    def _beside(self, device: str) -> Iterator[tuple[str, Link]]:
        """What `device` reaches over one link, and over which."""
        return ((other, link) for link in self._links[device] for other in link.beside(device))
