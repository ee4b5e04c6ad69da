"""Memory that a program works on: stores of rows, and buffers that mini-batches take in turn.

Everything is made before anything is timed. Buffers are rings, so that a mini-batch never finds
its data in a cache because the one before it used the same memory. What goes into the dense step
is written straight into its own tensors where no other mini-batch can be in between; in a pipeline
it waits in a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from simulator.caches.replays.associative import AssociativeReplay
from simulator.errors import UsageError
from simulator.hardware.program import Store
from simulator.observe import rows as host
from simulator.observe.accelerator import Accelerator
from simulator.observe.dataflow import Dataflow
from simulator.observe.hit_map import HitMap
from simulator.observe.inputs import Batch, Inputs
from simulator.observe.items import DENSE, Item, entry_width
from simulator.observe.lists import LISTED, GivenLists, MoveLists, OwnLists
from simulator.observe.lru import LruCache, LruLists
from simulator.observe.mlp import DenseStep
from simulator.observe.peers import Peers
from simulator.observe.shares import Share
from simulator.observe.tagged import Swapped, TaggedCache

__all__ = ["RING", "ColdLookups", "Place", "Workspace", "fill_table"]

RING = 8
"""Staging buffers of each kind, taken in turn."""
AMPLE_BYTES = 1 << 28
"""Staging rings up to this size have room for whatever a planner may decide."""
PIECE = 1 << 18
"""Rows that cross the link at a time where a system is set up."""

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a system trains: the accelerator, the host's table, the host's threads."""

    accelerator: Accelerator
    table: Floats | None
    """fp32, shape (rows of all tables, dim and optimizer state), or None where the host keeps no
    table."""
    threads: int
    peers: Peers | None = None
    """The other processes that train with this one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A mini-batch in staging memory, ready to be sent."""

    ids: Any
    dense: Any
    labels: Any


class ColdLookups:
    """Lists of the lookups that no slot serves: ids, bags and offsets in staging memory."""

    def __init__(self, gpu: Accelerator, lookups: int, bags: int) -> None:
        self.ids, self.bags = gpu.staging((lookups,), "int64"), gpu.staging((lookups,), "int32")
        self.offsets = gpu.staging((bags + 1,), "int64")
        self.counts, self.starts = gpu.empty((bags,), "int32"), gpu.empty((bags + 1,), "int64")
        self.host_ids: Int64s = self.ids.numpy()
        self.host_bags: npt.NDArray[np.int32] = self.bags.numpy()
        self.host_offsets: Int64s = self.offsets.numpy()

    @property
    def count(self) -> int:
        """Cold lookups; the GPU must be done with the split."""
        return int(self.host_offsets[-1])


