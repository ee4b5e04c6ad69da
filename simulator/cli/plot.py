"""`scratchpipe plot`: one column of a run against another, as a figure for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.files import is_standard_output, write_file

__all__ = ["plot"]


def plot(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", show_default=False)],
    x: Annotated[
        str,
        typer.Option("--x", metavar="COLUMN", help="Column or swept key, such as cache_fraction."),
    ],
    y: Annotated[
        str, typer.Option("--y", metavar="COLUMN", help="Column that is a number.")
    ] = "iteration_time_us",
    width: Annotated[
        str, typer.Option(metavar="column|page|INCHES", help="Width of the figure.")
    ] = "page",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A name that ends in .svg, .pdf or .png; by default RUN_DIR/Y.svg."
        ),
    ] = None,
) -> None:
    """Draw one column of the results against another: a panel a locality, a line a system.

    `scratchpipe explain` lists the columns, also those of load.csv and checkpoint.csv; swept keys
    (model.dim) are columns too.
    """
    from simulator.errors import UsageError
    from simulator.figures.files import FORMATS, figure_bytes
    from simulator.figures.plot import plot as drawn
    from simulator.results.reading import read_run
    from simulator.results.rows import joined

    target = out or run_dir / f"{y}.svg"
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise UsageError(f"--out {target}: its name ends in one of .{', .'.join(FORMATS)}")
    run = read_run(run_dir)
    rows = joined(run.metrics(), run.loads(), run.checkpoints())
    figure = drawn(rows, run.swept(), x, y, width, run.software)
    write_file(target, figure_bytes(figure, suffix))
    typer.echo(f"{target}: {y} against {x}", err=is_standard_output(target))
