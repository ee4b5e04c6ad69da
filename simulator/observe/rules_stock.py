"""How words are trained with PyTorch's own operators: profile `stock`.

On the CPU `embedding_bag`, `index_select` for the expanded gradient, `coalesce` of a sparse tensor
(which sorts and sums), `index_add_`, and `index_select` and `index_copy_` for rows that move, over
all tables in one call. On the GPU the same for each table in turn (an EmbeddingBag a table). They
allocate what they return, and a coalesce on the GPU makes the host wait for it, as anywhere.

`Sort` has no steps: PyTorch sorts inside of `coalesce`, which is timed with the pass after it.
Approximated: lookups lie sample by sample, so the GPU picks those of each table out (one small
kernel a table that a data loader would save); the pooled vectors of the CPU are copied once more,
into staging memory. Plan and Split, which PyTorch has nothing for, are the fused operators'.
SGD alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from simulator.config.operators import OperatorProfile
from simulator.config.point import PointConfig
from simulator.errors import UsageError
from simulator.hardware.program import (
    Accumulate,
    Expand,
    Gather,
    Operation,
    Pool,
    Scatter,
    Sort,
    Update,
)
from simulator.observe.binding import Binding, Rule, rows_on_host
from simulator.observe.extra import require_torch
from simulator.observe.items import COLD, GRADIENTS, IDS, Item
from simulator.observe.mlp import RATE
from simulator.observe.steps import Launch, OnHost, Step

__all__ = ["STOCK", "is_stock", "require_operators"]


def is_stock(software: OperatorProfile) -> bool:
    """Whether a profile is that of PyTorch's own operators; their sort is inside of the pass that
    sums gradients."""
    passes = (software.accumulate, software.scatter)
    return (
        software.expand is not None
        and all(each is not None and each.threads == "one" for each in passes)
        and software.gpu.expand
        and software.gpu.kernels_per_table
    )


def require_operators(point: PointConfig) -> None:
    """Raise `UsageError` for operators that observe does not have."""
    software = point.operators
    separate = (software.expand is not None, software.scatter is not None)
    gpu = (software.gpu.expand, software.gpu.kernels_per_table)
    if is_stock(software):
        if point.model.optimizer != "sgd":
            raise UsageError(
                f"observe trains with {point.model.optimizer} in fused operators alone: "
                "--set operators=observed, or --set model.optimizer=sgd"
            )
    elif any((*separate, *gpu)):
        raise UsageError(
            f"observe trains with fused operators (--set operators=observed) or PyTorch's own "
            f"(--set operators=stock); {software.name} has others"
        )


@dataclass(frozen=True)
class _Lookups:
    """Rows of all lookups of one list, and their bags, where they are asked for."""

    rows: Callable[[], Any]
    bags: Callable[[], Any]
    offsets: Callable[[], Any]


def _on_host(b: Binding) -> _Lookups:
    """All of a mini-batch, or those that a split lists; int64 but for the bags."""
    torch, batch = require_torch(), b.work.inputs.batches[b.number]
    if b.takes[0] == IDS:
        ids, bags, offsets = map(torch.from_numpy, (batch.ids, batch.bag_of, batch.offsets))
        return _Lookups(lambda: ids, lambda: bags, lambda: offsets)
    cold = b.buffer(COLD, "cpu")
    return _Lookups(
        lambda: cold.ids[: cold.count], lambda: cold.bags[: cold.count], lambda: cold.offsets
    )


def _table(b: Binding, word: Pool | Update | Gather | Scatter) -> Any:
    store = word.reads if isinstance(word, Pool | Gather) else word.writes
    rows = b.work.store(store)
    return require_torch().from_numpy(rows) if isinstance(rows, np.ndarray) else rows


def _pool_on_host(b: Binding, word: Pool) -> Sequence[Step]:
    bag, table, lookups = require_torch().nn.functional.embedding_bag, _table(b, word), _on_host(b)
    out = b.buffer(b.flow.gives[b.at][0], "cpu").detach().view(-1, table.shape[1])

    def pool() -> None:
        arguments = (lookups.rows(), table, lookups.offsets())
        out.copy_(bag(*arguments, mode="sum", include_last_offset=True))

    return [OnHost(pool)]


def _expand_on_host(b: Binding, _word: Expand) -> Sequence[Step]:
    lookups, handed = _on_host(b), b.handed()
    gradients = b.buffer(GRADIENTS, "cpu")
    flat = gradients.view(-1, gradients.shape[-1])

    def expand() -> None:
        handed["expanded"] = flat.index_select(0, lookups.bags())

    return [OnHost(expand)]


def _accumulate_on_host(b: Binding, _word: Accumulate) -> Sequence[Step]:
    lookups, handed, rows = _on_host(b), b.handed(), b.work.inputs.rows

    def coalesce() -> None:
        handed["summed"] = _coalesced(lookups.rows(), handed.pop("expanded"), rows)

    return [OnHost(coalesce)]


def _coalesced(rows: Any, gradients: Any, count: int) -> tuple[Any, Any]:
    """Unique rows and the sum of the gradients of each."""
    torch = require_torch()
    where, size = rows.long().unsqueeze(0), (count, gradients.shape[1])
    summed = torch.sparse_coo_tensor(where, gradients, size, check_invariants=False).coalesce()
    return summed.indices()[0], summed.values()


def _update_on_host(b: Binding, word: Update) -> Sequence[Step]:
    table, handed = _table(b, word), b.handed()

    def update() -> None:
        rows, gradients = handed.pop("summed")
        table.index_add_(0, rows, gradients, alpha=-RATE)

    return [OnHost(update)]


def _gather_on_host(b: Binding, word: Gather) -> Sequence[Step]:
    torch, table, rows = require_torch(), _table(b, word), rows_on_host(b, word)
    out = b.buffer(Item("rows", word.into.name), "cpu")

    def gather() -> None:
        wanted = torch.from_numpy(rows())
        torch.index_select(table, 0, wanted, out=out[: len(wanted)])

    return [OnHost(gather)]


def _scatter_on_host(b: Binding, word: Scatter) -> Sequence[Step]:
    torch, table, rows = require_torch(), _table(b, word), rows_on_host(b, word)
    values = b.buffer(Item("rows", word.source.name), "cpu")

    def scatter() -> None:
        given = torch.from_numpy(rows())
        table.index_copy_(0, given, values[: len(given)])

    return [OnHost(scatter)]


def _nothing(_b: Binding, _word: Sort) -> Sequence[Step]:
    """Inside of the coalesce."""
    return []


class _FeatureLookups:
    """Lookups of one feature of a mini-batch on the GPU: `of` samples, in their order."""

    def __init__(self, b: Binding, feature: int) -> None:
        batch, gpu, features = (
            b.work.inputs.batches[b.number],
            b.work.gpu,
            b.work.inputs.point.model.features,
        )
        where = np.flatnonzero(batch.bag_of % features == feature)
        of = (batch.bag_of[where] // features).astype(np.int64)
        self.samples = (len(batch.offsets) - 1) // features
        self._lookups, self._skips = b.lookups(), b.flow.splits and b.takes[0] != IDS
        self._where, self._of = gpu.upload(where), gpu.upload(of)
        self._offsets = gpu.upload(np.searchsorted(of, np.arange(self.samples + 1)))

    def taken(self) -> tuple[Any, Any]:
        """Rows (or slots) that there are, int64, and the sample of each."""
        rows = self._lookups.index_select(0, self._where).long()
        if not self._skips:
            return rows, self._of
        there = rows >= 0
        return rows[there], self._of[there]

    def pooled(self, store: Any) -> Any:
        """The sums of each sample, shape (samples, dim)."""
        torch = require_torch()
        (rows, of), offsets = self.taken(), self._offsets
        if self._skips:
            begins = torch.arange(self.samples + 1, device=of.device)
            offsets = torch.searchsorted(of, begins)
        bag = torch.nn.functional.embedding_bag
        return bag(rows, store, offsets, mode="sum", include_last_offset=True)


class _OnGpu:
    """The lookups of every feature for one word; made once for words over the same list."""

    def __init__(self, b: Binding) -> None:
        self._binding = b

    @cached_property
    def features(self) -> list[_FeatureLookups]:
        b = self._binding
        work, key = b.work, (b.takes[0], b.number)
        kept = work.by_feature
        if key not in kept:
            kept[key] = [_FeatureLookups(b, f) for f in range(work.inputs.point.model.features)]
        features: list[_FeatureLookups] = kept[key]
        return features


def _pool_on_gpu(b: Binding, word: Pool) -> Sequence[Step]:
    store, features = _table(b, word), _OnGpu(b).features
    out = b.buffer(b.flow.gives[b.at][0], "gpu")

    def pool() -> None:
        for number, lookups in enumerate(features):
            out[:, number].copy_(lookups.pooled(store))

    return [Launch(pool)]


def _expand_on_gpu(b: Binding, _word: Expand) -> Sequence[Step]:
    features, handed = _OnGpu(b).features, b.handed()
    gradients = b.buffer(GRADIENTS, "gpu")

    def expand() -> None:
        expanded = []
        for number, lookups in enumerate(features):
            rows, of = lookups.taken()
            expanded.append((rows, gradients[:, number].index_select(0, of)))
        handed["expanded"] = expanded

    return [Launch(expand)]


def _update_on_gpu(b: Binding, word: Update) -> Sequence[Step]:
    torch, store, handed = require_torch(), _table(b, word), b.handed()
    each = b.work.inputs.point.model.features_per_table

    def update() -> None:
        expanded = iter(handed.pop("expanded"))
        for features in each:
            lists = [next(expanded) for _ in range(features)]
            rows, gradients = (
                lists[0] if features == 1 else map(torch.cat, zip(*lists, strict=True))
            )
            unique, summed = _coalesced(rows, gradients, len(store))
            store.index_add_(0, unique, summed, alpha=-RATE)

    return [Launch(update)]


STOCK: Mapping[tuple[type[Operation], str], Rule] = {
    (Pool, "cpu"): _pool_on_host,
    (Expand, "cpu"): _expand_on_host,
    (Sort, "cpu"): _nothing,
    (Accumulate, "cpu"): _accumulate_on_host,
    (Update, "cpu"): _update_on_host,
    (Gather, "cpu"): _gather_on_host,
    (Scatter, "cpu"): _scatter_on_host,
    (Pool, "gpu"): _pool_on_gpu,
    (Expand, "gpu"): _expand_on_gpu,
    (Sort, "gpu"): _nothing,
    (Update, "gpu"): _update_on_gpu,
}
"""(word, kind of the device at its place) -> what binds it, where it differs from the fused."""
