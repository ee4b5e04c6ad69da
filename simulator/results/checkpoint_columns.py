"""Columns of check-points: what is written, how long training waits for it, and what it wears."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["WRITTEN"]

WRITTEN: tuple[Column, ...] = (
    Column(
        "checkpoint",
        "text",
        "",
        "What is written: `snapshot`, or `undo_log`.",
        choices=("snapshot", "undo_log"),
    ),
    Column("to", "text", "", "The drive or persistent memory that it goes to."),
    Column("every", "int", "batches", "Mini-batches from one snapshot (copy of the MLPs) on."),
    Column("written_bytes", "float", "bytes/batch", "Bytes written for it, mean of a mini-batch."),
    Column(
        "write_us",
        "float",
        "us",
        "Time from when a mini-batch may write until its bytes are durable, mean.",
    ),
    Column(
        "rest_us", "float", "us", "Iteration time of the same mini-batches with nothing to write."
    ),
    Column("waited_us", "float", "us", "Time that updates wait for it, mean of a mini-batch."),
    Column("waited_share", "float", "1", "That time as a share of the iteration time."),
    Column(
        "checkpoint_gb_per_day",
        "float",
        "1e9 bytes/day",
        "Bytes written for it if training went on for a day.",
    ),
    Column(
        "checkpoint_mj",
        "float",
        "mJ/batch",
        "Energy of reads and writes for it, beside what the memories take at rest, mean; part of "
        "`energy_mj`.",
    ),
)
