"""`scratchpipe optimize`: the cheapest configuration that holds a throughput."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from simulator.cli.numbers import MOST_JOBS
from simulator.cli.options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.sweep.candidates import Candidate, Found

__all__ = ["optimize"]

SHOWN = 20
"""Rows of a table."""
MOST_TRIALS = 100_000
FRONT = "front"
"""The picture in a run directory, and the table behind it."""


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
    within: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="The cheapest, then the smallest cache, that takes at most so much longer than "
            "the fastest: 5% or 0.05.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_TRIALS,
            help="Points to simulate of a large space  [default: all up to 1,000, else 200]",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Of the search, where not all are simulated.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run directory; by default runs/NAME-optimize-HASH."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove what DIR holds, of this or another space.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=0, max=MOST_JOBS, help="Local processes; 0: one for each core.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Find the cheapest that holds a throughput, or the fastest in a budget, or nearly as fast.

    The space is what the experiment spans: systems, platforms, swept values, and those of --over.
    A small one is simulated whole, a large one searched. Told are the best, and those that nothing
    beats in cost, speed and energy at once. Stopped, it goes on from the points in DIR. Exit code 3
    where no point is what was asked for; then the nearest is told.
    """
    import json

    from simulator.cli.interrupts import hint_at_interrupt
    from simulator.cli.progress import announce, sweep_progress
    from simulator.engine import load_experiment
    from simulator.errors import InfeasibleError
    from simulator.results.store import POINTS
    from simulator.sweep.candidates import Wanted
    from simulator.sweep.optimize import Search, search_folder
    from simulator.sweep.optimize import optimize as best_of
    from simulator.sweep.runner import local_workers

    loaded = load_experiment(experiment, overrides or (), over=over or ())
    announce(loaded)
    wanted = Wanted(throughput, budget, None if within is None else _share(within))
    folder = out or search_folder(loaded)
    with (
        local_workers(jobs) as workers,
        hint_at_interrupt(folder / POINTS),
        sweep_progress() as report,
    ):
        found = best_of(loaded, wanted, Search(trials, seed, folder, workers, report, replace))
    if as_json:
        typer.echo(json.dumps(_document(found), allow_nan=False, indent=1))
    else:
        _show(found)
    if found.candidates:
        _write(found, loaded.name, folder, as_json)
    if found.best is None:
        raise InfeasibleError(_infeasible(found))


def _share(text: str) -> float:
    from simulator.config.shares import share_of
    from simulator.errors import UsageError

    try:
        return share_of(text)
    except ValueError as error:
        raise UsageError(f"--within: {error}") from error


def _show(found: Found) -> None:
    from simulator.cli.terminal import console
    from simulator.text import with_rest

    looked = found.searched
    typer.echo(_verdict(found))
    if not looked.whole:
        typer.echo(
            f"{looked.points:,} points of {looked.size:,} combinations were looked at: --trials N "
            "for more"
        )
    if found.candidates:
        what = "cost, speed, energy and size" if _sized(found) else "cost, speed and energy"
        typer.echo(f"\nNothing is better in {what} at once than these:")
        alike = _alike(found)
        console().print(_table(alike[:SHOWN], found))
        if len(alike) > SHOWN:
            typer.echo(f"and {len(alike) - SHOWN} more: --json lists all")
    refused = [f"does not fit: {point.system.label}: {why}" for point, why in found.refused]
    for line in with_rest(refused, SHOWN, "--json lists all"):
        typer.echo(line)
    if note := _note(found):
        typer.echo(note)


def _note(found: Found) -> str:
    """A line on systems whose training is ours; empty where none is."""
    from simulator.results.extension import extension_note

    return extension_note(
        {"system": each.point.system.title, "training_is_ours": each.training_is_ours}
        for each in found.candidates
    )


def _asked(found: Found) -> str:
    wanted = found.wanted
    texts = []
    if wanted.within is not None:
        texts.append(f"within {100 * wanted.within:.3g} % of the fastest")
    elif wanted.throughput is not None:
        texts.append(f"{wanted.throughput:,.0f} samples/s")
    if wanted.budget is not None:
        texts.append(f"at most ${wanted.budget:,.2f} an hour")
    return " for ".join(texts)


def _sized(found: Found) -> bool:
    """Whether the size of the cache counts."""
    return found.wanted.within is not None


def _verdict(found: Found) -> str:
    if found.best is not None:
        return f"{_asked(found)}: {_line(found.best)}"
    nearest = "" if found.nearest is None else f"; nearest: {_line(found.nearest)}"
    return _infeasible(found) + nearest


def _infeasible(found: Found) -> str:
    if found.nearest is None:
        return f"{_asked(found)}: nothing fits its machine"
    return f"{_asked(found)}: none of {len(found.candidates)} points"


