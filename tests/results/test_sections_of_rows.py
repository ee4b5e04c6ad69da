"""Rows of their own that a section of an experiment adds (a load stage, check-points): written
where it is there, read back, shown, compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import load_experiment
from simulator.engine.levers import levers_of
from simulator.errors import UsageError
from simulator.figures.page import render_report
from simulator.observe.refusals import require_trainable
from simulator.results.compare import compare
from simulator.results.reading import StoredRun, read_run
from simulator.results.tables import tables

BASE = """
config_version: 1
name: sections
platform: ssd_v100
model: {base: default, tables: 2, rows_per_table: 2000, batch_size: 64}
trace: {kind: uniform}
systems: [hybrid, straw_man]
cache: {fraction: 0.9}
run: {batches: 2, warmup_batches: 2}
"""


@dataclass(frozen=True)
class Section:
    """A section, and what its rows say."""

    name: str
    yaml: str
    """It and a sweep of two of its values, 1 and 2."""
    swept: str
    """The column that tells them apart."""
    rows: Callable[[StoredRun], list[dict[str, Any]]]
    labels: Callable[[StoredRun], Any]
    above_zero: str
    title: str
    """Of its table."""
    on_page: str
    other: str
    """An assignment that changes its rows, and the columns of them that differ."""
    differ: frozenset[str]


SECTIONS = (
    Section(
        "load",
        "load: {cores: 2, source_bandwidth: 1 GB/s}\nsweep: {load.cores: [1, 2]}\n",
        "workers",
        lambda run: run.loads(),
        lambda run: run.loads_to_pandas()["label"],
        "workers_needed",
        "Load stage, and the workers and bandwidth",
        "workers needed",
        "load.source_bandwidth=20 MB/s",
        frozenset({"load_us"}),
    ),
    Section(
        "checkpoint",
        "checkpoint: {kind: snapshot, to: ssd}\nsweep: {checkpoint.every: [1, 2]}\n",
        "every",
        lambda run: run.checkpoints(),
        lambda run: run.checkpoints_to_pandas()["label"],
        "written_bytes",
        "Check-points: bytes written beside training",
        "iteration without (ms)",
        "checkpoint.rows=all",
        frozenset({"written_bytes", "checkpoint_gb_per_day"}),
    ),
)
LOAD, CHECKPOINT = SECTIONS


def _main(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert not ended.value.code


@pytest.fixture(scope="module", params=SECTIONS, ids=lambda section: section.name)
def section(request: pytest.FixtureRequest) -> Section:
    own: Section = request.param
    return own


@pytest.fixture(scope="module")
def folder(section: Section, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with the section, with another one, and without any."""
    home = tmp_path_factory.mktemp("runs")
    (home / "x.yaml").write_text(BASE + section.yaml)
    (home / "plain.yaml").write_text(BASE)
    file = str(home / "x.yaml")
    _main("run", file, "--out", str(home / "with"))
    _main("run", file, "--set", section.other, "--out", str(home / "other"))
    _main("run", str(home / "plain.yaml"), "--out", str(home / "plain"))
    return home


@pytest.fixture(scope="module")
def stored(folder: Path) -> StoredRun:
    return read_run(folder / "with")


def test_they_stand_in_files_of_their_own_and_come_back(
    section: Section, folder: Path, stored: StoredRun
) -> None:
    assert (folder / "with" / f"{section.name}.csv").is_file()
    rows = section.rows(stored)
    assert [row[section.swept] for row in rows] == [1, 1, 2, 2]
    assert all(row[section.above_zero] > 0 for row in rows)
    assert list(section.labels(stored)) == ["hybrid", "straw_man"] * 2


def test_a_run_without_it_has_no_such_file_and_no_such_key(section: Section, folder: Path) -> None:
    run, name = folder / "plain", section.name
    assert not (run / f"{name}.csv").exists()
    assert not (run / f"{name}.parquet").exists()
    manifest = json.loads((run / "manifest.json").read_text())
    assert name not in manifest["experiment"]
    assert all(name not in point for point in manifest["points"])
    assert section.rows(read_run(run)) == []


def test_a_second_run_without_it_removes_what_the_first_left(
    section: Section, folder: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    _main("run", str(folder / "x.yaml"), "--out", out)
    assert (tmp_path / "run" / f"{section.name}.parquet").exists()
    _main("run", str(folder / "plain.yaml"), "--out", out, "--replace")
    assert not (tmp_path / "run" / f"{section.name}.parquet").exists()


def test_tables_report_and_json_show_them(
    section: Section, folder: Path, stored: StoredRun, capsys: pytest.CaptureFixture[str]
) -> None:
    text = StringIO()
    Console(file=text, width=120).print(*tables(stored, 120))
    assert section.title in text.getvalue()
    page, mark = render_report(stored), f'id="{section.name}"'
    assert mark in page
    assert section.on_page in page
    assert mark not in render_report(read_run(folder / "plain"))
    capsys.readouterr()
    _main("results", "show", str(folder / "with"), "--json")
    points: list[Mapping[str, Any]] = json.loads(capsys.readouterr().out)
    assert [point[section.name][section.swept] for point in points] == [1, 1, 2, 2]


def test_a_difference_of_them_is_one_of_the_runs(
    section: Section, folder: Path, stored: StoredRun
) -> None:
    assert compare(stored, stored).within
    other = compare(stored, read_run(folder / "other"))
    assert section.differ <= {d.column for d in other.differences}


def test_finished_points_keep_them(section: Section, folder: Path, tmp_path: Path) -> None:
    out, file = str(tmp_path / "run"), tmp_path / "run" / f"{section.name}.csv"
    _main("run", str(folder / "x.yaml"), "--out", out)
    first = file.read_bytes()
    _main("run", str(folder / "x.yaml"), "--out", out)
    assert file.read_bytes() == first


def test_damaged_ones_are_refused(section: Section, folder: Path, tmp_path: Path) -> None:
    run, name = tmp_path / "run", f"{section.name}.parquet"
    shutil.copytree(folder / "with", run)
    shutil.copy(folder / "with" / "stages.parquet", run / name)
    with pytest.raises(UsageError, match=rf"{section.name}\.parquet is without"):
        read_run(run)


# check-points alone


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An experiment with check-points."""
    (tmp_path / "x.yaml").write_text(BASE + CHECKPOINT.yaml)
    return tmp_path / "x.yaml"


def test_the_drive_of_check_points_is_what_limits_a_run_that_waits_for_it(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "platform.host.ssd.write_bandwidth=20 MB/s"
    one = ("--set", "systems=hybrid", "--set", "checkpoint.every=1", "--set", slow)
    _main("whatif", str(written), *one)
    assert "ssd" in capsys.readouterr().out
    (point,) = expand(load_experiment(written, (*one[1::2],)))
    assert "ssd" in {lever.name for lever in levers_of(point)}


def test_observe_refuses_check_points(written: Path) -> None:
    point = expand(load_experiment(written))[0]
    with pytest.raises(UsageError, match="leave out checkpoint"):
        require_trainable(point, "cpu")
