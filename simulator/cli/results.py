"""`scratchpipe results show|compare`: look at run directories again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.text import on_one_line, with_rest

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.results.against import Against
    from simulator.results.compare import Comparison, Difference
    from simulator.results.rows import Row

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False)

SHOWN = 20
"""Differences printed one by one."""

RunDir = Annotated[Path, typer.Argument(metavar="DIR", show_default=False)]


@app.callback()
def results() -> None:
    """Show the results of a run again, or compare those of two runs."""


@app.command()
def show(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics and devices as JSON and nothing else.")
    ] = False,
) -> None:
    """Print the tables of a run from its directory."""
    from simulator.cli.curve import curves
    from simulator.cli.terminal import console
    from simulator.results.reading import read_run
    from simulator.results.rows import nested
    from simulator.results.tables import tables

    run = read_run(run_dir)
    if as_json:
        typer.echo(
            json.dumps(
                nested(run.metrics(), run.devices(), run.loads(), run.checkpoints()),
                allow_nan=False,
                indent=1,
            )
        )
        return
    screen = console()
    points = list(zip(run.metrics(), run.swept(), strict=True))
    for table in tables(run, screen.width):
        screen.print(table)
    for line in curves(points):
        typer.echo(line)
    failed = [
        on_one_line(f"failed: {row['label']}, {row['locality']}, {row['sweep']}: {row['message']}")
        for row in run.failures
    ]
    for line in with_rest(failed, SHOWN, "failures.json lists all"):
        typer.echo(line)


@app.command()
def compare(
    first: RunDir,
    second: RunDir,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, max=1e9, metavar="REL", help="Largest relative difference allowed."),
    ] = 0.0,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Pair points by these alone (system,locality), and tell by how much they differ.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two runs point by point; exit code 3 where they differ by more than REL.

    Wall-clock columns are left out. Points are matched by their configuration, then by system,
    locality, swept values, policy, platform, model and operator profile.

    With --match, A against B: points that share those columns, whatever else differs, with signed
    differences and whether they are larger than the published errors. Points whose
    configuration differs are shown so, too, paired by all in which the two runs are alike.
    """
    if match is not None:
        _against(first, second, match, as_json)
        return
    from simulator.errors import ToleranceError, UsageError
    from simulator.results.compare import compare as compare_runs
    from simulator.results.reading import read_run

    if not tolerance < float("inf"):
        raise UsageError("--tolerance is a number, such as 1e-6")
    runs = read_run(first), read_run(second)
    comparison = compare_runs(*runs, tolerance)
    pairs = _pairs_of_others(comparison, *(run.metrics() for run in runs))
    if as_json:
        told = comparison.as_dict() | {"against": pairs.as_dict() if pairs else None}
        typer.echo(json.dumps(told, allow_nan=False, indent=2))
    else:
        _print(comparison, first, second, pairs)
        if pairs is not None:
            _show_against(pairs, first, second)
    if not comparison.within:
        raise ToleranceError(_verdict(comparison) + (_advice(first, second) if pairs else ""))


def _pairs_of_others(
    comparison: Comparison, first: Sequence[Row], second: Sequence[Row]
) -> Against | None:
    """Where points of both runs have no partner, or one of another configuration: those that share
    all in which the runs are alike; None where that tells no two apart."""
    from simulator.errors import UsageError
    from simulator.results.against import against, shared_columns

    alone = comparison.only_first and comparison.only_second
    if not alone and not (comparison.changed and comparison.differences):
        return None
    try:
        return against(first, second, shared_columns(first, second))
    except UsageError:
        return None


def _advice(first: Path, second: Path) -> str:
    """How to have the table of pairs by other columns."""
    command = ["scratchpipe", "results", "compare", str(first), str(second), "--match"]
    return f"; paired by other columns: {shlex.join([*command, 'COLUMNS'])}"


def _against(first: Path, second: Path, match: str, as_json: bool) -> None:
    """Two runs side by side."""
    from simulator.results.against import against
    from simulator.results.reading import read_run

    columns = [column.strip() for column in match.split(",") if column.strip()]
    found = against(read_run(first).metrics(), read_run(second).metrics(), columns)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), allow_nan=False, indent=2))
        return
    _show_against(found, first, second)


def _show_against(found: Against, first: Path, second: Path) -> None:
    from simulator.cli.terminal import console
    from simulator.results.resources import title_of

    typer.echo(f"A: {first}\nB: {second}")
    console().print(_side_by_side(found))
    for point, ours, theirs in found.bottlenecks:
        if ours != theirs:
            held = f"{title_of(ours)} in A, {title_of(theirs)} in B"
            typer.echo(f"{on_one_line(point)}: held up by {held}")
    if found.differ_in:
        typer.echo(f"A and B differ in {', '.join(found.differ_in)}")
    for line in found.warnings:
        typer.echo(line)
    for which, count in zip("AB", found.unpaired, strict=True):
        if count:
            typer.echo(f"{count} points of {which} have no partner")


def _side_by_side(found: Against) -> Table:
    from rich.table import Table

    table = Table(", ".join(found.matched_by), "metric", "A", "B", "B against A", "published error")
    for column in table.columns[2:]:
        column.justify = "right"
    for pair in found.pairs:
        change = "-" if pair.change is None else f"{pair.change:+.1%}"
        error = "" if pair.metric != "iteration_time_us" else "not known"
        if pair.error is not None:
            error = f"{pair.error:.1%}: {'larger' if pair.beyond_error else 'within it'}"
        table.add_row(on_one_line(pair.point), pair.metric, *pair.texts, change, error)
    return table


def _print(comparison: Comparison, first: Path, second: Path, pairs: Against | None) -> None:
    """What differs, and the points that are in one run only, unless `pairs` has all of them."""
    everything = "--json lists all"
    lines = [_line(difference) for difference in comparison.differences]
    shown = list(with_rest(lines, SHOWN, everything))
    sides = ((first, comparison.only_first), (second, comparison.only_second))
    for folder, points in sides if pairs is None or any(pairs.unpaired) else ():
        alone = [f"only in {folder}: {on_one_line(point)}" for point in points]
        shown += with_rest(alone, SHOWN, everything)
    for line in shown:
        typer.echo(line)
    if comparison.within:
        how = f"within {comparison.tolerance:g}" if comparison.tolerance else "exactly"
        typer.echo(f"{comparison.compared} points agree {how}")


def _line(difference: Difference) -> str:
    about = ", ".join(
        name for name in (difference.point, difference.stage, difference.resource) if name
    )
    relative = difference.relative
    change = "" if relative is None else f" ({100 * relative:.3g} %)"
    values = f"{_value(difference.first)} and {_value(difference.second)}"
    return f"{on_one_line(about)}: {difference.column}: {values}{change}"


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _verdict(comparison: Comparison) -> str:
    texts = []
    if comparison.differences:
        points = len({difference.point for difference in comparison.differences})
        texts.append(
            f"{len(comparison.differences)} values of {points} points differ by more than "
            f"{comparison.tolerance:g}"
        )
    unmatched = len(comparison.only_first) + len(comparison.only_second)
    if unmatched:
        texts.append(f"{unmatched} points are in one run only")
    return "; ".join(texts)