def _line(each: Candidate) -> str:
    text = f"{each.name} - {each.throughput:,.0f} samples/s ({_range(each)})"
    if each.cache_bytes:
        text += f", cache of {_gib(each)} GiB"
    if each.priced:
        text += (
            f", ${each.usd_per_hour:,.2f} an hour, ${each.usd_per_billion:,.2f} for 10^9 samples"
        )
    return text


def _gib(each: Candidate) -> str:
    return f"{each.cache_bytes / 2**30:.3g}"


def _range(each: Candidate) -> str:
    """Throughput from where to where."""
    if each.range is None:
        return "error not known"
    low, high = each.range
    return f"{low:,.0f} to {high:,.0f}"


def _alike(found: Found) -> list[tuple[str, Candidate]]:
    """Candidates with their names; those that are as good in all as another share its line."""
    groups: dict[tuple[float, ...], list[Candidate]] = {}
    for each in found.front:
        groups.setdefault(each.goods(found.wanted), []).append(each)
    return [
        (first.name + (f" (and {len(rest)} as good)" if rest else ""), first)
        for first, *rest in groups.values()
    ]


def _table(candidates: Sequence[tuple[str, Candidate]], found: Found) -> Table:
    from rich.table import Table

    from simulator.text import on_one_line

    columns: dict[str, Callable[[Candidate], str]] = {
        "samples/s": lambda each: f"{each.throughput:,.0f}",
        "from - to": _range,
    }
    if _sized(found):
        columns["cache, GiB"] = _gib
    if any(each.priced for each in found.candidates):
        columns["$/hour"] = lambda each: f"{each.usd_per_hour:,.2f}"
        columns["$/10^9 samples"] = lambda each: f"{each.usd_per_billion:,.2f}"
    columns["mJ/sample"] = lambda each: f"{each.energy_mj:,.3g}"
    table = Table("point")
    for title in columns:
        table.add_column(title, justify="right")
    table.add_column("meets it")
    for name, each in candidates:
        cells = (text(each) for text in columns.values())
        table.add_row(on_one_line(name), *cells, "yes" if each.meets(found.wanted) else "no")
    return table


def _document(found: Found) -> dict[str, Any]:
    return {
        "throughput": found.wanted.throughput,
        "budget_usd_per_hour": found.wanted.budget,
        "within": found.wanted.within,
        "best": None if found.best is None else _told(found.best, found),
        "points_looked_at": found.searched.points,
        "combinations_of_the_space": found.searched.size,
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
        "training_is_ours": each.training_is_ours,
        "platform": point.platform.name,
        "locality": point.locality,
        "sweep": point.sweep_text(),
        "throughput_samples_per_s": each.throughput,
        "error": each.error,
        "throughput_from": each.range and each.range[0],
        "throughput_to": each.range and each.range[1],
        "cache_gib": each.cache_bytes / 2**30,
        "usd_per_hour": each.usd_per_hour if each.priced else None,
        "usd_per_billion_samples": each.usd_per_billion if each.priced else None,
        "energy_mj_per_sample": each.energy_mj,
        "bottleneck": each.bottleneck,
        "meets": each.meets(found.wanted),
        "on_front": any(each is other for other in found.front),
    }


def _write(found: Found, name: str, folder: Path, quiet: bool) -> None:
    """The front as a table, and as a picture where figures can be drawn."""
    import pandas as pd

    from simulator._extras import install, missing
    from simulator.figures.files import csv_text, write_figure
    from simulator.figures.front import front
    from simulator.files import write_file

    best = found.best or found.nearest
    rows = [{**_told(each, found), "best": each is best} for each in found.candidates]
    columns = {"throughput_from": "low", "throughput_to": "high"}
    data = pd.DataFrame(rows).rename(columns=columns)
    data = data.astype({"low": float, "high": float})
    wanted = found.wanted
    if lacking := missing("figures"):
        files = [folder / f"{FRONT}.csv"]
        write_file(files[0], csv_text(data))
        note = f"note: no picture: {' and '.join(lacking)} missing: {install('figures')}"
        typer.echo(note, err=True)
    else:
        title = "\n".join(filter(None, (f"{name}: {_asked(found)}", _note(found))))
        x: Literal["cache_gib", "usd_per_hour"] = "usd_per_hour"
        if _sized(found) and data["usd_per_hour"].nunique(dropna=False) == 1:
            x = "cache_gib"
        picture = front(data, wanted.throughput, wanted.budget, title, x=x)
        files = write_figure(FRONT, picture, data, folder)
    if not quiet:
        typer.echo("Files:")
        for file in files:
            typer.echo(f"  {file}")
