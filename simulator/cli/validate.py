"""`scratchpipe validate`: compare what was observed with what the simulator says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from simulator.validation.compare import Comparison

__all__ = ["validate"]


def validate(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR...", help="What `scratchpipe observe` wrote."),
    ],
    platform: Annotated[
        str | None,
        typer.Option(
            help="Platform (name or file) that stands for the machine; by default the experiment's."
        ),
    ] = None,
    operators: Annotated[
        str | None,
        typer.Option(help="Operator profile (name or file) that stands for the software."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest relative error of an iteration; by default 0.2, or "
            "what validation.yaml beside the data says.",
        ),
    ] = None,
    median_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest median error of all iterations; by default 0.06, or "
            "what validation.yaml says.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the page goes.")] = Path(
        "validation"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")
    ] = False,
) -> None:
    """Simulate what was observed and write the validation page: Markdown and figures.

    Exit code 3 where a count differs or iterations lie outside the tolerance.
    """
    from simulator.errors import ToleranceError
    from simulator.observe.record import read_observed
    from simulator.validation.compare import compare
    from simulator.validation.page import write_page
    from simulator.validation.reasons import Tolerance, read_notes

    observed = [read_observed(folder) for folder in runs]
    notes = read_notes(runs)
    given = {"iteration_worst": tolerance, "iteration_median": median_tolerance}
    chosen = {key: value for key, value in given.items() if value is not None}
    stated = Tolerance(**(notes.tolerance.model_dump() | chosen))
    comparison = compare(
        observed, platform, notes.model_copy(update={"tolerance": stated}), operators
    )
    files = write_page(comparison, out)
    if as_json:
        typer.echo(json.dumps(_document(comparison), allow_nan=False, indent=1))
    else:
        _show(comparison)
        typer.echo("Files:")
        for file in files:
            typer.echo(f"  {file}")
    failures = comparison.failures()
    if failures:
        raise ToleranceError("; ".join(failures))


def _document(comparison: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "platform": comparison.platform,
        "median_error": comparison.median_error,
        "failures": comparison.failures(),
        "times": [asdict(time) | {"error": time.error} for time in comparison.times],
        "counts": [asdict(count) for count in comparison.counts],
        "orders": [asdict(order) for order in comparison.orders],
    }


def _show(comparison: Comparison) -> None:
    """A line an iteration, then the totals."""
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title=f"Iterations on {comparison.platform}", title_justify="left")
    for heading in ("experiment", "regime", "system", "measured", "simulated", "error"):
        right = heading in ("measured", "simulated", "error")
        table.add_column(heading, justify="right" if right else "left")
    for time in comparison.iterations:
        cells = (f"{time.measured_us / 1e3:.3f} ms", f"{time.simulated_us / 1e3:.3f} ms")
        table.add_row(time.experiment, time.sweep, time.system, *cells, f"{time.error:+.1%}")
    console().print(table)
    equal = len(comparison.counts) - len(comparison.unequal)
    typer.echo(
        f"median error {comparison.median_error:.1%}; counts equal: {equal} of "
        f"{len(comparison.counts)}"
    )
