"""`scratchpipe results show|compare`: look at run directories again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from simulator.results.compare import Comparison, Difference

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
        bool, typer.Option("--json", help="Print the metrics rows as JSON and nothing else.")
    ] = False,
) -> None:
    """Print the tables of a run from its directory."""
    from simulator.cli.curve import curves
    from simulator.cli.terminal import console
    from simulator.results.reading import read_run
    from simulator.results.tables import tables_of

    run = read_run(run_dir)
    if as_json:
        typer.echo(json.dumps(run.metrics, allow_nan=False, indent=1))
        return
    screen = console()
    rows = list(zip(run.metrics, run.swept(), strict=True))
    if rows:
        for table in tables_of(run.name, rows, screen.width):
            screen.print(table)
    for line in curves(rows):
        typer.echo(line)
    for row in run.failures:
        typer.echo(f"failed: {row['label']}, {row['locality']}, {row['sweep']}: {row['message']}")


@app.command()
def compare(
    first: RunDir,
    second: RunDir,
    tolerance: Annotated[
        float, typer.Option(min=0.0, metavar="REL", help="Largest relative difference allowed.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two runs point by point; exit code 3 where they differ by more than REL.

    Wall-clock columns are left out. Points are matched by their configuration, then by system,
    locality, swept values, policy, platform, model and operator profile.
    """
    from simulator.errors import ToleranceError, UsageError
    from simulator.results.compare import compare as compare_runs
    from simulator.results.reading import read_run

    if not tolerance < float("inf"):
        raise UsageError("--tolerance is a number, such as 1e-6")
    found = compare_runs(read_run(first), read_run(second), tolerance)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), allow_nan=False, indent=2))
    else:
        _print(found, first, second)
    if not found.within:
        raise ToleranceError(_verdict(found))


def _print(found: Comparison, first: Path, second: Path) -> None:
    for difference in found.differences[:SHOWN]:
        typer.echo(_line(difference))
    if len(found.differences) > SHOWN:
        typer.echo(f"... and {len(found.differences) - SHOWN} more: --json lists all")
    for folder, points in ((first, found.only_first), (second, found.only_second)):
        for point in points:
            typer.echo(f"only in {folder}: {point}")
    if found.within:
        how = f"within {found.tolerance:g}" if found.tolerance else "exactly"
        typer.echo(f"{found.compared} points agree {how}")


def _line(one: Difference) -> str:
    where = f"{one.point}, {one.stage}" if one.stage else one.point
    change = "" if one.relative is None else f" ({100 * one.relative:.3g} %)"
    return f"{where}: {one.column}: {_value(one.first)} and {_value(one.second)}{change}"


def _value(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _verdict(found: Comparison) -> str:
    parts = []
    if found.differences:
        points = len({one.point for one in found.differences})
        parts.append(
            f"{len(found.differences)} values of {points} points differ by more than "
            f"{found.tolerance:g}"
        )
    lonely = len(found.only_first) + len(found.only_second)
    if lonely:
        parts.append(f"{lonely} points are in one run only")
    return "; ".join(parts)
