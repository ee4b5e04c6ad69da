"""The systems that always train out of HBM: straw-man (stage after stage) and ScratchPipe.

Stages of mini-batch *i*: Load, Plan, Collect, Exchange, Insert, Train. ScratchPipe runs in
lock-step cycles: in cycle *c* Plan(c), Collect(c - 1), Exchange(c - 2), Insert(c - 3) and
Train(c - 4) run at once, each on a CUDA stream of its own (Load rides with Plan); the CPU's gather
and scatter share one pool of threads chunk by chunk; a barrier ends the cycle. On CPU tensors the
stages of a cycle run one after the other, readers before writers: the order in which a hold window
that is too small reads stale rows.

Plan works on the GPU's own Hit-Map (dense, row to slot): it finds unique and missed ids, reads the
age of every slot, writes the map. *Which* slots give way was decided by the simulator's planner
beforehand, so that the policy is exactly the simulated one; the numbers of unique and missed ids
that the GPU finds must be the planner's.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from simulator.errors import InvariantError
from simulator.observe import rows as host
from simulator.observe.clock import BatchCountsSeen, Measured
from simulator.observe.hit_map import HitMap
from simulator.observe.inputs import Batch, Inputs, MovePlan
from simulator.observe.mlp import RATE
from simulator.observe.simple import copy_to_gpu
from simulator.observe.trainer import Floats, Place, Trainer, undisturbed

__all__ = ["ScratchPipe", "StrawMan"]


class _OnGpu:
    """Lists of one plan, on the GPU and in staging memory."""

    def __init__(self, gpu: Any, plan: MovePlan) -> None:
        self.missed_rows = gpu.upload(plan.missed_rows)
        self.missed_slots = gpu.upload(plan.missed_slots)
        self.victim_rows = gpu.upload(plan.victim_rows)
        self.write_rows, self.write_slots = (
            gpu.upload(plan.write_rows),
            gpu.upload(plan.write_slots),
        )


class _Cached(Trainer):
    """The six stages, to be called in any arrangement."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        gpu, dim = self.gpu, inputs.point.model.dim
        plans = inputs.plans
        lookups = max(len(b.ids) for b in inputs.batches)
        fetched = max(1, *(len(p.missed_rows) for p in plans))
        evicted = max(1, *(len(p.write_rows) for p in plans))
        self.lists = [_OnGpu(gpu, plan) for plan in plans]
        self._open_cache(inputs, dim)

        ring, staging, empty = self.ring, gpu.staging, gpu.empty
        self.ids, self.slots = (ring(empty, lookups, dtype=kind) for kind in ("int64", "int32"))
        self.dense = ring(empty, *self.step.dense.shape)
        self.labels = ring(empty, *self.step.labels.shape)
        self.host_fetched, self.gpu_fetched = (ring(m, fetched, dim) for m in (staging, empty))
        self.host_evicted, self.gpu_evicted = (ring(m, evicted, dim) for m in (staging, empty))
        self.host_missed = ring(staging, fetched, dtype="int64")
        self.host_victims = ring(staging, evicted, dtype="int64")
        self.found_counts = gpu.empty((len(plans), 2), "int32")
        self._pool = self.replayed(self._pool_slots)
        self._update = self.replayed(self._update_slots)

    def _open_cache(self, inputs: Inputs, dim: int) -> None:
        """Storage, Hit-Map and ages, with the rows that are there before the first mini-batch."""
        gpu, preload = self.gpu, inputs.preload
        self.cache = gpu.empty((inputs.slots, dim))
        lookups = max(len(b.ids) for b in inputs.batches)
        self.hit_map = HitMap(gpu, inputs.rows, inputs.slots, lookups)
        if len(preload.rows):
            copy_to_gpu(gpu, self.table, preload.rows, self.cache, preload.slots)
            self.hit_map.preload(gpu.upload(preload.rows), gpu.upload(preload.slots))

    def load(self, number: int) -> None:
        """Ids, dense features and labels to the GPU."""
        turn, sent = self.turn(number), self.loaded[number]
        self.gpu.copy(self.ids[turn][: len(sent.ids)], sent.ids)
        self.gpu.copy(self.dense[turn], sent.dense)
        self.gpu.copy(self.labels[turn], sent.labels)

    def plan(self, number: int) -> None:
        """Hit-Map: find, write, look up; lists of missed and victim rows to the host."""
        gpu, turn, lists = self.gpu, self.turn(number), self.lists[number]
        ids = self.ids[turn][: len(self.loaded[number].ids)]
        self.hit_map.plan(ids, lists, self.slots[turn], self.found_counts[number], number)
        gpu.copy(self.host_missed[turn][: len(lists.missed_rows)], lists.missed_rows)
        gpu.copy(self.host_victims[turn][: len(lists.write_rows)], lists.write_rows)

    def collect_gpu(self, number: int) -> None:
        """Victims out of the cache."""
        slots = self.lists[number].write_slots
        self.gpu.gather(self.cache, slots, self.gpu_evicted[self.turn(number)])

    def fetch(self, number: int) -> None:
        """Missed rows to the GPU."""
        turn, count = self.turn(number), len(self.lists[number].missed_rows)
        self.gpu.copy(self.gpu_fetched[turn][:count], self.host_fetched[turn][:count])

    def evict(self, number: int) -> None:
        """Victims to the host."""
        turn, count = self.turn(number), len(self.lists[number].write_rows)
        self.gpu.copy(self.host_evicted[turn][:count], self.gpu_evicted[turn][:count])

    def insert_gpu(self, number: int) -> None:
        """Missed rows into their slots."""
        slots = self.lists[number].missed_slots
        self.gpu.scatter(self.cache, slots, self.gpu_fetched[self.turn(number)])

    def host_rows(self, collect: int | None, insert: int | None) -> None:
        """Gather the missed rows of one mini-batch, scatter the victims of another, together."""
        some = self.host_fetched[0].numpy()[:0]
        wanted, out = self._lists(self.host_missed, self.host_fetched, collect, fetched=True)
        given, values = self._lists(self.host_victims, self.host_evicted, insert, fetched=False)
        out, values = (some if part is None else part for part in (out, values))
        host.gather_and_scatter(self.table, wanted, out, given, values, self.place.threads)

    def _lists(
        self, rows: list[Any], buffers: list[Any], number: int | None, *, fetched: bool
    ) -> tuple[Any, Any]:
        """The rows of a mini-batch and their staging buffer; without one, none."""
        if number is None:
            return rows[0].numpy()[:0], None
        turn, lists = self.turn(number), self.lists[number]
        count = len(lists.missed_rows if fetched else lists.write_rows)
        return rows[turn].numpy()[:count], buffers[turn].numpy()[:count]

    def train_gpu(self, number: int) -> None:
        """All embedding work and the MLPs out of the cache."""
        self._pool(number)
        self.step.run()
        self._update(number)

    def _slots(self, number: int) -> Any:
        """Slots of the lookups of a mini-batch."""
        return self.slots[self.turn(number)][: len(self.loaded[number].ids)]

    def _pool_slots(self, number: int) -> None:
        """Pooled rows and dense inputs into the dense step."""
        step, turn, (offsets, _) = self.step, self.turn(number), self.bags(number)
        self.gpu.pool(self.cache, self._slots(number), offsets, step.pooled.detach())
        step.dense.copy_(self.dense[turn])
        step.labels.copy_(self.labels[turn])

    def _update_slots(self, number: int) -> None:
        gpu, (_, bag_of) = self.gpu, self.bags(number)
        pairs = gpu.sort(self._slots(number), max(1, self.inputs.slots))
        gpu.update(self.cache, pairs, bag_of, self.step.gradient, RATE)

    def finish(self) -> Measured:
        found = self.found_counts.cpu().tolist()
        for number, (batch, plan) in enumerate(
            zip(self.inputs.batches, self.inputs.plans, strict=True)
        ):
            unique, misses = found[number]
            if (unique, misses) != (batch.unique_rows, len(plan.missed_rows)):
                raise InvariantError(
                    f"mini-batch {number}: the GPU's Hit-Map found {unique} unique and {misses} "
                    f"missed rows, the planner {batch.unique_rows} and {len(plan.missed_rows)}"
                )
            victims, written = len(plan.victim_rows), len(plan.write_rows)
            self.counts[number] = BatchCountsSeen(len(batch.ids), unique, misses, victims, written)
        return super().finish()

    def tables(self) -> Floats:
        full = self.table.copy()
        slot_of = self.hit_map.slot_of.cpu().numpy()
        rows = (slot_of >= 0).nonzero()[0]
        full[rows] = self.cache.cpu().numpy()[slot_of[rows]]
        return full


