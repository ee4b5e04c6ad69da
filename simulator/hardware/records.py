"""Where bytes are durable: drives and persistent memory, and which of them a place writes to."""

from __future__ import annotations

from simulator.errors import ConfigError
from simulator.hardware.collectives import host_of
from simulator.hardware.memory import Memory
from simulator.hardware.topology import Topology

__all__ = ["durable_memory", "on_host"]


def durable_memory(machine: Topology, name: str, near: str) -> Memory:
    """The memory of the drive (or persistent memory) called `name`, on the host of the device
    `near` where every host has one.

    Raises `ConfigError` where there is none.
    """
    own = f"{host_of(near)}.{name}" if host_of(near) else name
    known = [m for m in machine.memories if machine.devices[m.device].part.durable]
    for wanted in (own, name):
        for memory in known:
            if wanted in (memory.device, memory.place):
                return memory
    listed = ", ".join(memory.device for memory in known) or "none"
    raise ConfigError(
        f"checkpoint.to is {name}, no drive or persistent memory of {machine.name}: it has {listed}"
    )


def on_host(machine: Topology, place: str) -> bool:
    """Whether a memory is no accelerator's own."""
    return machine.devices[machine.memory(place).device].part.kind != "gpu"
