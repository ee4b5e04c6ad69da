"""`scratchpipe trace`: generate, describe, convert and validate traces of embedding lookups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    Unchecked,
    numbers,
    opened,
)
from simulator.errors import TraceError, UsageError
from simulator.files import is_standard_output
from simulator.text import few, on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.traces.analysis import TableReport
    from simulator.traces.base import Trace
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
    kind: Annotated[str, typer.Option(help="Kind of trace, as in an experiment.")] = "",
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
        int, typer.Option(min=1, max=MOST_LOOKUPS, help="Mean lookups a table and sample.")
    ] = 20,
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
    """Draw mini-batches and write them to a file."""
    from simulator.config.trace import with_key
    from simulator.traces.open import open_trace
    from simulator.traces.writing import spooled, write_columns

    given: dict[str, Any] = {"kind": kind} if kind else {}
    if alpha is not None:
        given = with_key(given, "alpha", alpha)
    if locality:
        given = with_key(given, "locality", locality)
    config = _config(given, settings or [])
    trace = open_trace(
        config,
        rows=(rows,) * tables,
        lookups=(lookups,) * tables,
        batch_size=batch_size,
        seed=seed,
        threads=threads,
    )
    count = min(batches, trace.batches or batches)
    _require_disk(target, count * batch_size * lookups * tables)
    names = [f"t{t}" for t in range(tables)]
    jagged = getattr(config, "pooling", "fixed") != "fixed"
    with spooled(_generated(trace, count, jagged), names, target) as columns:
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
    format: Format = "auto",
    header: HeaderLine = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture: .png, .svg, .pdf.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Say what locality a trace has; warn where it has no order in time."""
    from simulator.traces.analysis import describe_ids
    from simulator.traces.pieces import checked, load

    source = opened(files, Asked(format, column, header, sizes, unchecked))
    columns = load(source)
    if source.columns() is not None:
        for _ in checked(source):  # mapped files have not been looked at yet
            pass
    reports = [
        describe_ids(c.ids.astype("int64", copy=False), c.name, seed=seed)
        for c in columns
        if len(c.ids)
    ]
    empty = [c.name for c in columns if not len(c.ids)]
    if plot is not None:
        from simulator.traces.picture import plot_reports

        plot_reports(reports, plot, source.path.name)
    _warn_of_order(source.path, reports)
    if as_json:
        without = [{"table": name, "lookups": 0} for name in empty]
        tables = [*(r.as_dict() for r in reports), *without]
        _print_json({"file": str(source.path), "tables": tables, "notes": list(source.notes)})
    else:
        if reports:
            _print_reports(reports)
        if empty:
            typer.echo(f"no lookups, and so no shares: {few(empty)}")


@app.command()
def convert(
    files: Files,
    target: Target,
    column: Columns = None,
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
    or by a hash, or by first appearance (renumber).
    """
    from simulator.traces.writing import spooled, write_columns

    written = _written_format(target, to)
    source = opened(files, Asked(format, column, header, sizes, unchecked))
    pieces = _as_rows(source, ids, numbers(rows, len(source.tables), "--rows"))
    with spooled(pieces, source.tables, target) as columns:
        write_columns(target, written, columns, row_bytes=row_bytes, flatten=flatten)
        total = sum(len(c.ids) for c in columns)
    facts = {"file": str(target), "format": written, "tables": len(columns), "lookups": total}
    _say(facts, f"wrote {total:,} lookups of {len(columns)} table(s) to {target}", as_json, target)


@app.command()
def validate(
    files: Files,
    column: Columns = None,
    format: Format = "auto",
    header: HeaderLine = "auto",
    sizes: Sizes = "",
    unchecked: Unchecked = False,
    rows: Rows = "",
    as_json: AsJson = False,
) -> None:
    """Check every id of a trace; name the first bad record."""
    from simulator.traces.pieces import checked

    source = opened(files, Asked(format, column, header, sizes, unchecked))
    limits = numbers(rows, len(source.tables), "--rows")
    counts = [0] * len(source.tables)
    highest: list[int | None] = [None] * len(source.tables)
    for piece in checked(source, limits):
        counts[piece.table] += len(piece.ids)
        if len(piece.ids):
            highest[piece.table] = max(highest[piece.table] or 0, int(piece.ids.max()))
    tables = [
        {"table": name, "lookups": count, "max_id": high}
        for name, count, high in zip(source.tables, counts, highest, strict=True)
    ]
    empty = [name for name, count in zip(source.tables, counts, strict=True) if not count]
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


def _as_rows(source: Source, ids: str, rows: tuple[int, ...] | None) -> Iterator[Piece]:
    """The pieces of `source`, checked, with row numbers as `--ids` says."""
    from simulator.traces.id_map import RULES, folded
    from simulator.traces.pieces import checked

    rule = next((rule for rule in RULES if rule == ids), None)
    if rule is None:
        raise UsageError(f"--ids {ids}: expected one of {', '.join(RULES)}")
    if rule == "error":
        return checked(source, rows)
    if rows is None and rule != "renumber":
        raise UsageError(f"--ids {ids} folds ids into tables: give their rows with --rows")
    names = [f"{source.path}: table {name!r}" for name in source.tables]
    return folded(checked(source, unsigned=True), rule, rows or (None,) * len(names), names)


def _generated(trace: Trace, batches: int, jagged: bool) -> Iterator[Piece]:
    import numpy as np

    from simulator.traces.pieces import Piece

    for index in range(batches):
        batch = trace.minibatch(index)
        for table, (ids, offsets) in enumerate(zip(batch.ids, batch.offsets, strict=True)):
            yield Piece(table, ids, np.diff(offsets) if jagged else None)


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
