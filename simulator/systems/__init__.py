"""One file a system: how one training iteration uses a machine.

A system from outside: a class with the attributes and methods of `System`, named in the
entry-point group `scratchpipe.systems` of its package.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from simulator.errors import UsageError
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, System
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.hybrid import Hybrid
from simulator.systems.schedule import Pipeline, Schedule, Serial, StageSpec
from simulator.systems.scratchpipe import ScratchPipe
from simulator.systems.static_cache import StaticCache
from simulator.systems.straw_man import StrawMan

__all__ = [
    "Job",
    "Pipeline",
    "Schedule",
    "Serial",
    "StageSpec",
    "System",
    "create",
    "names",
    "summary",
    "used_keys",
]

ENTRY_POINTS = "scratchpipe.systems"

_SYSTEMS: dict[str, type[System]] = {
    "hybrid": Hybrid,
    "static_cache": StaticCache,
    "straw_man": StrawMan,
    "scratchpipe": ScratchPipe,
    "gpu_only": GpuOnly,
}


def names() -> tuple[str, ...]:
    """Names of all systems, those of other packages last."""
    outside = sorted(entry.name for entry in entry_points(group=ENTRY_POINTS))
    return (*_SYSTEMS, *(name for name in outside if name not in _SYSTEMS))


def _class(name: str) -> type[System]:
    if name in _SYSTEMS:
        return _SYSTEMS[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        system: type[System] = entry.load()
        return system
    raise UsageError(f"there is no system {name!r}: {', '.join(names())}")


def create(name: str, job: Job, machine: Topology) -> System:
    """The system called `name` for one job on one machine.

    Raises `CapacityError` where the model does not fit, `ConfigError` where the machine lacks what
    it needs, `UsageError` for an unknown name.
    """
    return _class(name)(job, machine)


def used_keys(name: str) -> frozenset[str] | None:
    """Keys of an entry of `systems` that the system called `name` uses; None: all are allowed."""
    return _class(name).uses


def summary(name: str) -> str:
    """One sentence on the system called `name`."""
    return (_class(name).__doc__ or "").strip().splitlines()[0]
