"""DP-SGD(R): norms from gradients of single samples, layer by layer, then a second backward of the
loss weighted by sample (Lee and Kifer, Scaling up Differentially Private Deep Learning with Fast
Per-Example Gradient Clipping, PoPETs 2021).

Verified in LazyDP's code (github.com/VIA-Research/LazyDP): the MLPs' gradients of single samples
are made and read for their norms, and not kept; the MLPs are passed backward twice. Noise:
`dp_sgd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from simulator.hardware.program import GRADIENT_BYTES, Dense
from simulator.systems.clipping import Clipped, by_layer
from simulator.systems.dp_sgd import DpSgd
from simulator.systems.mlp import layer_weights

__all__ = ["DpSgdR"]


class DpSgdR(DpSgd):
    """Private: norms layer by layer and a second backward, noise on every row of every table."""

    name: ClassVar[str] = "dp_sgd_r"

    def clipped(self, step: Dense, memory: str) -> Clipped:
        return by_layer(step, self._job.model, memory)

    def extra_bytes(self) -> Iterator[tuple[str, str, int]]:
        yield from super().extra_bytes()
        model = self._job.model
        size = self.samples * max(layer_weights(model)) * GRADIENT_BYTES
        yield f"gradients of {self.samples:,} samples for a layer", self.gpu, size
