"""What collectives ask of a machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from simulator.config.operators import OperatorProfile
from simulator.hardware.devices.base import Device, Hop, Link
from simulator.hardware.memory import Memory

__all__ = ["Places", "host_of"]


def host_of(device: str) -> str:
    """What the names of the devices of its host begin with; empty on a machine of one host."""
    return device.rpartition(".")[0]


class Places(Protocol):
    """Devices by name and what joins them: `simulator.hardware.topology.Topology`."""

    @property
    def name(self) -> str: ...
    @property
    def devices(self) -> Mapping[str, Device]: ...
    def all(self, kind: str) -> tuple[str, ...]:
        """Names of all devices of one kind of part, in order."""

    def memory(self, place: str) -> Memory:
        """The memory of a device."""

    def route(self, source: str, target: str) -> tuple[Hop, ...]:
        """The links between two devices."""

    def links_of(self, devices: Iterable[str]) -> tuple[Link, ...]:
        """The links that end at any of `devices`."""

    def submission(self, places: Sequence[str], software: OperatorProfile) -> tuple[str, int]:
        """The host thread that submits work to `places`, and picoseconds of one."""
