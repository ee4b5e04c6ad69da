"""The tables that people look at after a run, for terminals from 80 columns up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from simulator.config.experiment import short
from simulator.results.dictionary import DEVICES, Device

if TYPE_CHECKING:
    from simulator.results.record import Result

__all__ = ["tables", "tables_of"]

_NARROW = 110
_SHARED = {"platform": "platform", "model": "model", "operators": "operator profile"}
"""Columns that stand in the title while each system has one value of them."""
_SWEPT = "swept values by path"
"""Key of a row that is no column: what the sweep gave to its point."""
_ONLY_BUSY = ("cpu_cores", "gpu")
"""Devices whose share of time says more than their bytes."""

Row = Mapping[str, Any]


def tables(result: Result, width: int) -> Iterator[Table]:
    """The metrics of `result`, then the bandwidths of the devices, for `width` columns."""
    yield from tables_of(result.name, [(one.metrics, one.point.swept) for one in result], width)


def tables_of(name: str, points: Sequence[tuple[Row, Row]], width: int) -> Iterator[Table]:
    """The same for the metrics of each point and its swept values by path."""
    rows = [{**metrics, _SWEPT: swept} for metrics, swept in points]
    yield _metrics(name, rows, narrow=width < _NARROW)
    yield _devices(rows, narrow=width < _NARROW)


def _metrics(name: str, rows: Sequence[Row], narrow: bool) -> Table:
    table = _table(f"{name}: {_same(rows)}")
    who = _Who(rows, narrow)
    who.add_columns(table)
    for title in ("iteration\ntime, ms", "samples/s", "speed-up\nvs hybrid", "lookup\nhits"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("bottleneck", no_wrap=True)
    titles = {device.name: device.title for device in DEVICES}
    grown = False
    for row in rows:
        mark = " *" if row["cache_grown"] else ""
        grown = grown or bool(mark)
        table.add_row(
            *who.cells(row, mark),
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
    table = _table("Achieved bandwidth, GB/s, and its share of peak; cores and GPU: share of time")
    who = _Who(rows, narrow)
    who.add_columns(table)
    for device in used:
        title = device.title.replace(" ", "\n") if narrow else device.title
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [_bandwidth(row, device, "\n" if narrow else "  ") for device in used]
        table.add_row(*who.cells(row), *cells)
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _same(rows: Sequence[Row]) -> str:
    """Platform, model and operator profile, with the systems that have others."""
    parts = []
    for key, title in _SHARED.items():
        if key in _varying(rows):
            continue
        usual = Counter(row[key] for row in rows).most_common(1)[0][0]
        others = {_label(row): row[key] for row in rows if row[key] != usual}
        but = "".join(f", {label} {value}" for label, value in others.items())
        parts.append(f"{title} {usual}" + (f" ({but[2:]})" if but else ""))
    return ", ".join(parts)


def _varying(rows: Sequence[Row]) -> list[str]:
    """What has to stand in a column because one system is there with several values of it."""
    keys = []
    for key in (*_SHARED, "policy"):
        pairs = {(_label(row), row[key]) for row in rows}
        if len(pairs) > len({label for label, _ in pairs}):
            keys.append(key)
    return keys


def _label(row: Row) -> str:
    return str(row["label"] or row["system"] or "-")


class _Who:
    """The cells that say which point a row is about."""

    def __init__(self, rows: Sequence[Row], narrow: bool) -> None:
        self._narrow = narrow
        self._keys = _varying(rows)
        self._has_sweep = any(self._swept(row) for row in rows)

    def add_columns(self, table: Table) -> None:
        titles = ["system", "locality"]
        if not self._narrow:
            titles += self._keys + (["swept"] if self._has_sweep else [])
        for title in titles:
            table.add_column(title, no_wrap=True)

    def cells(self, row: Row, mark: str = "") -> list[str]:
        """Where columns are few, what varies stands below the system's name."""
        label, locality = _label(row) + mark, row["locality"] or "-"
        more, swept = [row[key] or "-" for key in self._keys], self._swept(row)
        if self._narrow:
            return ["\n ".join([label, *(m for m in more if m != "-"), *swept]), locality]
        return [label, locality, *more, *(["\n".join(swept)] if self._has_sweep else [])]

    def _swept(self, row: Row) -> list[str]:
        """The swept values that no other column shows, by the last part of their path."""
        return [
            f"{path.rpartition('.')[2]}={short(value)}"
            for path, value in row[_SWEPT].items()
            if not path.startswith("trace") and path not in (*_SHARED, "cache.policy")
        ]


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
    if value == 0:
        return f"0{unit}"
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
