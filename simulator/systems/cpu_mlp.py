"""The dense part of the model where a CPU computes it.

A core multiplies the small matrices of a dot interaction as they are, not in tiles: its products
count among those of layers.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.config.model import ModelConfig
from simulator.hardware.program import Dense
from simulator.systems.mlp import forward_of, interaction_flops, mlp_step

__all__ = ["cpu_forward", "cpu_step"]


def cpu_step(model: ModelConfig, at: str) -> Dense:
    """Forward, backward and SGD step of the MLPs and the interaction for a mini-batch."""
    step = mlp_step(model, at)
    meet = replace(step.interaction, tile_flops=0, pairs=0)
    flops = step.flops + interaction_flops(model, model.batch_size)
    return replace(step, flops=flops, interaction=meet)


def cpu_forward(model: ModelConfig, at: str) -> Dense:
    """The forward of `cpu_step` alone."""
    step = forward_of(cpu_step(model, at), model)
    assert step is not None
    return step
