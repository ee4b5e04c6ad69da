"""`scratchpipe validate`: compare what was observed with what the simulator says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.files import check_folder, write_file

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
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the pages go: a folder a machine.")
    ] = Path("validation"),
    guard: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Fail only where an error is larger than the one recorded there, not where the "
            "goal is not reached.",
            show_default=False,
        ),
    ] = None,
    write_guard: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record there what was reached.", show_default=False),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV whose rows for these machines are set: what the README's table is made of.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparisons as JSON and nothing else.")
    ] = False,
) -> None:
    """Simulate what was observed and write a validation page a machine: Markdown and figures.

    Exit code 3 where the goal is not reached (median and worst iteration, bias of each system,
    order of systems; `validation.yaml` beside the data may state another), or with --guard where
    something has become worse than it was recorded.
    """
    from simulator._extras import require
    from simulator.errors import ToleranceError, UsageError
    from simulator.validation.page import write_page

    if guard is not None and write_guard is not None:
        raise UsageError("--guard reads what --write-guard writes: give one of them")
    require("figures", "a validation page has figures")
    check_folder(out)
    compared = _compared(runs, platform, operators)
    files = [
        file
        for name, comparison in compared.items()
        for file in write_page(comparison, name, out / name)
    ]
    files += _recorded(compared, out, write_guard, summary)
    if as_json:
        document = {name: _document(comparison) for name, comparison in compared.items()}
        typer.echo(json.dumps(document, allow_nan=False, indent=1))
    else:
        for name, comparison in compared.items():
            _show(name, comparison)
        typer.echo("Files:")
        for file in files:
            typer.echo(f"  {file}")
    failures = _failures(compared, guard)
    if failures:
        raise ToleranceError("; ".join(failures))


def _compared(
    runs: Sequence[Path], platform: str | None, operators: str | None
) -> dict[str, Comparison]:
    """What each machine observed, beside what is simulated."""
    from simulator.errors import UsageError
    from simulator.observe.reading import read_observed, stage_rows
    from simulator.validation.compare import compare
    from simulator.validation.machines import by_machine, with_stage_repeats
    from simulator.validation.reasons import read_notes

    machines = by_machine([(folder, read_observed(folder)) for folder in runs])
    given = [f"--{n}" for n, v in (("platform", platform), ("operators", operators)) if v]
    if len(machines) > 1 and given:
        folders = "; ".join(
            f"{name}: {' '.join(str(folder) for folder, _ in members)}"
            for name, members in machines.items()
        )
        raise UsageError(
            f"{' and '.join(given)} cannot stand for {len(machines)} machines: validate each by "
            f"itself ({folders})"
        )
    return {
        name: compare(
            [with_stage_repeats(seen, stage_rows(folder)) for folder, seen in members],
            platform,
            read_notes(folder for folder, _ in members),
            operators,
        )
        for name, members in machines.items()
    }


def _recorded(
    compared: Mapping[str, Comparison], out: Path, guard: Path | None, summary: Path | None
) -> list[Path]:
    """Write guard and summary where they are asked for; the files that were written."""
    from simulator.validation.guard import guard_of, with_guard
    from simulator.validation.page import PAGE
    from simulator.validation.summary import read_summary, rows_of, summary_text, with_rows

    written = []
    for name, comparison in compared.items():
        if guard is not None:
            write_file(guard, with_guard(guard, name, guard_of(comparison)))
            written.append(guard)
        if summary is not None:
            rows = list(rows_of(comparison, name, (out / name / PAGE).as_posix()))
            write_file(summary, summary_text(with_rows(read_summary(summary), rows)))
            written.append(summary)
    return list(dict.fromkeys(written))


def _failures(compared: Mapping[str, Comparison], guard: Path | None) -> list[str]:
    """Sentences for the error; what is below the goal but guarded goes to standard error."""
    from simulator.errors import UsageError
    from simulator.validation.guard import read_guards, worse_than

    below = {name: comparison.shortfalls() for name, comparison in compared.items()}
    if guard is None:
        return [f"{name}: {line}" for name, lines in below.items() for line in lines]
    guards = read_guards(guard)
    failures = []
    for name, comparison in compared.items():
        if name not in guards:
            raise UsageError(f"{guard} has no {name}: record it with --write-guard {guard}")
        failures += [f"{name}: {line}" for line in worse_than(guards[name], comparison)]
        for line in below[name]:
            typer.echo(f"goal not reached: {name}: {line}", err=True)
    return failures


def _document(comparison: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "platform": comparison.platform,
        "operators": comparison.operators,
        "fitted_on": comparison.fitted_on,
        "shortfalls": comparison.shortfalls(),
        "times": [asdict(time) | {"error": time.error} for time in comparison.times],
        "counts": [asdict(count) | {"error": count.error} for count in comparison.counts],
        "orders": [asdict(order) | {"agrees": order.agrees} for order in comparison.orders],
    }


def _show(machine: str, comparison: Comparison) -> None:
    """A line an iteration, then the totals of the page."""
    from rich.table import Table

    from simulator.cli.terminal import console
    from simulator.validation.numbers import Errors

    title = f"Iterations on {machine}, predicted by {comparison.platform}"
    table = Table(title=title, title_justify="left")
    for heading in ("experiment", "regime", "system", "measured", "simulated", "error"):
        right = heading in ("measured", "simulated", "error")
        table.add_column(heading, justify="right" if right else "left")
    for time in comparison.all_iterations:
        cells = (f"{time.measured_us / 1e3:.3f} ms", f"{time.simulated_us / 1e3:.3f} ms")
        table.add_row(time.experiment, time.sweep, time.system, *cells, f"{time.error:+.1%}")
    console().print(table)
    kinds = {"all": comparison.iterations, **comparison.systems}
    for name, times in {**kinds, "on fewer CPU threads": comparison.fewer_threads}.items():
        errors = Errors.of_times(times)
        if errors is not None:
            typer.echo(
                f"{machine}, {name}: n {errors.n}, median {errors.median:.1%}, worst "
                f"{errors.worst:+.1%}, bias {errors.bias:+.1%}"
            )
    agree = len(comparison.orders) - len(comparison.disagreeing)
    typer.echo(f"{machine}: order of systems as measured in {agree} of {len(comparison.orders)}")
