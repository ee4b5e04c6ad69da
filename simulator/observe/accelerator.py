"""Where the GPU's share of a system runs: on CUDA, or on CPU tensors that stand in for it.

Both offer the same operators on fp32 tables of shape (rows, dim). On the CPU they are the compiled
kernels of `rows`, so all systems sum in one order and their tables agree to the bit; streams are
ignored there and every call is done when it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from simulator.observe import lru, tagged
from simulator.observe import rows as host
from simulator.observe.extra import require_torch, require_triton
from simulator.observe.lru import LruCache, LruLists
from simulator.observe.tagged import Tier

__all__ = ["Accelerator", "CpuTensors", "CudaGpu", "open_accelerator"]

SCAN = 256
"""Ids of one Triton program in the Hit-Map kernels."""
WIDE = 4096
"""Slots of one Triton program that reads every age."""
BAG = 32
"""Lookups of a bag that one Triton program splits at a time."""


class CpuTensors:
    """The GPU's operators on CPU tensors."""

    device = "cpu"
    overlaps = False
    """Whether what is launched on streams runs side by side, and beside the host."""

    def __init__(self, threads: int) -> None:
        self.torch = require_torch()
        self.threads = threads

    def empty(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """A tensor where the GPU keeps its data."""
        return self.torch.zeros(shape, dtype=getattr(self.torch, dtype), device=self.device)

    def staging(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """A tensor on the host that copies to and from the GPU can use directly."""
        return self.torch.zeros(shape, dtype=getattr(self.torch, dtype))

    def locked(self, tensor: Any) -> Any:
        """`tensor` of the host, which copies to and from the GPU can use directly from now on, for
        as long as it is mapped."""
        return tensor

    @property
    def tagging(self) -> Any:
        """What works on set-associative caches: the functions of `tagged`."""
        return tagged

    def mapped(self, table: np.ndarray[Any, Any]) -> Any:
        """A table of the host as the GPU's kernels reach it, over the link."""
        return self.torch.from_numpy(table)

    def stage(self, array: np.ndarray[Any, Any]) -> Any:
        """`array` in a staging tensor."""
        out = self.staging(array.shape, str(array.dtype))
        out.copy_(self.torch.from_numpy(np.ascontiguousarray(array)))
        return out

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """`array` as a tensor of the GPU."""
        return self.torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def copy(self, target: Any, source: Any) -> None:
        """target = source, over the link."""
        target.copy_(source, non_blocking=True)

    def add(self, target: Any, source: Any) -> None:
        """target += source, on the GPU."""
        target.add_(source)

    @contextmanager
    def stream(self, _name: str) -> Iterator[None]:
        """Everything inside runs on the stream of that name."""
        yield

    def prepare_marks(self, count: int) -> None:
        """Have `count` moments ready, so that none has to be made while training is timed."""

    def mark(self) -> Any:
        """A moment on the current stream."""
        return time.perf_counter()

    def between_us(self, begin: Any, end: Any) -> float:
        """Microseconds between two moments; `synchronize` before."""
        return float(end - begin) * 1e6

    def synchronize(self) -> None:
        """Wait until all streams are done."""

    def captured(self, work: Callable[[], None]) -> Callable[[], None]:
        """`work`, always on the same tensors, as one launch. Runs it once."""
        work()
        return work

    def pool(self, table: Any, ids: Any, offsets: Any, out: Any, tier: Tier | None = None) -> None:
        """out[bag] = sum of table[ids[k]] over the bag, without what follows the weights of a row;
        ids below 0 are left out. `tier`: rows with a slot are table[slot], the others its own."""
        flat = out.detach().view(-1, out.shape[-1]).numpy()
        if tier is not None:
            table, ids = self.torch.from_numpy(tier.entries(table)), self._numbered(len(ids))
        keys = ids.numpy().astype(np.int64, copy=False)
        there = keys >= 0
        ends = np.concatenate([[0], np.cumsum(there)])[offsets.numpy()]
        host.pool_rows(table.numpy(), keys[there], ends, flat, self.threads)

    def _numbered(self, count: int) -> Any:
        return self.torch.arange(count)

    def gather(self, table: Any, rows: Any, out: Any) -> None:
        """out[k] = table[rows[k]]."""
        host.copy_rows(table.numpy(), rows.numpy(), out.numpy(), self.threads, to=False)

    def scatter(self, table: Any, rows: Any, values: Any) -> None:
        """table[rows[k]] = values[k]."""
        host.copy_rows(table.numpy(), rows.numpy(), values.numpy(), self.threads, to=True)

    def sort(self, ids: Any, rows: int) -> Any:
        """Order (id, position) pairs; `ids` less than `rows`, those below 0 are left out."""
        keys = ids.numpy().astype(np.int64, copy=False)
        positions = np.flatnonzero(keys >= 0)
        pairs = host.sort_pairs(keys[positions], rows, self.threads)
        if len(positions) < len(keys):
            packed = pairs.packed
            packed[:] = (packed >> 32 << 32) | positions[packed & 0xFFFFFFFF]
        return pairs

    def update(
        self,
        table: Any,
        pairs: Any,
        bag_of: Any,
        gradient: Any,
        rate: float,
        optimizer: str = "sgd",
        tier: Tier | None = None,
    ) -> None:
        """A step of `optimizer` for each id with the sum of gradient[bag_of[position]]; `tier`: as
        in `pool`."""
        flat = gradient.view(-1, gradient.shape[-1]).numpy()
        arguments = (pairs, bag_of.numpy(), flat, rate, self.threads, optimizer)
        if tier is None:
            host.coalesced_update(table.numpy(), *arguments)
        else:
            with tier.in_one_table(table) as whole:
                host.coalesced_update(whole, *arguments)

    def split(self, ids: Any, slot_of: Any, offsets: Any, slots: Any, cold: Any) -> None:
        """slots[k] = slot_of[ids[k]] (-1: not cached); into `cold` (staging tensors: ids, bags,
        offsets) those that are not."""
        torch = self.torch
        slots.copy_(slot_of[ids])
        missing = slots < 0
        before = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cumsum(missing, 0)])
        cold.offsets.copy_(before[offsets])
        count = int(before[-1])
        cold.ids[:count] = ids[missing]
        bags = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
        cold.bags[:count] = bags[missing].to(torch.int32)

    def count_idle(self, age: Any, idle: Any, oldest: int) -> None:
        """idle += slots last used before mini-batch `oldest`."""
        idle += (age < oldest).sum()

    def find_missed(self, ids: Any, slot_of: Any, _winner: Any, missed: Any, counts: Any) -> None:
        """counts += (unique ids, those without a slot); the latter into `missed`."""
        unique = self.torch.unique(ids)
        misses = unique[slot_of[unique] < 0]
        missed[: len(misses)] = misses
        counts[0] += len(unique)
        counts[1] += len(misses)

    def put(self, target: Any, indices: Any, values: Any | int) -> None:
        """target[indices] = values."""
        target[indices] = values if isinstance(values, int) else values.to(target.dtype)

    def plan(self, cache: LruCache, ids: Any, bag_of: Any, slots: Any, lists: LruLists) -> None:
        """Plan a mini-batch with victims of its own choice (see `lru`)."""
        del bag_of
        lru.plan(cache, ids, slots, lists)

    def send(self, cache: LruCache, source: Any, target: Any, name: str) -> None:
        """The list `source` of the mini-batch planned last into host memory; `name`: of its
        length in `lru.COUNTED`. No more than `target` has room for."""
        count = min(cache.counted(int(cache.clock[0]) - 1, name), len(target))
        target[:count] = source[:count]

    def touch(self, ids: Any, slot_of: Any, age: Any, slots: Any, batch: int) -> None:
        """slots[k] = slot_of[ids[k]]; age[slots[k]] = batch."""
        slots[: len(ids)] = slot_of[ids]
        age[slots[: len(ids)].long()] = batch


