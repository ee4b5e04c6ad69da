"""DP-SGD(B): gradients of single samples are all kept (Abadi et al., CCS 2016).

Verified in LazyDP's code (github.com/VIA-Research/LazyDP): those of the MLPs of all B samples lie
in HBM, B P 4 bytes for P weights (19.4 GB for 2048 samples of the MLPerf model), those of tables
once a lookup where the CPU expands them; norms, scaling and sums are passes over them. Noise:
`dp_sgd`.

Derived: with software that does not expand, a table's gradients of single samples are those of the
pooled vectors. On scratchpipe (ours) the tables' are clipped on the GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from simulator.hardware.program import Dense
from simulator.systems.clipping import Clipped, materialised
from simulator.systems.dp_sgd import DpSgd
from simulator.systems.mlp import mlp_weight_bytes

__all__ = ["DpSgdB"]


class DpSgdB(DpSgd):
    """Private: gradients of all samples in memory, noise on every row of every table."""

    name: ClassVar[str] = "dp_sgd_b"
    keeps_samples: ClassVar[bool] = True

    def clipped(self, step: Dense, memory: str) -> Clipped:
        return materialised(step, self._job.model, memory)

    def extra_bytes(self) -> Iterator[tuple[str, str, int]]:
        yield from super().extra_bytes()
        model = self._job.model
        size = self.samples * mlp_weight_bytes(model)
        yield f"gradients of {self.samples:,} samples, one by one", self.gpu, size
