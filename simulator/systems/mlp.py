"""The dense part of the model as one word: bottom MLP, interaction, top MLP (no time, no machine).

A product of B samples, I inputs and O outputs takes 2 B I O FLOP forward and twice that backward
(gradient of inputs and of weights). Vectors meet

- `dot`: every pair of V vectors of D elements: 2 B V V D FLOP forward, V (V - 1) / 2 results
  beside the bottom MLP's output. They are computed in tiles of T x T, T = 32: with 5 vectors as
  long as with 27. Time grows with ceil(V / T), not with its square, for a larger product reuses
  what it has read (27, 33, 65 vectors on an H100: 76, 154, 235 us forward and backward), so that
  2 B T T ceil(V / T) D are counted;
- `cat`: side by side, F elements;
- `cross`: side by side, then layers x' = x0 * (U (V x) + b) + x with V (R, F), U (F, R), b (F)
  (Wang et al., "DCN V2", WWW 2021, low rank): two products, 4 B F R FLOP forward, 2 F R + F
  weights.

Kernels beside the products are traffic, no FLOP: of an activation and its gradient ReLU (1 read,
1 write forward, 2 reads, 1 write backward) and the sum of the bias gradient (1 read); of a weight
its update (2 reads, 1 write) and in half precision casts of it and of its gradient; of the vectors
`_VECTOR_BYTES`. Operands and results of a layer's products pass while those compute, and are not
counted. Ignored: the average of neighbours, casts of dense features, biases' casts.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from simulator.config.model import ModelConfig
from simulator.hardware.program import GRADIENT_BYTES, Dense, Interaction
from simulator.systems.fused_layers import Layers

__all__ = [
    "TILE",
    "answers",
    "bottom_beside",
    "dense_bytes",
    "forward_of",
    "interaction_flops",
    "layer_vectors",
    "layer_weights",
    "mlp_flops",
    "mlp_kernels",
    "mlp_step",
]
__all__ += ["mlp_forward", "mlp_weight_bytes", "second_backward", "side_by_side", "top_inputs"]

_INTERACTION_KERNELS = {"dot": 6, "cat": 2, "cross": 2}
"""Concatenate; `dot`: product and selection as well; forward and backward. A cross layer has 14:
two products as a layer has (see `mlp_kernels`), its activation being the product with x0 and the
sum, forward and backward. The short kernels by which PyTorch sorts the indices of a selection are
left out."""

BOTTOM, BOTTOM_BACK = "bottom_mlp", "bottom_mlp_back"
"""Steps of `bottom_beside`."""
TILE = 32
"""Vectors of a tile of a batched product (kernels of cuBLAS for it are named by it)."""

_VECTOR_BYTES = {
    ("dot", False): (28, 20), ("dot", True): (36, 28),
    ("cat", False): (8, 8), ("cat", True): (14, 14),
}  # fmt: skip
"""Bytes read and written for each element of the vectors that meet, in half precision or not:
concatenate (4, 4), and copy the gradient (4, 4). `dot`: product (4, 0), its two gradients (8, 8),
their sum (8, 4). In half precision casts: of `cat` one and back (6, 6); of `dot` both operands
(8, 4) and both gradients (4, 8), while products take 2 B an element of each."""
_WEIGHT_BYTES = {False: (8, 4), True: (14, 10)}
"""The same for each weight: update (8, 4); in half precision a cast (4, 2) and one of the gradient
(2, 4)."""


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


def _layer_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of all layers, cross layers included."""
    return batch_size * 3 * 2 * _weights(model)


