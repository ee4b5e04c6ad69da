"""`scratchpipe report`: a run, or two against each other, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.files import is_standard_output, write_file

__all__ = ["report"]


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", show_default=False, help="A second run, as B beside A."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default RUN_DIR/report.html.")
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMNS",
            help="Pair points of A and B by these (system,locality), else by all they share.",
        ),
    ] = None,
) -> None:
    """Write a run as one page to explore in a browser: filters, charts, timeline, configuration.

    Of two runs the points stand side by side, and a table pairs them with signed differences.
    """
    from simulator.errors import UsageError
    from simulator.figures.page import render_report
    from simulator.results.reading import read_run

    if match is not None and other is None:
        raise UsageError("--match pairs the points of two runs: give a second RUN_DIR")
    runs = [read_run(folder) for folder in (run_dir, other) if folder is not None]
    columns = [column.strip() for column in (match or "").split(",") if column.strip()]
    target = out or run_dir / "report.html"
    page = render_report(*runs, match=columns)
    write_file(target, page)
    apart = is_standard_output(target)
    size = len(page.encode()) / 1e6
    points = sum(len(run.swept()) for run in runs)
    typer.echo(f"{target}: {size:.1f} MB, {points} points", err=apart)
    typer.echo("Next:\n  open it in a browser; it needs no network", err=apart)
