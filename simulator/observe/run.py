"""Trains every point of an experiment for real and times it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.caches.facts import BatchFacts
from simulator.config.expand import expand
from simulator.config.experiment import Experiment, PointConfig
from simulator.config.operators import OperatorProfile
from simulator.engine.sharing import build, trace_key
from simulator.errors import ScratchPipeError, UsageError
from simulator.hardware.program import Stage
from simulator.observe.accelerator import open_accelerator
from simulator.observe.clock import Measured
from simulator.observe.extra import choose_device, require_torch
from simulator.observe.inputs import Drawn, Inputs, draw, prepare
from simulator.observe.items import stores_of
from simulator.observe.machine import describe_machine
from simulator.observe.mlp import check_model
from simulator.observe.rows import aligned, fill_rows, use_threads
from simulator.observe.rules import require_rules
from simulator.observe.trainer import Floats, Trainer, kinds_of
from simulator.observe.workspace import Place
from simulator.results.record import Progress

__all__ = ["Observation", "ObservedPoint", "observe", "train_point"]

REFILL_BYTES = 1 << 30
"""Larger tables are filled once and trained on from point to point: values change no time."""


@dataclass(frozen=True)
class ObservedPoint:
    """One point: what each repeat measured, or why it could not run."""

    point: PointConfig
    first: int
    last: int
    repeats: tuple[Measured, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Observation:
    """An experiment as this machine ran it."""

    experiment: Experiment
    device: str
    threads: int
    machine: dict[str, Any]
    points: tuple[ObservedPoint, ...] = ()


@dataclass
class _Arena:
    """Host memory for the tables, kept from point to point: faulting it in takes long."""

    table: Floats | None = None
    filled: list[tuple[int, int]] = field(default_factory=list)

    def take(self, rows: int, dim: int, threads: int) -> Floats:
        if self.table is None or self.table.size < rows * dim:
            self.table = None
            gc.collect()
            self.table = aligned(rows, dim)
            self.filled.clear()
        view = self.table.reshape(-1)[: rows * dim].reshape(rows, dim)
        if view.nbytes <= REFILL_BYTES or (rows, dim) not in self.filled:
            fill_rows(view, threads)
            self.filled = [(rows, dim)]
        return view


def train_point(inputs: Inputs, device: str, threads: int, table: Floats | None) -> Trainer:
    """The system of a point, ready to `run()`; `table`: the host's rows."""
    return Trainer(inputs, Place(open_accelerator(device, threads), table, threads))


def observe(
    experiment: Experiment,
    *,
    device: str | None = None,
    repeats: int = 2,
    progress: Callable[[Progress], None] | None = None,
) -> Observation:
    """Train and time every point `repeats` times. Points with the same trace share its ids.

    A point that cannot run here (too little memory) is kept with its error. Raises `UsageError`
    without PyTorch, without the device, and for models and systems that are not implemented.
    """
    chosen = choose_device(device)
    points = expand(experiment)
    for point in points:
        _check(point)
    threads = use_threads(points[0].run.cpu_threads)
    arena = _arena(points, threads)
    drawn: tuple[str, Drawn] | None = None
    done = []
    for number, point in enumerate(points):
        if progress is not None:
            progress(Progress(number, len(points), 0.0, f"{point.system.label}, {point.locality}"))
        if drawn is None or drawn[0] != trace_key(point):
            drawn = trace_key(point), draw(point, threads)
        done.append(_observe_point(point, drawn[1], chosen, threads, arena, repeats))
    return Observation(experiment, chosen, threads, describe_machine(chosen), tuple(done))


def _free(device: str) -> None:
    """Give back what the last system held on the GPU."""
    gc.collect()
    if device == "cuda":
        require_torch().cuda.empty_cache()


def _check(point: PointConfig) -> None:
    check_model(point.model)
    if point.pipeline.cpu_pool != "shared":
        raise UsageError(
            "observe moves rows with one shared pool of threads: --set pipeline.cpu_pool=shared"
        )
    _check_operators(point.operators)
    program = _program(point)
    if program is not None:
        require_rules(*program)


def _check_operators(software: OperatorProfile) -> None:
    """Refuse software whose programs are others than what is implemented here."""
    fused = software.gpu.mlp == "graph" and software.expand is None
    needed = (
        (fused, "fused operators and a captured graph"),
        (software.id_bytes == 8, "ids of 8 bytes"),
        (software.lists == "copied", "lists that are copied"),
        (software.cold_list == "compacted", "a compacted list of cold ids"),
    )
    wrong = [what for holds, what in needed if not holds]
    if wrong:
        raise UsageError(
            f"observe trains with {', '.join(wrong)}; {software.name} has others: "
            "--set operators=observed"
        )


def _program(point: PointConfig) -> tuple[tuple[Stage, ...], Callable[[str], str]] | None:
    """The stages of a mini-batch without lookups, and the kinds of places; None where the point
    does not fit its machine."""
    try:
        system, machine = build(point)
    except ScratchPipeError:
        return None
    return system.stages(BatchFacts.of_nothing(point.model.batch_size)), kinds_of(machine)


def _keeps_table(point: PointConfig) -> bool:
    """Whether the program of a point keeps rows on the host."""
    program = _program(point)
    if program is None:
        return False
    stages, kind_of = program
    return any(kind_of(memory) == "cpu" for memory in stores_of(stages))


def _arena(points: Sequence[PointConfig], threads: int) -> _Arena:
    """Room for the largest table that a point keeps on the host."""
    arena = _Arena()
    sizes = [(p.model.rows, p.model.dim) for p in points if _keeps_table(p)]
    if sizes:
        arena.take(*max(sizes, key=lambda size: size[0] * size[1]), threads)
    return arena


def _observe_point(
    point: PointConfig, drawn: Drawn, device: str, threads: int, arena: _Arena, repeats: int
) -> ObservedPoint:
    first = point.run.warmup_batches
    last = first + point.run.batches - 1
    try:
        inputs = prepare(point, drawn, threads)
        measured = []
        keeps_table = _keeps_table(point)
        for _ in range(repeats):
            table = None
            if keeps_table:
                table = arena.take(point.model.rows, point.model.dim, threads)
            trainer = train_point(inputs, device, threads, table)
            measured.append(trainer.run())
            del trainer
            _free(device)
        return ObservedPoint(point, first, last, tuple(measured))
    except (ScratchPipeError, MemoryError, RuntimeError) as error:
        return ObservedPoint(point, first, last, error=f"{type(error).__name__}: {error}")
