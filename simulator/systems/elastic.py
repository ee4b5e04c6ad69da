"""Elastic serving: what containers of two kinds do for a query (ElasticRec, ISCA 2024, abstract).

A *sparse shard* holds a range of the rows of one table, sorted by how often they are looked up. It
gets the ids of a query that lie in it, and gives back a partial sum a sample. The *dense shard*
takes a query, looks up to which shard each id goes, calls the shards, sums what they give back,
interaction and MLPs on its GPU (where its node has none, on its cores), and answers. A query is a
mini-batch.

Reconstructed from the abstract. Ours: the host's cores look up a row's rank in a list of all rows;
partial sums are added where the MLPs are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.caches.facts import Flow
from simulator.config.model import ModelConfig
from simulator.hardware.program import Add, Buffer, Operation, Pool, Probe, Store
from simulator.hardware.topology import Topology
from simulator.systems.base import move, synchronize
from simulator.systems.cpu_mlp import cpu_forward
from simulator.systems.inference import ANSWER_BYTES
from simulator.systems.mlp import dense_bytes, mlp_forward
from simulator.systems.operators import pooled_bytes, pooled_vectors

__all__ = ["DenseShard", "sparse_shard"]


def sparse_shard(
    model: ModelConfig, machine: Topology, cpu: str, rows: int, lookups: int, held: float
) -> Pool:
    """Gather-reduce of a query in a range of `rows` rows; `model`: of its table alone; `held`:
    share of the lookups that the last cache of the CPU serves."""
    size = rows * model.row_bytes
    store = Store("shard", machine.memory(cpu).place, model.row_bytes, bytes=size)
    pool = pooled_vectors(model, machine, cpu, store, Flow(lookups, min(rows, lookups)))
    return replace(pool, hit_share=held)


@dataclass(frozen=True)
class DenseShard:
    """The dense shard of a model."""

    model: ModelConfig
    machine: Topology
    cpu: str
    gpu: str | None
    """None: the node has none."""

    def sorted_ids(self, lookups: int) -> Probe:
        """The shard of each id."""
        return Probe("find_shards", self.cpu, lookups, 0, 1)

    def answered(self, shards: tuple[int, ...]) -> tuple[Operation, ...]:
        """From partial sums in the host's memory to the answer there; `shards`: of each table."""
        model, machine, size = self.model, self.machine, self.partial_bytes(shards)
        dram, at = machine.memory(self.cpu).place, self.gpu or self.cpu
        place = machine.memory(at).place
        sums = Buffer("partial_sums", place, size)
        pooled = Buffer("pooled", place, pooled_bytes(model))
        add = (Add("add_partial_sums", at, (sums,), pooled),) if max(shards) > 1 else ()
        if self.gpu is None:
            return (*add, cpu_forward(model, at))
        return (
            move("partial_sums", dram, place, size + dense_bytes(model)),
            *add,
            mlp_forward(model, at),
            move("answers_to_cpu", place, dram, model.batch_size * ANSWER_BYTES),
            synchronize(at),
        )

    def partial_bytes(self, shards: tuple[int, ...]) -> int:
        """Of the partial sums of all shards."""
        each = (pooled_bytes(self.model.of_tables((t,))) for t in range(self.model.tables))
        return sum(count * size for count, size in zip(shards, each, strict=True))
