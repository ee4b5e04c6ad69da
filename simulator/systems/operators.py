"""The operators of one training iteration as bytes, rows and FLOPs (no time, no machine).

Sources. The decomposition of embedding training into gather-reduce, expand, coalesce (sort and
accumulate) and scatter: Kwon, Lee and Rhu, "Tensor Casting", HPCA 2021. FLOPs of a layer: 2 x
batch x inputs x outputs forward, twice that backward (gradient of inputs and of weights).
Optimizers: SGD w -= lr g; Adagrad keeps a sum of squares per weight (one more row read and
written); row-wise Adagrad one fp32 per row.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.hardware.work import Access, CpuWork, GpuWork

__all__ = [
    "GRADIENT_BYTES",
    "ID_BYTES",
    "CpuOperators",
    "GpuOperators",
    "dense_bytes",
    "interaction_flops",
    "mlp_flops",
    "mlp_kernels",
    "mlp_step",
    "mlp_weight_bytes",
    "pooled_bytes",
]

RADIX_BITS = 8
"""Bits of a radix pass (CUB and most CPU radix sorts)."""
ID_BYTES = 8
"""An id as PyTorch keeps it (int64)."""
POSITION_BYTES = 4
POOL_UNROLL = 4
"""Rows that a thread of the pooled gather asks for before it adds them up."""
UPDATE_CHAIN = 4
"""Where a segment starts, which positions it has, their gradients, the row."""
GRADIENT_BYTES = 4
"""Gradients and pooled vectors are fp32."""

Rows = npt.NDArray[np.int64]


def pooled_bytes(model: ModelConfig) -> int:
    """Bytes of the pooled vectors of a mini-batch (and of their gradients)."""
    return model.batch_size * model.tables * model.dim * GRADIENT_BYTES


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


def mlp_step(
    model: ModelConfig,
    profile: OperatorProfile,
    batch_size: int | None = None,
    gpus: int = 1,
) -> GpuWork:
    """Forward, backward and SGD step of the MLPs and the interaction on each of `gpus` GPUs.

    Launched eagerly the host is in the way: one process launches for all GPUs in turn.
    """
    samples = model.batch_size if batch_size is None else batch_size
    activations = _mlp_activation_bytes(model, samples)
    launched_in_turn = gpus if profile.gpu.host_processes == "one" else 1
    dispatch = 0
    if profile.gpu.mlp == "eager":
        dispatch = mlp_kernels(model) * launched_in_turn * profile.gpu.kernel_dispatch
    weights = mlp_weight_bytes(model)
    return GpuWork(
        name="mlp",
        kernels=mlp_kernels(model),
        accesses=(
            Access(1, 2 * activations + 3 * weights, random=False),
            Access(1, 2 * activations + 2 * weights, random=False, write=True),
        ),
        flops=mlp_flops(model, samples),
        batched_flops=interaction_flops(model, samples),
        precision=model.mlp_precision,
        dispatch_ps=dispatch,
    )


def _sort_bits(rows: int) -> int:
    return max(1, math.ceil(math.log2(max(2, rows))))


@dataclass(frozen=True)
class CpuOperators:
    """Embedding operators on the CPU for one model under one operator profile."""

    model: ModelConfig
    profile: OperatorProfile

    def _state(self, rows: int, pieces: Rows | None) -> tuple[Access, ...]:
        """Optimizer state of `rows` rows: read and written in place."""
        size = self.model.state_bytes
        if not size:
            return ()
        return (
            Access(rows, size, pieces=pieces),
            Access(rows, size, write=True, in_place=True, pieces=pieces),
        )

    def gather_reduce(self, lookups: int, hit_share: float, rows: Rows | None = None) -> CpuWork:
        """Read a row a lookup, sum by sample, write the pooled vectors."""
        model, operator = self.model, self.profile.gather_reduce
        return CpuWork(
            name="gather_reduce",
            operator=operator,
            accesses=(
                Access(lookups, ID_BYTES, random=False),
                Access(lookups, model.row_bytes, hit_share=hit_share, pieces=rows),
                Access(1, pooled_bytes(model), random=False, write=True),
            ),
            rows=lookups,
            tables=model.tables,
        )

    def backward(self, lookups: int, unique: int, rows: Rows | None = None) -> tuple[CpuWork, ...]:
        """Expand, sort, accumulate, scatter, as passes of their own or fused as the profile says.

        `rows`: the unique rows, for exact memory replay.
        """
        works = [self._sort(lookups)]
        if self.profile.expand is not None:
            works.insert(0, self._expand(lookups))
        works.append(self._accumulate(lookups, unique, rows))
        if self.profile.scatter is not None:
            works.append(self._scatter(unique, rows))
        return tuple(works)

    def _expand(self, lookups: int) -> CpuWork:
        """Copy the gradient of a sample once per lookup (the sample's own vector stays cached)."""
        operator = self.profile.expand
        assert operator is not None
        gradient = self.model.dim * GRADIENT_BYTES
        return CpuWork(
            name="expand",
            operator=operator,
            accesses=(
                Access(1, pooled_bytes(self.model), random=False),
                Access(lookups, gradient, write=True, random=False),
            ),
            rows=lookups,
            tables=self.model.tables,
        )

    def _sort(self, lookups: int) -> CpuWork:
        """Order (id, position) pairs by id, table by table."""
        per_table = lookups / self.model.tables
        pair = ID_BYTES + POSITION_BYTES
        if self.profile.sort_kind == "radix":
            passes = math.ceil(_sort_bits(max(self.model.rows_per_table)) / RADIX_BITS)
        else:
            passes = max(1, math.ceil(math.log2(max(2.0, per_table))))
        return CpuWork(
            name="sort",
            operator=self.profile.sort,
            accesses=(
                Access(lookups, pair, random=False),
                Access(lookups, pair, random=False, write=True),
            ),
            rows=lookups * passes,
            tables=self.model.tables,
        )

    def _accumulate(self, lookups: int, unique: int, rows: Rows | None) -> CpuWork:
        """Sum the gradients of equal ids; where scatter is fused, update the row at once."""
        operator = self.profile.accumulate
        gradient = self.model.dim * GRADIENT_BYTES
        read: tuple[Access, ...]
        if self.profile.expand is None:
            read = (
                Access(lookups, gradient, hit_share=1.0),
                Access(1, pooled_bytes(self.model), random=False),
            )  # the pooled gradients stay in the last-level cache after the first read
        else:
            read = (Access(lookups, gradient),)  # each expanded gradient once
        if self.profile.scatter is None:
            write = self._update(unique, rows)
        else:
            write = (Access(unique, gradient, write=True, random=False),)
        return CpuWork(
            name="accumulate",
            operator=operator,
            accesses=(*read, *write),
            rows=lookups,
            tables=self.model.tables,
        )

    def _update(self, unique: int, rows: Rows | None) -> tuple[Access, ...]:
        """Read and write each unique row and its optimizer state."""
        size = self.model.row_bytes
        return (
            Access(unique, size, pieces=rows),
            Access(unique, size, write=True, in_place=True, pieces=rows),
            *self._state(unique, rows),
        )

    def _scatter(self, unique: int, rows: Rows | None) -> CpuWork:
        operator = self.profile.scatter
        assert operator is not None
        return CpuWork(
            name="scatter",
            operator=operator,
            accesses=(
                Access(unique, self.model.dim * GRADIENT_BYTES, random=False),
                *self._update(unique, rows),
            ),
            rows=unique,
            tables=self.model.tables,
        )

    def collect(self, missed: int, rows: Rows | None = None) -> CpuWork:
        """Copy missed rows (and their optimizer state) into the pinned staging buffer."""
        size = self.model.row_bytes + self.model.state_bytes
        return CpuWork(
            name="gather",
            operator=self.profile.gather,
            accesses=(
                Access(missed, size, pieces=rows),
                Access(missed, size, write=True, random=False),
            ),
            rows=missed,
            tables=self.model.tables,
        )

    def insert(self, victims: int, rows: Rows | None = None) -> CpuWork:
        """Copy victims from the pinned staging buffer into the tables."""
        size = self.model.row_bytes + self.model.state_bytes
        return CpuWork(
            name="row_scatter",
            operator=self.profile.row_scatter,
            accesses=(
                Access(victims, size, random=False, staged=True),
                Access(victims, size, write=True, pieces=rows),
            ),
            rows=victims,
            tables=self.model.tables,
        )


@dataclass(frozen=True)
class GpuOperators:
    """Embedding operators on one GPU for one model under one operator profile."""

    model: ModelConfig
    profile: OperatorProfile

    def _sets(self, tables: int) -> int:
        """Kernels of each kind: one set for all tables, or one a table."""
        return tables if self.profile.gpu.kernels_per_table else 1

    def gather_reduce(
        self,
        lookups: int,
        hit_share: float,
        *,
        tables: int | None = None,
        slots: Rows | None = None,
    ) -> GpuWork:
        """Read a row a lookup out of HBM, sum by sample, write the pooled vectors."""
        model = self.model
        of = model.tables if tables is None else tables
        pooled = model.batch_size * of * model.dim * GRADIENT_BYTES
        return GpuWork(
            name="gather_reduce",
            kernels=self._sets(of),
            accesses=(
                Access(lookups, ID_BYTES, random=False),
                Access(lookups, model.row_bytes, hit_share=hit_share, pieces=slots),
                Access(1, pooled, random=False, write=True),
            ),
            chain=2 + -(-max(model.lookups_per_table) // POOL_UNROLL),
        )

    def backward(
        self,
        lookups: int,
        unique: int,
        rows: int,
        *,
        tables: int | None = None,
        slots: Rows | None = None,
    ) -> tuple[GpuWork, ...]:
        """Expand (where the profile has it), sort by id, accumulate and update each unique row.

        `rows`: rows (or slots) that an id can name: the width of the sort's key.
        """
        model = self.model
        of = model.tables if tables is None else tables
        sets = self._sets(of)
        gradient = model.dim * GRADIENT_BYTES
        works = [
            GpuWork(
                name="sort",
                kernels=2 * sets,
                sort_pairs=lookups,
                sort_passes=math.ceil(_sort_bits(rows // sets) / RADIX_BITS),
                sorts=sets,
            )
        ]
        if self.profile.gpu.expand:
            works.insert(0, self._expand(lookups, sets))
            read = Access(lookups, gradient)
        else:
            read = Access(lookups, gradient, hit_share=self._gradient_hits(lookups))
        state = model.state_bytes
        update = [
            Access(unique, model.row_bytes, pieces=slots),
            Access(unique, model.row_bytes, write=True, pieces=slots),
        ]
        if state:
            update += [
                Access(unique, state, pieces=slots),
                Access(unique, state, write=True, pieces=slots),
            ]
        works.append(
            GpuWork(
                name="update",
                kernels=sets,
                accesses=(Access(lookups, ID_BYTES + POSITION_BYTES, random=False), read, *update),
                chain=UPDATE_CHAIN,
            )
        )
        return tuple(works)

    def _gradient_hits(self, lookups: int) -> float:
        """Share of the reads of pooled gradients after the first read of each (they stay in L2)."""
        vectors = self.model.batch_size * self.model.tables
        return max(0.0, 1.0 - vectors / lookups) if lookups else 0.0

    def _expand(self, lookups: int, sets: int) -> GpuWork:
        gradient = self.model.dim * GRADIENT_BYTES
        return GpuWork(
            name="expand",
            kernels=sets,
            accesses=(
                Access(1, pooled_bytes(self.model), random=False),
                Access(lookups, gradient, write=True, random=False),
            ),
        )

    def gather(self, name: str, rows: int, slots: Rows | None = None) -> GpuWork:
        """Copy rows (and their optimizer state) from slots to a staging buffer."""
        size = self.model.row_bytes + self.model.state_bytes
        return GpuWork(
            name=name,
            kernels=1 if rows else 0,
            accesses=(
                Access(rows, size, pieces=slots),
                Access(rows, size, write=True, random=False),
            ),
        )

    def scatter(self, name: str, rows: int, slots: Rows | None = None) -> GpuWork:
        """Copy rows (and their optimizer state) from a staging buffer into slots."""
        size = self.model.row_bytes + self.model.state_bytes
        return GpuWork(
            name=name,
            kernels=1 if rows else 0,
            accesses=(
                Access(rows, size, random=False),
                Access(rows, size, write=True, pieces=slots),
            ),
        )

    def plan(self, lookups: int, unique: int, missed: int, slots: int) -> GpuWork:
        """Look ids up in the Hit-Map, choose victims by age, update Hit-Map and Hold mask.

        Kernels: mark and look up; compact misses; scan ages; choose victims; update maps. Probes:
        a lookup reads its Hit-Map entry and stamps its slot; a miss writes its entry, erases the
        victim's, and sets owner and age of the slot. The age of every slot is read once.
        """
        return GpuWork(
            name="plan",
            kernels=5,
            accesses=(
                Access(lookups, ID_BYTES, random=False),
                Access(1, slots * POSITION_BYTES, random=False),
                Access(unique, ID_BYTES, random=False, write=True),
            ),
            probes=2 * lookups + 4 * missed,
        )