class Workspace:
    """Stores, buffers and the dense step of one system."""

    def __init__(self, inputs: Inputs, place: Place, flow: Dataflow) -> None:
        self.inputs, self.place, self.flow = inputs, place, flow
        self.gpu, self.threads = place.accelerator, place.threads
        graph, seed = inputs.point.operators.gpu.mlp == "graph", inputs.point.run.seed
        share = self.share = inputs.share
        self.step = DenseStep(
            share.dense_model,
            self.gpu.device,
            seed,
            graph=graph,
            ranks=share.ranks,
            placed=share.arriving,
        )
        schedule, batches = inputs.system.schedule, inputs.batches
        self.overlaps = schedule.overlaps
        self.turns = min(len(batches), max(RING, schedule.depth + 2))
        self.lookups = max(len(batch.ids) for batch in batches)
        stage = self.gpu.stage
        self.loaded = [Loaded(stage(b.ids), stage(b.dense), stage(b.labels)) for b in batches]
        self.same_bags = all(np.array_equal(b.offsets, batches[0].offsets) for b in batches)
        some: Iterable[Batch] = batches[:1] if self.same_bags else batches
        upload = self.gpu.upload
        self._bags = [(upload(b.offsets), upload(b.bag_of)) for b in some]
        self._stores: dict[tuple[str, str], Any] = {}
        self._rings: dict[tuple[Item, str], list[Any]] = {}
        self.by_feature: dict[tuple[Item, int], Any] = {}
        """Lookups of each feature of a mini-batch, for operators that take one after the other."""
        self.lru = self._own_planner()
        self.lists = self._move_lists()
        self.hit_map_counts = self.gpu.empty((len(batches), 2), "int32")
        """Unique and missed rows that the Hit-Map found, by mini-batch."""

    def turn(self, number: int) -> int:
        """Which buffers of a ring a mini-batch uses."""
        return number % self.turns

    def bags(self, number: int) -> tuple[Any, Any]:
        """Offsets of the bags and the bag of each lookup of a mini-batch, on the GPU."""
        return self._bags[0 if self.same_bags else number]

    def flat(self, tensor: Any) -> Floats:
        """A host tensor (samples, features, dim) as an array (bags, dim)."""
        array: Floats = tensor.detach().view(-1, self.inputs.point.model.width).numpy()
        return array

    def of_samples(self, tensor: Any, kind: str) -> Any:
        """The vectors of the own samples, of those of all on a host that works for all GPUs."""
        cut = kind == "cpu" and self.share.together
        return tensor[self.share.own_samples] if cut else tensor

    # lists of rows that move

    def _own_planner(self) -> LruCache | None:
        """The trainer's own, where it knows the policy."""
        pools = self.inputs.pools
        if pools is None or not self.flow.plans:
            return None
        resident = self._resident(pools.slots)
        return LruCache(self.gpu, pools, resident, [b.ids for b in self.inputs.batches])

    def _resident(self, slots: Sequence[int]) -> Int64s:
        """The row in each slot before the first mini-batch, -1: none; `slots`: by pool."""
        resident = np.full(sum(slots), -1, np.int64)
        resident[self.inputs.preload.slots] = self.inputs.preload.rows
        return resident

    def _move_lists(self) -> Sequence[MoveLists]:
        """One a mini-batch; lists of its own lie in rings."""
        if not self.flow.plans:
            return []
        cache, turns = self.lru, self.turns
        if cache is None:
            return [GivenLists(self.gpu, facts) for facts in self.inputs.facts]
        ring = [LruLists(self.gpu, self.lookups) for _ in range(turns)]
        numbers = range(len(self.inputs.batches))
        return [OwnLists(cache, ring[self.turn(n)], n, self.list_room) for n in numbers]

    @cached_property
    def list_room(self) -> int:
        """Rows that the staging buffers of lists hold. With a planner of its own: all unique rows
        of a mini-batch where that is little memory, else a quarter more than the simulator's
        planner moves."""
        planned = max(1, *(f[name].rows for f in self.inputs.facts for name in LISTED))
        if self.inputs.pools is None:
            return planned
        most = max(batch.unique_rows for batch in self.inputs.batches)
        if most * 4 * self.width * self.turns <= AMPLE_BYTES:
            return most
        return min(most, planned + planned // 4 + 1024)

    # stores

    def store(self, store: Store) -> Any:
        """The rows of a store: an array on the host, a tensor on the GPU.

        Raises `UsageError` for stores that observe cannot keep.
        """
        key = (store.name, store.memory)
        if key not in self._stores:
            self._stores[key] = self._opened(store)
        return self._stores[key]

    def reached(self, store: Store) -> Any:
        """The rows of a store as kernels of the GPU reach them."""
        rows, on_host = self.store(store), self.flow.kind_of(store.memory) == "cpu"
        return self.gpu.mapped(rows) if on_host else rows

    @cached_property
    def tagged(self) -> TaggedCache:
        """Tags of a set-associative cache."""
        replay, batches = self.inputs.system.replay, len(self.inputs.batches)
        if not isinstance(replay, AssociativeReplay):
            raise UsageError("observe probes caches of one hashed set a row, as FBGEMM's")
        resident = self._resident(replay.slots)
        return TaggedCache(self.gpu, resident, replay.ways, self.lookups, batches)

    @cached_property
    def swapped(self) -> Sequence[Swapped]:
        """What each mini-batch brings into that cache."""
        return [Swapped(self.gpu, facts) for facts in self.inputs.facts]

    def _opened(self, store: Store) -> Any:
        kind, model = self.flow.kind_of(store.memory), self.inputs.point.model
        if store.slotted:
            if kind != "gpu":
                raise UsageError(f"observe keeps caches on the GPU, not in {store.memory}")
            return self._opened_cache()
        if store.tables != model.tables:
            raise UsageError(f"observe keeps all {model.tables} tables together, not some")
        if kind == "cpu":
            return self.table
        rows = self.gpu.empty((self.inputs.rows, self.width))
        _fill_on_gpu(self.gpu, rows, self.share)
        return rows

    @property
    def width(self) -> int:
        """Elements of a row with its optimizer state."""
        return entry_width(self.inputs.point.model)

    @property
    def table(self) -> Floats:
        """The host's table."""
        if self.place.table is None:
            raise UsageError("this program needs its tables on the host")
        return self.place.table

    def _opened_cache(self) -> Any:
        """A cache with the rows that are there before the first mini-batch."""
        preload = self.inputs.preload
        cache = self.gpu.empty((max(1, self.inputs.slots), self.width))
        if len(preload.rows):
            _copy_to_gpu(self.gpu, self.table, preload.rows, cache, preload.slots)
        return cache

    @cached_property
    def slot_of(self) -> Any:
        """int32, the slot of every row (-1: not cached), on the GPU."""
        if self.lru is not None:
            return self.lru.slot_of
        preload, upload = self.inputs.preload, self.gpu.upload
        slot_of = self.gpu.empty((self.inputs.rows,), "int32").fill_(-1)
        self.gpu.put(slot_of, upload(preload.rows), upload(preload.slots))
        return slot_of

    @cached_property
    def hit_map(self) -> HitMap:
        """Of the cache."""
        return HitMap(self.gpu, self.slot_of, max(1, self.inputs.slots), self.lookups)

    def trained(self) -> Floats:
        """Every row as it is now, with its optimizer state, shape (rows, dim and state): tables,
        and over them what is cached."""
        caches = [rows for rows in self._stores.values() if rows is not self.place.table]
        if self.place.table is None or not self._keeps_table():
            array: Floats = caches[0].cpu().numpy()
            return array
        full = self.table.copy()
        if caches:
            rows, slots = self._cached()
            full[rows] = caches[0].cpu().numpy()[slots]
        return full

    def _cached(self) -> tuple[Int64s, Int64s]:
        """Rows in the cache, and their slots."""
        if self.flow.probes:
            tags: Int64s = self.tagged.tags.cpu().numpy()
            slots = np.flatnonzero(tags >= 0)
            return tags[slots], slots
        slot_of = self.slot_of.cpu().numpy()
        rows = np.flatnonzero(slot_of >= 0)
        return rows, slot_of[rows]

    def _keeps_table(self) -> bool:
        return any(rows is self.place.table for rows in self._stores.values())

    # buffers

    def crosses(self, item: Item, kind: str) -> bool:
        """Whether another mini-batch may come between the stages that touch an item."""
        return self.overlaps and len(self.flow.stages_of.get((item, kind), ())) > 1

    def buffer(self, item: Item, kind: str, number: int) -> Any:
        """The memory of an item, of one mini-batch, whole (with room for the largest one)."""
        item = self.flow.root(item)
        key = (item, kind)
        if key not in self._rings:
            self._rings[key] = self._ring(item, kind)
        ring = self._rings[key]
        return ring[number % len(ring)]

    def _ring(self, item: Item, kind: str) -> list[Any]:
        direct = self._direct(item, kind)
        if direct is not None:
            return [direct]
        make = self._maker(item, kind)
        vectors = item.kind in ("pooled", "gradients", "cold")
        alone = vectors and (kind == "gpu" or item.kind == "cold") and not self.overlaps
        return [make() for _ in range(1 if alone else self.turns)]

    def _direct(self, item: Item, kind: str) -> Any:
        """The dense step's own tensor, where an item may lie in it."""
        if kind != "gpu" or self.crosses(item, kind):
            return None
        if item == self.flow.of_dense:
            return self.step.gradient
        if item == DENSE:
            return self.step.dense, self.step.labels
        if item in map(self.flow.root, self.flow.dense_takes):
            return self.step.pooled.detach()
        return None

    def _maker(self, item: Item, kind: str) -> Callable[[], Any]:
        step, width = self.step, self.width
        peers = self.place.peers
        make = cast("Callable[..., Any]", self.gpu.staging if kind == "cpu" else self.gpu.empty)
        if item.kind in ("pooled", "gradients"):
            model = self.inputs.point.model
            shape = (model.batch_size, model.features, model.width)
            if peers is not None and self.share.together and kind == "cpu":
                return lambda: peers.staging(shape)
            return lambda: make(shape)
        if item.kind == "dense":
            return lambda: (make(tuple(step.dense.shape)), make(tuple(step.labels.shape)))
        if item.kind == "lists":
            return lambda: {name: make((self.list_room,), "int64") for name in LISTED}
        if item.kind == "rows":
            gathers = self.flow.gathers(item)
            rows = max(1, *(gather.rows.rows for gather in gathers))
            if self.lru is not None and self.flow.moved_list(gathers[0].rows, 0) is not None:
                rows = self.list_room
            return lambda: make((rows, width))
        if item.kind == "cold":
            bags = len(self.inputs.batches[0].offsets) - 1
            return lambda: ColdLookups(self.gpu, self.lookups, bags)
        return lambda: make((self.lookups,), "int32" if item.kind == "slots" else "int64")


def fill_table(table: Floats, share: Share, threads: int) -> None:
    """Rows of the tables of `share`, with the values that they have in the whole model."""
    begin = 0
    for first, rows in zip(share.first_rows, share.model.rows_per_table, strict=True):
        part = table[begin : begin + rows]
        host.fill_rows(part, threads, first=first, dim=share.model.width)
        begin += rows


def _fill_on_gpu(gpu: Accelerator, table: Any, share: Share) -> None:
    """The values of `fill_table`, through a staging buffer, piece by piece."""
    buffer = gpu.staging((min(PIECE, len(table)), table.shape[1]))
    begin = 0
    for first, rows in zip(share.first_rows, share.model.rows_per_table, strict=True):
        for number in range(0, rows, PIECE):
            part = buffer[: min(PIECE, rows - number)]
            host.fill_rows(part.numpy(), gpu.threads, first=first + number, dim=share.model.width)
            gpu.copy(table[begin : begin + len(part)], part)
            gpu.synchronize()
            begin += len(part)


def _copy_to_gpu(gpu: Accelerator, table: Floats, rows: Int64s, target: Any, slots: Int64s) -> None:
    """target[slots[k]] = table[rows[k]], through a staging buffer, piece by piece."""
    size = max(1, min(PIECE, len(rows)))
    buffer, there = gpu.staging((size, table.shape[1])), gpu.empty((size, table.shape[1]))
    for begin in range(0, len(rows), PIECE):
        some = rows[begin : begin + PIECE]
        host.copy_rows(table, some, buffer.numpy(), gpu.threads, to=False)
        gpu.copy(there, buffer)
        gpu.scatter(target, gpu.upload(slots[begin : begin + PIECE]), there)
        gpu.synchronize()
