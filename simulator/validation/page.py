"""The validation page: Markdown, with figures and the CSV behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.figures.files import write_figure
from simulator.files import explained, replace_file
from simulator.validation.compare import Comparison, Time, worst
from simulator.validation.figures import scatter, table

__all__ = ["PAGE", "page_text", "write_page"]

PAGE = "validation.md"


def write_page(comparison: Comparison, out_dir: Path) -> list[Path]:
    """Write the page, its figures and their data into `out_dir` (made if need be)."""
    with explained(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        files = []
        for name, times in (("iterations", comparison.iterations), ("stages", comparison.stages)):
            if times:
                files += write_figure(
                    name, scatter(times, name.capitalize()), table(times), out_dir
                )
        replace_file(out_dir / PAGE, page_text(comparison).encode())
    return [out_dir / PAGE, *files]


def page_text(comparison: Comparison) -> str:
    """The page."""
    parts = (
        _head(comparison),
        _machine(comparison),
        _systems(comparison),
        _iterations(comparison),
        _stages(comparison),
        _counts(comparison),
        _orders(comparison),
        _missing(comparison),
        _fitted(comparison),
        _not_run(comparison),
    )
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _head(comparison: Comparison) -> Iterable[str]:
    tolerance, failures = comparison.notes.tolerance, comparison.failures()
    yield "# Simulated against measured"
    yield ""
    yield (
        f"Platform {comparison.platform}; written by `scratchpipe validate`. Errors are signed: "
        "simulated over measured, less one."
    )
    yield ""
    largest = worst(comparison.iterations)
    yield from _grid(
        ("what", "value", "tolerance"),
        (
            (
                "median error of whole iterations (absolute)",
                f"{comparison.median_error:.1%}",
                f"{tolerance.iteration_median:.1%}",
            ),
            (
                "worst iteration",
                f"{largest.error:+.1%} ({largest.system}, {largest.sweep})",
                f"{tolerance.iteration_worst:.1%}",
            ),
            (
                "counts that are exactly equal",
                f"{len(comparison.counts) - len(comparison.unequal)} of {len(comparison.counts)}",
                "all",
            ),
        ),
    )
    yield ""
    yield "Outcome: " + ("; ".join(failures) if failures else "within the stated tolerance") + "."
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
    yield from _grid(("experiment", "points x repeats", "CPU", "GPU", "software"), rows)
    yield ""


def _systems(comparison: Comparison) -> Iterable[str]:
    yield "## Errors of whole iterations by system"
    yield ""
    rows = []
    for system in dict.fromkeys(time.system for time in comparison.iterations):
        mine = [time for time in comparison.iterations if time.system == system]
        errors = [time.error for time in mine]
        rows.append(
            (
                system,
                str(len(mine)),
                f"{float(np.median(np.abs(errors))):.1%}",
                f"{min(errors):+.1%}",
                f"{max(errors):+.1%}",
                f"{max(time.spread for time in mine):.1%}",
            )
        )
    heads = ("system", "points", "median error", "lowest", "highest", "repeat spread up to")
    yield from _grid(heads, rows)
    yield ""


def _iterations(comparison: Comparison) -> Iterable[str]:
    yield "## Whole iterations (all predicted: none was used to fit anything)"
    yield ""
    limit = comparison.notes.tolerance.iteration_worst
    yield from _grid(
        (
            "experiment",
            "regime",
            "system",
            "measured",
            "simulated",
            "error",
            "repeat spread",
            "why",
        ),
        (
            (
                time.experiment,
                time.sweep,
                time.system,
                _ms(time.measured_us),
                _ms(time.simulated_us),
                f"{time.error:+.1%}",
                f"{time.spread:.1%}",
                _why(time, limit),
            )
            for time in comparison.iterations
        ),
    )
    yield ""


def _stages(comparison: Comparison) -> Iterable[str]:
    yield "## Stages (predicted)"
    yield ""
    limit = comparison.notes.tolerance.stage
    yield from _grid(
        ("experiment", "regime", "system", "stage", "measured", "simulated", "error", "why"),
        (
            (
                time.experiment,
                time.sweep,
                time.system,
                time.stage or "",
                _ms(time.measured_us),
                _ms(time.simulated_us),
                f"{time.error:+.1%}",
                _why(time, limit) if time.notable else "",
            )
            for time in comparison.stages
        ),
    )
    yield ""


def _why(time: Time, limit: float) -> str:
    if abs(time.error) <= limit:
        return ""
    return time.reason or "**no reason given**"


def _counts(comparison: Comparison) -> Iterable[str]:
    yield "## Counts over the timed mini-batches (predicted, must be equal)"
    yield ""
    yield from _grid(
        ("experiment", "regime", "system", "count", "observed", "simulated", ""),
        (
            (
                count.experiment,
                count.sweep,
                count.system,
                count.name,
                f"{count.observed:,}",
                f"{count.simulated:,}",
                "equal" if count.observed == count.simulated else "**differs**",
            )
            for count in comparison.counts
        ),
    )
    yield ""


def _orders(comparison: Comparison) -> Iterable[str]:
    yield "## Order of systems"
    yield ""
    reversed_orders = [order for order in comparison.orders if not order.agrees]
    yield (
        f"{len(comparison.orders)} pairs of systems differ by more than their repeat runs do; the "
        f"simulator orders {len(comparison.orders) - len(reversed_orders)} of them as measured."
    )
    for order in reversed_orders:
        yield f"- {order.experiment}, {order.sweep}: measured {order.faster} before {order.slower}"
    yield ""


def _missing(comparison: Comparison) -> Iterable[str]:
    outside = comparison.outside(comparison.notes.tolerance)
    silent = [time for time in outside if not time.reason]
    yield "## Numbers out of tolerance without a reason"
    yield ""
    if not silent:
        yield f"None ({len(outside)} are out of tolerance, each with its reason above)."
    for time in silent:
        what = f"{time.system} {time.stage or 'iteration'}"
        yield f"- {time.experiment}, {time.sweep}: {what}, {time.error:+.1%}"
    yield ""


def _fitted(comparison: Comparison) -> Iterable[str]:
    yield "## Numbers of platform and operators, and where they come from"
    yield ""
    yield (
        "Only these were measured or fitted, on single operators and copies; no iteration, stage "
        "or count above was."
    )
    yield ""
    yield from _grid(("key", "value", "source"), comparison.sources)
    yield ""


def _not_run(comparison: Comparison) -> Iterable[str]:
    lines = [*comparison.notes.not_run, *comparison.failed]
    if lines:
        yield "## Not observed"
        yield ""
        yield from (f"- {line}" for line in lines)


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1e3:.3f} ms"


def _grid(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterable[str]:
    """A Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
