"""The operators of one training iteration as words of a program (no time, no machine).

Sources. The decomposition of embedding training into gather-reduce, expand, coalesce (sort and
accumulate) and scatter: Kwon, Lee and Rhu, "Tensor Casting", HPCA 2021. FLOPs of a layer: 2 x
batch x inputs x outputs forward, twice that backward (gradient of inputs and of weights).
Optimizers: SGD w -= lr g; Adagrad keeps a sum of squares per weight (one more row read and
written); row-wise Adagrad one fp32 per row.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from simulator.caches.facts import Flow
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Dense,
    Expand,
    Operation,
    Pool,
    Sort,
    Store,
    Update,
)
from simulator.hardware.topology import Topology

__all__ = [
    "Backward",
    "dense_bytes",
    "interaction_flops",
    "mlp_flops",
    "mlp_kernels",
    "mlp_step",
    "mlp_weight_bytes",
    "pooled_bytes",
    "pooled_vectors",
]


def pooled_bytes(model: ModelConfig, tables: int | None = None) -> int:
    """Bytes of the pooled vectors of a mini-batch (and of their gradients), of some tables."""
    count = model.tables if tables is None else tables
    return model.batch_size * count * model.dim * GRADIENT_BYTES


def dense_bytes(model: ModelConfig) -> int:
    """Bytes of the dense features and labels of a mini-batch (fp32)."""
    return model.batch_size * (model.dense_features + 1) * GRADIENT_BYTES


def _layers(model: ModelConfig) -> list[tuple[int, int]]:
    """(inputs, outputs) of every fully connected layer."""
    vectors = model.tables + 1
    if model.interaction == "dot":
        top_inputs = model.dim + vectors * (vectors - 1) // 2
    else:
        top_inputs = model.dim * vectors
    top = [top_inputs, *model.top_mlp]
    return [*itertools.pairwise(model.bottom_widths), *itertools.pairwise(top)]


def mlp_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of both MLPs and the interaction for `batch_size` samples."""
    weights = sum(inputs * outputs for inputs, outputs in _layers(model))
    return batch_size * 3 * 2 * weights + interaction_flops(model, batch_size)


def interaction_flops(model: ModelConfig, batch_size: int) -> int:
    """FLOPs of forward and backward of the dot interaction: small products, one a sample."""
    vectors = model.tables + 1
    dot = 2 * vectors * vectors * model.dim if model.interaction == "dot" else 0
    return batch_size * 3 * dot


def mlp_weight_bytes(model: ModelConfig) -> int:
    """Bytes of the MLPs' weights and biases (fp32)."""
    return sum((inputs + 1) * outputs for inputs, outputs in _layers(model)) * GRADIENT_BYTES


def mlp_kernels(model: ModelConfig) -> int:
    """Kernels of one training step of the MLPs.

    A layer: product with bias and activation forward; activation, input gradient, weight gradient
    and bias gradient backward; update of weight and of bias. Interaction: concatenate, product and
    selection, forward and backward. Loss forward and backward.
    """
    return 7 * len(_layers(model)) + 6 + 2


def _mlp_activation_bytes(model: ModelConfig, batch_size: int) -> int:
    """Activations written forward, read backward, and gradients of the same size."""
    outputs = sum(outputs for _, outputs in _layers(model))
    interaction = (model.tables + 1) * model.dim
    return batch_size * (outputs + interaction) * GRADIENT_BYTES


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
        activation_bytes=_mlp_activation_bytes(model, count),
        weight_bytes=mlp_weight_bytes(model),
    )


def pooled_vectors(
    model: ModelConfig, machine: Topology, at: str, store: Store, rows: Flow, skipped: int = 0
) -> Pool:
    """Gather-reduce at `at` of the tables of `store`; the pooled vectors stay in its memory.

    `skipped`: ids in its list that are marked as not to be looked up.
    """
    into = Buffer("pooled", machine.memory(at).place, pooled_bytes(model, store.tables))
    longest = max(model.lookups_per_table) if rows.longest is None else rows.longest
    return Pool("gather_reduce", at, store, rows, into, longest, skipped)


@dataclass(frozen=True)
class Backward:
    """The backward of embeddings at one processor, in the passes that its software has."""

    model: ModelConfig
    machine: Topology
    software: OperatorProfile
    at: str
    store: Store
    key_rows: int
    """Rows (or slots) that an id can name."""

    @property
    def passes(self) -> tuple[tuple[str, str], ...]:
        """Word and name of each pass (see `Processor.training_passes`)."""
        return self.machine.processor(self.at).training_passes(self.software)

    @property
    def names(self) -> tuple[str, ...]:
        """What results call the passes."""
        return tuple(name for _, name in self.passes)

    def operations(
        self, rows: Flow, gradients: Buffer | None = None, skipped: int = 0
    ) -> tuple[Operation, ...]:
        """The passes over `rows` (lookups and unique rows of the mini-batch).

        `gradients`: of the pooled vectors; by default of all tables, in the processor's memory.
        `skipped`: ids in the list that are marked as not to be trained here.
        """
        place = self.machine.memory(self.at).place
        source = gradients or Buffer("gradients", place, pooled_bytes(self.model))
        return tuple(self._word(word, name, rows, source, skipped) for word, name in self.passes)

    def _word(self, word: str, name: str, rows: Flow, source: Buffer, skipped: int) -> Operation:
        size, tables = self.model.dim * GRADIENT_BYTES, self.store.tables
        words = {word for word, _ in self.passes}
        expanded, coalesce = "expand" in words, "accumulate" not in words
        if word == "expand":
            return Expand(name, self.at, source, rows, size, tables)
        if word == "sort":
            largest = max(self.model.rows_per_table)
            return Sort(name, self.at, rows, tables, largest, self.key_rows, skipped)
        if word == "accumulate":
            return Accumulate(name, self.at, source, rows, size, expanded, tables)
        optimizer = self.model.optimizer
        return Update(name, self.at, self.store, rows, source, size, coalesce, expanded, optimizer)
