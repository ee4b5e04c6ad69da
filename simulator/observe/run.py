"""Trains every point of an experiment for real and times it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from simulator.config.expand import expand
from simulator.config.experiment import Experiment
from simulator.config.point import PointConfig
from simulator.engine.sharing import trace_key
from simulator.observe.accelerator import open_accelerator
from simulator.observe.arena import Arena
from simulator.observe.clock import Measured
from simulator.observe.extra import choose_device, require_torch
from simulator.observe.inputs import Drawn, Inputs, draw, prepare
from simulator.observe.items import entry_width, stores_of
from simulator.observe.machine import describe_machine
from simulator.observe.processes import RankJob, Ranks
from simulator.observe.refusals import program_of, ranks_of, require_trainable
from simulator.observe.rows import use_threads
from simulator.observe.rules_stock import is_stock
from simulator.observe.shares import Share
from simulator.observe.trainer import Floats, Trainer
from simulator.observe.workspace import Place
from simulator.results.record import Progress
from simulator.results.seeds import require_one_seed

__all__ = ["Observation", "ObservedPoint", "observe", "train_point"]


@dataclass(frozen=True)
class ObservedPoint:
    """One point: what each repeat measured, or why it could not run."""

    point: PointConfig
    first: int
    last: int
    threads: int = 0
    """Of the host's operators."""
    repeats: tuple[Measured, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Observation:
    """An experiment as this machine ran it, as far as it came."""

    experiment: Experiment
    device: str
    threads: int
    machine: dict[str, Any]
    points: tuple[ObservedPoint, ...] = ()


def train_point(inputs: Inputs, device: str, threads: int, table: Floats | None) -> Trainer:
    """The system of a point, ready to `run()`; `table`: the host's rows."""
    accelerator = open_accelerator(device, threads)
    if is_stock(inputs.point.operators):
        require_torch().set_num_threads(threads)
    return Trainer(inputs, Place(accelerator, table, threads))


def observe(
    experiment: Experiment,
    *,
    device: str | None = None,
    repeats: int = 2,
    progress: Callable[[Progress], None] | None = None,
    keep: Callable[[Observation], None] | None = None,
) -> Observation:
    """Train and time every point `repeats` times. Points with the same trace share its ids.

    A point that fails, for whatever reason, is kept with its error, and the others run. `keep`:
    gets all that there is after each point, those to come with an error that says so, so that what
    was measured outlives this process. Raises `UsageError` without PyTorch, without the device, and
    for models and systems that are not implemented.
    """
    chosen = choose_device(device)
    points = expand(experiment)
    require_one_seed(points, "observe")
    for point in points:
        require_trainable(point, chosen)
    threads = _threads_of(points[0])
    seen = Observation(experiment, chosen, threads, describe_machine(chosen))
    laboratory = _Laboratory(chosen, repeats, _arena(points, threads))
    done: list[ObservedPoint] = []
    try:
        for number, point in enumerate(points):
            if progress is not None:
                text = f"{point.system.label}, {point.locality}"
                progress(Progress(number, len(points), 0.0, text))
            done.append(laboratory.observe(point))
            if keep is not None:
                coming = (
                    _not_run(point, "not run: observe ended before it")
                    for point in points[number + 1 :]
                )
                keep(replace(seen, points=(*done, *coming)))
    finally:
        laboratory.close()
    return replace(seen, points=tuple(done))


@dataclass
class _Laboratory:
    """What points share: the device, the host's memory, the mini-batches that were drawn last."""

    device: str
    repeats: int
    arena: Arena
    drawn: tuple[str, Drawn] | None = None
    processes: Ranks | None = None
    """Those of the last point on several GPUs, unless it failed."""

    def observe(self, point: PointConfig) -> ObservedPoint:
        """One point. Whatever goes wrong in it is its own error: measuring takes long, and what the
        others measured counts."""
        try:
            threads = _threads_of(point)
            measured = self._measured(point, threads)
        except Exception as error:
            return _not_run(point, f"{type(error).__name__}: {error}")
        finally:
            _free(self.device)
        return replace(_not_run(point, ""), threads=threads, repeats=measured)

    def _measured(self, point: PointConfig, threads: int) -> tuple[Measured, ...]:
        ranks = ranks_of(point)
        if ranks > 1:
            return self._by_ranks(point, threads, ranks)
        if self.drawn is None or self.drawn[0] != trace_key(point):
            self.drawn = trace_key(point), draw(point, threads)
        inputs = prepare(point, self.drawn[1], threads)
        keeps_table, measured = _keeps_table(point), []
        for _ in range(self.repeats):
            table = None
            if keeps_table:
                table = self.arena.take(inputs.share, threads)
            trainer = train_point(inputs, self.device, threads, table)
            measured.append(trainer.run())
            del trainer
            _free(self.device)
        return tuple(measured)

    def _by_ranks(self, point: PointConfig, threads: int, ranks: int) -> tuple[Measured, ...]:
        """A point on several GPUs, by processes that outlive it unless it fails."""
        if self.processes is None or self.processes.count != ranks:
            self.close()
            self.processes = Ranks(self.device, ranks)
        keeps = _keeps_table(point)
        job = RankJob(point, threads, self.repeats, keeps_host_table=keeps)
        processes, self.processes = self.processes, None
        measured, _ = processes.train(job)
        self.processes = processes
        return measured

    def close(self) -> None:
        """End what it started."""
        if self.processes is not None:
            self.processes.close()
        self.processes = None


def _not_run(point: PointConfig, error: str) -> ObservedPoint:
    first = point.run.warmup_batches
    return ObservedPoint(point, first, first + point.run.batches - 1, error=error)


def _threads_of(point: PointConfig) -> int:
    """Set the threads of the host's operators as the point asks; how many they are."""
    return use_threads(point.run.cpu_threads)


def _free(device: str) -> None:
    """Give back what the last system held on the GPU."""
    gc.collect()
    if device == "cuda":
        with suppress(RuntimeError):  # a GPU that failed says so to the next point
            require_torch().cuda.empty_cache()


def _keeps_table(point: PointConfig) -> bool:
    """Whether the program of a point keeps rows on the host."""
    program = program_of(point)
    if program is None:
        return False
    stages, kind_of = program
    return any(kind_of(memory) == "cpu" for memory in stores_of(stages))


def _arena(points: Sequence[PointConfig], threads: int) -> Arena:
    """Room for the largest table that a point on one GPU keeps on the host."""
    arena = Arena()
    models = [point.model for point in points if _keeps_table(point) and ranks_of(point) == 1]
    if models:
        with suppress(MemoryError):  # each point that needs as much says so
            most = max(models, key=lambda model: model.rows * entry_width(model))
            arena.take(Share.of_one(most), threads)
    return arena
