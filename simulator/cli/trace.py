"""`scratchpipe trace`: generate, describe, convert and validate traces of embedding lookups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator._progress import part, tell
from simulator.cli.numbers import (
    MOST_BATCHES,
    MOST_BYTES,
    MOST_JOBS,
    MOST_LOOKUPS,
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
from simulator.cli.trace_sums import Transforms, keys_of, print_effects
from simulator.errors import TraceError, UsageError
from simulator.files import is_standard_output
from simulator.text import few, on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.traces.analysis import TableReport
    from simulator.traces.base import Trace
    from simulator.traces.features import Feeds
    from simulator.traces.pieces import Piece, Source

__all__ = ["app"]

_MOST_TABLES = 60
"""Tables of a trace that are printed."""

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
    config = _config(given, settings or [])
    features = _features(lookups, tables)
    trace = open_trace(
        config,
        rows=(rows,) * tables,
        lookups=(features,) * tables,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
    )
    count = min(batches, trace.batches or batches)
    _require_disk(target, count * batch_size * sum(features) * tables)
    marks = [""] if len(features) == 1 else [f"_{number}" for number in range(len(features))]
    names = [f"t{t}{mark}" for t in range(tables) for mark in marks]
    jagged = getattr(config, "pooling", "fixed") != "fixed"
    with spooled(_generated(trace, count, len(marks), jagged), names, target) as columns:
        write_columns(
            target, _written_format(target, to), columns, row_bytes=row_bytes, flatten=flatten
        )
        total = sum(len(c.ids) for c in columns)
    facts = {"file": str(target), "tables": tables, "mini_batches": count, "lookups": total}
    _say(
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
        sums = _config({"path": str(source.path)}, [keys_of(transform)]).transform
        features = list(map(len, feeds.columns))
        changes = effects(source.path, tables, features, limits, sums)
    if plot is not None:
        plot_reports(reports, plot, source.path.name)
    _warn_of_order(source.path, reports)
    if as_json:
        without = [{"table": name, "lookups": 0} for name in empty]
        described = [*(r.as_dict() for r in reports), *without]
        facts = {"file": str(source.path), "tables": described, "notes": list(source.notes)}
        if transform:
            facts["transform"] = [each.as_dict() for each in changes]
        _print_json(facts)
    else:
        if reports:
            _print_reports(reports)
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

    written = _written_format(target, to)
    asked = Asked(format, column, table, header, sizes, unchecked)
    source = opened(files, asked)
    feeds = feeds_of(source, asked)
    pieces = _as_rows(source, ids, numbers(rows, len(feeds.names), "--rows"), feeds)
    with spooled(pieces, source.tables, target) as columns:
        write_columns(target, written, columns, row_bytes=row_bytes, flatten=flatten)
        total = sum(len(c.ids) for c in columns)
    count = len(feeds.names)
    facts = {"file": str(target), "format": written, "tables": count, "lookups": total}
    _say(facts, f"wrote {total:,} lookups of {count} table(s) to {target}", as_json, target)


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
    _say(
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


def _features(lookups: str, tables: int) -> tuple[int, ...]:
    """Mean lookups of each feature of a table, as `--lookups` says; bounded as in a model."""
    features = numbers(lookups, lookups.count(",") + 1, "--lookups", MOST_LOOKUPS)
    if features is None:
        raise UsageError("--lookups: expected N or N,N,...")
    if sum(features) > MOST_LOOKUPS:
        raise UsageError(
            f"--lookups: the features of a table make {sum(features):,} lookups a sample, "
            f"{MOST_LOOKUPS:,} at most"
        )
    if tables * len(features) > MOST_TABLES:
        raise UsageError(
            f"--lookups: {tables * len(features):,} features look up {tables:,} tables, "
            f"{MOST_TABLES:,} at most: lower --tables, or give fewer numbers"
        )
    return features


def _require_disk(target: Path, lookups: int) -> None:
    """Raise `UsageError` where the ids, which are spooled beside the target, fill the disk."""
    import shutil

    from simulator.units import format_bytes

    folder = target.resolve().parent
    free = shutil.disk_usage(folder).free if folder.is_dir() else 2**63
    if 8 * lookups > free:
        raise UsageError(
            f"{lookups:,} lookups take about {format_bytes(8 * lookups)}, but {folder} has "
            f"{format_bytes(free)} free: lower --batches, --batch-size, --lookups or --tables"
        )


def _as_rows(
    source: Source, ids: str, rows: tuple[int, ...] | None, feeds: Feeds
) -> Iterator[Piece]:
    """The pieces of `source`, checked, with row numbers as `--ids` says."""
    from simulator.traces.id_map import RULES, folded
    from simulator.traces.pieces import checked

    rule = next((rule for rule in RULES if rule == ids), None)
    if rule is None:
        raise UsageError(f"--ids {ids}: expected one of {', '.join(RULES)}")
    if rule == "error":
        return checked(source, rows and [rows[table] for table in feeds.table_of])
    if rows is None and rule != "renumber":
        raise UsageError(f"--ids {ids} folds ids into tables: give their rows with --rows")
    return folded(source, rule, rows or (None,) * len(feeds.names), feeds)


def _generated(trace: Trace, batches: int, features: int, jagged: bool) -> Iterator[Piece]:
    """Mini-batches, a column a feature; every table has as many."""
    from simulator.traces.features import by_feature
    from simulator.traces.pieces import Piece

    for index in range(batches):
        tell(f"mini-batch {index + 1:,} of {batches:,}", index / batches)
        batch = trace.minibatch(index)
        for table, (ids, bags) in enumerate(zip(batch.ids, batch.pooled, strict=True)):
            for feature, (own, lengths) in enumerate(by_feature(ids, bags, features)):
                yield Piece(table * features + feature, own, lengths if jagged else None)


def _config(given: dict[str, Any], settings: list[str]) -> Any:
    """The trace of the options `given` and of `--set`. Raises `ConfigError`."""
    from simulator.config.assign import apply, assignments
    from simulator.config.catalogue import adapter
    from simulator.config.problems import validate
    from simulator.config.reader import Mark, Marks
    from simulator.errors import ConfigError

    changes, problems = assignments(settings, "trace")
    if problems:
        raise ConfigError(*problems)
    options = Marks({(): Mark("command line", "command line")})
    try:
        data, marks = apply({"trace": given}, options, changes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    trace = data["trace"]
    if isinstance(trace, dict) and "alpha" in trace and "kind" not in trace:
        trace["kind"] = "zipf"
    config, problems = validate(adapter("traces"), trace, marks.below(("trace",)), ("trace",))
    if problems:
        raise ConfigError(*problems)
    return config


def _written_format(target: Path, to: str) -> str:
    from simulator.traces.files import detect_format
    from simulator.traces.writing import WRITABLE

    try:
        name = detect_format(target) if to == "auto" else to
    except TraceError as error:
        raise UsageError(str(error)) from None
    if name not in WRITABLE:
        raise UsageError(f"{target}: {name} files are not written; use {', '.join(WRITABLE)}")
    return name


def _warn_of_order(file: Path, reports: list[TableReport]) -> None:
    without = [r.table for r in reports if not r.has_time_order]
    if without:
        typer.secho(
            f"WARNING: {file}: NO ORDER IN TIME in {few(without)}: an LRU cache does as well "
            "on a shuffle of these ids. Hit rates of policies that live on recency mean nothing "
            "here; popularity still does.",
            err=True,
            bold=True,
        )


def _print_reports(reports: list[TableReport]) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    terminal = console()
    facts = Table(title="Tables")
    for name in (
        "table", "lookups", "distinct ids", "distinct / lookups", "Zipf alpha (fit)",
        "fit error (KS)", "median reuse distance", "order in time",
    ):  # fmt: skip
        is_name = name == "table"
        facts.add_column(name, justify="left" if is_name else "right", no_wrap=is_name)
    shown = reports[:_MOST_TABLES]
    for r in shown:
        facts.add_row(
            on_one_line(r.table),
            f"{r.lookups:,}",
            f"{r.unique_ids:,}",
            f"{100 * r.unique_share:.2f} %",
            f"{r.zipf_alpha:.2f}",
            f"{r.zipf_ks_distance:.3f}",
            f"{r.median_stack_distance:,}",
            "yes" if r.has_time_order else "NO",
        )
    terminal.print(facts)
    for title, rates in (
        ("Share of lookups on the hottest x % of distinct ids", "hot_share"),
        ("LRU hits / lookups, cache of x % of distinct ids", "lru_hit_rate"),
        ("The same for a shuffle of the ids", "shuffled_lru_hit_rate"),
    ):
        table = Table(title=title)
        table.add_column("table", no_wrap=True)
        for fraction in getattr(reports[0], rates):
            table.add_column(f"{100 * float(fraction):g} %", justify="right")
        for r in shown:
            table.add_row(
                on_one_line(r.table), *(f"{100 * v:.1f} %" for v in getattr(r, rates).values())
            )
        terminal.print(table)
    if len(shown) < len(reports):
        typer.echo(f"{len(reports) - len(shown):,} more tables: --json lists all")


def _say(facts: dict[str, Any], sentence: str, as_json: bool, target: Path | None = None) -> None:
    """What was done: on standard error where a trace was written to standard output."""
    apart = target is not None and is_standard_output(target)
    if as_json:
        _print_json(facts, apart)
    else:
        typer.echo(sentence, err=apart)


def _print_json(value: Any, apart: bool = False) -> None:
    import json

    typer.echo(json.dumps(value, indent=2), err=apart)
