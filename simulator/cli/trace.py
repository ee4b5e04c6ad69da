"""`scratchpipe trace`: generate, describe, convert and validate traces of embedding lookups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from simulator._progress import part, tell
from simulator.cli.numbers import (
    MOST_BATCHES,
    MOST_BYTES,
    MOST_JOBS,
    MOST_ROWS,
    MOST_SAMPLES,
    MOST_SEED,
    MOST_TABLES,
)
from simulator.cli.trace_files import (
    Asked,
    Columns,
    Files,
    Format,
    HeaderLine,
    Sizes,
    Tables,
    Unchecked,
    feeds_of,
    numbers,
    opened,
)
from simulator.cli.trace_pieces import (
    as_rows,
    features_of,
    generated,
    require_disk,
    trace_config,
    written_format,
)
from simulator.cli.trace_says import print_json, print_reports, say, warn_of_order
from simulator.cli.trace_sums import Transforms, keys_of, print_effects
from simulator.errors import UsageError
from simulator.text import few

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Generate, describe, convert and validate traces.")

Target = Annotated[Path, typer.Argument(help="The file to write.", show_default=False)]
To = Annotated[str, typer.Option("--to", help="Format to write; left out, by the file's name.")]
Rows = Annotated[str, typer.Option("--rows", help="Rows that the tables have: N or N,N,...")]
Flatten = Annotated[bool, typer.Option("--flatten", help="Keep the ids, drop the bags.")]
RowBytes = Annotated[
    int, typer.Option("--row-bytes", min=1, max=MOST_BYTES, help="Object size in oracle records.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else.")]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of all random numbers.")
]


@app.command()
def generate(
    target: Target,
    kind: Annotated[
        str,
        typer.Option(
            help="uniform, zipf, power_law, locality, histogram, curve, drift, session or stack."
        ),
    ] = "",
    alpha: Annotated[float | None, typer.Option(min=0.0, max=10.0, help="Zipf exponent.")] = None,
    locality: Annotated[str, typer.Option(help="random, low, medium or high.")] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE of the trace's configuration (may be repeated)."),
    ] = None,
    tables: Annotated[int, typer.Option(min=1, max=MOST_TABLES)] = 1,
    rows: Annotated[
        int, typer.Option(min=1, max=MOST_ROWS, help="Rows of each table.")
    ] = 1_000_000,
    lookups: Annotated[
        str,
        typer.Option(help="Mean lookups a table and sample: N, or N,N,... of features that share."),
    ] = "20",
    batch_size: Annotated[
        int, typer.Option(min=1, max=MOST_SAMPLES, help="Samples of a mini-batch.")
    ] = 2048,
    batches: Annotated[
        int, typer.Option(min=1, max=MOST_BATCHES, help="Mini-batches to write.")
    ] = 10,
    seed: Seed = 0,
    threads: Annotated[int, typer.Option(min=1, max=MOST_JOBS, help="Tables drawn at a time.")] = 1,
    to: To = "auto",
    row_bytes: RowBytes = 1,
    flatten: Flatten = False,
    as_json: AsJson = False,
) -> None:
    """Draw mini-batches and write them to a file.

    Tables are t0, t1, ...; features that share table t0 are columns t0_0, t0_1, ...
    """
    from simulator.config.trace import with_key
    from simulator.traces.open import open_trace
    from simulator.traces.writing import spooled, write_columns

    given: dict[str, Any] = {"kind": kind} if kind else {}
    if alpha is not None:
        given = with_key(given, "alpha", alpha)
    if locality:
        given = with_key(given, "locality", locality)
    config = trace_config(given, settings or [])
    features = features_of(lookups, tables)
    trace = open_trace(
        config,
        rows=(rows,) * tables,
        lookups=(features,) * tables,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
    )
    count = min(batches, trace.batches or batches)
    require_disk(target, count * batch_size * sum(features) * tables)
    marks = [""] if len(features) == 1 else [f"_{number}" for number in range(len(features))]
    names = [f"t{t}{mark}" for t in range(tables) for mark in marks]
    jagged = getattr(config, "pooling", "fixed") != "fixed"
    with spooled(generated(trace, count, len(marks), jagged), names, target) as columns:
        write_columns(
            target, written_format(target, to), columns, row_bytes=row_bytes, flatten=flatten
        )
        total = sum(len(c.ids) for c in columns)
    facts = {"file": str(target), "tables": tables, "mini_batches": count, "lookups": total}
    say(
        {**facts, "fingerprint": trace.fingerprint()},
        f"wrote {total:,} lookups of {tables} table(s), {count} mini-batches, to {target}",
        as_json,
        target,
    )


@app.command()
def describe(
    files: Files,
    column: Columns = None,
    table: Tables = None,
    format: Format = "auto",
    header: HeaderLine = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture: .png, .svg, .pdf.")] = None,
    transform: Transforms = "",
    rows: Rows = "",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Say what locality a trace has; warn where it has no order in time.

    With --transform also what sums of rows do to it: lookups of a sample before and after. --rows
    are those of the tables, of which sums may take a share; left out, up to the highest id.
    """
    from simulator._extras import require
    from simulator.traces.analysis import describe_ids
    from simulator.traces.picture import plot_reports
    from simulator.traces.pieces import checked, load
    from simulator.traces.transform.effect import effects

    if plot is not None:
        require("figures", "--plot draws a picture")
    if rows and not transform:
        raise UsageError("--rows: of use with --transform alone")
    asked = Asked(format, column, table, header, sizes, unchecked)
    source = opened(files, asked)
    feeds = feeds_of(source, asked)
    limits = numbers(rows, len(feeds.names), "--rows")
    with part(0.0, 0.5):
        columns = load(source)
        if source.columns() is not None:
            for _ in checked(source):  # mapped files have not been looked at yet
                pass
    tables = feeds.merged(source.path, columns)
    reports = []
    filled = [t for t in tables if len(t.ids)]
    for number, t in enumerate(filled):
        tell(f"table {t.name}, {number + 1} of {len(filled)}", 0.5 + 0.5 * number / len(filled))
        reports.append(describe_ids(t.ids.astype("int64", copy=False), t.name, seed=seed))
    empty = [t.name for t in tables if not len(t.ids)]
    changes = []
    if transform:
        sums = trace_config({"path": str(source.path)}, [keys_of(transform)]).transform
        features = list(map(len, feeds.columns))
        changes = effects(source.path, tables, features, limits, sums)
    if plot is not None:
        plot_reports(reports, plot, source.path.name)
    warn_of_order(source.path, reports)
    if as_json:
        without = [{"table": name, "lookups": 0} for name in empty]
        described = [*(r.as_dict() for r in reports), *without]
        facts = {"file": str(source.path), "tables": described, "notes": list(source.notes)}
        if transform:
            facts["transform"] = [each.as_dict() for each in changes]
        print_json(facts)
    else:
        if reports:
            print_reports(reports)
        if empty:
            typer.echo(f"no lookups, and so no shares: {few(empty)}")
        if changes:
            print_effects(changes)


