"""A platform of the command line brings its operator profile: said wherever its numbers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from simulator import load_experiment, simulate
from simulator.config.software import CHANGED

TEXT = """\
config_version: 1
platform: v100_p3
model: {tables: 2, rows_per_table: 1000, dim: 8, lookups_per_table: 2, batch_size: 16,
        bottom_mlp: [4, 8], top_mlp: [8, 1]}
trace: {locality: medium}
systems: [hybrid]
run: {batches: 2, warmup_batches: 1}
"""
LINE = (
    f"{CHANGED}: h200 brings tuned operators, v100_p3 of the experiment paper: "
    "--set operators=paper changes the machine alone"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TEXT)
    return tmp_path


def words(text: str) -> str:
    """`text` with one space wherever a line may be broken."""
    return " ".join(text.split())


def test_a_run_says_it_before_and_after_in_tables_figures_and_the_page(
    folder: Path, scratchpipe: Any
) -> None:
    run = scratchpipe("run", "tiny.yaml", "--set", "platform=h200", "--out", "a", cwd=folder)
    assert f"note: {LINE}\n" in run.stderr
    shown = scratchpipe("results", "show", "a", cwd=folder)
    for text in (words(run.stdout), words(shown.stdout)):
        title = f"model of its own (2 tables of dim 8), operator profile tuned; {CHANGED}"
        assert text.startswith(f"tiny: platform h200, {title} iteration")
        assert LINE in text
    assert scratchpipe("report", "a", cwd=folder).returncode == 0
    page = (folder / "a" / "report.html").read_text(encoding="utf-8")
    assert f"<li>{LINE}</li>" in page
    assert scratchpipe("plot", "a", "--x", "system", cwd=folder).returncode == 0
    figure = (folder / "a" / "iteration_time_us.svg").read_text(encoding="utf-8")
    assert CHANGED in figure


@pytest.mark.parametrize("verb", ["whatif", "optimize"])
def test_other_verbs_say_it_before_they_begin(folder: Path, scratchpipe: Any, verb: str) -> None:
    more = {"whatif": ("--keys",), "optimize": ("--throughput", "1")}[verb]
    price = ("--set", "platform.price_usd_per_hour=1")
    ran = scratchpipe(verb, "tiny.yaml", "--set", "platform=h200", *price, *more, cwd=folder)
    assert (ran.returncode, CHANGED in ran.stderr) == (0, True)


def test_nothing_is_said_where_not_both_changed(folder: Path) -> None:
    file = folder / "tiny.yaml"
    for options in (
        [],
        ["platform=h200", "operators=paper"],
        ["operators=tuned"],
        ["platform=v100_p3,h200"],
        ["platform.host.pcie.part=pcie4_x16"],
        ["platform=ssd_v100"],
    ):
        assert load_experiment(file, options).origin.software == "", options


def test_keys_of_the_platforms_profile_change_with_it(folder: Path) -> None:
    options = ["platform=h200", "operators.gpu.submission=7 us"]
    assert load_experiment(folder / "tiny.yaml", options).origin.software == LINE


def test_python_says_it_too(folder: Path) -> None:
    result = simulate(load_experiment(folder / "tiny.yaml", ["platform=h200"]))
    assert result.software == LINE
    assert LINE in words(repr(result))
    assert any(CHANGED in text.get_text() for text in result.plot().findobj(Text))


def test_runs_of_two_platforms_are_paired_without_being_told_how(
    folder: Path, scratchpipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    scratchpipe("run", "tiny.yaml", "--out", "a", cwd=folder)
    scratchpipe("run", "tiny.yaml", "--out", "b", "--set", "platform=h200", cwd=folder)
    ran = scratchpipe("results", "compare", "a", "b", cwd=folder)
    assert ran.returncode == 3
    assert "only in" not in ran.stdout, "all points have a partner"
    assert "software differs as well as machines" in ran.stdout
    (line,) = [line for line in ran.stdout.splitlines() if "iteration_time_us" in line]
    assert "%" in line
    assert "A and B differ in platform, operators" in ran.stdout
    assert "paired by other columns: scratchpipe results compare a b --match" in ran.stderr
    told = json.loads(scratchpipe("results", "compare", "a", "b", "--json", cwd=folder).stdout)
    assert told["against"]["pairs"][0]["change"] < 0


def test_points_of_one_name_and_another_size_are_told_side_by_side(
    folder: Path, scratchpipe: Any
) -> None:
    scratchpipe("run", "tiny.yaml", "--out", "a", cwd=folder)
    scratchpipe("run", "tiny.yaml", "--out", "b", "--set", "model.dim=32", cwd=folder)
    ran = scratchpipe("results", "compare", "a", "b", cwd=folder)
    assert ran.returncode == 3
    assert "A and B differ in dim" in ran.stdout
    assert "only in" not in ran.stdout
    assert scratchpipe("results", "compare", "a", "a", cwd=folder).stdout == (
        "1 points agree exactly\n"
    )
