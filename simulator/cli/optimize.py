"""`scratchpipe optimize`: the cheapest configuration that holds a throughput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.engine.optimize import Candidate, Found

__all__ = ["optimize"]

SHOWN = 20
"""Rows of a table."""


def optimize(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=A,B,...", help="Try these values of a key, too (a sweep); repeatable."
        ),
    ] = None,
    throughput: Annotated[
        float | None,
        typer.Option(min=0, max=1e15, help="Samples a second that it must hold."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget-usd-per-hour", min=0, max=1e9, help="What it may cost an hour."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Find the cheapest point of an experiment that holds a throughput, or the fastest in a budget.

    Every point that the experiment spans is simulated: systems, platforms, swept values, and those
    of --over. Told are the best, and those that nothing beats in cost, speed and energy at once.
    """
    import json

    from simulator.cli.beat import at_point
    from simulator.cli.progress import announce
    from simulator.config.expand import expand
    from simulator.engine import load_experiment
    from simulator.engine.optimize import Wanted
    from simulator.engine.optimize import optimize as best_of
    from simulator.errors import UsageError
    from simulator.results.seeds import require_one_seed

    sweeps = []
    for choice in over or ():
        path, sign, values = choice.partition("=")
        if not sign or not path.strip() or not values.strip():
            raise UsageError(f"--over {choice}: write PATH=A,B, as cache.fraction=0.02,0.1")
        listed = values if values.strip().startswith("[") else f"[{values}]"
        sweeps.append(f"sweep.{path.strip()}={listed}")
    loaded = load_experiment(experiment, (*(overrides or ()), *sweeps))
    announce(loaded)
    points = expand(loaded)
    require_one_seed(points, "optimize")
    found = best_of(points, Wanted(throughput, budget), at_point)
    if as_json:
        typer.echo(json.dumps(_document(found), allow_nan=False, indent=1))
    else:
        _show(found)


def _show(found: Found) -> None:
    from simulator.cli.terminal import console
    from simulator.text import with_rest

    typer.echo(_verdict(found))
    if found.candidates:
        typer.echo("\nNothing is better in cost, speed and energy at once than these:")
        console().print(_table(found.front[:SHOWN], found))
    if len(found.front) > SHOWN:
        typer.echo(f"and {len(found.front) - SHOWN} more: --json lists all")
    refused = [f"does not fit: {point.system.label}: {why}" for point, why in found.refused]
    for line in with_rest(refused, SHOWN, "--json lists all"):
        typer.echo(line)


def _verdict(found: Found) -> str:
    wanted = found.wanted
    texts = []
    if wanted.throughput is not None:
        texts.append(f"{wanted.throughput:,.0f} samples/s")
    if wanted.budget is not None:
        texts.append(f"at most ${wanted.budget:,.2f} an hour")
    asked = " for ".join(texts)
    if found.best is not None:
        return f"{asked}: {_line(found.best)}"
    if found.nearest is None:
        return f"{asked}: nothing fits its machine"
    return f"{asked}: none of {len(found.candidates)} points; nearest: {_line(found.nearest)}"


def _line(each: Candidate) -> str:
    error = "error not known" if each.error is None else f"+-{each.error:.1%}"
    return (
        f"{each.name} - {each.throughput:,.0f} samples/s ({error}), ${each.usd_per_hour:,.2f} an "
        f"hour, ${each.usd_per_billion:,.2f} for 10^9 samples"
    )


def _table(candidates: Sequence[Candidate], found: Found) -> Table:
    from rich.table import Table

    from simulator.text import on_one_line

    table = Table(
        "point", "samples/s", "error", "$/hour", "$/10^9 samples", "mJ/sample", "meets it"
    )
    for column in table.columns[1:6]:
        column.justify = "right"
    for each in candidates:
        table.add_row(
            on_one_line(each.name),
            f"{each.throughput:,.0f}",
            "not known" if each.error is None else f"{each.error:.1%}",
            f"{each.usd_per_hour:,.2f}",
            f"{each.usd_per_billion:,.2f}",
            f"{each.energy_mj:,.3g}",
            "yes" if each.meets(found.wanted) else "no",
        )
    return table


def _document(found: Found) -> dict[str, Any]:
    return {
        "throughput": found.wanted.throughput,
        "budget_usd_per_hour": found.wanted.budget,
        "best": None if found.best is None else _told(found.best, found),
        "nearest": None if found.nearest is None else _told(found.nearest, found),
        "candidates": [_told(each, found) for each in found.candidates],
        "refused": [
            {"label": point.system.label, "sweep": point.sweep_text(), "message": why}
            for point, why in found.refused
        ],
    }


def _told(each: Candidate, found: Found) -> dict[str, Any]:
    point = each.point
    return {
        "system": point.system.title,
        "label": point.system.label,
        "platform": point.platform.name,
        "locality": point.locality,
        "sweep": point.sweep_text(),
        "throughput_samples_per_s": each.throughput,
        "error": each.error,
        "usd_per_hour": each.usd_per_hour,
        "usd_per_billion_samples": each.usd_per_billion,
        "energy_mj_per_sample": each.energy_mj,
        "bottleneck": each.bottleneck,
        "meets": each.meets(found.wanted),
        "on_front": any(each is other for other in found.front),
    }
