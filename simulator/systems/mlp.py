"""The dense part of the model as one word: bottom MLP, interaction, top MLP (no time, no machine).

A product of B samples, I inputs and O outputs takes 2 B I O FLOP forward and twice that backward
(gradient of inputs and of weights). Vectors meet

- `dot`: every pair of V vectors of D elements: 2 B V V D FLOP forward, V (V - 1) / 2 results
  beside the bottom MLP's output;
- `cat`: side by side, F elements;
- `cross`: side by side, then layers x' = x0 * (U (V x) + b) + x with V (R, F), U (F, R), b (F)
  (Wang et al., "DCN V2", WWW 2021, low rank): two products, 4 B F R FLOP forward, 2 F R + F
  weights.

Elementwise work (activations, the cross layers' product and sum) is traffic and kernels, no FLOP.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from simulator.config.model import ModelConfig
from simulator.hardware.program import GRADIENT_BYTES, Dense

__all__ = [
    "bottom_beside",
    "dense_bytes",
    "interaction_flops",
    "mlp_flops",
    "mlp_kernels",
    "mlp_step",
]
__all__ += ["mlp_weight_bytes", "side_by_side", "top_inputs"]

_INTERACTION_KERNELS = {"dot": 6, "cat": 2, "cross": 2}
"""Concatenate; `dot`: product and selection as well; forward and backward. A cross layer has 14:
two products as a layer has (see `mlp_kernels`), its activation being the product with x0 and the
sum, forward and backward."""


def dense_bytes(model: ModelConfig) -> int:
    """Bytes of the dense features and labels of a mini-batch (fp32)."""
    return model.batch_size * (model.dense_features + 1) * GRADIENT_BYTES


def side_by_side(model: ModelConfig) -> int:
    """Elements of a sample's vectors, and of dense features that have none, side by side."""
    pooled = sum(model.vector_widths)
    if model.average_stride is not None:
        below = sum(model.bottom_widths[-1:])
        pooled = below + -(-sum(model.pooled_dims) // model.average_stride)
    return pooled + (model.dense_features if model.bottom_mlp is None else 0)


def top_inputs(model: ModelConfig) -> int:
    """Elements of a sample that the top MLP gets."""
    if model.interaction != "dot":
        return side_by_side(model)
    vectors = len(model.vector_widths)
    return sum(model.bottom_widths[-1:]) + vectors * (vectors - 1) // 2


def _cross_products(model: ModelConfig) -> list[tuple[int, int]]:
    """(inputs, outputs) of the products of the cross layers."""
    if model.interaction != "cross":
        return []
    wide, rank = side_by_side(model), model.cross.rank
    return [(wide, rank), (rank, wide)] * model.cross.layers


def _layers(model: ModelConfig) -> list[tuple[int, int]]:
    """(inputs, outputs) of every fully connected layer."""
    top = [top_inputs(model), *model.top_mlp]
    return [*itertools.pairwise(model.bottom_widths), *itertools.pairwise(top)]


def _weights(model: ModelConfig) -> int:
    """Weights of all products, without biases."""
    products = (*_layers(model), *_cross_products(model))
    return sum(inputs * outputs for inputs, outputs in products)


def mlp_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of both MLPs and the interaction for `batch_size` samples."""
    return batch_size * 3 * 2 * _weights(model) + interaction_flops(model, batch_size)


def interaction_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of the dot interaction: small products, one a sample."""
    if model.interaction != "dot":
        return 0
    vectors = len(model.vector_widths)
    return batch_size * 3 * 2 * vectors * vectors * model.width


def mlp_weight_bytes(model: ModelConfig) -> int:
    """Bytes of the weights and biases of MLPs and cross layers (fp32)."""
    biases = sum(outputs for _, outputs in _layers(model))
    biases += sum(outputs for _, outputs in _cross_products(model)[1::2])
    return (_weights(model) + biases) * GRADIENT_BYTES


def mlp_kernels(model: ModelConfig) -> int:
    """Kernels of one training step of the MLPs.

    A layer: product with bias and activation forward; activation, input gradient, weight gradient
    and bias gradient backward; update of weight and of bias. Interaction: `_INTERACTION_KERNELS`,
    and an average with its backward. Loss forward and backward.
    """
    products = len(_layers(model)) + len(_cross_products(model))
    average = 0 if model.average_stride is None else 2
    return 7 * products + _INTERACTION_KERNELS[model.interaction] + average + 2


def _activation_bytes(model: ModelConfig, batch_size: int) -> int:
    """Activations written forward, read backward, and gradients of the same size: outputs of all
    products, vectors side by side, the output of each cross layer."""
    outputs = sum(outputs for _, outputs in (*_layers(model), *_cross_products(model)))
    meeting = sum(model.vector_widths)
    if model.interaction == "cross":
        meeting += model.cross.layers * side_by_side(model)
    return batch_size * (outputs + meeting) * GRADIENT_BYTES


def bottom_beside(step: Dense, model: ModelConfig, samples: int) -> tuple[Dense, Dense, Dense]:
    """`step` as three: the forward of the bottom MLP, all that needs the pooled vectors, and the
    backward of the bottom MLP with its update.

    Forward is a third of the FLOPs, half of the traffic of activations and a fifth of that of
    weights, one kernel of seven a layer; together they are `step`.
    """
    layers = list(itertools.pairwise(model.bottom_widths))
    weights = sum(inputs * outputs for inputs, outputs in layers)
    outputs = sum(outputs for _, outputs in layers)
    flops, activations = samples * 2 * weights, samples * outputs * GRADIENT_BYTES
    stored = (weights + outputs) * GRADIENT_BYTES

    def part(name: str, flops: int, kernels: int, activations: int, stored: int) -> Dense:
        return replace(
            step,
            name=name,
            flops=flops,
            batched_flops=0,
            kernels=kernels,
            activation_bytes=activations,
            weight_bytes=stored,
        )

    forward = part("bottom_mlp", flops, len(layers), activations // 2, stored // 5)
    backward = part(
        "bottom_mlp_back",
        2 * flops,
        6 * len(layers),
        activations - forward.activation_bytes,
        stored - forward.weight_bytes,
    )
    rest = replace(
        step,
        flops=step.flops - 3 * flops,
        kernels=step.kernels - 7 * len(layers),
        activation_bytes=step.activation_bytes - activations,
        weight_bytes=step.weight_bytes - stored,
    )
    return forward, rest, backward


def mlp_step(model: ModelConfig, at: str, samples: int | None = None) -> Dense:
    """Forward, backward and SGD step of the MLPs and the interaction for `samples` samples."""
    count = model.batch_size if samples is None else samples
    return Dense(
        "mlp",
        at,
        flops=mlp_flops(model, count),
        batched_flops=interaction_flops(model, count),
        precision=model.mlp_precision,
        kernels=mlp_kernels(model),
        activation_bytes=_activation_bytes(model, count),
        weight_bytes=mlp_weight_bytes(model),
    )
