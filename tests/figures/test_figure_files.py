"""Figures as files: the same bytes, a CSV beside, colours that hold in grey."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from simulator._drawing import logarithmic
from simulator.figures.charts import (
    figure_grid,
    grouped_bars,
    legend_above,
    lines,
    stacked_bars,
)
from simulator.figures.files import csv_text, svg_text, write_figure
from simulator.figures.pipeline import steady_spans
from simulator.figures.style import OPERATORS, look, styled, title
from simulator.systems import names as system_names

DATA = pd.DataFrame(
    {
        "cache": ["2%", "2%", "4%", "4%"],
        "system": ["hybrid", "scratchpipe"] * 2,
        "time_ms": [40.0, 10.5, 40.0, 0.1 + 0.2],
        "grown": [False, True, False, False],
    }
)


def _bars() -> object:
    with styled():
        figure, (axes,) = figure_grid(1, 1, 3.0, 2.0)
        grouped_bars(axes, DATA, group="cache", hue="system", value="time_ms", marks="grown")
        legend_above(figure, [axes], 2, "heading")
    return figure


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_figure("bars", _bars(), DATA, tmp_path / "a")
    second = write_figure("bars", _bars(), DATA, tmp_path / "b")
    assert [file.suffix for file in first] == [".pdf", ".svg", ".png", ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        assert one.stat().st_size > 50


def test_vector_files_name_no_date(tmp_path: Path) -> None:
    files = {f.suffix: f.read_bytes() for f in write_figure("bars", _bars(), DATA, tmp_path)}
    assert b"CreationDate" not in files[".pdf"]
    assert b"dc:date" not in files[".svg"]


def test_csv_gives_the_numbers_back_exactly() -> None:
    back = pd.read_csv(io.StringIO(csv_text(DATA)))
    assert back["time_ms"].tolist() == DATA["time_ms"].tolist()


def test_svg_is_an_element_for_a_page() -> None:
    assert svg_text(_bars()).startswith("<svg")


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [((1, 30), {"1", "2", "5", "10", "20"}), ((0.01, 1e5), {"100", "10,000"})],
)
def test_ticks_of_logarithms_are_plain_numbers(ends: tuple[float, float], wanted: set[str]) -> None:
    with styled():
        figure, (axes,) = figure_grid(1, 1, 3.0, 2.0)
        axes.plot(ends, ends)
        logarithmic(axes, "x", "y")
        figure.canvas.draw()
        for axis in (axes.xaxis, axes.yaxis):
            labels = {label.get_text() for label in axis.get_ticklabels()}
            assert wanted <= labels
            assert "$" not in "".join(labels)


def test_bars_have_the_heights_of_the_table() -> None:
    with styled():
        _, (axes,) = figure_grid(1, 1, 3.0, 2.0)
        grouped_bars(axes, DATA, group="cache", hue="system", value="time_ms", marks="grown")
    assert [bar.get_height() for bar in axes.patches] == [40.0, 40.0, 10.5, 0.1 + 0.2]
    assert [text.get_text() for text in axes.texts] == ["*"]


def test_stacked_bars_add_up() -> None:
    with styled():
        _, (axes,) = figure_grid(1, 1, 3.0, 2.0)
        stacked_bars(axes, DATA, group="cache", stack="system", value="time_ms")
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops[2:] == pytest.approx([50.5, 40.3])


def test_lines_follow_x_whatever_the_order_of_rows() -> None:
    data = pd.DataFrame({"x": [3, 1, 2], "y": [9.0, 1.0, 4.0], "who": ["a"] * 3})
    with styled():
        _, (axes,) = figure_grid(1, 1, 3.0, 2.0)
        lines(axes, data, x="x", y="y", hue="who")
    assert axes.lines[0].get_ydata().tolist() == [1.0, 4.0, 9.0]


def _grey(color: str) -> float:
    """Luminance (ITU-R BT.709), 0 to 1."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_systems_differ_in_color_and_in_grey() -> None:
    looks = {name: look(name) for name in system_names()}
    for (one, a), (other, b) in combinations(looks.items(), 2):
        assert a.color != b.color, (one, other)
        assert (a.marker, a.dash) != (b.marker, b.dash), (one, other)
        differ = abs(_grey(a.color) - _grey(b.color)) > 0.1 or a.hatch != b.hatch
        assert differ, (one, other)


def test_every_system_and_profile_has_a_place() -> None:
    assert all(title(name) != name for name in system_names())
    assert set(OPERATORS) == {"paper", "stock", "tuned"}


def test_steady_spans_are_cut_at_the_ends_of_mini_batches() -> None:
    spans = pd.DataFrame(
        {
            "stage": ["a", "b", "a", "b", "a", "b"],
            "batch": [0, 0, 1, 1, 2, 2],
            "start_ps": [0, 1_000_000_000, 500_000_000, 2_000_000_000, 10**9, 3 * 10**9],
            "end_ps": [10**9, 2 * 10**9, 1_500_000_000, 3 * 10**9, 2 * 10**9, 4 * 10**9],
        }
    )
    window = steady_spans(spans, first=1, batches=1)
    assert window["start_ms"].min() == 0.0
    assert window["end_ms"].max() == 1.0
    assert window["batch"].tolist() == [1]
