"""What FAE and Hotline share: a budget of HBM for the hot rows of all tables, found by counting."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simulator.caches.replays.hot_rows import HotRows
from simulator.config.sections import SIZE_KEYS
from simulator.hardware.topology import Topology
from simulator.systems.base import Job, require_room

__all__ = ["HOT_KEYS", "Share", "hot_rows"]

HOT_KEYS = frozenset(f"cache.{key}" for key in SIZE_KEYS)
"""Keys of `cache` that they use: the budget of hot rows."""

Share = Annotated[float, Field(gt=0, le=1)]


def hot_rows(job: Job, machine: Topology, gpu: str, share: float) -> HotRows:
    """The rows that `share` of the inputs use most, as many as the budget of `cache` holds.

    Raises `CapacityError` where that is more than the memory of `gpu`.
    """
    size, entries = job.cache_size, job.model.entry_bytes
    (rows,) = size.slots([job.model.rows])
    budget = rows * size.entry_bytes if job.cache.bytes is None else job.cache.bytes
    memory = machine.memory(gpu)
    require_room(
        f"hot rows of {size}",
        min(budget, sum(job.model.table_bytes)),
        f"one {machine.devices[memory.device].part.name}",
        memory.capacity,
        f"lower {size.key}",
    )
    return HotRows(budget, entries, share, job.seed)
