"""The row of a load stage: written where there is one, read back, shown, compared."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from simulator.cli import main
from simulator.figures.page import render_report
from simulator.results.compare import compare
from simulator.results.reading import StoredRun, read_run

EXPERIMENT = """
config_version: 1
name: loaded
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 2000, batch_size: 64}
trace: {kind: uniform}
systems: [hybrid, straw_man]
cache: {fraction: 0.9}
run: {batches: 2, warmup_batches: 2}
load: {cores: 2, source_bandwidth: 1 GB/s}
sweep:
  load.cores: [1, 2]
"""


def _main(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with and without a load stage, and with a slower one."""
    home = tmp_path_factory.mktemp("runs")
    (home / "x.yaml").write_text(EXPERIMENT)
    file = str(home / "x.yaml")
    _main("run", file, "--out", str(home / "loaded"))
    slow = ("--set", "load.source_bandwidth=20 MB/s")
    _main("run", file, *slow, "--out", str(home / "slow"))
    (home / "plain.yaml").write_text(EXPERIMENT.partition("load:")[0])
    _main("run", str(home / "plain.yaml"), "--out", str(home / "plain"))
    return home


@pytest.fixture(scope="module")
def loaded(folder: Path) -> StoredRun:
    return read_run(folder / "loaded")


def test_it_stands_in_files_of_its_own_and_comes_back(folder: Path, loaded: StoredRun) -> None:
    assert (folder / "loaded" / "load.csv").is_file()
    rows = loaded.loads()
    assert [row["workers"] for row in rows] == [1, 1, 2, 2]
    assert all(row["workers_needed"] >= 1 for row in rows)
    assert list(loaded.loads_to_pandas()["label"]) == ["hybrid", "straw_man"] * 2


def test_a_run_without_one_has_no_such_file_and_no_such_key(folder: Path) -> None:
    run = folder / "plain"
    assert not (run / "load.csv").exists()
    assert not (run / "load.parquet").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    assert "load" not in manifest["experiment"]
    assert all("load" not in point for point in manifest["points"])
    assert read_run(run).loads() == []


def test_a_second_run_without_one_removes_what_the_first_left(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    _main("run", str(folder / "x.yaml"), "--out", out)
    _main("run", str(folder / "plain.yaml"), "--out", out, "--replace")
    assert not (tmp_path / "run" / "load.parquet").exists()


def test_tables_report_and_json_show_it(
    folder: Path, loaded: StoredRun, capsys: pytest.CaptureFixture[str]
) -> None:
    from simulator.results.tables import tables

    text = StringIO()
    Console(file=text, width=120).print(*tables(loaded, 120))
    assert "Load stage, and the workers and bandwidth" in text.getvalue()
    page = render_report(loaded)
    assert 'id="load"' in page
    assert "workers needed" in page
    assert "Preprocess" in page or "preprocess" in page
    assert 'id="load"' not in render_report(read_run(folder / "plain"))
    capsys.readouterr()
    _main("results", "show", str(folder / "loaded"), "--json")
    points = json.loads(capsys.readouterr().out)
    assert [point["load"]["workers"] for point in points] == [1, 1, 2, 2]


def test_a_difference_of_it_is_one_of_the_runs(folder: Path, loaded: StoredRun) -> None:
    assert compare(loaded, loaded).within
    slow = compare(loaded, read_run(folder / "slow"))
    assert {"load_us", "training_busy"} & {d.column for d in slow.differences}


def test_finished_points_keep_it(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    _main("run", str(folder / "x.yaml"), "--out", out)
    first = (tmp_path / "run" / "load.csv").read_bytes()
    _main("run", str(folder / "x.yaml"), "--out", out)
    assert (tmp_path / "run" / "load.csv").read_bytes() == first


def test_a_damaged_one_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    from simulator.errors import UsageError

    shutil.copytree(folder / "loaded", tmp_path / "run")
    shutil.copy(folder / "loaded" / "stages.parquet", tmp_path / "run" / "load.parquet")
    with pytest.raises(UsageError, match=r"load\.parquet is without"):
        read_run(tmp_path / "run")
