"""The README says what the data says: its table is made of `experiments/validation/trust.csv`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from simulator.errors import UsageError
from simulator.studies.readme import with_tables
from simulator.validation.guard import read_guards
from simulator.validation.page import PAGE
from simulator.validation.summary import Row, read_summary, summary_text, with_rows
from simulator.validation.trust_table import trust_table

ROOT = Path(__file__).parents[2]
TRUTH = ROOT / "experiments" / "validation"
ROW = Row(
    "whole iterations", "m", "p, o", "files", 3, 0.0721, -0.28, -0.064, 0.016, None, None, "page.md"
)


def test_the_readme_is_what_the_summary_says() -> None:
    """Else run: python -m benchmarks.trust --readme"""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == with_tables(text, {"trust": trust_table(read_summary(TRUTH / "trust.csv"))})


def test_the_summary_says_what_the_page_of_each_machine_says() -> None:
    """The row of a kind stands on the page that it names, to the last digit that is shown."""
    rows = [row for row in read_summary(TRUTH / "trust.csv") if row.page.endswith(PAGE)]
    assert {row.machine for row in rows} == {folder.name for folder in (TRUTH / "page").iterdir()}
    for row in rows:
        page = (ROOT / row.page).read_text(encoding="utf-8")
        start = f"| {row.kind} | {row.n} | "
        (line,) = (line for line in page.splitlines() if line.startswith(start))
        cells = line.removeprefix(start).split(" | ")[:3]
        if row.agree is not None:
            assert cells[0] == f"{row.agree} agree"
            continue
        shown = [float(cell.rstrip("%")) / 100 for cell in cells]
        assert shown == pytest.approx([row.median, row.worst, row.bias], abs=6e-4)


def test_experiments_of_a_machine_add_up_to_its_iterations() -> None:
    rows = [row for row in read_summary(TRUTH / "trust.csv") if row.page.endswith(PAGE)]
    for whole in (row for row in rows if row.kind == "whole iterations"):
        of_page = [row for row in rows if row.page == whole.page]
        by_system = [row.n for row in of_page if row.kind.startswith("iterations of ")]
        by_experiment = [row.n for row in of_page if row.kind.startswith("iterations in ")]
        assert sum(by_system) == whole.n
        assert not by_experiment or sum(by_experiment) == whole.n


def test_the_guard_says_what_the_summary_says() -> None:
    guards = read_guards(TRUTH / "guard.yaml")
    rows = {
        row.machine: row
        for row in read_summary(TRUTH / "trust.csv")
        if row.kind == "whole iterations"
    }
    assert guards.keys() == rows.keys()
    for machine, guard in guards.items():
        assert guard.iterations is not None
        numbers = (guard.iterations.n, guard.iterations.median, guard.iterations.worst)
        row = rows[machine]
        assert row.worst is not None
        assert numbers == pytest.approx((row.n, row.median, abs(row.worst)), abs=2e-4)


def test_no_row_of_the_summary_predicts_what_it_was_fitted_to() -> None:
    for row in read_summary(TRUTH / "trust.csv"):
        assert row.fitted_on, row
        if row.kind.startswith("held out"):
            assert row.fitted_on.startswith("every other point"), row


def test_biases_of_systems_are_a_range_in_the_row_of_all() -> None:
    systems = [
        replace(ROW, kind=f"iterations of {name}", bias=bias)
        for name, bias in (("a", -0.0860), ("b", -0.0005))
    ]
    (cells,) = trust_table([ROW, *systems]).to_dict("records")
    assert cells["bias"] == "-6.4 % (systems -8.6 % to -0.05 %)"
    assert cells["spread of repeats / sessions"] == "1.6 % / -"
    assert cells["median"] == "7.2 %"


def test_orders_agree_or_do_not() -> None:
    order = replace(ROW, kind="order of systems", median=None, worst=None, bias=None, agree=2)
    (cells,) = trust_table([order]).to_dict("records")
    assert (cells["n"], cells["median"], cells["bias"]) == ("3", "2 agree", "-")


def test_rows_go_to_a_file_and_back(tmp_path: Path) -> None:
    file = tmp_path / "trust.csv"
    assert read_summary(file) == []
    other = replace(ROW, page="another.md", sessions=0.05, agree=4)
    file.write_text(summary_text([ROW, other]))
    assert read_summary(file) == [ROW, other]
    renewed = replace(ROW, kind="stages")
    assert with_rows([ROW, other], [renewed]) == [other, renewed], "all rows of the page are new"


@pytest.mark.parametrize(
    ("text", "words"),
    [("kind,n\n", "no summary"), (summary_text([ROW]).replace(",3,", ",x,"), "csv:2: invalid")],
)
def test_another_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "trust.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_summary(tmp_path / "trust.csv")


def test_a_machine_stands_in_the_table_once_wherever_its_page_was_written() -> None:
    shipped = replace(ROW, page="experiments/page/m/validation.md")
    micro = replace(ROW, kind="held out", page="experiments/m_micro/residuals.csv")
    other = replace(ROW, machine="n", page="experiments/page/n/validation.md")
    anew = replace(ROW, median=0.5, page="elsewhere/m/validation.md")
    assert with_rows([shipped, micro, other], [anew]) == [anew, micro, other]
