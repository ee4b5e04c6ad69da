"""Columns of the metrics that say how a run starts, whether its caches held still, how it ends."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["START"]

START = (
    Column(
        "cache_start",
        "text",
        "",
        "How the cache came to what it held before the first mini-batch: `empty`; `hot`, filled "
        "with the hottest rows; `sampled`, its steady state drawn from a closed form; `planned`, "
        "its steady state reached by mini-batches of the past that were planned without being "
        "timed. Null where nothing is replaced.",
        choices=("empty", "hot", "sampled", "planned"),
    ),
    Column(
        "cache_start_batches",
        "int",
        "batches",
        "Mini-batches of the past that were planned until all slots were taken and misses were "
        "stationary; the most that are tried (512; policies that look ahead: 40 million lookups) "
        "or that the file has, where they never were; of a sampled set-associative cache under "
        "LFU, as many as its rows have lookups of; 0 where none were planned.",
    ),
    Column(
        "profile",
        "text",
        "",
        "What the hottest rows were known from: `prefix 0.5`, the lookups in the first half of the "
        "file; `whole`, all of it; `generator`, the probabilities of the trace at its first "
        "mini-batch; `sample 0.05`, that share of all mini-batches of the file, drawn at random; "
        "`past 20`, as many mini-batches before the first. Null where nothing asks for the hottest "
        "rows.",
    ),
    Column(
        "profile_overlap",
        "float",
        "1",
        "Share of the timed mini-batches whose lookups the profile has counted: 0 where it knows "
        "nothing of them.",
    ),
    Column(
        "stationary",
        "bool",
        "",
        "Whether the cache held still over the timed mini-batches. False where missed rows trend "
        "(a slope that is significant at 0.1 %, two-sided, and more than 2 % of the mean over the "
        "window), where more than 1 % of the slots still hold rows as `prefill: hot` put them, or "
        "where more than 1 % of the missed rows went into free slots. Null without a cache, and "
        "with fewer than 6 timed mini-batches that show nothing.",
    ),
    Column(
        "misses_first_half",
        "float",
        "rows",
        "Missed rows of a mini-batch, mean of the first half of the timed ones; null below 6.",
    ),
    Column(
        "misses_second_half",
        "float",
        "rows",
        "Missed rows of a mini-batch, mean of the second half of the timed ones; null below 6.",
    ),
    Column(
        "misses_trend",
        "float",
        "1",
        "Change of the missed rows from the first to the last timed mini-batch, as a share of "
        "their mean: of a line fitted by least squares.",
    ),
    Column(
        "misses_trend_t",
        "float",
        "1",
        "Slope of that line over its standard error (Student's t; at most 1e6).",
    ),
    Column(
        "rows_as_filled",
        "int",
        "rows",
        "Rows that `prefill: hot` put into the cache and that no mini-batch had looked up when the "
        "timed ones began; null where nothing was put there or it is there to stay.",
    ),
    Column(
        "drained_batches",
        "int",
        "batches",
        "Timed mini-batches behind which the trace ended before the pipeline was full again: the "
        "later of them had more and more of the machine for themselves. 0 where nothing overlaps.",
    ),
)
"""See `simulator.engine.start`."""
