"""A small experiment, and ways to train it: as observe does, and in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.config.expand import expand
from simulator.config.experiment import Experiment
from simulator.config.load import parse_experiment
from simulator.config.point import PointConfig
from simulator.engine import known_names
from simulator.observe.accelerator import Accelerator, CpuTensors
from simulator.observe.inputs import Inputs, draw, prepare
from simulator.observe.items import entry_width
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
    table = filled_table(point)
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
    table, dim = filled_table(point), point.model.width
    step = DenseStep(point.model, "cpu", point.run.seed)
    for batch in inputs.batches:
        pooled = np.zeros((len(batch.offsets) - 1, point.model.width), np.float32)
        np.add.at(pooled, batch.bag_of, table[batch.ids, :dim])
        step.pooled.detach().numpy()[:] = pooled.reshape(tuple(step.pooled.shape))
        step.dense.numpy()[:], step.labels.numpy()[:] = batch.dense, batch.labels
        step.run()
        gradient = step.gradient.numpy().reshape(-1, dim)
        rows, which = np.unique(batch.ids, return_inverse=True)
        total = np.zeros((len(rows), dim), np.float32)
        np.add.at(total, which, gradient[batch.bag_of])
        table[rows] = stepped(table[rows], total, point.model.optimizer)
    return table


def filled_table(point: PointConfig) -> Floats:
    """Rows as they are before training, their state 0."""
    table = aligned(point.model.rows, entry_width(point.model))
    fill_rows(table, 1, dim=point.model.width)
    return table


def stepped(entries: Floats, gradient: Floats, optimizer: str) -> Floats:
    """Rows (weights, then state) after one step."""
    dim = gradient.shape[1]
    weights, state = entries[:, :dim], entries[:, dim:]
    if optimizer == "sgd":
        return weights - np.float32(RATE) * gradient
    squares = gradient**2
    if optimizer == "rowwise_adagrad":
        squares = squares.mean(axis=1, keepdims=True)
    state = state + squares
    weights = weights - np.float32(RATE) * gradient / (np.sqrt(state) + np.float32(1e-10))
    return np.concatenate([weights, state], axis=1)
