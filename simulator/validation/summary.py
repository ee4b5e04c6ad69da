"""The summary: one row a kind of number and machine, as a CSV that the README's table is made of.

`scratchpipe validate --summary FILE` sets the rows of the machines that it compares; other commands
set those of other kinds (`benchmarks/trust.py`). Whoever writes rows replaces all of the same page,
and all of the same machine on a page of that name: wherever the pages were written, a machine's
rows stand in the table once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from simulator.errors import UsageError
from simulator.streams import open_text, refusing
from simulator.validation.compare import Comparison
from simulator.validation.numbers import Errors, Time

__all__ = ["Row", "read_summary", "rows_of", "summary_text", "with_rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """Errors of one kind of number; relative, 0.05 is 5 %."""

    kind: str
    """What was predicted."""
    machine: str
    """On which machine it was measured, or what stands for one."""
    platform: str
    """Platform and operator profile that predicted it."""
    fitted_on: str
    """What the numbers behind the prediction were fitted to; never what is predicted."""
    n: int
    median: float | None
    """Of absolute errors; None of orders, which agree or do not."""
    worst: float | None
    """Signed."""
    bias: float | None
    """Signed median."""
    repeats: float | None
    """Median spread between repeat runs of one session."""
    sessions: float | None
    """Median spread between sessions."""
    agree: int | None
    """Of orders: those that agree."""
    page: str
    """Where each of them stands."""


def rows_of(comparison: Comparison, machine: str, page: str) -> Iterator[Row]:
    """The rows of one machine: iterations, all, by system and by experiment, on fewer threads,
    stages, counts, orders."""
    fitted = comparison.fitted_on or "nothing: data sheets and assumptions"
    platform = f"{comparison.platform}, {comparison.operators}"

    def row(kind: str, errors: Errors | None, times: Iterable[Time] = ()) -> Iterator[Row]:
        if errors is not None:
            numbers = (errors.n, errors.median, errors.worst, errors.bias)
            spreads = (_median_of("spread", times), _median_of("session_spread", times))
            yield Row(kind, machine, platform, fitted, *numbers, *spreads, None, page)

    def of_times(kind: str, times: list[Time]) -> Iterator[Row]:
        yield from row(kind, Errors.of_times(times), times)

    yield from of_times("whole iterations", comparison.iterations)
    for system, times in comparison.systems.items():
        yield from of_times(f"iterations of {system}", times)
    for experiment, times in comparison.experiments.items():
        yield from of_times(f"iterations in {experiment}", times)
    yield from of_times("iterations on fewer CPU threads", comparison.fewer_threads)
    notable = [time for time in comparison.stages if time.notable and not time.fewer_threads]
    yield from of_times("stages of 20 us and more", notable)
    yield from row("rows moved", Errors.of([count.error for count in comparison.chosen]))
    if comparison.orders:
        agree = len(comparison.orders) - len(comparison.disagreeing)
        yield Row(
            "order of systems", machine, platform, fitted, len(comparison.orders), None, None, None,
            None, None, agree, page,
        )  # fmt: skip


def _median_of(name: str, times: Iterable[Time]) -> float | None:
    spreads = [spread for time in times if (spread := getattr(time, name)) is not None]
    return float(np.median(spreads)) if spreads else None


def read_summary(file: Path) -> list[Row]:
    """The rows of `file`, none where there is no such file. Raises `UsageError` for another
    table."""
    if not file.is_file():
        return []
    names = [field.name for field in fields(Row)]
    with refusing(file, UsageError), open_text(file) as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != names:
            raise UsageError(f"{file}: no summary: its columns are not {', '.join(names)}")
        try:
            return [_read(record) for record in reader]
        except (TypeError, ValueError) as error:
            raise UsageError(f"{file}:{reader.line_num}: {error}") from error


def _read(record: dict[str, str]) -> Row:
    numbers = {
        name: float(record[name]) if record[name] else None
        for name in ("median", "worst", "bias", "repeats", "sessions")
    }
    texts = {name: record[name] for name in ("kind", "machine", "platform", "fitted_on", "page")}
    agree = int(record["agree"]) if record["agree"] else None
    return Row(n=int(record["n"]), agree=agree, **numbers, **texts)  # type: ignore[arg-type]


def with_rows(old: Iterable[Row], new: Sequence[Row]) -> list[Row]:
    """`new` in the place of all `old` rows of the same pages, and of the same machines on pages of
    the same names; by page."""
    pages, machines = {row.page for row in new}, {_of_machine(row) for row in new}
    kept = [row for row in old if row.page not in pages and _of_machine(row) not in machines]
    return sorted([*kept, *new], key=lambda row: row.page)


def _of_machine(row: Row) -> tuple[str, str]:
    """What was measured and the kind of page that it stands on, wherever that lies."""
    return row.machine, row.page.rpartition("/")[2]


def summary_text(rows: Iterable[Row]) -> str:
    """The CSV; numbers with four digits behind the point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {
            name: f"{value:.4f}" if isinstance(value, float) else value
            for name, value in asdict(row).items()
        }
        writer.writerow(cells)
    return text.getvalue()