class CudaGpu(CpuTensors):
    """The GPU's operators on CUDA, launched on streams."""

    device = "cuda"
    overlaps = True
    _locked: ClassVar[tuple[int, int] | None] = None
    """Address and bytes of the table that `mapped` has locked."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        require_triton()
        from simulator.observe import kernels_gpu, kernels_lru

        self._kernels: Any = kernels_gpu
        self._lru: Any = kernels_lru
        self._scratch: dict[int, Any] = {}
        self._streams: dict[str, Any] = {}
        self._current = self.torch.cuda.current_stream()
        self._marks: list[Any] = []

    def staging(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """Page-locked memory."""
        kind = getattr(self.torch, dtype)
        return self.torch.empty(shape, dtype=kind, pin_memory=True).zero_()

    def locked(self, tensor: Any) -> Any:
        size = tensor.numel() * tensor.element_size()
        error = self.torch.cuda.cudart().cudaHostRegister(tensor.data_ptr(), size, 0)
        self.torch.cuda.check_error(int(error))
        return tensor

    @contextmanager
    def stream(self, name: str) -> Iterator[None]:
        if name not in self._streams:
            self._streams[name] = self.torch.cuda.Stream()
        before, self._current = self._current, self._streams[name]
        with self.torch.cuda.stream(self._current):
            yield
        self._current = before

    def prepare_marks(self, count: int) -> None:
        self._marks = [self.torch.cuda.Event(enable_timing=True) for _ in range(count)]
        for mark in self._marks:
            mark.record(self._current)  # which makes it

    def mark(self) -> Any:
        event = self._marks.pop() if self._marks else self.torch.cuda.Event(enable_timing=True)
        event.record(self._current)
        return event

    def between_us(self, begin: Any, end: Any) -> float:
        return float(begin.elapsed_time(end)) * 1e3

    def synchronize(self) -> None:
        self.torch.cuda.synchronize()

    def captured(self, work: Callable[[], None]) -> Callable[[], None]:
        work()  # kernels are compiled and work space is taken outside of the capture
        self.torch.cuda.current_stream().synchronize()
        graph = self.torch.cuda.CUDAGraph()
        # other streams may be at work meanwhile
        with self.torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
        replay: Callable[[], None] = graph.replay
        return replay

    @property
    def tagging(self) -> Any:
        from simulator.observe import kernels_tagged

        return kernels_tagged

    def mapped(self, table: np.ndarray[Any, Any]) -> Any:
        """Locked while no other table is asked for: that takes long."""
        place = (table.ctypes.data, table.nbytes)
        if CudaGpu._locked != place:
            cuda = self.torch.cuda.cudart()
            if CudaGpu._locked is not None:
                cuda.cudaHostUnregister(CudaGpu._locked[0])
            CudaGpu._locked = None
            self.locked(super().mapped(table))
            CudaGpu._locked = place
        return super().mapped(table)

    def pool(self, table: Any, ids: Any, offsets: Any, out: Any, tier: Tier | None = None) -> None:
        dim, stride, bags = out.shape[-1], table.shape[1], len(offsets) - 1
        beyond, slots = (table, ids) if tier is None else (tier.beyond, tier.slots)
        sizes = {"D": _power(dim), "C": 8, "TIERED": tier is not None, "num_warps": 2}
        self._kernels.pool[(bags,)](table, ids, offsets, out, beyond, slots, dim, stride, **sizes)

    def gather(self, table: Any, rows: Any, out: Any) -> None:
        self._move(self._kernels.gather, table, rows, out)

    def scatter(self, table: Any, rows: Any, values: Any) -> None:
        self._move(self._kernels.scatter, table, rows, values)

    def _move(self, kernel: Any, table: Any, rows: Any, buffer: Any) -> None:
        if len(rows):
            dim, width = table.shape[1], _power(table.shape[1])
            grid = (-(-len(rows) // 8),)
            kernel[grid](table, rows, buffer, len(rows), dim, D=width, R=8, num_warps=4)

    def sort(self, ids: Any, rows: int) -> Any:
        return self.torch.sort(ids.to(self.torch.int32))

    def update(
        self,
        table: Any,
        pairs: Any,
        bag_of: Any,
        gradient: Any,
        rate: float,
        optimizer: str = "sgd",
        tier: Tier | None = None,
    ) -> None:
        if len(pairs[0]):
            two = None if tier is None else (tier.slots, tier.beyond)
            away = (table if tier is None else tier.beyond).device.type != self.device
            arguments = (table, pairs, bag_of, gradient, rate, optimizer)
            self._kernels.coalesced_update(*arguments, tier=two, away=away)

    def split(self, ids: Any, slot_of: Any, offsets: Any, slots: Any, cold: Any) -> None:
        """The GPU writes the lists of cold ids and bags straight into staging memory."""
        bags = len(offsets) - 1
        count_cold, place_cold = self._kernels.count_cold, self._kernels.place_cold
        count_cold[(bags,)](ids, slot_of, offsets, slots, cold.counts, B=BAG, num_warps=1)
        cold.starts[1:] = self.torch.cumsum(cold.counts, 0)
        place_cold[(bags,)](
            ids, slots, offsets, cold.starts, cold.ids, cold.bags, B=BAG, num_warps=1
        )
        self.copy(cold.offsets, cold.starts)

    def count_idle(self, age: Any, idle: Any, oldest: int) -> None:
        n = len(age)
        self._kernels.count_idle[(-(-n // WIDE),)](age, idle, n, oldest, B=WIDE)

    def find_missed(self, ids: Any, slot_of: Any, winner: Any, missed: Any, counts: Any) -> None:
        n, grid = len(ids), (-(-len(ids) // SCAN),)
        self._kernels.mark[grid](ids, winner, n, B=SCAN)
        self._kernels.find[grid](ids, winner, slot_of, missed, counts, n, B=SCAN)

    def plan(self, cache: LruCache, ids: Any, bag_of: Any, slots: Any, lists: LruLists) -> None:
        key = id(cache)
        if key not in self._scratch:
            self._scratch = {key: self._lru.LruScratch(self, cache)}
        self._lru.plan(cache, self._scratch[key], ids, bag_of, slots, lists)

    def send(self, cache: LruCache, source: Any, target: Any, name: str) -> None:
        """Written straight into staging memory."""
        self._lru.send_list(cache, source, target, name)

    def put(self, target: Any, indices: Any, values: Any | int) -> None:
        n = len(indices)
        if n:
            many = not isinstance(values, int)
            args = (target, indices, values if many else indices, n, 0 if many else values)
            self._kernels.put[(-(-n // SCAN),)](*args, WITH_VALUES=many, B=SCAN)

    def touch(self, ids: Any, slot_of: Any, age: Any, slots: Any, batch: int) -> None:
        n = len(ids)
        self._kernels.touch[(-(-n // SCAN),)](ids, slot_of, age, slots, batch, n, B=SCAN)


Accelerator = CpuTensors
"""What systems are written for; `CudaGpu` is one."""


def open_accelerator(device: str, threads: int) -> Accelerator:
    """The accelerator of `device`: `cpu` or `cuda`."""
    if device == "cuda":
        return CudaGpu(threads)
    # two pools of OpenMP threads (PyTorch's and the kernels') would spin against each other
    require_torch().set_num_threads(1)
    return CpuTensors(threads)


def _power(dim: int) -> int:
    return 1 << max(0, dim - 1).bit_length()
