"""The tables in the READMEs of the studies are made, not pasted."""

from __future__ import annotations

import pandas as pd
import pytest

from simulator.errors import ConfigError
from simulator.studies import Inputs, check, find_studies, readme_of, study_names
from simulator.studies.expected import Comparison, Outcome
from simulator.studies.readme import columns_of, published, side_by_side, with_tables

TEXT = "before\n\n<!-- table: times -->\n| old |\n|---|\n| 1 |\n<!-- end -->\n\nafter\n"
TIMES = pd.DataFrame({"system": ["hybrid"], "time (ms)": ["40.3"]})


def test_a_table_is_replaced_between_its_marks_and_nothing_else() -> None:
    text = with_tables(TEXT, {"times": TIMES})
    assert text == TEXT.replace(
        "| old |\n|---|\n| 1 |\n", "| system | time (ms) |\n|---|---|\n| hybrid | 40.3 |\n"
    )
    assert with_tables(text, {"times": TIMES}) == text


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({}, "1 marks for table 'times'; the study has none"),
        ({"times": TIMES, "more": TIMES}, "0 marks for table 'more'"),
    ],
)
def test_a_mark_without_a_table_and_a_table_without_a_mark_are_told(
    tables: dict[str, pd.DataFrame], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        with_tables(TEXT, tables)


def test_columns_become_text() -> None:
    data = pd.DataFrame({"name": ["a", "b"], "share": [0.123, None], "count": [3, 4]})
    shown = columns_of(data, {"name": "", "share": ".1%", "count": "d"})
    assert shown.to_numpy().tolist() == [["a", "12.3%", "3"], ["b", "-", "4"]]


def test_values_of_a_column_stand_side_by_side_in_the_order_of_the_rows() -> None:
    data = pd.DataFrame(
        {
            "place": ["z", "z", "a", "z"],
            "cache": [0.1, 0.02, 0.02, 0.1],
            "time": [1.0, 2.0, 3.0, 9.0],
        }
    )
    shown = side_by_side(data, ["place"], "cache", ("time", ".1f"), "{:.0%}".format)
    assert list(shown.columns) == ["place", "10%", "2%"]
    assert shown.to_numpy().tolist() == [["z", "1.0", "2.0"], ["a", "-", "3.0"]]


def test_published_numbers_stand_beside_the_simulated_ones() -> None:
    outcome = Outcome((Comparison("speed-up", 2.8, "R 60%", 1.97512, 0.25),), ())
    assert published(outcome).to_numpy().tolist() == [
        ["speed-up", "2.8 [R 60%]", "1.975", "0.71", "no (±25 %)"]
    ]


def test_the_shipped_page_of_a_study_without_simulations_is_what_is_made() -> None:
    """Else run: scratchpipe reproduce locality, and copy its README.md."""
    (study,) = find_studies(["locality"])
    tables = study.module.tables(Inputs(settings=study.expected.settings))
    shipped = (study.folder / "README.md").read_text(encoding="utf-8")
    assert readme_of(study, tables, check(study.expected, tables)) == shipped


@pytest.mark.parametrize("name", study_names())
def test_every_table_of_a_page_stands_between_marks(name: str) -> None:
    (study,) = find_studies([name])
    lines = (study.folder / "README.md").read_text(encoding="utf-8").splitlines()
    marked = False
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert before.startswith("<!-- table: "), line
            marked = True
    assert marked
