"""One file a system: how one training iteration uses a machine.

A system from outside: a class with the attributes and methods of `System`, named in the
entry-point group `scratchpipe.systems` of its package. What it needs is here: a `Job`, schedules,
the operators of a training iteration as words, and the systems to start from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from simulator._plugins import explained, load_plugin, named, plugins
from simulator.errors import UsageError
from simulator.hardware.topology import Topology
from simulator.systems.base import (
    Job,
    System,
    cache_in,
    hold_window,
    move,
    planned_replay,
    require_room,
    synchronize,
    tables_in,
)
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.groups import Group, cache_groups, groups_of, table_groups
from simulator.systems.hybrid import Hybrid
from simulator.systems.mlp import dense_bytes, mlp_step, mlp_weight_bytes
from simulator.systems.operators import Backward, pooled_bytes, pooled_vectors
from simulator.systems.schedule import Ahead, Pipeline, Role, Schedule, Serial, StageSpec
from simulator.systems.scratchpipe import ScratchPipe
from simulator.systems.static_cache import StaticCache
from simulator.systems.straw_man import StrawMan

__all__ = [
    "Ahead",
    "Backward",
    "GpuOnly",
    "Group",
    "Hybrid",
    "Job",
    "Pipeline",
    "Role",
    "Schedule",
    "ScratchPipe",
    "Serial",
    "StageSpec",
    "StaticCache",
    "StrawMan",
    "System",
    "UsedKeys",
    "cache_groups",
    "cache_in",
    "create",
    "dense_bytes",
    "groups_of",
    "hold_window",
    "mlp_step",
    "mlp_weight_bytes",
    "move",
    "names",
    "planned_replay",
    "pooled_bytes",
    "pooled_vectors",
    "require_room",
    "summary",
    "synchronize",
    "table_groups",
    "tables_in",
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
    return (*_SYSTEMS, *(name for name in plugins(ENTRY_POINTS) if name not in _SYSTEMS))


def _class(name: str) -> type[System]:
    if name in _SYSTEMS:
        return _SYSTEMS[name]
    entry = plugins(ENTRY_POINTS).get(name)
    if entry is None:
        raise UsageError(f"there is no system {name!r}: {', '.join(names())}")
    system = load_plugin(entry)
    if not (isinstance(system, type) and issubclass(system, System)):
        raise UsageError(f"{named(entry)} is no subclass of simulator.systems.System: {system!r}")
    return system


def create(name: str, job: Job, machine: Topology) -> System:
    """The system called `name` for one job on one machine.

    Raises `CapacityError` where the model does not fit, `ConfigError` where the machine lacks what
    it needs, `UsageError` for an unknown name.
    """
    system, entry = _class(name), plugins(ENTRY_POINTS).get(name)
    if entry is not None and name in _SYSTEMS:
        raise UsageError(
            f"{named(entry)} has the name of a system that is built in: rename it or uninstall it"
        )
    with explained(name, "cannot be built"):
        return system(job, machine)


class UsedKeys(Mapping[str, frozenset[str] | None]):
    """For each system the keys of its entry that it uses (None: all are allowed); one of another
    package is loaded when it is asked for."""

    def __getitem__(self, name: str) -> frozenset[str] | None:
        return used_keys(name)

    def __contains__(self, name: object) -> bool:
        return name in names()

    def __iter__(self) -> Iterator[str]:
        return iter(names())

    def __len__(self) -> int:
        return len(names())


def used_keys(name: str) -> frozenset[str] | None:
    """Keys of an entry of `systems` that the system called `name` uses; None: all are allowed."""
    return _class(name).uses


def summary(name: str) -> str:
    """One sentence on the system called `name`."""
    return (_class(name).__doc__ or "").strip().splitlines()[0]
