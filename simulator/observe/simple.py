"""The systems without replacement: hybrid, static cache, GPU only. Strictly serial."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.observe import rows as host
from simulator.observe.clock import BatchCountsSeen
from simulator.observe.inputs import Batch, Inputs
from simulator.observe.mlp import RATE
from simulator.observe.trainer import Floats, Place, Trainer

__all__ = ["GpuOnly", "Hybrid", "StaticCache"]


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


class StaticCache(Trainer):
    """The hottest rows of each table in HBM, everything else trained on the CPU.

    Beside its id, each cold lookup sends its bag number to the CPU (12 bytes in all).
    """

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        gpu, hot, bags = self.gpu, inputs.preload, len(inputs.batches[0].offsets)
        shape = tuple(self.step.pooled.shape)
        most = max(len(b.ids) for b in inputs.batches)
        self.cache = gpu.upload(self.table[hot.rows])
        self.slot_of = gpu.empty((inputs.rows,), "int32").fill_(-1)
        gpu.put(self.slot_of, gpu.upload(hot.rows), gpu.upload(hot.slots))
        self.offsets = [gpu.upload(b.offsets) for b in inputs.batches]
        self.bag_of = [gpu.upload(b.bag_of) for b in inputs.batches]
        self.ids = gpu.empty((most,), "int64")
        self.cold_ids, self.cold_bags = gpu.staging((most,), "int64"), gpu.staging((most,), "int32")
        self.cold_offsets = gpu.staging((bags,), "int64")
        self.cold_sums = self.ring(gpu.staging, *shape)
        self.gradient = self.ring(gpu.staging, *shape)
        self.partial = gpu.empty(shape)
        self.pairs = host.SortedPairs(most)

    def train(self, number: int, batch: Batch) -> None:
        clock, gpu, step, threads = self.clock, self.gpu, self.step, self.place.threads
        sums, gradient = self.cold_sums[self.turn(number)], self.gradient[self.turn(number)]
        with clock.host(number, "split"):
            slots, hot_offsets, hot_bags, cold = self._split(number, batch)
            gpu.synchronize()
        rows = self.cold_ids[:cold].numpy()
        with clock.host(number, "forward"):
            gpu.pool(self.cache, slots, hot_offsets, step.pooled.detach())
            offsets = self.cold_offsets.numpy()
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
            pairs = gpu.sort(slots, max(1, len(self.cache)))
            gpu.update(self.cache, pairs, hot_bags, step.gradient, RATE)
            self.pairs.sort(rows, self.inputs.rows, threads)
            bags, flat = self.cold_bags[:cold].numpy(), self.flat(gradient)
            host.coalesced_update(self.table, self.pairs, bags, flat, RATE, threads)
            gpu.synchronize()

    def _split(self, number: int, batch: Batch) -> tuple[Any, Any, Any, int]:
        """Ids to the GPU, hot and cold apart, the cold ones back: slots, offsets and bags of the
        hot lookups, and how many are cold."""
        gpu, torch, offsets = self.gpu, self.gpu.torch, self.offsets[number]
        ids = self.ids[: len(batch.ids)]
        gpu.copy(ids, self.loaded[number].ids)
        slots = self.slot_of[ids]
        hot = slots >= 0
        hot_at, cold_at = torch.nonzero(hot)[:, 0], torch.nonzero(~hot)[:, 0]
        before = torch.nn.functional.pad(torch.cumsum(hot, 0), (1, 0))
        hot_offsets, cold = before[offsets], len(cold_at)
        gpu.copy(self.cold_ids[:cold], ids[cold_at])
        gpu.copy(self.cold_bags[:cold], self.bag_of[number][cold_at])
        gpu.copy(self.cold_offsets, offsets - hot_offsets)
        return slots[hot_at], hot_offsets, self.bag_of[number][hot_at], cold

    def count(self, number: int, batch: Batch) -> BatchCountsSeen:
        keys = self.pairs.packed[: self.pairs.count] >> 32
        misses = int((np.diff(keys) != 0).sum()) + 1 if len(keys) else 0
        return BatchCountsSeen(len(batch.ids), batch.unique_rows, misses)

    def tables(self) -> Floats:
        full = self.table.copy()
        full[self.inputs.preload.rows] = self.cache.cpu().numpy()
        return full


class GpuOnly(Trainer):
    """All rows in HBM of one GPU."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        gpu, model = self.gpu, inputs.point.model
        most = max(len(b.ids) for b in inputs.batches)
        self.rows = gpu.empty((inputs.rows, model.dim))
        fill_on_gpu(gpu, self.rows)
        self.offsets = [gpu.upload(b.offsets) for b in inputs.batches]
        self.bag_of = [gpu.upload(b.bag_of) for b in inputs.batches]
        self.ids = gpu.empty((most,), "int64")

    def train(self, number: int, batch: Batch) -> None:
        clock, gpu, step = self.clock, self.gpu, self.step
        ids = self.ids[: len(batch.ids)]
        with clock.gpu(number, "ids"):
            gpu.copy(ids, self.loaded[number].ids)
            self.send_dense(number)
        with clock.gpu(number, "gather_reduce"):
            gpu.pool(self.rows, ids, self.offsets[number], step.pooled.detach())
        with clock.gpu(number, "mlp"):
            step.run()
        with clock.gpu(number, "sort_update"):
            pairs = gpu.sort(ids, self.inputs.rows)
            gpu.update(self.rows, pairs, self.bag_of[number], step.gradient, RATE)

    def tables(self) -> Floats:
        array: Floats = self.rows.cpu().numpy()
        return array


def fill_on_gpu(gpu: Any, table: Any) -> None:
    """The values of `rows.fill_rows`, through a staging buffer, piece by piece."""
    piece = 1 << 18
    buffer = gpu.staging((min(piece, len(table)), table.shape[1]))
    for begin in range(0, len(table), piece):
        part = buffer[: min(piece, len(table) - begin)]
        host.fill_rows(part.numpy(), gpu.threads, first=begin)
        gpu.copy(table[begin : begin + len(part)], part)
        gpu.synchronize()
