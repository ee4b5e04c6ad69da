"""`scratchpipe reproduce`: run the studies of `experiments/`, draw them, compare with the paper."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.interrupts import hint_at_interrupt
from simulator.cli.numbers import MOST_JOBS
from simulator.files import json_bytes, write_file

if TYPE_CHECKING:
    from simulator.results.record import Result
    from simulator.studies import Outcome, Study

__all__ = ["reproduce"]

SUMMARY = "summary.json"
README = "README.md"
POINTS = "points"
"""Finished points, so that a run that was interrupted goes on."""


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|all", help="Studies, by name or folder; without one they are listed."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where figures and data go.")] = Path(
        "reproduction"
    ),
    jobs: Annotated[
        int, typer.Option(min=0, max=MOST_JOBS, help="Local processes; 0: one for each core.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON and nothing else.")
    ] = False,
) -> None:
    """Run the studies of the paper's figures: figures, data, and how close they come.

    Writes DIR/NN_NAME/*.pdf, .svg, .png and .csv, the study's README.md with the tables of this
    run, and DIR/summary.json, where other studies stay; goes on where an interrupted run stopped.
    Exit code 3 where the shape that a study must have fails; a number outside its tolerance is
    marked, not an error.
    """
    from simulator._extras import require
    from simulator.cli.progress import sweep_progress
    from simulator.errors import ToleranceError
    from simulator.studies import find_studies, simulate_studies

    if not names:
        _list()
        return
    require("figures", "studies draw figures")
    studies = find_studies(names)
    _require_free(out)
    started = time.perf_counter()
    with hint_at_interrupt(out / POINTS), sweep_progress() as report:
        results = simulate_studies(studies, out / POINTS, jobs=jobs, progress=report)
    outcomes = {study.name: _finish(study, results[study.name], out) for study in studies}
    wall_s = time.perf_counter() - started
    document = _document(studies, outcomes)
    write_file(out / SUMMARY, json_bytes(_with_others(out / SUMMARY, document)))
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _show(studies, outcomes, out, wall_s)
    broken = [name for name, outcome in outcomes.items() if not outcome.holds]
    if broken:
        raise ToleranceError(f"the expected shape does not hold: {', '.join(broken)}")


def _require_free(out: Path) -> None:
    """Refuse a folder with other work in it: figures and READMEs there would be replaced."""
    from simulator.errors import OutputError
    from simulator.files import check_folder, explained

    check_folder(out)
    with explained(out):
        if not out.is_dir() or not any(out.iterdir()):
            return
    if not (out / SUMMARY).is_file() and not (out / POINTS).is_dir():
        raise OutputError(
            f"{out} holds files but no {SUMMARY}, so no studies were reproduced there: choose "
            "another --out"
        )


def _with_others(summary: Path, document: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`document`, and what `summary` says of studies that were not asked for this time."""
    asked = {entry["study"] for entry in document}
    try:
        before = json.loads(summary.read_text(encoding="utf-8"))
        others = [entry for entry in before if entry["study"] not in asked]
    except (OSError, ValueError, KeyError, TypeError):
        others = []
    return sorted(others + document, key=lambda entry: str(entry["study"]))


def _list() -> None:
    """The studies there are."""
    from simulator.studies import find_studies

    for study in find_studies(["all"]):
        typer.echo(f"{study.name:<12} {study.expected.title}")
    typer.echo("Next:\n  scratchpipe reproduce all   # or some of the names above")


def _finish(study: Study, results: Mapping[str, Result], out: Path) -> Outcome:
    """Tables, figures, README and checks of one study."""
    from simulator.figures.files import csv_text, write_figure
    from simulator.studies import Inputs, check, readme_of

    folder = out / study.folder.name
    tables = study.module.tables(Inputs(results, study.expected.settings))
    for name, table in tables.items():
        write_file(folder / f"{name}.csv", csv_text(table))
    for name, figure in study.module.figures(tables).items():
        write_figure(name, figure, tables[name], folder)
    outcome = check(study.expected, tables)
    write_file(folder / README, readme_of(study, tables, outcome))
    return outcome


def _document(studies: Sequence[Study], outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Everything that was compared, JSON-ready."""
    return [
        {
            "study": study.name,
            "title": study.expected.title,
            "holds": outcomes[study.name].holds,
            "published": [
                {
                    "what": comparison.what,
                    "published": comparison.published,
                    "published_to": comparison.upper,
                    "source": comparison.source,
                    "simulated": comparison.simulated,
                    "ratio": comparison.ratio,
                    "tolerance": comparison.tolerance,
                    "inside": comparison.inside,
                }
                for comparison in outcomes[study.name].comparisons
            ],
            "shapes": [
                {"what": shape.what, "holds": shape.holds, "observed": shape.observed}
                for shape in outcomes[study.name].shapes
            ],
        }
        for study in studies
    ]


_SOURCES = (
    "[V] read in the source, [V-lab] in another work of the lab, [S] said by others, "
    "[R p%] recalled and right with that probability, [D] derived"
)
"""Of published numbers."""


def _show(
    studies: Sequence[Study], outcomes: Mapping[str, Outcome], out: Path, wall_s: float
) -> None:
    """The shapes, then the table of published numbers."""
    from rich.table import Table

    from simulator.cli.terminal import console

    screen = console()
    for study in studies:
        screen.print(f"{study.name}: {study.expected.title}")
        for shape in outcomes[study.name].shapes:
            mark = "ok  " if shape.holds else "FAIL"
            line = f"  {mark} {shape.what}: {shape.observed}"
            screen.print(line, soft_wrap=True)
    compared = [c for study in studies for c in outcomes[study.name].comparisons]
    within = sum(comparison.inside for comparison in compared)
    table = Table(
        title=f"Published and simulated: {within} of {len(compared)} inside their tolerance",
        title_justify="left",
        caption=_SOURCES,
        caption_justify="left",
    )
    for heading in ("figure", "what", "published", "simulated", "ratio", "tolerance", "inside"):
        right = heading in ("published", "simulated", "ratio", "tolerance")
        table.add_column(heading, justify="right" if right else "left")
    for study in studies:
        for comparison in outcomes[study.name].comparisons:
            published = comparison.text
            cells = (
                f"{comparison.simulated:.4g}",
                f"{comparison.ratio:.2f}",
                f"±{100 * comparison.tolerance:g}%",
            )
            inside = "yes" if comparison.inside else "no"
            table.add_row(study.name, comparison.what, published, *cells, inside)
    if table.row_count:
        screen.print(table)
    noun = "study" if len(studies) == 1 else "studies"
    typer.echo(f"{len(studies)} {noun} in {wall_s:.0f} s", err=True)
    typer.echo(f"Files:\n  {out}/NN_NAME/*.pdf, *.svg, *.png, *.csv, {README}\n  {out / SUMMARY}")
