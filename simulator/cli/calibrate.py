"""`scratchpipe calibrate`: fit a platform to micro-benchmarks of a machine."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["calibrate"]


def calibrate(
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Platform file to write (.yaml).", show_default=False),
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Folder of micro-benchmark CSVs; by default this machine is measured.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure fewer sizes, in under two minutes.")
    ] = False,
    measurements: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the CSVs of this machine go; by default beside --out.",
            show_default=False,
        ),
    ] = None,
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
    hold_out: Annotated[
        bool,
        typer.Option(
            "--hold-out",
            help="Also fit twice without every other point, and show how well those are predicted.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the residuals by operator as JSON.")
    ] = False,
) -> None:
    """Fit the mechanisms of a platform to micro-benchmarks, and say how well they fit.

    Without --from it measures the machine that it runs on first: the CPU always, the GPU and the
    link where there is one and PyTorch is installed (`pip install scratchpipe-sim[hardware]`).
    """
    from simulator.calibration.calibrate import calibrate as fit
    from simulator.calibration.calibrate import held_out
    from simulator.calibration.provenance import with_calibrated
    from simulator.calibration.write import (
        by_operator,
        entry_file,
        machine_text,
        profile_text,
        residuals_csv,
    )
    from simulator.cli.writing import write_file
    from simulator.config.catalogue import load_named
    from simulator.errors import UsageError
    from simulator.hardware.catalogue import load_machine

    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out {out}: a platform file ends in .yaml")
    if source is not None and (quick or measurements):
        raise UsageError("--quick and --measurements measure this machine: leave --from out")
    folder = source or _measured(
        measurements or out.with_suffix("").with_name(f"{out.stem}_microbenchmarks"), quick
    )
    start = (
        folder,
        load_machine(base),
        load_named("operators", profile),
        load_named("models", "default"),
    )
    fitted = fit(*start)
    table = residuals or out.with_suffix(".residuals.csv")
    machine = machine_text(
        start[1], _from(out, base), fitted.values, fitted.sources, out.stem, fitted.facts
    )
    targets = {
        **with_calibrated({out: machine}, fitted.values, folder),
        table: residuals_csv(fitted.residuals),
    }
    if operators is not None:
        shipped = entry_file("operators", profile)
        targets[operators] = profile_text(shipped, fitted.values, fitted.sources, operators.stem)
    for target, text in targets.items():
        write_file(target, text)
    summary = by_operator(fitted.residuals)
    unseen = by_operator(held_out(*start)) if hold_out else []
    if as_json:
        typer.echo(json.dumps({"fitted": summary, "held_out": unseen}, indent=1))
        return
    _show("Model against measurement, by operator", summary)
    if unseen:
        _show("The same for points that the fit did not see", unseen)
    typer.echo(f"{len(fitted.values)} numbers from {len(fitted.residuals)} points. Files:")
    for target in targets:
        typer.echo(f"  {target}")
    if operators is None:
        typer.echo("The operator profile was fitted too; --operators FILE writes it.", err=True)


def _from(out: Path, base: str) -> str:
    """How the file `out` names its base: a path is relative to the file that says it."""
    if base.endswith((".yaml", ".yml")):
        return Path(os.path.relpath(base, out.parent)).as_posix()
    return base


def _measured(folder: Path, quick: bool) -> Path:
    """Measure this machine into `folder`; says what is under way on standard error."""
    from simulator.observe.microbench import measure_machine

    minutes = "two minutes at most" if quick else "about five minutes with a GPU, two without"
    typer.echo(f"measuring this machine into {folder}: {minutes}; keep it idle", err=True)
    measure_machine(folder, quick, lambda name: typer.echo(f"  {name}", err=True))
    return folder


def _show(title: str, summary: Sequence[dict[str, Any]]) -> None:
    """A line an operator."""
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title=title, title_justify="left")
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
