"""What a system is: the cache replay that it needs, and an iteration as stages of work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.platform import PlatformConfig
from simulator.errors import CapacityError
from simulator.hardware.work import Copy, GpuWork, HostWait, StageWork
from simulator.systems.operators import CpuOperators, GpuOperators, mlp_step
from simulator.units import format_bytes

__all__ = ["BatchCounts", "Context", "MovedRows", "ReplayKind", "Rows", "System", "require_room"]

ReplayKind = Literal["none", "static", "planned"]
"""What must be replayed for a system: nothing (counts of unique ids), the split of lookups by a
static cache, or the plan of a scratchpad."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MovedRows:
    """Which rows a mini-batch moves, where the memory model replays real addresses (else None).

    int64; rows are numbered over all tables (table offset + row), slots over all pools.
    """

    cpu_lookups: Rows | None = None
    """Row of every lookup that the CPU serves."""
    cpu_unique: Rows | None = None
    """Unique rows that the CPU trains."""
    missed: Rows | None = None
    victims: Rows | None = None
    gpu_lookups: Rows | None = None
    """Slot of every lookup that the GPU serves."""
    gpu_unique: Rows | None = None
    missed_slots: Rows | None = None
    victim_slots: Rows | None = None


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What one mini-batch does to a cache, summed over all tables: exact, without time.

    For `static` replays hits are lookups (rows) of pinned rows and misses are rows trained on the
    CPU.
    """

    index: int
    lookups: int
    unique_rows: int
    lookup_hits: int = 0
    unique_hits: int = 0
    misses: int = 0
    """Unique rows that are fetched (planned) or trained on the CPU (static)."""
    victims: int = 0
    write_backs: int = 0
    """Victims that were trained since they were fetched."""
    cold_misses: int = 0
    held_misses: int | None = None
    """Misses that the same cache without a window would not have had; None where not counted."""
    cpu_hit_share: float = 0.0
    """Share of the lookups served by the CPU that its last-level cache holds."""
    gpu_hit_share: float = 0.0
    """Share of the lookups served by the GPU that its L2 holds."""
    moved: MovedRows = field(default_factory=MovedRows)

    @property
    def has_rows(self) -> bool:
        """Whether row numbers are there."""
        return self.moved.cpu_lookups is not None or self.moved.gpu_lookups is not None


@dataclass(frozen=True)
class Context:
    """What a system is built from."""

    model: ModelConfig
    profile: OperatorProfile
    platform: PlatformConfig
    slots: int = 0
    """Rows that the GPU cache holds, over all tables."""
    gpus: int | None = None

    @property
    def cpu(self) -> CpuOperators:
        return CpuOperators(self.model, self.profile)

    @property
    def gpu(self) -> GpuOperators:
        return GpuOperators(self.model, self.profile)

    @property
    def cached_row_bytes(self) -> int:
        """Bytes of one row in a cache, with its optimizer state."""
        return self.model.row_bytes + self.model.state_bytes

    def mlp(self, samples: int | None = None, gpus: int = 1) -> GpuWork:
        """One training step of the MLPs on each of `gpus` GPUs."""
        return mlp_step(self.model, self.profile, samples, gpus)


class System(Protocol):
    """One training iteration on a machine."""

    replay: ReplayKind
    pipelined: bool
    """Whether stages of consecutive mini-batches overlap."""
    stage_names: tuple[str, ...]
    gpus: int
    """GPUs that it uses."""

    def __init__(self, context: Context) -> None:
        """Raises `CapacityError` where the model does not fit the platform."""

    def stages(self, counts: BatchCounts) -> tuple[StageWork, ...]:
        """The stages of one mini-batch in order; names as in `stage_names`."""
        ...


def require_room(what: str, need: int, device: str, have: int, advice: str) -> None:
    """Raise `CapacityError` with the arithmetic where `need` bytes do not fit into `have`."""
    if need > have:
        raise CapacityError(
            f"{what} need {format_bytes(need)} but {device} holds {format_bytes(have)}: {advice}"
        )


def require_tables_in_dram(context: Context) -> None:
    """The CPU keeps all tables."""
    model, memory = context.model, context.platform.cpu.memory
    need = sum(model.table_bytes)
    require_room(
        f"{model.tables} tables with {model.rows:,} rows of {context.cached_row_bytes} B",
        need,
        f"the CPU DRAM of {context.platform.name}",
        memory.capacity,
        "use a smaller model or a platform with more memory",
    )


def require_cache_in_hbm(context: Context) -> None:
    """The GPU keeps the cache."""
    memory = context.platform.gpu.memory
    require_room(
        f"{context.slots:,} cache slots of {context.cached_row_bytes} B",
        context.slots * context.cached_row_bytes,
        f"one {context.platform.gpu.name}",
        memory.capacity,
        "lower cache.fraction",
    )


SYNCHRONIZE = HostWait()


def copy(name: str, size: int, *, to_gpu: bool) -> Copy:
    """A copy over the CPU-GPU link."""
    return Copy(name=name, to_gpu=to_gpu, bytes=size)
