"""The columns that say what a cache does with the rows of a mini-batch."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["CACHE"]

CACHE: tuple[Column, ...] = (
    Column(
        "lookup_hit_rate",
        "float",
        "1",
        "Share of lookups whose row was in the GPU cache when its mini-batch was planned.",
    ),
    Column(
        "unique_hit_rate",
        "float",
        "1",
        "Share of the unique rows of a mini-batch that were in the GPU cache when it was planned.",
    ),
    Column("lookups_per_batch", "float", "lookups", "Lookups of a mini-batch, all tables, mean."),
    Column(
        "unique_rows_per_batch", "float", "rows", "Unique rows of a mini-batch, all tables, mean."
    ),
    Column(
        "misses_per_batch",
        "float",
        "rows",
        "Unique rows that were not in the cache when their mini-batch trained, mean; what a window "
        "or a pass loaded before is none (cdlrm, hugectr_etc), though the link carries it.",
    ),
    Column(
        "bypass_rows_per_batch",
        "float",
        "rows",
        "Unique rows that were read and trained where they lie, for the cache had no slot for them "
        "(conflict misses), mean; null where every row gets one.",
    ),
    Column(
        "bypass_lookups_per_batch",
        "float",
        "lookups",
        "Lookups of those rows, each over the link, mean; null where every row gets a slot.",
    ),
    Column(
        "rows_per_slot",
        "float",
        "1",
        "Rows that a cache must hold at once for none to be read where it lies (those of a "
        "mini-batch; with those of the one before where they are locked; those of a window), over "
        "its slots, mean. Sets fill unevenly: of 32 ways 0.24 % of the rows find no slot at 0.7, "
        "7 % at 1, 21 % at 1.25. Null where every row gets a slot.",
    ),
    Column(
        "filled_rows_per_batch",
        "float",
        "rows",
        "Rows that came up to host memory from the tier below, mean; null where it keeps none.",
    ),
    Column(
        "spilled_rows_per_batch",
        "float",
        "rows",
        "Changed rows that left host memory for the tier below, mean; null where it keeps none.",
    ),
    Column("victims_per_batch", "float", "rows", "Rows evicted to make room, mean."),
    Column(
        "dirty_victims_per_batch", "float", "rows", "Victims that had to be written back, mean."
    ),
    Column(
        "cold_misses_per_batch", "float", "rows", "Missed rows that were never in the cache, mean."
    ),
    Column(
        "capacity_misses_per_batch",
        "float",
        "rows",
        "Missed rows that had been in the cache and were evicted, mean; without the held ones "
        "where those are counted.",
    ),
    Column(
        "held_misses_per_batch",
        "float",
        "rows",
        "Missed rows that the same cache without a window would have kept, mean; null unless "
        "`run.held_misses`.",
    ),
    Column(
        "popular_samples_per_batch",
        "float",
        "samples",
        "Samples whose rows are all hot, mean; null where hot rows are told from no others by "
        "sample.",
    ),
)
