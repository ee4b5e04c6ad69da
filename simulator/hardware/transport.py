"""What bytes that go to another host ask of the hosts at both ends, beside the links.

Where the transport is the kernel's (an interface with `send_time` or `receive_time`), a thread of
each host copies every byte once, between the program's memory and the kernel's. Approximated: one
flow, so one thread at each end. Ignored: interrupts, protocol work that does not grow with bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from simulator.errors import ConfigError
from simulator.hardware.access import Access
from simulator.hardware.collectives import host_of
from simulator.hardware.collectives.places import Places
from simulator.hardware.devices.base import Carried, Hop
from simulator.hardware.devices.nic import NicDevice

__all__ = ["transported"]


def transported(machine: Places, hops: Sequence[Hop], size: int) -> Iterator[Carried]:
    """Threads and memory of the hosts whose interfaces the `hops` of a copy pass.

    Raises `ConfigError` where a host has no processor to copy for its interface.
    """
    for number, hop in enumerate(hops[1:], start=1):
        nic = machine.devices[hop.source]
        if not isinstance(nic, NicDevice):
            continue
        sends = hops[number].link.part.kind == "network"
        each = nic.part.send_time if sends else nic.part.receive_time
        if each:
            yield _copied(machine, nic, size, each)


def _copied(machine: Places, nic: NicDevice, size: int, each_ps: int) -> Carried:
    """`size` bytes copied once by a thread of the interface's host."""
    hosts = [name for name in machine.all("cpu") if host_of(name) == host_of(nic.name)]
    if not hosts:
        raise ConfigError(f"{machine.name}: {nic.part.name} needs a CPU to copy for it")
    memory = machine.memory(hosts[0])
    streams = [Access(memory.place, 1, size, random=False, write=w) for w in (False, True)]
    copy = replace(memory.service(streams), bytes=0)  # on their way, not arriving there
    threads = machine.devices[hosts[0]].occupied(1, size * each_ps)
    return Carried({memory.place: copy, **threads}, slowest_ps=size * each_ps)
