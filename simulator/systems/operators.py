"""The embedding operators of one training iteration as words of a program (no time, no machine).

Sources. The decomposition of embedding training into gather-reduce, expand, coalesce (sort and
accumulate) and scatter: Kwon, Lee and Rhu, "Tensor Casting", HPCA 2021. Optimizers: SGD w -= lr g;
Adagrad keeps a sum of squares per weight (one more row read and written); row-wise Adagrad one fp32
per row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.caches.facts import Flow
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.errors import ConfigError
from simulator.hardware.program import (
    GRADIENT_BYTES,
    Accumulate,
    Buffer,
    Expand,
    Operation,
    Pool,
    Sort,
    Store,
    Update,
)
from simulator.hardware.topology import Topology

__all__ = ["Backward", "pooled_bytes", "pooled_vectors", "update_by_sums"]


def pooled_bytes(model: ModelConfig) -> int:
    """Bytes of the pooled vectors of a mini-batch (and of their gradients): one a feature."""
    return model.batch_size * sum(model.pooled_dims) * GRADIENT_BYTES


def pooled_vectors(
    model: ModelConfig, machine: Topology, at: str, store: Store, rows: Flow, skipped: int = 0
) -> Pool:
    """Gather-reduce at `at` of the tables of `store`; the pooled vectors stay in its memory.

    `model`: with those tables alone. `skipped`: ids in its list that are marked as not to be looked
    up. Raises `ConfigError` where model and store have not as many tables.
    """
    if store.tables != model.tables:
        raise ConfigError(
            f"pooled_vectors: {store.name} holds {store.tables} tables, the model has "
            f"{model.tables}: pass model.of_tables of those"
        )
    into = Buffer("pooled", machine.memory(at).place, pooled_bytes(model))
    longest = max(map(max, model.lookups_per_table)) if rows.longest is None else rows.longest
    return Pool("gather_reduce", at, store, rows, into, longest, skipped, features=model.features)


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
        return self.machine.processor(self.at).training_passes(self.software, self.model.optimizer)

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
        size, tables = self.model.width * GRADIENT_BYTES, self.store.tables
        words = {word for word, _ in self.passes}
        expanded, coalesce = "expand" in words, "accumulate" not in words
        if word == "expand":
            return Expand(name, self.at, source, rows, size, self.model.features, skipped)
        if word == "sort":
            largest = max(self.model.rows_per_table)
            return Sort(name, self.at, rows, tables, largest, self.key_rows, skipped)
        if word == "accumulate":
            return Accumulate(name, self.at, source, rows, size, expanded, tables)
        optimizer = self.model.optimizer
        return Update(name, self.at, self.store, rows, source, size, coalesce, expanded, optimizer)


def update_by_sums(word: Update, rows: Flow, sums: Buffer) -> Update:
    """`word` for `rows` whose gradients are summed already: one a row lies in `sums`."""
    once = replace(rows, lookups=rows.rows)
    return replace(word, rows=once, source=sums, expanded=True)
