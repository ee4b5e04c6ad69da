"""A small picture of a cache-size sweep in plain characters, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulator.config.point import short
from simulator.config.sections import SIZE_KEYS
from simulator.text import on_one_line, some_of
from simulator.units import parse_quantity

__all__ = ["curves"]

Row = Mapping[str, Any]
Pairs = Sequence[tuple[Row, Row]]
"""Metrics of each point, and its swept values by path."""

SWEPT = tuple(f"cache.{key}" for key in SIZE_KEYS)
WIDTH = 80
HEIGHT = 10
LEFT = 9
"""Columns of the time axis."""
NAME = 14
"""Columns of a system's name in the table of hit rates."""
MOST_SIZES = 11
"""Columns of the table of hit rates: six characters each."""
MOST = 6
"""Pictures printed; all numbers are in the files."""


def curves(points: Pairs) -> Iterator[str]:
    """Lines to print: iteration time and hit rate of each system by cache size, a picture for each
    combination of the other swept values; none where no cache sizes were swept."""
    cells: dict[str, list[tuple[Row, float]]] = {}
    key = next((key for _, swept in points for key in SWEPT if key in swept), "")
    for metrics, swept in points:
        if key in swept:
            cells.setdefault(_cell(metrics, swept), []).append((metrics, _size(swept[key])))
    drawn = [(name, rows) for name, rows in cells.items() if len({size for _, size in rows}) > 1]
    for name, rows in drawn[:MOST]:
        yield from _picture(f"{key}: {name}", rows)
        yield ""
    if len(drawn) > MOST:
        yield f"({len(drawn) - MOST} more cache-size sweeps are in the files.)"
        yield ""


def _size(value: Any) -> float:
    """A swept size: a share, rows, or bytes with their unit."""
    return float(parse_quantity(value, "bytes") if isinstance(value, str) else value)


def _cell(metrics: Row, swept: Row) -> str:
    """What a picture is of: locality and the swept values that are not the cache size."""
    others = [
        f"{path.rpartition('.')[2]}={short(value)}"
        for path, value in swept.items()
        if path not in SWEPT and not path.startswith("trace")
    ]
    return ", ".join([str(metrics["locality"]), *others])


def _picture(name: str, rows: Sequence[tuple[Row, float]]) -> Iterator[str]:
    sizes = sorted({size for _, size in rows})
    systems = list(dict.fromkeys(on_one_line(str(metrics["label"])) for metrics, _ in rows))
    marks = _marks(systems)
    yield on_one_line(f"Iteration time in ms by {name}")[:WIDTH]
    yield from _plot(rows, sizes, marks)
    yield from _wrapped([f"{mark} {system}" for system, mark in marks.items()])
    yield from _hit_rates(rows, sizes, systems)


def _marks(systems: Sequence[str]) -> dict[str, str]:
    """A letter for each system: one of its own where there is one left."""
    marks: dict[str, str] = {}
    for system in systems:
        letters = [c for c in system + "abcdefghijklmnopqrstuvwxyz" if c.isalnum()]
        free = [c for c in letters if c not in marks.values()]
        marks[system] = free[0] if free else "*"
    return marks


def _plot(
    rows: Sequence[tuple[Row, float]], sizes: Sequence[float], marks: Mapping[str, str]
) -> Iterator[str]:
    top = max(metrics["iteration_time_us"] for metrics, _ in rows)
    columns = [n * (WIDTH - LEFT) // len(sizes) for n in range(len(sizes))]
    grid = [[" "] * (WIDTH - LEFT) for _ in range(HEIGHT)]
    for metrics, size in rows:
        height = round((HEIGHT - 1) * metrics["iteration_time_us"] / top)
        line, at = grid[HEIGHT - 1 - height], columns[sizes.index(size)]
        while at < len(line) - 1 and line[at] != " ":
            at += 1
        line[at] = marks[on_one_line(str(metrics["label"]))]
    for number, line in enumerate(grid):
        value = top * (HEIGHT - 1 - number) / (HEIGHT - 1) / 1e3
        axis = f"{value:7.3g} |" if number % 3 == 0 else " " * 8 + "|"
        yield (axis + "".join(line)).rstrip()
    yield " " * 8 + "+" + "-" * min(columns[-1] + 4, WIDTH - LEFT)
    labels = ""
    for column, size in zip(columns, sizes, strict=True):
        text = f"{size:.4g}"
        if column >= len(labels) + bool(labels) and column + len(text) <= WIDTH - LEFT:
            labels = labels.ljust(column) + text
    yield " " * LEFT + labels


def _hit_rates(
    rows: Sequence[tuple[Row, float]], sizes: Sequence[float], systems: Sequence[str]
) -> Iterator[str]:
    """A line for each system that has a cache, at as many sizes as a line holds."""
    all_sizes, sizes = sizes, some_of(sizes, MOST_SIZES)
    rates = {(on_one_line(str(m["label"])), size): m["lookup_hit_rate"] for m, size in rows}
    width = min(8, (WIDTH - NAME) // len(sizes))
    lines = []
    for system in systems:
        cells = [rates.get((system, size)) for size in sizes]
        if any(cell is not None for cell in cells):
            shown = "".join(f"{'-' if c is None else f'{100 * c:.0f}%':>{width}}" for c in cells)
            lines.append(f"{system[: NAME - 1]:<{NAME}}{shown}"[:WIDTH])
    if lines:
        head = "".join(f"{size:>{width}.4g}" for size in sizes)
        yield f"{'lookup hits':<{NAME}}{head}"[:WIDTH].rstrip()
        yield from lines
        if len(sizes) < len(all_sizes):
            yield f"({len(sizes)} of {len(all_sizes):,} sizes; all are in metrics.csv)"


def _wrapped(words: Sequence[str]) -> Iterator[str]:
    """The legend, over as many lines as it takes."""
    line = " " * LEFT
    for word in words:
        if len(line) + len(word) > WIDTH and line.strip():
            yield line.rstrip()
            line = " " * LEFT
        line += f"{word}   "
    yield line.rstrip()
