"""Columns of the metrics that say how queries fare in inference (`run.mode: inference`)."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["QUERIES"]

_WHERE = "null in training"

QUERIES = (
    Column(
        "latency_alone_us",
        "float",
        "us",
        "Time from a query to its answer on an idle machine, mean over the timed mini-batches; "
        f"{_WHERE}.",
    ),
    Column(
        "latency_mean_us",
        "float",
        "us",
        "Time from when a query comes to its answer, mean; without `run.arrivals` from when its "
        f"first stage starts, the next query always waiting. {_WHERE.capitalize()}, and where "
        "queries come faster than they are answered.",
    ),
    Column("latency_p50_us", "float", "us", "Median of that time."),
    Column("latency_p99_us", "float", "us", "Latency that 99 % of the queries keep."),
    Column(
        "offered_per_s", "float", "batches/s", "Queries that come; null without `run.arrivals`."
    ),
    Column(
        "offered_load",
        "float",
        "1",
        "That as a share of the queries that the system answers with one always waiting; null "
        "without `run.arrivals`.",
    ),
    Column(
        "overloaded",
        "bool",
        "",
        "Whether queries come as fast as they are answered, or faster: they wait without end. Null "
        "without `run.arrivals`.",
    ),
    Column("answered_per_s", "float", "batches/s", f"Queries that are answered; {_WHERE}."),
)
