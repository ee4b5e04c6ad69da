"""GPU-only on several GPUs: a process a GPU, whole tables spread, collectives in between.

Executes the program of `gpu_only`: every rank pools its own tables for the whole mini-batch, an
all-to-all turns vectors by table into vectors by sample, the dense step runs on a share of the
samples, gradients go back the same way, and the gradients of the MLPs are all-reduced while the
tables are updated. NCCL between GPUs (without NVLink multicast), gloo between CPU tensors.

A stage of a rank is timed by events of its stream; of a stage and of an iteration the slowest rank
counts. What arrives from an all-to-all lies rank by rank and is copied into the order of the
tables, inside of the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from simulator.errors import UsageError
from simulator.hardware.program import (
    Dense,
    Exchange,
    Move,
    Operation,
    Pool,
    Sort,
    Stage,
    Update,
    Wait,
)
from simulator.observe import rows as host
from simulator.observe.accelerator import Accelerator
from simulator.observe.clock import BatchCountsSeen, Clock, Measured
from simulator.observe.inputs import Batch, Inputs
from simulator.observe.items import entry_width, words_of
from simulator.observe.mlp import RATE, DenseStep
from simulator.observe.trainer import undisturbed
from simulator.observe.workspace import PIECE
from simulator.systems import System
from simulator.systems.gpu_only import GpuOnly
from simulator.systems.placement import place_on

__all__ = ["RankTrainer", "require_rank_rules", "slowest"]

Action = Callable[[], Any]


class _Share:
    """What a rank needs of one mini-batch: lookups of its tables, inputs of its samples."""

    def __init__(self, trainer: RankTrainer, batch: Batch) -> None:
        gpu, features, fed = trainer.gpu, trainer.model.features, trainer.columns[trainer.rank]
        own = np.full(features, -1)
        own[fed] = np.arange(len(fed))
        feature = batch.bag_of % features
        mine = own[feature] >= 0
        sample, place = batch.bag_of[mine] // features, own[feature[mine]]
        bag = (sample * len(fed) + place).astype(np.int32)
        order = np.argsort(bag, kind="stable")
        ids = (batch.ids[mine] + trainer.shifts[feature[mine]])[order]
        bags = np.arange(trainer.model.batch_size * len(fed) + 1)
        self.bag_of, self.ids = gpu.upload(bag[order]), gpu.stage(ids)
        self.offsets = gpu.upload(np.searchsorted(bag[order], bags))
        samples = slice(trainer.rank * trainer.samples, (trainer.rank + 1) * trainer.samples)
        self.dense = gpu.stage(batch.dense[samples])
        self.labels = gpu.stage(batch.labels[samples])


class RankTrainer:
    """One rank; `run()` trains all mini-batches, in step with the other ranks.

    The default process group of `torch.distributed` must be there when it runs.
    """

    def __init__(self, inputs: Inputs, gpu: Accelerator, rank: int) -> None:
        self.inputs, self.gpu, self.rank = inputs, gpu, rank
        self.model, self.ranks = inputs.point.model, inputs.system.gpus
        names = _ranks_of(inputs.system)
        self._place = inputs.machine.memory(names[rank]).place
        self.samples = self.model.batch_size // self.ranks
        plan = place_on(self.model, inputs.machine, names)
        self.placed = [sorted(own) for own in plan.whole_tables("observe")]
        self.tables = self.placed[rank]
        sizes = np.array(self.model.rows_per_table)
        bases = np.cumsum([0, *sizes[:-1]])
        begins = np.cumsum([0, *sizes[list(self.tables)]])
        table_of = np.repeat(np.arange(self.model.tables), self.model.features_per_table)
        self.columns = [
            np.concatenate([np.flatnonzero(table_of == table) for table in tables])
            for tables in self.placed
        ]
        """Features of the tables of each rank."""
        shifts = np.zeros(self.model.tables, np.int64)
        shifts[list(self.tables)] = begins[:-1] - bases[list(self.tables)]
        self.shifts = shifts[table_of]
        self.rows = self._filled(int(begins[-1]), bases[list(self.tables)], begins)
        share = self.model.model_copy(update={"batch_size": self.samples})
        graph = inputs.point.operators.gpu.mlp == "graph"
        seed = inputs.point.run.seed
        self.step = DenseStep(share, gpu.device, seed, graph=graph, ranks=self.ranks)
        self.shares = [_Share(self, batch) for batch in inputs.batches]
        most = max(len(share.ids) for share in self.shares)
        self.ids = gpu.empty((most,), "int64")
        shape = (self.model.batch_size, len(self.columns[rank]), self.model.width)
        self.pooled, self.gradient = gpu.empty(shape), gpu.empty(shape)
        widths = [self.samples * len(columns) * self.model.width for columns in self.columns]
        self.widths, self.landing = widths, gpu.empty((sum(widths),))
        self.indices = [gpu.upload(columns) for columns in self.columns]
        self.clock = Clock(gpu)
        self._pairs: Any = None

    def _filled(self, rows: int, bases: Any, begins: Any) -> Any:
        """The rank's tables, with the values that they have among all."""
        gpu, width = self.gpu, entry_width(self.model)
        store = gpu.empty((rows, width))
        buffer = gpu.staging((min(PIECE, rows), width))
        for base, begin, end in zip(bases, begins[:-1], begins[1:], strict=True):
            for first in range(begin, end, len(buffer)):
                part = buffer[: min(len(buffer), end - first)]
                number = int(base + first - begin)
                host.fill_rows(part.numpy(), gpu.threads, first=number, dim=self.model.width)
                gpu.copy(store[first : first + len(part)], part)
                gpu.synchronize()
        return store

    def run(self) -> Measured:
        """Train every mini-batch in order; the times of this rank."""
        stages = [
            [(stage.name, self._bound(n, stage)) for stage in self.inputs.system.stages(facts)]
            for n, facts in enumerate(self.inputs.facts)
        ]
        self.gpu.synchronize()
        with undisturbed():
            for number, program in enumerate(stages):
                with self.clock.iteration(number):
                    for name, actions in program:
                        with self.clock.gpu(number, name):
                            for action in actions:
                                action()
        measured = self.clock.finish()
        for number, batch in enumerate(self.inputs.batches):
            measured.counts[number] = BatchCountsSeen(len(batch.ids), batch.unique_rows)
        return measured

    def _bound(self, number: int, stage: Stage) -> Sequence[Action]:
        """The launches of a stage: sums over the ranks begin first and are waited for last."""
        begins: list[Action] = []
        middle: list[Action] = []
        ends: list[Action] = []
        for _, word in words_of((self._own(stage),)):
            if isinstance(word, Exchange) and word.pattern == "all_reduce":
                begin, end = self._all_reduce()
                begins.append(begin)
                ends.append(end)
            else:
                middle += RANK_RULES[type(word)](self, number, word)
        return [*begins, *middle, *ends]

    def _own(self, stage: Stage) -> Stage:
        """The lanes of this rank."""
        gpu, place = self._place.rpartition(".")[0], self._place

        def mine(word: Operation) -> bool:
            return place in (word.at, word.into) if isinstance(word, Move) else word.at == gpu

        return Stage(stage.name, tuple(lane for lane in stage.lanes if any(map(mine, lane))))

    def _all_reduce(self) -> tuple[Action, Action]:
        distributed, flat = self.gpu.torch.distributed, self.step.flat
        works: list[Any] = []

        def begin() -> None:
            works.append(distributed.all_reduce(flat, async_op=True))

        def end() -> None:
            works.pop().wait()
            self.step.apply()

        return begin, end

    def load(self, number: int, _word: Move) -> Sequence[Action]:
        share, copy = self.shares[number], self.gpu.copy
        ids, step = self.ids[: len(share.ids)], self.step

        def load() -> None:
            copy(ids, share.ids)
            copy(step.dense, share.dense)
            copy(step.labels, share.labels)

        return [load]

    def pool(self, number: int, _word: Pool) -> Sequence[Action]:
        share = self.shares[number]
        ids = self.ids[: len(share.ids)]
        return [lambda: self.gpu.pool(self.rows, ids, share.offsets, self.pooled)]

    def dense(self, _number: int, _word: Dense) -> Sequence[Action]:
        return [self.step.run]

    def sort(self, number: int, _word: Sort) -> Sequence[Action]:
        ids = self.ids[: len(self.shares[number].ids)]

        def sort() -> None:
            self._pairs = self.gpu.sort(ids, len(self.rows))

        return [sort]

    def update(self, number: int, _word: Update) -> Sequence[Action]:
        share, optimizer = self.shares[number], self.model.optimizer

        def update() -> None:
            gradient = self.gradient.view(-1, self.model.width)
            self.gpu.update(self.rows, self._pairs, share.bag_of, gradient, RATE, optimizer)

        return [update]

    def wait(self, _number: int, _word: Wait) -> Sequence[Action]:
        """Nothing to launch: it ends the iteration, at whose end `Clock` waits for the GPU."""
        return []

    def exchange(self, _number: int, word: Exchange) -> Sequence[Action]:
        return [self._back if "back" in word.name else self._forth]

    def _forth(self) -> None:
        """Pooled vectors of own tables out, of own samples in."""
        own = [self.pooled.numel() // self.ranks] * self.ranks
        self._all_to_all(self.landing, self.pooled.view(-1), self.widths, own)
        pooled = self.step.pooled.detach()
        for columns, part in zip(self.indices, self.landing.split(self.widths), strict=True):
            pooled.index_copy_(1, columns, part.view(self.samples, len(columns), -1))

    def _back(self) -> None:
        """Gradients of own samples out, of own tables in."""
        own = [self.gradient.numel() // self.ranks] * self.ranks
        for columns, part in zip(self.indices, self.landing.split(self.widths), strict=True):
            vectors = self.step.gradient.index_select(1, columns)
            part.view(self.samples, len(columns), -1).copy_(vectors)
        self._all_to_all(self.gradient.view(-1), self.landing, own, self.widths)

    def _all_to_all(self, out: Any, source: Any, arrive: list[int], leave: list[int]) -> None:
        self.gpu.torch.distributed.all_to_all_single(out, source, arrive, leave)


def _ranks_of(system: System) -> tuple[str, ...]:
    """The GPUs of `gpu_only`; `UsageError` for another system."""
    if not isinstance(system, GpuOnly):
        raise UsageError(f"observe trains gpu_only alone on several GPUs, not {type(system)}")
    return system.ranks


RANK_RULES: Mapping[type[Operation], Callable[[RankTrainer, int, Any], Sequence[Action]]] = {
    Move: RankTrainer.load,
    Pool: RankTrainer.pool,
    Exchange: RankTrainer.exchange,
    Dense: RankTrainer.dense,
    Sort: RankTrainer.sort,
    Update: RankTrainer.update,
    Wait: RankTrainer.wait,
}
"""Word of the program of several GPUs -> what launches it."""


def require_rank_rules(program: Sequence[Stage]) -> None:
    """Every word of a program for several GPUs has a rule. Raises `UsageError`."""
    for _, word in words_of(tuple(program)):
        if type(word) not in RANK_RULES:
            raise UsageError(
                f"observe has no rule for {type(word).__name__} ({word.name!r}) on several GPUs: "
                "it trains gpu_only there"
            )


def slowest(ranks: Sequence[Measured]) -> Measured:
    """The times of the slowest rank, of each iteration and each stage."""
    first = ranks[0]
    return Measured(
        {number: max(r.iteration_us[number] for r in ranks) for number in first.iteration_us},
        {key: max(r.stage_us[key] for r in ranks) for key in first.stage_us},
        first.counts,
    )
