"""`scratchpipe report`: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.files import is_standard_output, write_file

__all__ = ["report"]


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="By default RUN_DIR/report.html.")
    ] = None,
) -> None:
    """Write a run as one self-contained HTML page: tables, figures, configuration, downloads."""
    from simulator.figures.page import render_report
    from simulator.results.reading import read_run

    run = read_run(run_dir)
    target = out or run_dir / "report.html"
    page = render_report(run)
    write_file(target, page)
    apart = is_standard_output(target)
    size = len(page.encode()) / 1e6
    typer.echo(f"{target}: {size:.1f} MB, {len(run.swept())} points", err=apart)
    typer.echo("Next:\n  open it in a browser; it needs no network", err=apart)
