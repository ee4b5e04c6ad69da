"""The systems without replacement: hybrid, static cache, GPU only. Strictly serial."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.observe import rows as host
from simulator.observe.clock import BatchCountsSeen
from simulator.observe.inputs import Batch, Inputs
from simulator.observe.mlp import RATE
from simulator.observe.trainer import Floats, Place, Trainer

__all__ = ["GpuOnly", "Hybrid", "StaticCache", "copy_to_gpu"]


class Hybrid(Trainer):
    """All embedding work on the CPU; pooled vectors and their gradients cross the link."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        shape = tuple(self.step.pooled.shape)
        self.pooled = self.ring(self.gpu.staging, *shape)
        self.gradient = self.ring(self.gpu.staging, *shape)
        self.pairs = host.SortedPairs(max(len(b.ids) for b in inputs.batches))

    def train(self, number: int, batch: Batch) -> None:
        clock, gpu, threads = self.clock, self.gpu, self.place.threads
        pooled, gradient = self.pooled[self.turn(number)], self.gradient[self.turn(number)]
        with clock.host(number, "gather_reduce"):
            host.pool_rows(self.table, batch.ids, batch.offsets, self.flat(pooled), threads)
        with clock.gpu(number, "pooled_to_gpu"):
            gpu.copy(self.step.pooled.detach(), pooled)
            self.send_dense(number)
        with clock.gpu(number, "mlp"):
            self.step.run()
        with clock.gpu(number, "gradients_to_cpu"):
            gpu.copy(gradient, self.step.gradient)
        gpu.synchronize()
        with clock.host(number, "sort"):
            self.pairs.sort(batch.ids, self.inputs.rows, threads)
        with clock.host(number, "accumulate"):
            flat = self.flat(gradient)
            host.coalesced_update(self.table, self.pairs, batch.bag_of, flat, RATE, threads)

    def tables(self) -> Floats:
        return self.table


class _Cold:
    """Lists of the lookups that no slot serves: ids, bags and offsets in staging memory."""

    def __init__(self, gpu: Any, lookups: int, bags: int) -> None:
        self.ids, self.bags = gpu.staging((lookups,), "int64"), gpu.staging((lookups,), "int32")
        self.offsets = gpu.staging((bags + 1,), "int64")
        self.counts, self.starts = gpu.empty((bags,), "int32"), gpu.empty((bags + 1,), "int64")

    @property
    def count(self) -> int:
        """Cold lookups; the GPU must be done with the split."""
        return int(self.offsets[-1])


class StaticCache(Trainer):
    """The hottest rows of each table in HBM, everything else trained on the CPU.

    Beside its id, each cold lookup sends its bag number to the CPU (12 bytes in all).
    """

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        gpu, hot = self.gpu, inputs.preload
        shape = tuple(self.step.pooled.shape)
        most = max(len(b.ids) for b in inputs.batches)
        self.cache = gpu.empty((max(1, len(hot.rows)), inputs.point.model.dim))
        self.slot_of = gpu.empty((inputs.rows,), "int32").fill_(-1)
        gpu.put(self.slot_of, gpu.upload(hot.rows), gpu.upload(hot.slots))
        copy_to_gpu(gpu, self.table, hot.rows, self.cache, hot.slots)
        self.ids, self.slots = gpu.empty((most,), "int64"), gpu.empty((most,), "int32")
        self.cold = _Cold(gpu, most, len(inputs.batches[0].offsets) - 1)
        self.cold_sums = self.ring(gpu.staging, *shape)
        self.gradient = self.ring(gpu.staging, *shape)
        self.partial = gpu.empty(shape)
        self.pairs = host.SortedPairs(most)
        self._split = self.replayed(self._split_ids)
        self._pool = self.replayed(self._pool_hot)
        self._update = self.replayed(self._update_hot)

    def train(self, number: int, batch: Batch) -> None:
        clock, gpu, step, threads = self.clock, self.gpu, self.step, self.place.threads
        sums, gradient = self.cold_sums[self.turn(number)], self.gradient[self.turn(number)]
        with clock.host(number, "split"):
            gpu.copy(self.ids[: len(batch.ids)], self.loaded[number].ids)
            self._split(number)
            gpu.synchronize()
            cold = self.cold.count
        rows = self.cold.ids[:cold].numpy()
        with clock.host(number, "forward"):
            self._pool(number)
            offsets = self.cold.offsets.numpy()
            host.pool_rows(self.table, rows, offsets, self.flat(sums), threads)
            gpu.synchronize()
        with clock.gpu(number, "combine"):
            gpu.copy(self.partial, sums)
            self.send_dense(number)
            step.pooled.detach().add_(self.partial)
        with clock.gpu(number, "mlp"):
            step.run()
        with clock.gpu(number, "gradients"):
            gpu.copy(gradient, step.gradient)
        gpu.synchronize()
        with clock.host(number, "backward"):
            self._update(number)
            self.pairs.sort(rows, self.inputs.rows, threads)
            bags, flat = self.cold.bags[:cold].numpy(), self.flat(gradient)
            host.coalesced_update(self.table, self.pairs, bags, flat, RATE, threads)
            gpu.synchronize()

    def _lookups(self, number: int) -> int:
        return len(self.inputs.batches[number].ids)

    def _split_ids(self, number: int) -> None:
        """Slots of the lookups; ids and bags of the cold ones to the host."""
        n, (offsets, _) = self._lookups(number), self.bags(number)
        self.gpu.split(self.ids[:n], self.slot_of, offsets, self.slots[:n], self.cold)

    def _pool_hot(self, number: int) -> None:
        slots, (offsets, _) = self.slots[: self._lookups(number)], self.bags(number)
        self.gpu.pool(self.cache, slots, offsets, self.step.pooled.detach())

    def _update_hot(self, number: int) -> None:
        gpu, slots, (_, bag_of) = self.gpu, self.slots[: self._lookups(number)], self.bags(number)
        gpu.update(self.cache, gpu.sort(slots, len(self.cache)), bag_of, self.step.gradient, RATE)

    def count(self, number: int, batch: Batch) -> BatchCountsSeen:
        keys = self.pairs.packed[: self.pairs.count] >> 32
        misses = int((np.diff(keys) != 0).sum()) + 1 if len(keys) else 0
        return BatchCountsSeen(len(batch.ids), batch.unique_rows, misses)

    def tables(self) -> Floats:
        full = self.table.copy()
        full[self.inputs.preload.rows] = self.cache.cpu().numpy()[self.inputs.preload.slots]
        return full


