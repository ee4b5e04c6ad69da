"""`scratchpipe replay`: cache replay alone, one table, without time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.numbers import MOST_HELD, MOST_ROWS, MOST_SAMPLES, MOST_SEED
from simulator.cli.trace_files import (
    Asked,
    Columns,
    Format,
    HeaderLine,
    Sizes,
    Tables,
    Unchecked,
    feeds_of,
    opened,
)
from simulator.text import few

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.caches.per_lookup.replaying import Replay, ReplayCounts
    from simulator.traces.base import Ids
    from simulator.traces.pieces import Source

__all__ = ["replay"]


def replay(
    trace: Annotated[Path, typer.Option(help="A trace file; of several tables --column names one")],
    policy: Annotated[str, typer.Option(help="Replacement policy")],
    capacity: Annotated[
        list[int],
        typer.Option(min=1, max=MOST_ROWS, help="Rows that the cache holds; several make a curve"),
    ],
    column: Columns = None,
    table: Tables = None,
    format: Format = "auto",
    header: HeaderLine = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    granularity: Annotated[
        str, typer.Option(help="lookup: one at a time; batch: unique ids of mini-batches")
    ] = "lookup",
    batch_lookups: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_SAMPLES,
            help="Lookups a mini-batch, with --granularity batch [default: 40960]",
        ),
    ] = None,
    window_past: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_HELD, help="Past mini-batches that are held [default: 3]"),
    ] = None,
    window_future: Annotated[
        int | None,
        typer.Option(min=0, max=MOST_HELD, help="Coming mini-batches that are held [default: 2]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the random policy")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Replay a trace through one cache and count hits, misses and evictions.

    Several --capacity give one JSON object with a list of points; LRU per lookup takes seven or
    more sizes from one pass of stack distances.

    Per lookup, a row is cached when it misses and there is no window. Per batch, each mini-batch's
    unique ids are looked up once, and rows of the window are never evicted.
    """
    from simulator.caches.per_lookup.replaying import Replay, replay_sizes, replay_trace
    from simulator.caches.plan.base import Window
    from simulator.errors import UsageError

    batch_options = {
        "--batch-lookups": batch_lookups,
        "--window-past": window_past,
        "--window-future": window_future,
    }
    given = [name for name, value in batch_options.items() if value is not None]
    if granularity == "lookup" and given:
        raise UsageError(f"{', '.join(given)}: only with --granularity batch")
    window = Window(
        3 if window_past is None else window_past, 2 if window_future is None else window_future
    )
    lookups = 40_960 if batch_lookups is None else batch_lookups
    asked = [Replay(policy, rows, granularity, lookups, window, seed) for rows in capacity]
    ids = _one_table(trace, Asked(format, column, table, header, sizes, unchecked))
    _warn_of_a_long_one(ids, asked)
    if len(asked) == 1:
        document = _document(asked[0], replay_trace(ids, asked[0]))
    else:
        counts = replay_sizes(ids, asked[0], capacity)
        points = [_document(replay, counted) for replay, counted in zip(asked, counts, strict=True)]
        document = {"policy": policy, "granularity": granularity, "points": points}
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    elif "points" in document:
        _show_curve(document["points"])
    else:
        _show(document)


_LONG_S = 10.0
"""Seconds from which on a replay is announced."""


def _warn_of_a_long_one(ids: Callable[[], Iterator[Ids]], asked: list[Replay]) -> None:
    """A note on standard error where a policy of the user's, which is not compiled, takes long."""
    from simulator.caches.per_lookup.replaying import expected_s
    from simulator.caches.policies.base import BUILT_IN, LOOKUP_ONLY
    from simulator.cli.beat import clock

    name = asked[0].policy
    if name in (*BUILT_IN, *LOOKUP_ONLY):
        return
    guesses = [expected_s(ids, replay) for replay in asked]
    lookups, seconds = guesses[0][0] * len(asked), sum(each for _, each in guesses)
    if seconds >= _LONG_S:
        faster = ""
        if asked[0].granularity == "lookup":
            faster = "; `--granularity batch` plans a mini-batch at once"
        typer.echo(
            f"note: {name} is plain Python: {lookups:,} lookups at about "
            f"{lookups / seconds:,.0f} a second take about {clock(seconds)}{faster}",
            err=True,
        )


def _one_table(trace: Path, asked: Asked) -> Callable[[], Iterator[Ids]]:
    """What gives the ids of the table, in pieces, from the beginning; the trace is opened as the
    other verbs do it.

    Raises `UsageError` where it has several tables and none is named.
    """
    from simulator.errors import UsageError
    from simulator.traces.pieces import load

    source = opened([trace], asked)
    feeds = feeds_of(source, asked)
    if len(feeds.names) != 1:
        raise UsageError(
            f"{trace}: has {len(feeds.names)} tables: name one with --column: {few(feeds.names)}"
        )
    if not feeds.shared:
        return lambda: _ids(source)
    (merged,) = feeds.merged(source.path, load(source))
    return lambda: iter((merged.ids,) if len(merged.ids) else ())


def _ids(source: Source) -> Iterator[Ids]:
    """The ids of the table in pieces; `TraceError` at the end where there were none."""
    from simulator.errors import TraceError
    from simulator.traces.pieces import checked

    lookups = 0
    for piece in checked(source):
        lookups += len(piece.ids)
        if len(piece.ids):
            yield piece.ids
    if not lookups:
        raise TraceError(f"{source.path}: the table has no lookups: there is nothing to replay")


def _document(asked: Replay, counts: ReplayCounts) -> dict[str, Any]:
    document: dict[str, Any] = {
        "policy": asked.policy,
        "capacity": asked.capacity,
        "granularity": asked.granularity,
        "seed": asked.seed,
        "lookups": counts.lookups,
        "unique_ids": counts.unique_ids,
        "hits": counts.hits,
        "misses": counts.misses,
        "cold_misses": counts.cold_misses,
        "evictions": counts.evictions,
        "resident_rows": counts.resident_rows,
        "lookup_hits": counts.lookup_hits,
        "lookup_hit_rate": counts.lookup_hits / counts.lookups,
    }
    if asked.granularity == "batch":
        document |= {
            "batch_lookups": asked.batch_lookups,
            "batches": counts.batches,
            "window_past": asked.window.past,
            "window_future": asked.window.future,
            "unique_hit_rate": counts.hits / (counts.hits + counts.misses),
        }
    elif asked.policy == "static_hot":
        preloaded = counts.hits + counts.resident_rows
        document |= {
            "hits_if_preloaded": preloaded,
            "lookup_hit_rate_if_preloaded": preloaded / counts.lookups,
        }
    return document | {
        "wall_s": counts.wall_s,
        "lookups_per_s": counts.lookups / max(counts.wall_s, 1e-9),
    }


def _show_curve(points: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table("capacity, rows", "lookup hits", "evictions", "lookups/s")
    for point in points:
        table.add_row(
            f"{point['capacity']:,}",
            f"{point['lookup_hit_rate']:.2%}",
            f"{point['evictions']:,}",
            f"{point['lookups_per_s']:,.0f}",
        )
    console().print(table)


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(show_header=False)
    for key, value in document.items():
        if isinstance(value, float):
            text = f"{value:,.0f}" if key == "lookups_per_s" else f"{value:.4f}"
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(key.replace("_", " "), text)
    console().print(table)
