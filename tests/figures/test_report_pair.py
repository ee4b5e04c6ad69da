"""`scratchpipe report A B`: one page of two runs."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, MISSING, Browser

from simulator.cli import main
from simulator.engine import parse_experiment
from simulator.errors import UsageError
from simulator.figures.page import render_report
from simulator.results.reading import read_run
from simulator.sweep.run_directory import run_experiment

DATA: dict[str, Any] = {
    "config_version": 1,
    "name": "pair",
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 4000, "tables": 2, "batch_size": 32},
    "trace": {"locality": "medium"},
    "systems": ["hybrid", "scratchpipe"],
    "cache": {"fraction": 0.9, "prefill": "hot"},
    "run": {"batches": 3, "warmup_batches": 2},
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs that differ in their platform, and so in their operator profile."""
    folder = tmp_path_factory.mktemp("pair")
    for name, platform in (("a", "v100_p3"), ("b", "h200")):
        run_experiment(parse_experiment(DATA | {"platform": platform}), folder / name)
    return folder / "a", folder / "b"


def test_points_are_paired_and_the_software_is_told(pair: tuple[Path, Path]) -> None:
    runs = [read_run(folder) for folder in pair]
    page = unescape(render_report(*runs))
    table = page[page.index('<section id="against"') : page.index('<section id="bars"')]
    assert "Paired by label, system, locality, sweep, policy, model." in table
    assert "A and B differ in platform, operators." in table
    ours, theirs = (run.metrics()[0]["iteration_time_us"] for run in runs)
    assert f"<td>{theirs / ours - 1:+.1%}</td>" in table
    assert "software differs as well as machines: v100_p3 with paper operators" in page
    assert unescape(render_report(*runs, match=["system"])).count("Paired by system.") == 1
    with pytest.raises(UsageError, match="--match colour"):
        render_report(*runs, match=["colour"])


def test_the_table_of_a_run_says_it_too(pair: tuple[Path, Path], tmp_path: Path) -> None:
    from simulator.results.tables import tables

    systems = [
        {"name": "hybrid", "label": "old"},
        {"name": "hybrid", "label": "new", "platform": "h200"},
    ]
    run_experiment(parse_experiment(DATA | {"systems": systems}), tmp_path / "run")
    first = next(tables(read_run(tmp_path / "run"), 120))
    assert not isinstance(first, str)
    assert str(first.title).endswith("; software differs as well as machines")
    assert "software differs as well as machines: v100_p3 with" in str(first.caption)


def test_runs_that_cannot_be_paired_stand_side_by_side_all_the_same(pair: Any) -> None:
    run = read_run(pair[0])
    rows = json.loads(
        re.findall(r'id="data">(.*?)</script>', render_report(run, run), re.DOTALL)[0]
    )
    assert [dim["key"] for dim in rows["dims"]][:2] == ["run", "label"]
    assert rows["dims"][0]["values"] == ["A", "A", "B", "B"]


def test_one_run_has_nothing_to_match(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(pair[0]), "--match", "system"])
    assert ended.value.code == 2
    assert "give a second RUN_DIR" in capsys.readouterr().err


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_both_runs_stand_in_every_chart(pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "pair.html"
    page.write_text(render_report(*map(read_run, pair)), encoding="utf-8")
    with Browser(tmp_path) as browser:
        browser.open(page, 375)
        text = browser.run("document.querySelector('#bars-chart svg').textContent")
        assert "Hybrid CPU-GPU (A)" in text
        names = browser.run(
            "echarts.getInstanceByDom(document.getElementById('bars-chart')).getOption().series"
            ".map(s => s.name)"
        )
        assert names == [
            f"{system} ({run})" for run in "AB" for system in ("Hybrid CPU-GPU", "ScratchPipe")
        ]
        browser.click("input[data-dim=run][value=B]")
        assert browser.run("document.querySelectorAll('#points-table tbody tr').length") == 2
        assert browser.log == []
