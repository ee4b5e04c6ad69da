"""The tables that people look at after a run, for terminals from 80 columns up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from simulator.config.point import short
from simulator.results.notes import marks_of, notes_of
from simulator.results.resources import Fold, fold, headings, spread, title_of
from simulator.results.rows import Row, by_point, model_of
from simulator.results.software import DIFFERS, software_note
from simulator.results.summary import Group, ends_of, groups_of, title_of_ends
from simulator.results.trust import trust_lines
from simulator.text import few, on_one_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["Tabular", "tables"]

_NARROW = 110
_SHARED = {"platform": "platform", "model": "model", "operators": "operator profile"}
"""Columns that stand in the title while each system has one value of them."""
_SWEPT = "swept values by path"
"""Key of a row that is no column: what the sweep gave to its point."""
_USE = "Achieved bandwidth, GB/s, and its share of peak; where no bytes move: share of time"
_SPREAD = "a/b/c: the least, the mean and the most of the resources in a column"


class Tabular(Protocol):
    """What has tables: a result, or a run that was read back."""

    @property
    def name(self) -> str:
        """Name of the experiment."""
        ...

    @property
    def software(self) -> str:
        """A line where options changed the machine, and the operator profile with it, or empty."""
        ...

    def metrics(self) -> Sequence[Row]:
        """A row a point."""
        ...

    def devices(self) -> Sequence[Row]:
        """A row a point and resource."""
        ...

    def loads(self) -> Sequence[Row]:
        """A row a point with a load stage."""
        ...

    def checkpoints(self) -> Sequence[Row]:
        """A row a point that is check-pointed."""
        ...

    def swept(self) -> Sequence[Row]:
        """The swept values of each point, by path."""
        ...


def tables(run: Tabular, width: int) -> Iterator[Table | str]:
    """The metrics of `run`, how far to trust them, then the use of resources, for `width`
    columns. Of a long sweep its fastest and slowest points, and a summary by what was swept."""
    metrics, swept = run.metrics(), run.swept()
    rows = [{**row, _SWEPT: values} for row, values in zip(metrics, swept, strict=True)]
    shown = ends_of(metrics)
    narrow = width < _NARROW
    yield _metrics(run, rows, shown, narrow)
    if len(shown) < len(rows):
        yield _summary(list(groups_of(metrics, swept)))
        yield f"All {len(rows):,} points are in metrics.csv and devices.csv.\n"
    if any(row.get("latency_alone_us") is not None for row in metrics):
        yield _queries(rows, shown, narrow)
    yield "".join(f"{line}\n" for line in trust_lines(metrics))
    if run.loads():
        yield _loads([rows[number] for number in shown], run.loads(), narrow)
    if run.checkpoints():
        yield _checkpoints([rows[number] for number in shown], run.checkpoints(), narrow)
    few_metrics = [metrics[number] for number in shown]
    points = [fold(devices) for devices in by_point(few_metrics, run.devices())]
    yield from _resources([rows[number] for number in shown], points, width)


def _summary(groups: Sequence[Group]) -> Table:
    table = _table("Iteration time, ms, by what differs between points")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    for heading in ("points", "best", "median", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for group in groups:
        times = (_number(t, 1e-3) for t in (group.best_us, group.median_us, group.worst_us))
        key = "" if group.key == last else on_one_line(group.key)
        last = group.key
        _add_row(table, key, on_one_line(group.value), f"{group.points:,}", *times)
        if group.left_out:
            _add_row(table, "", f"({group.left_out:,} more values)")
    return table


def _metrics(run: Tabular, rows: Sequence[Row], shown: Sequence[int], narrow: bool) -> Table:
    """The rows with the numbers `shown`; title and notes are about all."""
    ends = title_of_ends(len(rows))
    software = [DIFFERS if software_note(rows) else "", run.software.partition(":")[0]]
    table = _table("; ".join(filter(None, (f"{run.name}: {_same(rows)}", *software, ends))))
    point = _PointCells(rows, narrow)
    for title in point.titles:
        table.add_column(_plain(title), no_wrap=True)
    for title in ("iteration\ntime, ms", "samples/s", "speed-up\nvs hybrid", "lookup\nhits"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("bottleneck", no_wrap=True)
    for row in (rows[number] for number in shown):
        bottleneck = title_of(row["bottleneck"]) if row["bottleneck"] else "-"
        _add_row(
            table,
            *point.cells(row, marks_of(row)),
            _time(row, narrow),
            _count(row["throughput_samples_per_s"]),
            _number(row["speedup_over_hybrid"], 1, "x"),
            _percent(row["lookup_hit_rate"]),
            bottleneck.replace(" of ", "\nof ") if narrow else bottleneck,
        )
    table.caption = _plain("\n".join(filter(None, (run.software, notes_of(rows))))) or None
    return table


def _loads(rows: Sequence[Row], loads: Sequence[Row], narrow: bool) -> Table:
    """The load stage of the points in `rows`, and what would keep their GPUs busy."""
    by_point = {(load["point"], load["label"]): load for load in loads}
    table = _table("Load stage, and the workers and bandwidth that keep training busy")
    point = _PointCells(rows, narrow)
    for title in point.titles:
        table.add_column(_plain(title), no_wrap=True)
    for title in (
        "load,\nms",
        "training,\nms",
        "training\nbusy",
        "workers",
        "workers\nneeded",
        "storage,\nGB/s",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        load = by_point.get((row["point"], row["label"]))
        if load is not None:
            _add_row(
                table,
                *point.cells(row),
                _number(load["load_us"], 1e-3),
                _number(load["rest_us"], 1e-3),
                _percent(load["training_busy"]),
                f"{load['workers']:,}",
                f"{load['workers_needed']:,}",
                _number(load["source_needed_gbps"], 1),
            )
    return table


def _checkpoints(rows: Sequence[Row], written: Sequence[Row], narrow: bool) -> Table:
    """What the points in `rows` write to survive a failure, and what they wait for it."""
    by_point = {(row["point"], row["label"]): row for row in written}
    table = _table("Check-points: bytes written beside training, and time that updates wait")
    point = _PointCells(rows, narrow)
    for title in point.titles:
        table.add_column(_plain(title), no_wrap=True)
    for title in ("kind", "to"):
        table.add_column(title, no_wrap=True)
    for title in ("MB/batch", "without,\nms", "waited,\nms", "waited", "TB/day"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        own = by_point.get((row["point"], row["label"]))
        if own is not None:
            _add_row(
                table,
                *point.cells(row),
                own["checkpoint"],
                on_one_line(own["to"]),
                _number(own["written_bytes"], 1e-6),
                _number(own["rest_us"], 1e-3),
                _number(own["waited_us"], 1e-3),
                _percent(own["waited_share"]),
                _number(own["checkpoint_gb_per_day"], 1e-3),
            )
    return table


def _queries(rows: Sequence[Row], shown: Sequence[int], narrow: bool) -> Table:
    """What becomes of mini-batches that are queries."""
    table = _table("Queries: offered, answered, and their latency in ms")
    point = _PointCells(rows, narrow)
    for title in point.titles:
        table.add_column(_plain(title), no_wrap=True)
    for title in ("load", "answered/s", "alone", "mean", "p50", "p99"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in (rows[number] for number in shown):
        columns = ("alone", "mean", "p50", "p99")
        times = (_number(row[f"latency_{name}_us"], 1e-3) for name in columns)
        answered = _count(row["answered_per_s"])
        table.add_row(*point.cells(row), _percent(row["offered_load"]), answered, *times)
    if any(row["overloaded"] for row in rows):
        table.caption = (
            "no latency: queries come as fast as they are answered, and wait without end"
        )
    return table


def _time(row: Row, narrow: bool) -> str:
    """Milliseconds, and the least and the most of several seeds."""
    time, low, high = (
        _number(row[f"iteration_time{end}_us"], 1e-3) for end in ("", "_low", "_high")
    )
    return time if low == "-" else f"{time}{chr(10) if narrow else ' '}({low} to {high})"


def _resources(
    rows: Sequence[Row], points: Sequence[Mapping[str, Fold]], width: int
) -> Iterator[Table]:
    """A column a family of resources, in as many tables as `width` makes of them."""
    narrow = width < _NARROW
    columns: dict[str, list[str]] = {}
    for family, title in headings(points).items():
        cells = [_use(point.get(family), "\n" if narrow else "  ") for point in points]
        stacked = narrow or len(title) + 2 > _width(cells)
        columns[family] = [title.replace(" ", "\n") if stacked else title, *cells]
    point = _PointCells(rows, narrow)
    names = [point.titles, *(point.cells(row) for row in rows)]
    room = width - sum(map(_width, zip(*names, strict=True)))
    groups = _groups({family: _width(cells) for family, cells in columns.items()}, room)
    title = _USE
    for families in groups:
        table = _table(title)
        for name in names[0]:
            table.add_column(_plain(name), no_wrap=True)
        for family in families:
            table.add_column(_plain(columns[family][0]), justify="right", no_wrap=True)
        for number, cells in enumerate(names[1:], 1):
            _add_row(table, *cells, *(columns[family][number] for family in families))
        if families is groups[-1] and any("/" in c for cells in columns.values() for c in cells):
            table.caption = _SPREAD
        yield table
        title = "Other resources of the same points"


def _width(cells: Sequence[str]) -> int:
    """Columns of the terminal that a column of the table takes: two part it from the next."""
    return 2 + max(len(line) for cell in cells for line in (cell.splitlines() or [""]))


def _groups(widths: Mapping[str, int], room: int) -> list[list[str]]:
    """The names of `widths` in order, in groups that fit into `room`; one wider stands alone."""
    groups: list[list[str]] = []
    left = 0
    for name, width in widths.items():
        if width > left:
            groups.append([])
            left = room
        groups[-1].append(name)
        left -= width
    return groups


def _use(folded: Fold | None, between: str) -> str:
    """Bandwidth and its share of peak, or the share of time of what moves no bytes."""
    if folded is None or not folded.used:
        return "-"
    busy = folded.values("utilization")
    rates = folded.values("bandwidth_gbps")
    if not rates:
        return _percents(busy)
    shares = _percents(folded.values("share_of_peak") or busy)
    return f"{spread(rates, lambda rate: _number(rate, 1))}{between}{shares:>4}"


def _percents(values: Sequence[float]) -> str:
    return spread(values, lambda value: _percent(value).removesuffix("%"), "%")


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        title=_plain(title),
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _plain(text: str) -> Text:
    """Text that is shown as it is: whoever prints a table may have a console that reads markup."""
    from rich.text import Text

    return Text(text)


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*map(_plain, cells))


def _same(rows: Sequence[Row]) -> str:
    """Platform, model and operator profile, with the systems that have others."""
    if not rows:
        return "no points"
    texts = []
    varying = _varying(rows)
    rows = [{**row, "model": model_of(row)} for row in rows]
    for key, title in _SHARED.items():
        if key in varying:
            continue
        usual = Counter(row[key] for row in rows).most_common(1)[0][0]
        others = {_label(row): row[key] for row in rows if row[key] != usual}
        but = few(f"{label} {value}" for label, value in others.items())
        texts.append(f"{title} {usual}" + (f" ({but})" if but else ""))
    return ", ".join(texts)


def _varying(rows: Sequence[Row]) -> list[str]:
    """What has to stand in a column because one system is there with several values of it."""
    keys = []
    for key in (*_SHARED, "policy"):
        pairs = {(_label(row), row[key]) for row in rows}
        if len(pairs) > len({label for label, _ in pairs}):
            keys.append(key)
    return keys


def _label(row: Row) -> str:
    return on_one_line(str(row["label"] or row["system"] or "-"))


class _PointCells:
    """The cells that say which point a row is about."""

    def __init__(self, rows: Sequence[Row], narrow: bool) -> None:
        self._narrow = narrow
        self._keys = _varying(rows)
        self._has_sweep = any(self._swept(row) for row in rows)

    @property
    def titles(self) -> list[str]:
        """Headings of the columns."""
        if self._narrow:
            return ["system", "locality"]
        return ["system", "locality", *self._keys, *(["swept"] if self._has_sweep else [])]

    def cells(self, row: Row, mark: str = "") -> list[str]:
        """Where columns are few, what varies stands below the system's name."""
        label, locality = _label(row) + mark, on_one_line(row["locality"] or "-")
        more, swept = [row[key] or "-" for key in self._keys], self._swept(row)
        if self._narrow:
            return ["\n ".join([label, *(m for m in more if m != "-"), *swept]), locality]
        return [label, locality, *more, *(["\n".join(swept)] if self._has_sweep else [])]

    def _swept(self, row: Row) -> list[str]:
        """The swept values that no other column shows, by the last part of their path."""
        return [
            on_one_line(f"{path.rpartition('.')[2]}={short(value)}")
            for path, value in row[_SWEPT].items()
            if not path.startswith("trace") and path not in (*_SHARED, "cache.policy")
        ]


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
