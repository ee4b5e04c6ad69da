"""The row of check-points: written where there are some, read back, shown, compared."""

from __future__ import annotations

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import load_experiment
from simulator.engine.levers import levers_of
from simulator.errors import UsageError
from simulator.figures.page import render_report
from simulator.observe.run import _check
from simulator.results.compare import compare
from simulator.results.reading import StoredRun, read_run
from simulator.results.tables import tables

EXPERIMENT = """
config_version: 1
name: written
platform: ssd_v100
model: {base: default, tables: 2, rows_per_table: 2000, batch_size: 64}
trace: {kind: uniform}
systems: [hybrid, straw_man]
cache: {fraction: 0.9}
run: {batches: 2, warmup_batches: 2}
checkpoint: {kind: snapshot, to: ssd}
sweep:
  checkpoint.every: [1, 2]
"""
SLOW = ("--set", "platform.host.ssd.write_bandwidth=20 MB/s")


def _main(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with check-points of changed rows, of all rows, and without any."""
    home = tmp_path_factory.mktemp("runs")
    (home / "x.yaml").write_text(EXPERIMENT)
    file = str(home / "x.yaml")
    _main("run", file, "--out", str(home / "written"))
    _main("run", file, "--set", "checkpoint.rows=all", "--out", str(home / "whole"))
    (home / "plain.yaml").write_text(EXPERIMENT.partition("checkpoint:")[0])
    _main("run", str(home / "plain.yaml"), "--out", str(home / "plain"))
    return home


@pytest.fixture(scope="module")
def written(folder: Path) -> StoredRun:
    return read_run(folder / "written")


def test_it_stands_in_files_of_its_own_and_comes_back(folder: Path, written: StoredRun) -> None:
    assert (folder / "written" / "checkpoint.csv").is_file()
    rows = written.checkpoints()
    assert [row["every"] for row in rows] == [1, 1, 2, 2]
    assert all(row["written_bytes"] > 0 for row in rows)
    assert list(written.checkpoints_to_pandas()["label"]) == ["hybrid", "straw_man"] * 2


def test_a_run_without_any_has_no_such_file_and_no_such_key(folder: Path) -> None:
    run = folder / "plain"
    assert not (run / "checkpoint.csv").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    assert "checkpoint" not in manifest["experiment"]
    assert all("checkpoint" not in point for point in manifest["points"])
    assert read_run(run).checkpoints() == []


def test_a_second_run_without_any_removes_what_the_first_left(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    _main("run", str(folder / "x.yaml"), "--out", out)
    _main("run", str(folder / "plain.yaml"), "--out", out, "--replace")
    assert not (tmp_path / "run" / "checkpoint.parquet").exists()


def test_tables_report_and_json_show_it(
    folder: Path, written: StoredRun, capsys: pytest.CaptureFixture[str]
) -> None:
    text = StringIO()
    Console(file=text, width=120).print(*tables(written, 120))
    assert "Check-points: bytes written beside training" in text.getvalue()
    page = render_report(written)
    assert 'id="checkpoint"' in page
    assert "iteration without (ms)" in page
    assert 'id="checkpoint"' not in render_report(read_run(folder / "plain"))
    capsys.readouterr()
    _main("results", "show", str(folder / "written"), "--json")
    points = json.loads(capsys.readouterr().out)
    assert [point["checkpoint"]["every"] for point in points] == [1, 1, 2, 2]


def test_a_difference_of_it_is_one_of_the_runs(folder: Path, written: StoredRun) -> None:
    assert compare(written, written).within
    whole = compare(written, read_run(folder / "whole"))
    assert {"written_bytes", "checkpoint_gb_per_day"} <= {d.column for d in whole.differences}


def test_finished_points_keep_it(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    _main("run", str(folder / "x.yaml"), "--out", out)
    first = (tmp_path / "run" / "checkpoint.csv").read_bytes()
    _main("run", str(folder / "x.yaml"), "--out", out)
    assert (tmp_path / "run" / "checkpoint.csv").read_bytes() == first


def test_a_damaged_one_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "written", tmp_path / "run")
    shutil.copy(folder / "written" / "stages.parquet", tmp_path / "run" / "checkpoint.parquet")
    with pytest.raises(UsageError, match=r"checkpoint\.parquet is without"):
        read_run(tmp_path / "run")


def test_its_drive_is_what_limits_a_run_that_waits_for_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    one = ("--set", "systems=hybrid", "--set", "checkpoint.every=1", *SLOW)
    _main("whatif", str(folder / "x.yaml"), *one)
    printed = capsys.readouterr().out
    assert "ssd" in printed
    (point,) = expand(load_experiment(folder / "x.yaml", (*one[1::2],)))
    assert "ssd" in {lever.name for lever in levers_of(point)}


def test_observe_refuses_it(folder: Path) -> None:
    point = expand(load_experiment(folder / "x.yaml"))[0]
    with pytest.raises(UsageError, match="leave out checkpoint"):
        _check(point, "cpu")