class GpuOnly(Trainer):
    """All rows in HBM of one GPU."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        gpu, model = self.gpu, inputs.point.model
        most = max(len(b.ids) for b in inputs.batches)
        self.rows = gpu.empty((inputs.rows, model.dim))
        fill_on_gpu(gpu, self.rows)
        self.ids = gpu.empty((most,), "int64")
        self._pool = self.replayed(self._pool_rows)
        self._update = self.replayed(self._update_rows)

    def train(self, number: int, batch: Batch) -> None:
        clock, gpu = self.clock, self.gpu
        with clock.gpu(number, "ids"):
            gpu.copy(self.ids[: len(batch.ids)], self.loaded[number].ids)
            self.send_dense(number)
        with clock.gpu(number, "gather_reduce"):
            self._pool(number)
        with clock.gpu(number, "mlp"):
            self.step.run()
        with clock.gpu(number, "sort_update"):
            self._update(number)

    def _ids(self, number: int) -> Any:
        return self.ids[: len(self.inputs.batches[number].ids)]

    def _pool_rows(self, number: int) -> None:
        offsets, _ = self.bags(number)
        self.gpu.pool(self.rows, self._ids(number), offsets, self.step.pooled.detach())

    def _update_rows(self, number: int) -> None:
        gpu, (_, bag_of) = self.gpu, self.bags(number)
        pairs = gpu.sort(self._ids(number), self.inputs.rows)
        gpu.update(self.rows, pairs, bag_of, self.step.gradient, RATE)

    def tables(self) -> Floats:
        array: Floats = self.rows.cpu().numpy()
        return array


PIECE = 1 << 18
"""Rows that cross the link at a time where a system is set up."""


def fill_on_gpu(gpu: Any, table: Any) -> None:
    """The values of `rows.fill_rows`, through a staging buffer, piece by piece."""
    buffer = gpu.staging((min(PIECE, len(table)), table.shape[1]))
    for begin in range(0, len(table), PIECE):
        part = buffer[: min(PIECE, len(table) - begin)]
        host.fill_rows(part.numpy(), gpu.threads, first=begin)
        gpu.copy(table[begin : begin + len(part)], part)
        gpu.synchronize()


def copy_to_gpu(gpu: Any, table: Floats, rows: Any, target: Any, slots: Any) -> None:
    """target[slots[k]] = table[rows[k]], through a staging buffer, piece by piece."""
    size = max(1, min(PIECE, len(rows)))
    buffer, there = gpu.staging((size, table.shape[1])), gpu.empty((size, table.shape[1]))
    for begin in range(0, len(rows), PIECE):
        some = rows[begin : begin + PIECE]
        host.copy_rows(table, some, buffer.numpy(), gpu.threads, to=False)
        gpu.copy(there, buffer)
        gpu.scatter(target, gpu.upload(slots[begin : begin + PIECE]), there)
        gpu.synchronize()
