"""The columns that say which point a row is of."""

from __future__ import annotations

from simulator.config.machine import LEVELS
from simulator.results.column import Column

__all__ = ["IDENTITY", "POINT", "SHARED"]

POINT: tuple[Column, ...] = (
    Column("point", "text", "", "Key of the point: SHA-256 (hex) of its resolved configuration."),
    Column("system", "text", "", "The system that was simulated (`scratchpipe list systems`)."),
    Column("label", "text", "", "What the experiment calls the system; its name unless given."),
    Column(
        "training_is_ours",
        "bool",
        "",
        "Whether the source of the system is about inference alone while mini-batches train: how "
        "they do is an extension of this project ([X] in notes), no claim of that source.",
    ),
    Column("policy", "text", "", "Replacement policy of the GPU cache; null without a cache."),
    Column("platform", "text", "", "The machine; a `*` marks a catalogue entry with changed keys."),
    Column(
        "calibrated",
        "text",
        "",
        "How much of the platform came out of a calibration (`scratchpipe calibrate`): `yes` all "
        "of its parts, `partly` some, `no` none: data sheets and assumptions. What that is worth "
        "stands in docs/validation.md.",
        choices=LEVELS,
    ),
    Column("model", "text", "", "The model; a `*` marks a catalogue entry with changed keys."),
    Column("locality", "text", "", "The trace: its locality class, data set, file or kind."),
    Column("operators", "text", "", "Operator profile: what the software costs on the hardware."),
    Column("sweep", "text", "", "The values that the sweep gave to this point, `path=value`."),
    Column("cache_fraction", "float", "1", "Share of all embedding rows that the cache holds."),
    Column("cache_rows", "int", "rows", "Slots of the cache, all pools together."),
    Column(
        "cache_grown",
        "bool",
        "",
        "The cache asked for could not hold its window and was enlarged to one that can.",
    ),
    Column("window_past", "int", "batches", "Earlier mini-batches whose rows were held."),
    Column("window_future", "int", "batches", "Coming mini-batches whose rows were held."),
    Column("tables", "int", "tables", "Embedding tables of the model."),
    Column("dim", "int", "elements", "Elements of an embedding row; null where tables differ."),
    Column("batch_size", "int", "samples", "Samples of a mini-batch."),
    Column("gpus", "int", "GPUs", "GPUs that the system used."),
    Column("batches", "int", "batches", "Mini-batches that were timed."),
    Column("seed", "int", "", "Seed of everything that was drawn."),
)
"""Of a row of `metrics.parquet`."""

SHARED: tuple[Column, ...] = (
    *(c for c in POINT if c.name in ("point", "system", "label", "policy", "platform", "model")),
    *(c for c in POINT if c.name in ("locality", "operators", "sweep", "cache_fraction")),
)
"""Those that the rows of the other files have."""
IDENTITY = tuple(column.name for column in SHARED)
"""Columns that the rows of stages and resources share with their point."""