@app.command()
def convert(
    files: Files,
    target: Target,
    column: Columns = None,
    table: Tables = None,
    format: Format = "auto",
    header: HeaderLine = "auto",
    to: To = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    ids: Annotated[
        str, typer.Option("--ids", help="Ids to row numbers: error, modulo, hash or renumber.")
    ] = "error",
    rows: Rows = "",
    row_bytes: RowBytes = 1,
    flatten: Flatten = False,
    as_json: AsJson = False,
) -> None:
    """Rewrite a trace in another format, checking every id on the way.

    Ids that are no row numbers become some with --ids: of --rows rows by their remainder (modulo)
    or by a hash, or by first appearance (renumber). Columns of one table (--table) stay columns;
    equal ids of theirs become equal rows.
    """
    from simulator.traces.writing import spooled, write_columns

    written = written_format(target, to)
    asked = Asked(format, column, table, header, sizes, unchecked)
    source = opened(files, asked)
    feeds = feeds_of(source, asked)
    pieces = as_rows(source, ids, numbers(rows, len(feeds.names), "--rows"), feeds)
    with spooled(pieces, source.tables, target) as columns:
        write_columns(target, written, columns, row_bytes=row_bytes, flatten=flatten)
        total = sum(len(c.ids) for c in columns)
    count = len(feeds.names)
    facts = {"file": str(target), "format": written, "tables": count, "lookups": total}
    say(facts, f"wrote {total:,} lookups of {count} table(s) to {target}", as_json, target)


@app.command()
def validate(
    files: Files,
    column: Columns = None,
    table: Tables = None,
    format: Format = "auto",
    header: HeaderLine = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    rows: Rows = "",
    as_json: AsJson = False,
) -> None:
    """Check every id of a trace; name the first bad record."""
    from simulator.traces.pieces import checked

    asked = Asked(format, column, table, header, sizes, unchecked)
    source = opened(files, asked)
    feeds = feeds_of(source, asked)
    limits, table_of = numbers(rows, len(feeds.names), "--rows"), feeds.table_of
    counts = [0] * len(feeds.names)
    highest: list[int | None] = [None] * len(feeds.names)
    for piece in checked(source, limits and [limits[number] for number in table_of]):
        number = table_of[piece.table]
        counts[number] += len(piece.ids)
        if len(piece.ids):
            highest[number] = max(highest[number] or 0, int(piece.ids.max()))
    tables = [
        {"table": name, "lookups": count, "max_id": high}
        for name, count, high in zip(feeds.names, counts, highest, strict=True)
    ]
    empty = [name for name, count in zip(feeds.names, counts, strict=True) if not count]
    say(
        {
            "file": str(source.path),
            "valid": True,
            "tables": tables,
            "notes": list(source.notes),
        },
        f"{source.path}: {sum(counts):,} lookups in {len(tables)} table(s), all good"
        + (f"; no lookups in {few(empty)}" if empty else ""),
        as_json,
    )
