"""Norms of the gradients of single samples in the MLPs, and their clipping (no time, no machine).

DP-SGD scales the gradient of each sample to a norm of at most C before it sums them. Three ways to
the norms, of P weights and the B samples of a GPU:

- `materialised` (Abadi et al., CCS 2016): the gradient of every sample in memory, B P 4 bytes,
  written, read for norms, scaled where it lies, and read for the sum;
- `by_layer` ("reweighted", Lee and Kifer, PoPETs 2021): those of one layer at a time, written and
  read for their norms; then a second backward of the loss weighted by sample;
- `ghost` ("fast", Denison et al., 2022): the norm of a layer's gradient is that of its input times
  that of its output's gradient, which are read; then the second backward.

In tables the gradient of a sample is that of its pooled vector, once a lookup: its norm times the
root of L, from a pass over the pooled gradients. Approximated: products of single samples take the
FLOPs of those of a mini-batch; the first backward makes the gradients of weights too.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.noise import Sweep
from simulator.hardware.program import GRADIENT_BYTES, Buffer, Dense, Operation
from simulator.systems.mlp import layer_vectors, layer_weights, second_backward
from simulator.systems.operators import pooled_bytes

__all__ = ["by_layer", "ghost", "materialised", "require_sgd"]

Clipped = tuple[Operation, ...]


def materialised(step: Dense, model: ModelConfig, memory: str) -> Clipped:
    """Forward, backward and clipping with the gradients of all samples in `memory`."""
    whole = _gradients(step, memory, layer_weights(model))
    pooled = _pooled(step, model, memory)
    clip = Sweep("clip", step.at, (whole, pooled, whole, whole), (whole, whole))
    return (step, clip)


def by_layer(step: Dense, model: ModelConfig, memory: str) -> Clipped:
    """The same with the gradients of one layer at a time, and a second backward."""
    layers = tuple(_gradients(step, memory, [weights]) for weights in layer_weights(model))
    pooled = _pooled(step, model, memory)
    norms = Sweep("clip", step.at, (*layers, pooled), layers)
    return (step, norms, second_backward(step, model, step.samples))


def ghost(step: Dense, model: ModelConfig, memory: str) -> Clipped:
    """The same with norms from activations and their gradients, and a second backward."""
    vectors = step.samples * layer_vectors(model) * GRADIENT_BYTES
    pooled = _pooled(step, model, memory)
    norms = Sweep("clip", step.at, (Buffer("activations", memory, vectors), pooled))
    return (step, norms, second_backward(step, model, step.samples))


def _pooled(step: Dense, model: ModelConfig, memory: str) -> Buffer:
    """Gradients of the pooled vectors of its samples."""
    size = pooled_bytes(model) * step.samples // model.batch_size
    return Buffer("gradients", memory, size)


def _gradients(step: Dense, memory: str, weights: Sequence[int]) -> Buffer:
    """Gradients of all its samples for `weights` of some layers."""
    size = step.samples * sum(weights) * GRADIENT_BYTES
    return Buffer("sample_gradients", memory, size)


def require_sgd(model: ModelConfig, system: str) -> None:
    """Raise `ConfigError` for optimizers with state: noise is that of SGD."""
    if model.optimizer != "sgd":
        raise ConfigError(
            f"{system} adds noise to the steps of SGD, but model.optimizer is {model.optimizer}: "
            "set model.optimizer: sgd"
        )
