"""A small experiment, and ways to train it: as observe does, and in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.config.expand import expand
from simulator.config.experiment import Experiment, PointConfig
from simulator.config.load import parse_experiment
from simulator.engine import known_names
from simulator.observe.accelerator import Accelerator, CpuTensors
from simulator.observe.inputs import Inputs, draw, prepare
from simulator.observe.mlp import RATE, DenseStep
from simulator.observe.rows import aligned, fill_rows, use_threads
from simulator.observe.trainer import Trainer
from simulator.observe.workspace import Place

Floats = npt.NDArray[np.float32]

MODEL = {
    "base": "default",
    "tables": 2,
    "rows_per_table": 600,
    "dim": 16,
    "lookups_per_table": 3,
    "batch_size": 8,
    "bottom_mlp": [8],
    "top_mlp": [8, 1],
}


def experiment(**changes: Any) -> Experiment:
    """All five systems on a toy, for less than a second each."""
    data = {
        "config_version": 1,
        "name": "small",
        "platform": "v100_p3",
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.6},
        "systems": ["hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only"],
        "cache": {"fraction": 0.001, "if_too_small": "grow"},
        "operators": "observed",
        "pipeline": {"mode": "lockstep"},
        "run": {"batches": 20, "warmup_batches": 4, "cpu_threads": 1},
    }
    return parse_experiment(data | changes, names=known_names())


def inputs_of(point: PointConfig) -> Inputs:
    return prepare(point, draw(point, 1), 1)


def trainer_of(point: PointConfig, accelerator: Accelerator | None = None) -> Trainer:
    """The system of a point on filled tables, ready to run."""
    threads = use_threads(1)
    table = aligned(point.model.rows, point.model.dim)
    fill_rows(table, threads)
    place = Place(accelerator or CpuTensors(threads), table, threads)
    return Trainer(inputs_of(point), place)


def tables_of(**changes: Any) -> dict[str, Floats]:
    """Every system's tables after training."""
    trained = {}
    for point in expand(experiment(**changes)):
        trainer = trainer_of(point)
        trainer.run()
        trained[point.system.label] = trainer.tables()
    return trained


def plain_tables(point: PointConfig) -> Floats:
    """One mini-batch after the other on one table, in NumPy; the dense step alone is the same."""
    inputs = inputs_of(point)
    table = aligned(point.model.rows, point.model.dim)
    fill_rows(table, 1)
    step = DenseStep(point.model, "cpu", point.run.seed)
    for batch in inputs.batches:
        pooled = np.zeros((len(batch.offsets) - 1, point.model.dim), np.float32)
        np.add.at(pooled, batch.bag_of, table[batch.ids])
        step.pooled.detach().numpy()[:] = pooled.reshape(tuple(step.pooled.shape))
        step.dense.numpy()[:], step.labels.numpy()[:] = batch.dense, batch.labels
        step.run()
        gradient = step.gradient.numpy().reshape(-1, point.model.dim)
        np.subtract.at(table, batch.ids, np.float32(RATE) * gradient[batch.bag_of])
    return table
