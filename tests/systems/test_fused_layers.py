"""Layers that are fused: what is left of their kernels and traffic."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.config.model import ModelConfig
from simulator.hardware.program import FusedLayers
from simulator.systems.mlp import (
    bottom_beside,
    forward_of,
    mlp_step,
    mlp_weight_bytes,
    second_backward,
    side_by_side,
)

SIZES = {"dim": 64, "lookups_per_table": 1, "batch_size": 100}
KEYS = ("kernels", "chain", "bytes_read", "bytes_written")


def model(**keys: Any) -> ModelConfig:
    return ModelConfig(**{"name": "m", "tables": 8, "rows_per_table": 1_000, **SIZES, **keys})


def fused(step: Any) -> FusedLayers:
    assert isinstance(step.fused, FusedLayers)
    return step.fused


@pytest.mark.parametrize(("precision", "read", "written"), [("fp32", 8, 4), ("fp16", 6, 6)])
def test_a_layer_is_three_products_and_one_kernel_updates_all(
    precision: str, read: int, written: int
) -> None:
    """Loss: two kernels. No pass over activations; fp16: a master weight, a gradient and a copy."""
    own = model(mlp_precision=precision)
    layers, weights = len(own.bottom_widths) - 1 + len(own.top_mlp), mlp_weight_bytes(own) // 4
    left = fused(mlp_step(own, "gpu", 100))
    assert (left.kernels, left.chain) == (3 * layers + 3, 2 * layers + 3)
    assert (left.bytes_read, left.bytes_written) == (read * weights, written * weights)


def test_cross_layers_keep_their_kernels() -> None:
    own = model(interaction="cross", cross={"layers": 3, "rank": 16})
    layers, wide = len(own.bottom_widths) - 1 + len(own.top_mlp), side_by_side(own)
    left, weights = fused(mlp_step(own, "gpu", 10)), mlp_weight_bytes(own) // 4
    assert left.kernels == 3 * layers + 3 + 3 * 2 * 5
    passed = 10 * 4 * (3 * (16 + wide) + 3 * wide)
    assert left.bytes_read == 4 * passed + 8 * weights
    assert left.bytes_written == 2 * passed + 4 * weights


@pytest.mark.parametrize("interaction", ["dot", "cross"])
def test_parts_beside_the_exchange_are_the_step_with_an_update_more(interaction: str) -> None:
    keys = {"cross": {"layers": 2, "rank": 16}} if interaction == "cross" else {}
    own = model(interaction=interaction, **keys)
    step = mlp_step(own, "gpu", 100)
    parts = [fused(part) for part in bottom_beside(step, own, 100)]
    sums = {key: sum(getattr(part, key) for part in parts) for key in KEYS}
    whole = {key: getattr(fused(step), key) for key in KEYS}
    assert sums == whole | {"kernels": whole["kernels"] + 1, "chain": whole["chain"] + 1}


def test_forward_alone_is_a_kernel_a_layer_and_the_second_backward_updates_nothing() -> None:
    own = model()
    step, layers = mlp_step(own, "gpu", 100), len(own.bottom_widths) - 1 + len(own.top_mlp)
    forward = forward_of(step, own)
    assert fused(forward) == FusedLayers(layers, layers)
    assert fused(second_backward(step, own, 100)) == FusedLayers(2 * layers, layers)
    first, rest, _ = bottom_beside(step, own, 100)
    each = [fused(forward_of(part, own)).kernels for part in (first, rest)]
    assert sum(each) == layers
