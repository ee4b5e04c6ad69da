"""Layers whose products' kernels do bias, activation and their gradients (no time, no machine).

HugeCTR's fused layers (release 3.1: product, bias and ReLU forward; product, gradient of ReLU and
of the bias backward; 3.3: casts of weights in their update). A layer is one kernel forward and two
backward, one kernel updates all weights, and nothing else passes over activations. Of a weight the
update reads and writes what `_WEIGHT_BYTES` says: in half precision the master copy (4 B each) and
gradient and copy for products (2 B each). Cross layers keep the kernels that they have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.hardware.program import FusedLayers

__all__ = ["Layers"]

_WEIGHT_BYTES = {False: (8, 4), True: (6, 6)}
"""Bytes read and written for each weight, in half precision or not."""
_LOSS = 2
"""Its kernels, forward and backward."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Layers of a model, those that fuse and products that do not."""

    count: int
    products: int = 0
    """Of cross layers."""
    weights: int = 0
    """Of all, biases included."""
    passed: int = 0
    """Bytes of activations of cross layers, once."""
    half: bool = False

    def less(self, others: Layers) -> Layers:
        """Without `others`, which are layers that fuse."""
        count, weights = self.count - others.count, self.weights - others.weights
        return replace(self, count=count, weights=weights)

    def forward(self) -> FusedLayers:
        """One kernel a product."""
        kernels = self.count + self.products
        return FusedLayers(kernels, kernels, self.passed, self.passed)

    def backward(self, *, update: bool = True) -> FusedLayers:
        """Two kernels a layer, four a product of cross layers, and an update."""
        read, written = (size * self.weights * update for size in _WEIGHT_BYTES[self.half])
        chain = self.count + 4 * self.products + update
        return FusedLayers(chain + self.count, chain, 3 * self.passed + read, self.passed + written)

    def step(self) -> FusedLayers:
        """Forward, loss, backward and update."""
        passes = (self.forward(), FusedLayers(_LOSS, _LOSS), self.backward())
        return FusedLayers(
            *(
                sum(getattr(one, key) for one in passes)
                for key in ("kernels", "chain", "bytes_read", "bytes_written")
            )
        )
