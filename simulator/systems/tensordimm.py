"""TensorDIMM: all tables in a pool of buffered modules at the GPU's own link, every row cut over
all modules (Kwon, Lee and Rhu, "TensorDIMM: A Practical Near-Memory Processing Architecture for
Embeddings and Tensor Operations in Deep Learning", MICRO 2019).

Second-hand (summaries of the paper, and of Tensor Casting, HPCA 2021, its form for training): ids
are sent by the GPU, modules gather and reduce pieces of 64 B of every row, pooled vectors come back
over the GPU's link; a vector unit a rank. Tensor Casting lets the same gather-reduce coalesce
gradients by a list that the GPU sorts, then scatters. Published: 6.2 to 17.6 times as fast as
CPU-only and hybrid in inference (abstract), 1.9 to 21 times in training (Tensor Casting).

The paper is about inference: how rows are trained is ours, in Tensor Casting's order (two passes).
Reconstructed: the pool (`tensordimm_ddr4`). Ours: a row as wide as fewer modules leaves groups of
them, each with whole tables. Left out: copying rows to a dense area before they are reduced (two
instructions, recalled), several GPUs.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from simulator.config.parameters import Given, Parameters
from simulator.systems.near_memory import OURS, NearMemorySystem, PoolParameters, UpdatePasses

__all__ = ["TensorDimm", "TensorDimmParameters"]


class TensorDimmParameters(PoolParameters):
    """Of TensorDIMM."""

    update: Annotated[
        UpdatePasses, Given("second-hand", "Tensor Casting: gather-reduce, then scatter")
    ] = "in_two_passes"
    """Sums of gradients stay in the adder until the row is read and written (`fused`), or go
    through a region of the pool's memory (`in_two_passes`)."""


class TensorDimm(NearMemorySystem):
    """Rows cut over near-memory modules (an inference paper: training is Tensor Casting's)."""

    name: ClassVar[str] = "tensordimm"
    source: ClassVar[str] = "Kwon, Lee and Rhu, TensorDIMM, MICRO 2019 (abstract and summaries)"
    training_is_ours: ClassVar[bool] = True
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "Latencies of its instructions, and tables a node.",
        "Whether rows are copied to a dense area before they are reduced; here they are not.",
    )
    parameters: ClassVar[type[Parameters]] = TensorDimmParameters
    shown_on: ClassVar[str] = "tensordimm_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "vertical"}
    told_by: ClassVar[Literal["cpu", "gpu"]] = "gpu"
