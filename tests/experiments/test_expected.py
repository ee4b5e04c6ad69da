"""What a study expects can fail, and says what it saw."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simulator.errors import ConfigError
from simulator.studies.expected import Expected, check, load_expected

TABLES = {
    "times": pd.DataFrame(
        {
            "system": ["a", "a", "a", "b", "b", "b"],
            "cache": [0.02, 0.04, 0.1] * 2,
            "time": [4.0, 3.0, 2.0, 8.0, 8.1, 5.0],
        }
    )
}


def _expected(tmp_path: Path, text: str) -> Expected:
    file = tmp_path / "expected.yaml"
    file.write_text(f"title: test\n{text}")
    return load_expected(file)


def _bound(tmp_path: Path, text: str) -> tuple[bool, str]:
    expected = _expected(tmp_path, f"bounds:\n  - what: x\n    {text}\n")
    (shape,) = check(expected, TABLES).shapes
    return shape.holds, shape.observed


def test_a_bound_holds_or_fails(tmp_path: Path) -> None:
    query = "simulated: {table: times, column: time, where: {system: a}, reduce: max}\n    "
    assert _bound(tmp_path, query + "at_most: 4.0") == (True, "4 (at most 4)")
    assert _bound(tmp_path, query + "at_most: 3.9")[0] is False
    assert _bound(tmp_path, query + "at_least: 4.1")[0] is False


def test_a_ratio_of_two_numbers(tmp_path: Path) -> None:
    text = (
        "simulated: {table: times, column: time, where: {system: b, cache: 0.02}, "
        "over: {table: times, column: time, where: {system: a, cache: 0.02}}}\n"
        "    at_least: 2.0\n    at_most: 2.0"
    )
    assert _bound(tmp_path, text)[0]


def test_a_comparison_is_inside_its_tolerance_or_not(tmp_path: Path) -> None:
    text = """published:
  - what: mean
    value: 2.5
    source: R 60%
    tolerance: 0.2
    simulated: {table: times, column: time, where: {system: a}, reduce: mean}
"""
    (one,) = check(_expected(tmp_path, text), TABLES).comparisons
    assert (one.simulated, one.ratio, one.inside) == (3.0, 1.2, True)
    (one,) = check(_expected(tmp_path, text.replace("0.2", "0.1")), TABLES).comparisons
    assert not one.inside


@pytest.mark.parametrize(
    ("low", "high", "ratio"), [(2.5, 4.0, 1.0), (4.0, 5.0, 0.75), (1.0, 2.0, 1.5), (3.0, 4.0, 1.0)]
)
def test_a_published_range_is_compared_with_its_nearer_end(
    tmp_path: Path, low: float, high: float, ratio: float
) -> None:
    text = f"""published:
  - what: mean
    value: {low}
    to: {high}
    source: S
    tolerance: 0.2
    simulated: {{table: times, column: time, where: {{system: a}}, reduce: mean}}
"""
    (one,) = check(_expected(tmp_path, text), TABLES).comparisons
    assert one.ratio == ratio
    assert one.inside == (ratio == 1.0)
    assert one.text == f"{low:g} to {high:g} [S]"
    with pytest.raises(ConfigError, match="must be above value"):
        _expected(tmp_path, text.replace(f"to: {high}", f"to: {low}"))


ORDER = """orders:
  - what: falls
    table: times
    column: time
    along: cache
    direction: falling
    within: [system]
"""


def test_an_order_names_the_step_that_breaks_it(tmp_path: Path) -> None:
    (shape,) = check(_expected(tmp_path, ORDER), TABLES).shapes
    assert not shape.holds
    assert shape.observed == "1 of 4 wrong: ('b',) 8 -> 8.1"
    (shape,) = check(_expected(tmp_path, ORDER + "    slack: 0.02\n"), TABLES).shapes
    assert shape.holds
    (shape,) = check(_expected(tmp_path, ORDER.replace("falling", "rising")), TABLES).shapes
    assert not shape.holds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("at_most: 1.0\n    simulated: {table: none, column: time}", "no table 'none'"),
        ("at_most: 1.0\n    simulated: {table: times, column: x}", "no column 'x'"),
        ("at_most: 1.0\n    simulated: {table: times, column: time}", "6 rows"),
        (
            "at_most: 1.0\n    simulated: {table: times, column: time, where: {system: c}, "
            "reduce: max}",
            "0 rows",
        ),
    ],
)
def test_a_question_without_an_answer_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _bound(tmp_path, text)


def test_a_mistake_in_the_file_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected\.yaml:3:\d+: .*source"):
        _expected(
            tmp_path,
            "published:\n  - {what: x, value: 1.0, source: rumour, tolerance: 0.1, "
            "simulated: {table: t, column: c}}\n",
        )
