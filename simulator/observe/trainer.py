"""What the five systems share: their inputs on the machine, the dense step, the loop."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.observe.accelerator import Accelerator
from simulator.observe.clock import BatchCountsSeen, Clock, Measured
from simulator.observe.inputs import Batch, Inputs
from simulator.observe.mlp import DenseStep

__all__ = ["RING", "Loaded", "Place", "Trainer", "undisturbed"]

RING = 8
"""Staging buffers of each kind, taken in turn."""
_SWITCH_S = 1e-4

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Place:
    """Where a system trains: the accelerator, the host's table, the host's threads."""

    accelerator: Accelerator
    table: Floats | None
    """fp32, shape (rows of all tables, dim), or None where the host keeps no table."""
    threads: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A mini-batch in staging memory, ready to be sent."""

    ids: Any
    dense: Any
    labels: Any


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection inside, and Python's threads take turns quickly."""
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    gc.collect()
    gc.disable()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


class Trainer:
    """One system: `run()` trains all mini-batches and measures them."""

    def __init__(self, inputs: Inputs, place: Place) -> None:
        self.inputs, self.place = inputs, place
        self.gpu = place.accelerator
        self.clock = Clock(self.gpu)
        model = inputs.point.model
        self.step = DenseStep(model, self.gpu.device, inputs.point.run.seed)
        stage = self.gpu.stage
        self.loaded = [
            Loaded(stage(b.ids), stage(b.dense), stage(b.labels)) for b in inputs.batches
        ]
        self._same_bags = all(
            np.array_equal(b.offsets, inputs.batches[0].offsets) for b in inputs.batches
        )
        self._bags: list[tuple[Any, Any]] = []
        self.counts: dict[int, BatchCountsSeen] = {}

    @property
    def table(self) -> Floats:
        """The host's table."""
        assert self.place.table is not None, "this system keeps its tables elsewhere"
        return self.place.table

    def run(self) -> Measured:
        """Train every mini-batch in order; the times of each."""
        self.gpu.synchronize()
        with undisturbed():
            for number, batch in enumerate(self.inputs.batches):
                with self.clock.iteration(number):
                    self.train(number, batch)
                self.counts[number] = self.count(number, batch)
        return self.finish()

    def finish(self) -> Measured:
        """What was measured."""
        measured = self.clock.finish()
        measured.counts.update(self.counts)
        return measured

    def train(self, number: int, batch: Batch) -> None:
        """Train one mini-batch, after the one before it."""
        raise NotImplementedError

    def count(self, _number: int, batch: Batch) -> BatchCountsSeen:
        """What the mini-batch did; asked for after it was timed."""
        return BatchCountsSeen(len(batch.ids), batch.unique_rows)

    def tables(self) -> Floats:
        """Every row after training, shape (rows, dim)."""
        raise NotImplementedError

    def send_dense(self, number: int) -> None:
        """Dense features and labels to the GPU."""
        self.gpu.copy(self.step.dense, self.loaded[number].dense)
        self.gpu.copy(self.step.labels, self.loaded[number].labels)

    def bags(self, number: int) -> tuple[Any, Any]:
        """Offsets of the bags and the bag of each lookup of a mini-batch, on the GPU."""
        if not self._bags:
            batches = self.inputs.batches[: 1 if self._same_bags else None]
            upload = self.gpu.upload
            self._bags = [(upload(b.offsets), upload(b.bag_of)) for b in batches]
        return self._bags[0 if self._same_bags else number]

    def replayed(self, work: Callable[[int], None]) -> Callable[[int], None]:
        """`work(number)`, which touches nothing but rings, as a captured graph a turn of the ring.

        Where bags differ from mini-batch to mini-batch it is launched operator by operator.
        """
        if not self._same_bags:
            return work
        launch: dict[int, Callable[[], None]] = {}

        def run(number: int) -> None:
            turn = self.turn(number)
            if turn in launch:
                launch[turn]()
            else:
                launch[turn] = self.gpu.captured(lambda: work(number))

        return run

    def ring(self, make: Callable[..., Any], *shape: int, dtype: str = "float32") -> list[Any]:
        """Buffers that mini-batches take in turn."""
        return [make(shape, dtype) for _ in range(min(RING, len(self.inputs.batches)))]

    def turn(self, number: int) -> int:
        """Which buffers of a ring a mini-batch uses."""
        return number % min(RING, len(self.inputs.batches))

    def flat(self, tensor: Any) -> Floats:
        """A host tensor (samples, tables, dim) as an array (bags, dim)."""
        array: Floats = tensor.detach().view(-1, self.inputs.point.model.dim).numpy()
        return array
