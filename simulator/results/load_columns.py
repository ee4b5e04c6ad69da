"""Columns of the load stage: what it does, and what it would take to keep training busy."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["LOADED"]

_OF_ONE = "one core (or accelerator in storage)"

LOADED: tuple[Column, ...] = (
    Column("loader", "text", "", "Profile of the load stage: the software that makes tensors."),
    Column(
        "accelerator",
        "text",
        "",
        "What does the work: `none` cores, `in_storage` drives that hold the data.",
        choices=("none", "in_storage"),
    ),
    Column("workers", "int", "workers", "Cores, or accelerators, of the load stage."),
    Column("worker_us", "float", "us", f"Time of {_OF_ONE} for a mini-batch, mean."),
    *(
        Column(f"{name}_us", "float", "us", f"The part of it that {what}.")
        for name, what in (
            ("decode", "decodes columns"),
            ("bucketize", "turns dense values into numbers of buckets"),
            ("hash", "hashes ids into rows"),
            ("log", "takes logarithms of dense values"),
        )
    ),
    Column("source_bytes", "float", "bytes/batch", "Bytes read from storage, mean."),
    Column("tensor_bytes", "float", "bytes/batch", "Bytes of tensors sent to the host, mean."),
    Column(
        "load_us",
        "float",
        "us",
        "Time between mini-batches that the load stage alone would make: workers, storage or the "
        "way to the host, whichever is slowest.",
    ),
    Column(
        "rest_us",
        "float",
        "us",
        "Iteration time where the next mini-batch is always there.",
    ),
    Column(
        "training_busy",
        "float",
        "1",
        "Share of the time in which training runs rather than waits for mini-batches: `rest_us` "
        "over the iteration time.",
    ),
    Column(
        "workers_needed",
        "int",
        "workers",
        "Workers that keep the GPUs of the system busy: `worker_us` over `rest_us`, rounded up.",
    ),
    Column(
        "source_needed_gbps",
        "float",
        "1e9 bytes/s",
        "Bandwidth from storage that keeps them busy: `source_bytes` over `rest_us`.",
    ),
    Column(
        "host_needed_gbps",
        "float",
        "1e9 bytes/s",
        "Bandwidth of the way to the host that keeps them busy: `tensor_bytes` over `rest_us`.",
    ),
    Column(
        "workers_usd_per_hour",
        "float",
        "US$/h",
        "Price of the workers; null where their profile has none.",
    ),
)