def mlp_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of both MLPs and the interaction for `batch_size` samples."""
    return _layer_flops(model, batch_size) + interaction_flops(model, batch_size)


def layer_weights(model: ModelConfig) -> list[int]:
    """Weights and biases of each product (of cross layers two in a row)."""
    layers = [inputs * outputs + outputs for inputs, outputs in _layers(model)]
    products = _cross_products(model)
    crossed = [i * o + o * (k % 2) for k, (i, o) in enumerate(products)]
    return layers + crossed


def layer_vectors(model: ModelConfig) -> int:
    """Elements of a sample that go into products and come out of them."""
    return sum(i + o for i, o in (*_layers(model), *_cross_products(model)))


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
    return _layer_kernels(model) + _interaction_kernels(model)


def _layer_kernels(model: ModelConfig) -> int:
    return 7 * (len(_layers(model)) + len(_cross_products(model))) + 2


def _interaction_kernels(model: ModelConfig) -> int:
    average = 0 if model.average_stride is None else 2
    return _INTERACTION_KERNELS[model.interaction] + average


def _activations(model: ModelConfig) -> int:
    """Elements of a sample: outputs of all products, and the output of each cross layer."""
    outputs = sum(outputs for _, outputs in (*_layers(model), *_cross_products(model)))
    if model.interaction == "cross":
        outputs += model.cross.layers * side_by_side(model)
    return outputs


def _fusing(model: ModelConfig, samples: int) -> Layers:
    """The layers where their kernels are fused."""
    crossed = _cross_products(model)
    elements = sum(outputs for _, outputs in crossed)
    if crossed:
        elements += model.cross.layers * side_by_side(model)
    passed = samples * elements * (2 if _half(model) else GRADIENT_BYTES)
    weights = mlp_weight_bytes(model) // GRADIENT_BYTES
    return Layers(len(_layers(model)), len(crossed), weights, passed, _half(model))


def _half(model: ModelConfig) -> bool:
    return model.mlp_precision in ("fp16", "bf16")


def _interaction(model: ModelConfig, samples: int) -> Interaction:
    """The interaction of `samples` samples."""
    vectors, elements = len(model.vector_widths), samples * sum(model.vector_widths)
    dot, half = model.interaction == "dot", _half(model)
    read, written = _VECTOR_BYTES["dot" if dot else "cat", half]
    strips = -(-vectors // TILE)
    return Interaction(
        kernels=_interaction_kernels(model),
        bytes_read=read * elements,
        bytes_written=written * elements,
        tile_flops=samples * 3 * 2 * TILE * TILE * strips * model.width if dot else 0,
        pairs=samples * vectors * (vectors - 1) // 2 if dot else 0,
        vector_bytes=elements * (2 if half else GRADIENT_BYTES),
    )


def bottom_beside(step: Dense, model: ModelConfig, samples: int) -> tuple[Dense, Dense, Dense]:
    """`step` as three: the forward of the bottom MLP, all that needs the pooled vectors, and the
    backward of the bottom MLP with its update.

    Forward is a third of the FLOPs, half of the traffic of activations and a fifth of that of
    weights, one kernel of seven a layer; together they are `step`.
    """
    layers = list(itertools.pairwise(model.bottom_widths))
    products = sum(inputs * outputs for inputs, outputs in layers)
    outputs = sum(outputs for _, outputs in layers)
    flops, weights = samples * 2 * products, products + outputs
    activations = samples * outputs * (2 if _half(model) else GRADIENT_BYTES)
    read, written = _WEIGHT_BYTES[_half(model)]
    fusing = Layers(len(layers), weights=weights, half=_half(model))
    alone = replace(step, interaction=Interaction(0, bytes_read=0, bytes_written=0))
    forward = replace(
        alone,
        name=BOTTOM,
        flops=flops,
        kernels=len(layers),
        bytes_read=2 * activations + read * weights // 5,
        bytes_written=activations + written * weights // 5,
        fused=fusing.forward(),
    )
    backward = replace(
        alone,
        name=BOTTOM_BACK,
        flops=2 * flops,
        kernels=6 * len(layers),
        bytes_read=4 * activations + read * weights - forward.bytes_read,
        bytes_written=2 * activations + written * weights - forward.bytes_written,
        fused=fusing.backward(),
    )
    rest = replace(
        step,
        flops=step.flops - 3 * flops,
        kernels=step.kernels - 7 * len(layers),
        bytes_read=step.bytes_read - forward.bytes_read - backward.bytes_read,
        bytes_written=step.bytes_written - forward.bytes_written - backward.bytes_written,
        fused=_fusing(model, samples).less(fusing).step(),
    )
    return forward, rest, backward


def second_backward(step: Dense, model: ModelConfig, samples: int) -> Dense:
    """The backward of `step` once more, without its update: of a loss that was weighted anew.

    Two thirds of the FLOPs, half of the traffic of activations and of the interaction, four kernels
    of seven a layer.
    """
    activations = samples * _activations(model) * (2 if _half(model) else GRADIENT_BYTES)
    meet = step.interaction
    return replace(
        step,
        name="second_backward",
        flops=2 * step.flops // 3,
        kernels=4 * (len(_layers(model)) + len(_cross_products(model))) + 1,
        bytes_read=2 * activations,
        bytes_written=activations,
        interaction=Interaction(
            kernels=meet.kernels // 2,
            bytes_read=meet.bytes_read // 2,
            bytes_written=meet.bytes_written // 2,
            tile_flops=2 * meet.tile_flops // 3,
            pairs=meet.pairs // 2,
            vector_bytes=meet.vector_bytes,
        ),
        fused=_fusing(model, samples).backward(update=False),
    )


def mlp_step(model: ModelConfig, at: str, samples: int | None = None) -> Dense:
    """Forward, backward and SGD step of the MLPs and the interaction for `samples` samples."""
    count = model.batch_size if samples is None else samples
    half = _half(model)
    activations = count * _activations(model) * (2 if half else GRADIENT_BYTES)
    weights = mlp_weight_bytes(model) // GRADIENT_BYTES
    read, written = _WEIGHT_BYTES[half]
    return Dense(
        "mlp",
        at,
        flops=_layer_flops(model, count),
        precision=model.mlp_precision,
        kernels=_layer_kernels(model),
        bytes_read=4 * activations + read * weights,
        bytes_written=2 * activations + written * weights,
        interaction=_interaction(model, count),
        samples=count,
        fused=_fusing(model, count).step(),
    )


def answers(step: Dense) -> bool:
    """Whether `step` ends in the output of the top MLP."""
    return step.name not in (BOTTOM, BOTTOM_BACK)


def forward_of(step: Dense, model: ModelConfig) -> Dense | None:
    """The forward alone of a step of `mlp_step`, or of a part of one by `bottom_beside`; None of a
    part that is backward alone.

    A third of the FLOPs, one kernel of seven a layer and the last activation, half of the
    interaction. Activations are read and written once more (ReLU); weights stay as they are, so
    that nothing updates or casts them.
    """
    if step.name == BOTTOM_BACK:
        return None
    size, bottom = 2 if _half(model) else GRADIENT_BYTES, sum(model.bottom_widths[1:])
    if step.name == BOTTOM:
        passed = step.samples * bottom * size
        return replace(step, bytes_read=passed, bytes_written=passed)
    outputs, fusing = _activations(model), _fusing(model, step.samples)
    if step.kernels < _layer_kernels(model):  # the bottom MLP is a step of its own
        outputs -= bottom
        fusing = fusing.less(Layers(len(model.bottom_widths) - 1))
    activations = step.samples * outputs * size
    meet = step.interaction
    return replace(
        step,
        flops=step.flops // 3,
        kernels=(step.kernels - 2) // 7 + 1,
        bytes_read=activations,
        bytes_written=activations,
        interaction=replace(
            meet,
            kernels=meet.kernels // 2,
            bytes_read=meet.bytes_read // 2,
            bytes_written=meet.bytes_written // 2,
            tile_flops=meet.tile_flops // 3,
            pairs=meet.pairs // 2,
            backward=False,
        ),
        fused=fusing.forward(),
    )


def mlp_forward(model: ModelConfig, at: str, samples: int | None = None) -> Dense:
    """Forward of the MLPs and the interaction for `samples` samples."""
    step = forward_of(mlp_step(model, at, samples), model)
    assert step is not None
    return step
