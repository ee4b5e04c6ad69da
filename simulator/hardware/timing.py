"""How long streams of accesses take on a memory, from the bank-level DRAM model.

Three fidelities (`run.memory_fidelity`). `table`: a stream runs at the bandwidth that the bank
model sustains for its kind (random rows of that size, or sequential; read or write), simulated
once a kind and kept. `exact`: the rows of every stream are replayed at their addresses; buffers
(staged rows, dense vectors, gradients by lookup) use the table, and random rows of a table that
were not kept are refused. `sampled`: as `exact` on some mini-batches; the others use the mean time
per byte of those, the table before the first of them, and the sampling error is reported.

Modelled: what `simulator.hardware.dram` models. Approximated: a table's rows lie one after the
other from address 0, sequential streams are random pieces of `SEQUENTIAL_BYTES` (several streams at
a time share the memory). Ignored: page tables, memory that others use.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from simulator.columns import by_element
from simulator.config.memo import by_identity
from simulator.errors import UsageError
from simulator.hardware.access import Access
from simulator.hardware.demand import Turnaround
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import Sustained, replay_stream, sustained
from simulator.units import PS_PER_S

__all__ = ["ExactTiming", "SampledTiming", "TableTiming"]

SEQUENTIAL_BYTES = 16_384
"""Piece of a sequential stream between two jumps to another stream."""
MIXES = (0.25, 0.5, 0.75, 0.9375)
"""Shares of writes in the bytes of the mixes that are simulated (error: `docs/memory.md`)."""


@dataclass
class TableTiming:
    """Sustained bandwidth by kind of stream, simulated once and kept."""

    config: Dram
    row_bytes: int
    """Size of the rows whose mix of reads and writes gives the turnaround."""
    _known: dict[tuple[str, int, float], Sustained] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._known = _known_of(self.config)

    @property
    def peak_bandwidth(self) -> int:
        return self.config.peak_bytes_per_s

    @property
    def turnaround(self) -> Turnaround:
        """Losses of mixes of row reads and writes, each simulated."""
        size = self.row_bytes
        read = 1.0 / self._look_up("gather", size).bytes_per_s
        write = 1.0 / self._look_up("scatter", size).bytes_per_s
        mixed = [(w, 1.0 / self._look_up("gather", size, w).bytes_per_s) for w in MIXES]
        return Turnaround.between(read, write, mixed)

    @property
    def sampling_error(self) -> float:
        """Relative standard error of times that stand for others; 0 where none do."""
        return 0.0

    def stream_ps(self, access: Access) -> float:
        ps: float = access.bytes * PS_PER_S / self._of(access, "bytes_per_s")
        return ps

    def stream_pj(self, access: Access) -> float:
        pj: float = access.bytes * self._of(access, "pj_per_byte")
        return pj

    @property
    def standing_w(self) -> float:
        """Power of background and refresh, whatever is accessed."""
        return self._look_up("gather", self.row_bytes).standing_w

    def _of(self, access: Access, what: str) -> Any:
        """A field of `Sustained` for a stream; pieces of mini-batches may differ in size."""
        size = access.size if access.random else SEQUENTIAL_BYTES
        pattern = "scatter" if access.write else "gather"
        return _looked_up(self, pattern, size, what)

    def _look_up(self, pattern: str, size: int, writes: float = 0.0) -> Sustained:
        """`sustained`, without comparing whole configurations each time."""
        key = (pattern, size, writes)
        if key not in self._known:
            self._known[key] = sustained(self.config, *key)
        return self._known[key]


@by_identity
def _known_of(config: Dram) -> dict[tuple[str, int, float], Sustained]:
    """What was simulated of a memory, for all machines that have it: points share their parts."""
    del config
    return {}


@by_element
def _looked_up(timing: TableTiming, pattern: str, size: int, what: str) -> Any:
    return getattr(timing._look_up(pattern, size), what)


@dataclass
class ExactTiming(TableTiming):
    """Every row at its address."""

    def stream_ps(self, access: Access) -> float:
        if not access.random or access.buffer or not access.bytes:
            return super().stream_ps(access)
        if access.pieces is None or not len(access.pieces):
            raise UsageError(
                f"{access.memory}: {access.count:,} random pieces of {access.size} B whose rows "
                "were not kept: an operation gives them (pieces=store.pieces(rows)) or says that "
                "they lie in a buffer (buffer=True); run.memory_fidelity: table needs neither"
            )
        ran = replay_stream(self.config, access.pieces * access.size, access.size, access.write)
        share = access.count / len(access.pieces)  # caches above may serve some of the rows
        return ran.elapsed_ps * share


@dataclass
class SampledTiming(ExactTiming):
    """Rows at their addresses on some mini-batches; their mean time per byte on the others."""

    samples: dict[Hashable, list[float]] = field(default_factory=dict)

    def stream_ps(self, access: Access) -> float:
        if not access.random or access.buffer:
            return TableTiming.stream_ps(self, access)
        key = (access.size, access.write)
        if access.pieces is not None and len(access.pieces) and access.bytes:
            ps = super().stream_ps(access)
            self.samples.setdefault(key, []).append(ps / access.bytes)
            return ps
        samples = self.samples.get(key)
        if not samples:
            return TableTiming.stream_ps(self, access)
        return access.bytes * sum(samples) / len(samples)

    @property
    def sampling_error(self) -> float:
        """Largest relative standard error of the mean over the kinds of streams."""
        return max((_relative_error(samples) for samples in self.samples.values()), default=0.0)


def _relative_error(samples: list[float]) -> float:
    if len(samples) < 2:
        return 0.0
    mean = sum(samples) / len(samples)
    variance = sum((value - mean) ** 2 for value in samples) / (len(samples) - 1)
    return math.sqrt(variance / len(samples)) / mean