class StrawMan(_Cached):
    """One stage after the other, the host waiting after each."""

    def train(self, number: int, _batch: Batch) -> None:
        clock, gpu = self.clock, self.gpu
        with clock.host(number, "load"):
            self.load(number)
            gpu.synchronize()
        with clock.host(number, "plan"):
            self.plan(number)
            gpu.synchronize()
        with clock.host(number, "collect"):
            self.collect_gpu(number)
            self.host_rows(number, None)
            gpu.synchronize()
        with clock.host(number, "exchange"):
            with gpu.stream("evict"):
                self.evict(number)
            self.fetch(number)
            gpu.synchronize()
        with clock.host(number, "insert"):
            self.insert_gpu(number)
            self.host_rows(None, number)
            gpu.synchronize()
        with clock.host(number, "train"):
            self.train_gpu(number)
            gpu.synchronize()


class ScratchPipe(_Cached):
    """Lock-step cycles over the mini-batches in flight."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        super().__init__(inputs, place)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rows")
        if self.gpu.device == "cuda":
            self._worker.submit(host.use_threads, place.threads).result()

    def run(self) -> Measured:
        batches = len(self.inputs.batches)
        self.gpu.synchronize()
        with undisturbed():
            for cycle in range(batches + 4):
                with self.clock.iteration(cycle - 4):
                    self._cycle(cycle, batches)
        self._worker.shutdown()
        return self.finish()

    def _cycle(self, cycle: int, batches: int) -> None:
        plan, collect, exchange, insert, train = (
            number if 0 <= number < batches else None for number in range(cycle, cycle - 5, -1)
        )
        if self.gpu.device == "cpu":
            self._in_order(plan, collect, exchange, insert, train)
            return
        rows = self._worker.submit(self._timed_rows, collect, insert)
        # Train first: launching the others takes time, and it is the longest on the GPU; the small
        # copies of Load before the large ones: a copy engine takes one after the other
        self._launch("train", "train", train, self.train_gpu)
        self._launch("plan", "load", plan, self.load)
        self._launch("fetch", "exchange", exchange, self.fetch)
        self._launch("evict", "exchange_back", exchange, self.evict)
        self._launch("insert", "insert", insert, self.insert_gpu)
        self._launch("collect", "collect", collect, self.collect_gpu)
        self._launch("plan", "plan", plan, self.plan)
        self._wait(rows, collect, insert)

    def _launch(self, stream: str, stage: str, number: int | None, work: Any) -> None:
        if number is not None:
            with self.gpu.stream(stream), self.clock.gpu(number, stage):
                work(number)

    def _timed_rows(self, collect: int | None, insert: int | None) -> float:
        begin = time.perf_counter()
        self.host_rows(collect, insert)
        return (time.perf_counter() - begin) * 1e6

    def _wait(self, rows: Future[float], collect: int | None, insert: int | None) -> None:
        """The pool serves both stages until both are done: its time is that of either."""
        spent = rows.result()
        for number, stage in ((collect, "collect"), (insert, "insert")):
            if number is not None:
                self.clock.add_host(number, stage, spent)

    def _in_order(
        self,
        plan: int | None,
        collect: int | None,
        exchange: int | None,
        insert: int | None,
        train: int | None,
    ) -> None:
        """The cycle on CPU tensors: what reads a row goes before what writes it."""
        clock = self.clock
        if plan is not None:
            with clock.host(plan, "load"):
                self.load(plan)
            with clock.host(plan, "plan"):
                self.plan(plan)
        if collect is not None:
            with clock.host(collect, "collect"):
                self.collect_gpu(collect)
                self.host_rows(collect, None)
        if exchange is not None:
            with clock.host(exchange, "exchange"):
                self.fetch(exchange)
                self.evict(exchange)
        if insert is not None:
            with clock.host(insert, "insert"):
                self.insert_gpu(insert)
                self.host_rows(None, insert)
        if train is not None:
            with clock.host(train, "train"):
                self.train_gpu(train)

    def finish(self) -> Measured:
        """Exchange lasts as long as the longer of its directions."""
        measured = super().finish()
        for (number, stage), spent in list(measured.stage_us.items()):
            if stage == "exchange_back":
                del measured.stage_us[number, stage]
                both = max(spent, measured.stage_us.get((number, "exchange"), 0.0))
                measured.stage_us[number, "exchange"] = both
        return measured
