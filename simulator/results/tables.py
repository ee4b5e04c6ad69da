"""The tables that people look at after a run, for terminals from 80 columns up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from simulator.results.dictionary import DEVICES, Device

if TYPE_CHECKING:
    from simulator.results.record import Result

__all__ = ["tables"]

_NARROW = 110
_WHO = (
    ("platform", "platform"),
    ("model", "model"),
    ("operators", "operators"),
    ("policy", "policy"),
)
"""Columns that stand in the title while they are the same in all rows."""
_ONLY_BUSY = ("cpu_cores", "gpu")
"""Devices whose share of time says more than their bytes."""

Row = Mapping[str, Any]


def tables(result: Result, width: int) -> Iterator[Table]:
    """The metrics of `result`, then the bandwidths of the devices, for `width` columns."""
    rows = result.metrics()
    yield _metrics(result.name, rows)
    yield _devices(rows, narrow=width < _NARROW)


def _metrics(name: str, rows: Sequence[Row]) -> Table:
    table = _table(f"{name}: {_same(rows)}")
    _identity(table, rows)
    for title in ("iteration\ntime, ms", "samples/s", "speed-up\nover hybrid", "lookup\nhit rate"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("bottleneck", no_wrap=True)
    titles = {device.name: device.title for device in DEVICES}
    grown = False
    for row in rows:
        mark = " *" if row["cache_grown"] else ""
        grown = grown or bool(mark)
        table.add_row(
            *_who(row, rows, mark),
            _number(row["iteration_time_us"], 1e-3),
            _count(row["throughput_samples_per_s"]),
            _number(row["speedup_over_hybrid"], 1, "x"),
            _percent(row["lookup_hit_rate"]),
            titles.get(row["bottleneck"], row["bottleneck"] or "-"),
        )
    if grown:
        table.caption = "* the cache asked for could not hold its window and was enlarged"
    return table


def _devices(rows: Sequence[Row], narrow: bool) -> Table:
    used = [d for d in DEVICES if any(row[f"{d.name}_utilization"] for row in rows)]
    table = _table("Achieved bandwidth in GB/s and its share of peak; cores and GPU: share of time")
    _identity(table, rows)
    for device in used:
        title = device.title.replace(" ", "\n") if narrow else device.title
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [_bandwidth(row, device, "\n" if narrow else "  ") for device in used]
        table.add_row(*_who(row, rows, ""), *cells)
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        pad_edge=False,
    )


def _same(rows: Sequence[Row]) -> str:
    """What all rows have in common; the operator profile is always named."""
    parts = []
    for key, title in _WHO[:3]:
        values = list(dict.fromkeys(row[key] for row in rows))
        if len(values) == 1:
            parts.append(f"{title if key != 'operators' else 'operator profile'} {values[0]}")
        elif key == "operators":
            parts.append(f"operator profiles {', '.join(map(str, values))}")
    return ", ".join(parts)


def _varying(rows: Sequence[Row]) -> list[str]:
    keys = [key for key, _ in _WHO if len({row[key] for row in rows if row[key]}) > 1]
    return keys + (["sweep"] if any(_swept(row) for row in rows) else [])


def _swept(row: Row) -> str:
    """The swept values, without the trace's: that is a column of its own."""
    values = (row["sweep"] or "").split(", ")
    shown = [v for v in values if not v.startswith(("trace", "platform=", "model=", "operators="))]
    return "\n".join(shown)


def _identity(table: Table, rows: Sequence[Row]) -> None:
    for title in ("system", "locality", *_varying(rows)):
        table.add_column(title, overflow="fold")


def _who(row: Row, rows: Sequence[Row], mark: str) -> list[str]:
    name = (row["label"] or row["system"] or "-") + mark
    more = [_swept(row) if key == "sweep" else row[key] or "-" for key in _varying(rows)]
    return [name, row["locality"] or "-", *more]


def _bandwidth(row: Row, device: Device, between: str) -> str:
    busy = row[f"{device.name}_utilization"]
    if busy is None:
        return "-"
    if device.name in _ONLY_BUSY:
        return _percent(busy)
    share = row[f"{device.name}_share_of_peak"]
    share = busy if share is None else share
    rate = row[f"{device.name}_bandwidth_gbps"]
    return f"{_number(rate, 1)}{between}{_percent(share):>4}"


def _number(value: float | None, factor: float, unit: str = "") -> str:
    """Three digits that count: 123, 12.3, 1.23."""
    if value is None:
        return "-"
    value *= factor
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}{unit}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    if value is None:
        return "-"
    share = 100 * value
    return f"{share:.0f}%" if share >= 9.5 or share == 0 else f"{share:.1f}%"
