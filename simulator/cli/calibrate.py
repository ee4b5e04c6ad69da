"""`scratchpipe calibrate`: fit a platform to micro-benchmarks of a machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from simulator.calibration.calibrate import Calibration

__all__ = ["calibrate"]


def calibrate(
    source: Annotated[
        Path,
        typer.Option(
            "--from", metavar="DIR", help="Folder of micro-benchmark CSVs.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Platform file to write (.yaml).", show_default=False),
    ],
    base: Annotated[
        str, typer.Option(metavar="PLATFORM", help="Platform that gives what is not measured.")
    ] = "h200",
    operators: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the fitted operator profile here too."),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="PROFILE", help="Operator profile that the fit starts from.")
    ] = "tuned",
    residuals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Residuals of every point; by default beside --out."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the residuals by operator as JSON.")
    ] = False,
) -> None:
    """Fit the mechanisms of a platform to micro-benchmarks, and say how well they fit."""
    from simulator.calibration.calibrate import calibrate as fit
    from simulator.calibration.write import by_operator, entry_file, entry_text, residuals_csv
    from simulator.cli.writing import write_file
    from simulator.config.catalogue import load_named
    from simulator.errors import UsageError

    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out {out}: a platform file ends in .yaml")
    found = fit(
        source,
        load_named("platforms", base),
        load_named("operators", profile),
        load_named("models", "default"),
    )
    table = residuals or out.with_suffix(".residuals.csv")
    targets = {
        out: entry_text(
            entry_file("platforms", base), "platform", found.values, found.sources, out.stem
        ),
        table: residuals_csv(found.residuals),
    }
    if operators is not None:
        start = entry_file("operators", profile)
        targets[operators] = entry_text(
            start, "operators", found.values, found.sources, operators.stem
        )
    for target, text in targets.items():
        write_file(target, text)
    summary = by_operator(found.residuals)
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
    else:
        _show(found, summary, list(targets), operators is not None)


def _show(
    found: Calibration, summary: Sequence[dict[str, Any]], files: Sequence[Path], profile: bool
) -> None:
    """The residual table, the files, and what to know about them."""
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title="Model against measurement, by operator")
    for name in ("operator", "points", "median", "worst", "bias", "hosts differ by"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for row in summary:
        table.add_row(
            row["operator"],
            str(row["points"]),
            f"{row['median_error']:.1%}",
            f"{row['worst_error']:.1%}",
            f"{row['bias']:+.1%}",
            f"{row['spread'] - 1.0:.0%}",
        )
    console().print(table)
    typer.echo(f"{len(found.values)} numbers from {len(found.residuals)} points. Files:")
    for file in files:
        typer.echo(f"  {file}")
    if not profile:
        typer.echo("The operator profile was fitted too; --operators FILE writes it.", err=True)
