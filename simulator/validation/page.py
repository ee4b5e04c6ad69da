"""The validation page of one machine: Markdown, with figures and the CSV behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from simulator.errors import OutputError
from simulator.figures.files import write_figure
from simulator.files import check_folder, explained, replace_file
from simulator.results.resources import title_of
from simulator.validation.compare import Comparison
from simulator.validation.figures import scatter, table
from simulator.validation.groups import by_bottleneck, by_stage
from simulator.validation.markdown import grid, ms, share, signed
from simulator.validation.numbers import Count, Time
from simulator.validation.summary import Row, rows_of

__all__ = ["PAGE", "page_text", "require_free", "write_page"]

PAGE = "validation.md"


def write_page(comparison: Comparison, machine: str, out_dir: Path) -> list[Path]:
    """Write the page, its figures and their data into `out_dir` (made if need be)."""
    require_free(out_dir)
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        files = []
        drawn = (("iterations", comparison.all_iterations), ("stages", comparison.stages))
        for name, times in drawn:
            if times:
                files += write_figure(
                    name, scatter(times, name.capitalize()), table(times), out_dir
                )
        replace_file(out_dir / PAGE, page_text(comparison, machine).encode())
    return [out_dir / PAGE, *files]


def require_free(out_dir: Path) -> None:
    """Raise `OutputError` where `out_dir` cannot be written or holds something else than a page."""
    check_folder(out_dir)
    with explained(out_dir):
        if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / PAGE).is_file():
            raise OutputError(f"{out_dir} holds files but no {PAGE}: choose another --out")


def page_text(comparison: Comparison, machine: str) -> str:
    """The page."""
    parts = (
        _head(comparison, machine),
        _kinds(comparison, machine),
        _goal(comparison),
        _machine(comparison),
        by_bottleneck(comparison),
        by_stage(comparison),
        _counts(comparison),
        _orders(comparison),
        _iterations(comparison),
        _stages(comparison),
        _missing(comparison),
        _sources(comparison),
        _not_run(comparison),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _head(comparison: Comparison, machine: str) -> Iterable[str]:
    yield f"# Simulated against measured: {machine}"
    yield ""
    fitted = comparison.fitted_on or "nothing (data sheets and assumptions)"
    yield (
        f"Predicted by platform {comparison.platform} with operators {comparison.operators}, "
        f"fitted to {fitted}. No iteration, stage, count or order on this page was used to fit "
        "anything. Written by `scratchpipe validate`."
    )
    yield ""


def _kinds(comparison: Comparison, machine: str) -> Iterable[str]:
    yield "## Errors by kind of number"
    yield ""
    yield (
        "Errors are signed and relative: simulated over measured, less one. Bias: their median. "
        "Spread: what the measurement itself differs by, (largest - smallest) / median, between "
        "repeat runs and between sessions, median over the points; - where there was only one."
    )
    yield ""
    heads = ("kind", "n", "median", "worst", "bias", "spread of repeats", "of sessions")
    rows = list(rows_of(comparison, machine, ""))
    yield from grid(heads, (_kind(row) for row in rows))
    if not comparison.chosen:
        yield ""
        yield "Rows moved are not compared: one plan, which both sides followed."
    yield ""


def _kind(row: Row) -> Sequence[str]:
    if row.agree is not None:
        return row.kind, str(row.n), f"{row.agree} agree", "", "", "", ""
    spreads = [share(spread) for spread in (row.repeats, row.sessions)]
    numbers = (share(row.median), signed(row.worst), signed(row.bias))
    return row.kind, str(row.n), *numbers, *spreads


def _goal(comparison: Comparison) -> Iterable[str]:
    yield "## Goal"
    yield ""
    yield from grid(("what", "at most"), comparison.notes.goal.rows())
    yield ""
    shortfalls = comparison.shortfalls()
    if not shortfalls:
        yield "Reached."
    else:
        yield "**Not reached:**"
        yield ""
        yield from (f"- {line}" for line in shortfalls)
    yield ""
    yield "![Iterations](iterations.svg) ![Stages](stages.svg)"
    yield ""


def _machine(comparison: Comparison) -> Iterable[str]:
    yield "## What was measured on what"
    yield ""
    rows = []
    for experiment in comparison.observed:
        machine = experiment["machine"]
        repeats = max((point["repeats"] for point in experiment["points"]), default=0)
        gpu = machine.get("gpu", "none: CPU tensors")
        driver = f", driver {machine['driver']}" if machine.get("driver") else ""
        versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
        rows.append(
            (
                experiment["name"],
                f"{len(experiment['points'])} x {repeats}",
                f"{machine['cpu']}, {experiment['threads']} threads",
                f"{gpu}{driver}",
                versions,
            )
        )
    yield from grid(("experiment", "points x repeats", "CPU", "GPU", "software"), rows)
    yield ""


def _counts(comparison: Comparison) -> Iterable[str]:
    yield "## Rows moved"
    yield ""
    inputs = sum(count.is_input for count in comparison.counts)
    yield (
        f"Lookups and unique rows are given: both sides draw the same mini-batches ({inputs} "
        f"counts, {len(comparison.other_inputs)} differ). Misses, victims and write-backs are "
        "compared only where the machine's own planner chose the victims."
    )
    yield ""
    moved = [count for count in comparison.planned_once if count.error]
    systems = list(dict.fromkeys(count.system for count in comparison.planned_once))
    if systems:
        yield f"Not compared, one plan: {', '.join(systems)}."
        yield ""
    if moved:
        yield (
            f"{len(moved)} of {len(comparison.planned_once)} counts of that one plan have changed "
            "since it was observed, so those iterations moved other rows than the simulated ones:"
        )
        yield ""
        yield from grid(_COUNT_HEADS, map(_count, moved))
        yield ""
    if comparison.chosen:
        yield from grid(_COUNT_HEADS, map(_count, comparison.chosen))
        yield ""


_COUNT_HEADS = ("experiment", "regime", "system", "count", "observed", "simulated", "error")


def _count(count: Count) -> Sequence[str]:
    numbers = (f"{count.observed:,}", f"{count.simulated:,}", f"{count.error:+.2%}")
    return count.experiment, count.sweep, count.system, count.name, *numbers


def _orders(comparison: Comparison) -> Iterable[str]:
    yield "## Order of systems"
    yield ""
    orders = comparison.orders
    yield (
        f"{len(orders)} pairs of systems differ by more than the spread of both measurements; the "
        f"simulator orders {len(orders) - len(comparison.disagreeing)} of them as measured."
    )
    yield ""
    yield from grid(
        ("experiment", "regime", "faster", "slower", "measured", "simulated", "spread", ""),
        (
            (
                order.experiment,
                order.sweep,
                order.faster,
                order.slower,
                f"{order.measured:.2f}x",
                f"{order.simulated:.2f}x",
                f"{order.spread:.1%}",
                "agreed" if order.agrees else "**not agreed**",
            )
            for order in sorted(orders, key=lambda order: order.agrees)
        ),
    )
    yield ""


def _iterations(comparison: Comparison) -> Iterable[str]:
    yield "## Whole iterations"
    yield ""
    limit = comparison.notes.goal.iteration_worst
    heads = ("experiment", "regime", "system", "bound by", "measured", "simulated", "error")
    yield from grid(
        (*heads, "spread of repeats", "of sessions", "why"),
        (
            (
                time.experiment,
                time.sweep,
                time.system,
                title_of(time.bottleneck),
                *_numbers(time),
                share(time.spread),
                share(time.session_spread),
                _why(time, limit),
            )
            for time in comparison.all_iterations
        ),
    )
    yield ""


def _stages(comparison: Comparison) -> Iterable[str]:
    yield "## Stages"
    yield ""
    limit = comparison.notes.goal.stage
    yield from grid(
        (
            *("experiment", "regime", "system", "stage", "measured", "simulated", "error"),
            *("spread of repeats", "why"),
        ),
        (
            (
                time.experiment,
                time.sweep,
                time.system,
                time.stage or "",
                *_numbers(time),
                share(time.spread),
                _why(time, limit) if time.notable else "",
            )
            for time in comparison.stages
        ),
    )
    yield ""


def _numbers(time: Time) -> Sequence[str]:
    return ms(time.measured_us), ms(time.simulated_us), f"{time.error:+.1%}"


def _why(time: Time, limit: float) -> str:
    if abs(time.error) <= limit:
        return ""
    return time.reason or "**no reason given**"


def _missing(comparison: Comparison) -> Iterable[str]:
    outside = comparison.outside()
    silent = [time for time in outside if not time.reason]
    yield "## Numbers outside of the goal without a reason"
    yield ""
    if not silent:
        yield f"None ({len(outside)} are outside, each with its reason above)."
    for time in silent:
        what = f"{time.system} {time.stage or 'iteration'}"
        yield f"- {time.experiment}, {time.sweep}: {what}, {time.error:+.1%}"
    yield ""


def _sources(comparison: Comparison) -> Iterable[str]:
    yield "## Numbers of platform and operators, and where they come from"
    yield ""
    yield (
        "Only these were measured or fitted, on single operators and copies; no iteration, stage "
        "or count above was."
    )
    yield ""
    yield from grid(("key", "value", "source"), comparison.sources)
    yield ""


def _not_run(comparison: Comparison) -> Iterable[str]:
    lines = [*comparison.notes.not_run, *comparison.failed]
    if lines:
        yield "## Not observed"
        yield ""
        yield from (f"- {line}" for line in lines)
