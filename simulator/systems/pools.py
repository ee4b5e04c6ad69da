"""Near-memory pools as systems find them: the one of a machine, its places, and tables in it."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.errors import ConfigError
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.program import Store
from simulator.hardware.topology import Topology
from simulator.systems.groups import Group
from simulator.systems.operators import pooled_bytes

__all__ = ["PoolPlaces", "PoolTables", "pool_of"]


@dataclass(frozen=True)
class PoolPlaces:
    """A pool on its machine."""

    name: str
    part: NearMemory
    dram: str
    buffers: str


def pool_of(machine: Topology, system: str, shown_on: str, **keys: str) -> PoolPlaces:
    """The pool of `machine`, whose part has the values `keys`.

    Raises `ConfigError` that says what to type where there is none, or another one.
    """
    names = machine.all("near_memory")
    if not names:
        raise ConfigError(
            f"{system} needs a near-memory pool, but {machine.name} has none: name a platform with "
            f"one, as in {{name: {system}, platform: {shown_on}}}, or give yours the sockets "
            "`near_memory: recnmp_ddr4` and `near_link: {part: ddr_bus_x4, "
            "join: [cpu, near_memory]}`"
        )
    name = machine.only("near_memory", system)
    part = machine.devices[name].part
    assert isinstance(part, NearMemory), "its kind says so"
    for key, wanted in keys.items():
        have = getattr(part, key)
        if str(have) != wanted:
            raise ConfigError(
                f"{system} needs a near-memory pool with {key}: {wanted}, but that of "
                f"{machine.name} has {have}: set platform.host.{name}.{key}={wanted}"
            )
    return PoolPlaces(name, part, f"{name}.dram", f"{name}.buffers")


@dataclass(frozen=True)
class PoolTables:
    """Tables of one dim in the pool."""

    group: Group
    store: Store

    @property
    def pooled(self) -> int:
        """Bytes of its pooled vectors."""
        return pooled_bytes(self.group.job.model)
