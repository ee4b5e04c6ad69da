"""Work without time: what an operation moves and computes, before any machine prices it.

A system describes a stage of a training iteration as `StageWork`: lanes that run side by side
(the CPU gathers while the GPU gathers), each lane a sequence of operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.config.operators import CpuOperator

__all__ = [
    "Access",
    "Collective",
    "Copy",
    "CpuWork",
    "GpuWork",
    "HostWait",
    "Operation",
    "StageWork",
]


@dataclass(frozen=True, slots=True)
class Access:
    """A stream of equal pieces read from or written to one memory.

    `count` pieces of `size` bytes; `random`: the pieces lie anywhere in `span` bytes (rows of a
    table), else they follow each other (staging buffers, dense vectors). `hit_share`: share of
    the pieces that the processor's last-level cache (CPU LLC, GPU L2) holds already. `in_place`:
    a write to what the same operation has just read (no read for ownership). `staged`: a read of a
    staging buffer that a copy has filled. `pieces`: which pieces, int64 row numbers, shape
    (count,), where the exact memory model replays them.
    """

    count: int
    size: int
    write: bool = False
    random: bool = True
    hit_share: float = 0.0
    in_place: bool = False
    staged: bool = False
    pieces: npt.NDArray[np.int64] | None = None

    @property
    def bytes(self) -> int:
        return self.count * self.size


@dataclass(frozen=True, slots=True)
class CpuWork:
    """An operator on the CPU: its accesses, and rows (or pairs) that cost instructions."""

    name: str
    operator: CpuOperator
    accesses: tuple[Access, ...]
    rows: int
    """Times that a thread spends the operator's `row_time`."""
    tables: int
    """Tables that it covers: bounds the threads of an operator that runs one a table."""


@dataclass(frozen=True, slots=True)
class GpuWork:
    """One or more kernels on a GPU, one after the other."""

    name: str
    kernels: int
    accesses: tuple[Access, ...] = ()
    flops: int = 0
    batched_flops: int = 0
    """Part of `flops` in batched products of a few vectors each."""
    precision: Literal["fp32", "tf32", "fp16", "bf16"] = "fp32"
    sort_pairs: int = 0
    sort_passes: int = 0
    """Radix passes of 8 bits over `sort_pairs` (key, position) pairs."""
    sorts: int = 1
    """Separate sorts (one a table, or one for all)."""
    probes: int = 0
    """Independent 4-byte accesses to structures larger than L2 (Hit-Map, masks)."""
    chain: int = 0
    """Accesses to HBM that one thread makes one after the other, each waiting for the last."""
    dispatch_ps: int = 0
    """Host time to launch all its kernels one by one; 0 where they replay as a captured graph."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy over the CPU-GPU link between pinned memory and HBM."""

    name: str
    to_gpu: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Collective:
    """An exchange among the GPUs: `bytes` leave each GPU (and as many arrive)."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class HostWait:
    """The host notices that the GPU is done before it goes on."""

    name: str = "synchronize"


Operation = CpuWork | GpuWork | Copy | Collective | HostWait


@dataclass(frozen=True, slots=True)
class StageWork:
    """One stage of one mini-batch: lanes side by side; it ends when the last lane ends."""

    name: str
    lanes: tuple[tuple[Operation, ...], ...]

    @property
    def uses_cpu(self) -> bool:
        """Whether any of its operations runs on the CPU."""
        return any(isinstance(one, CpuWork) for lane in self.lanes for one in lane)
