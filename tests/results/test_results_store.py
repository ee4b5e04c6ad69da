"""The run directory: whole or not at all, and the same bytes for the same results."""

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.errors import OutputError
from simulator.results import store
from simulator.results.dictionary import DEVICES, METRICS, STAGES
from simulator.results.manifest import manifest_of
from simulator.results.record import PointResult, Result
from simulator.results.spans import Spans, StageSpan
from simulator.results.store import check_target, write_run

EXPERIMENT = parse_experiment(
    {
        "config_version": 1,
        "name": "tiny",
        "platform": "v100_p3",
        "model": "default",
        "trace": {"locality": "medium"},
        "systems": ["hybrid", "scratchpipe"],
    },
    ["run.seed=5"],
)


def result(time_us=0.1 + 0.2, wall_s=1.0, timeline=None):
    outcomes = []
    for point in expand(EXPERIMENT):
        metrics = {
            "point": point.key(),
            "system": point.system.name,
            "label": point.system.label,
            "iteration_time_us": time_us,
            "cache_grown": False,
            "wall_s": wall_s,
        }
        stages = [{"stage": "train", "order": 0, "busy_us": 2.5}]
        devices = [{"resource": "cpu.dram", "kind": "dram", "bytes": 0.1 + 0.2}]
        outcomes.append(PointResult(point, metrics, stages, devices, timeline or Spans(), "abc"))
    return Result("tiny", tuple(outcomes))


def manifest(of=None):
    return manifest_of(EXPERIMENT, of or result(), 1.5, ["run.seed=5"])


def snapshot(folder: Path):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_a_run_directory_holds(tmp_path):
    files = write_run(result(), manifest(), tmp_path / "run")
    names = ["manifest.json", "metrics.parquet", "metrics.csv", "stages.parquet"]
    names += ["devices.parquet", "devices.csv"]
    assert [file.name for file in files] == names
    assert sorted(os.listdir(tmp_path)) == ["run"]
    kept = [column.name for column in METRICS if column.deterministic]
    table = pq.read_table(tmp_path / "run" / "metrics.parquet")
    assert table.column_names == kept
    assert table.schema.field("iteration_time_us").metadata[b"unit"] == b"us"
    assert table.column("system").to_pylist() == ["hybrid", "scratchpipe"]
    stages = pq.read_table(tmp_path / "run" / "stages.parquet")
    assert stages.column_names == [column.name for column in STAGES]
    devices = pq.read_table(tmp_path / "run" / "devices.parquet")
    assert devices.column_names == [column.name for column in DEVICES]
    assert devices.schema.field("bytes").metadata[b"unit"] == b"bytes/batch"
    with (tmp_path / "run" / "devices.csv").open(newline="") as stream:
        assert [float(row["bytes"]) for row in csv.DictReader(stream)] == [0.1 + 0.2] * 2
    with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == kept
    assert float(rows[0]["iteration_time_us"]) == 0.1 + 0.2
    assert (rows[0]["cache_grown"], rows[0]["cache_rows"]) == ("false", "")


def test_a_timeline_is_written_where_there_is_one(tmp_path):
    write_run(result(timeline=Spans([StageSpan("plan", 3, 10, 20)])), manifest(), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "timeline.parquet")
    assert table.num_rows == 2
    assert table.to_pylist()[0]["end_ps"] == 20


def test_the_manifest_says_what_is_needed_to_repeat_the_run(tmp_path):
    write_run(result(), manifest(), tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert stored["name"] == "tiny"
    assert stored["seeds"] == [5]
    assert stored["overrides"] == ["run.seed=5"]
    assert {"python", "numpy", "scratchpipe-sim"} <= set(stored["versions"])
    assert [point["trace_hash"] for point in stored["points"]] == ["abc", "abc"]
    assert stored["durations"]["wall_s"] == 1.5
    for point in stored["points"]:
        for section in ("platform", "model", "trace", "operators", "run"):
            assert point[section] in stored["sections"]
    assert stored["sections"][stored["points"][0]["model"]]["dim"] == 128
    assert len(stored["config_hash"]) == 64


def test_equal_results_give_equal_bytes_whatever_they_took(tmp_path):
    write_run(result(wall_s=1.0), manifest(), tmp_path / "a")
    write_run(result(wall_s=9.0), manifest(result(wall_s=9.0)), tmp_path / "b")
    one, other = snapshot(tmp_path / "a"), snapshot(tmp_path / "b")
    del one["manifest.json"], other["manifest.json"]
    assert one == other


def test_a_run_directory_is_replaced_as_a_whole(tmp_path):
    write_run(result(timeline=Spans([StageSpan("plan", 0, 0, 1)])), manifest(), tmp_path / "run")
    write_run(result(time_us=7.0), manifest(), tmp_path / "run")
    assert not (tmp_path / "run" / "timeline.parquet").exists()
    assert "7.0" in (tmp_path / "run" / "metrics.csv").read_text()
    assert os.listdir(tmp_path) == ["run"]


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    write_run(result(), manifest(), tmp_path / "empty")
    write_run(result(), manifest(), tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c" / "manifest.json").is_file()


@pytest.mark.parametrize("function", [check_target, lambda out: write_run(result(), {}, out)])
def test_what_is_not_a_run_directory_is_never_replaced(tmp_path, function):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not a run directory: choose another --out"):
        function(folder)
    assert (folder / "chapter.txt").read_text() == "years of work"
    with pytest.raises(OutputError, match="is not a folder"):
        function(folder / "chapter.txt")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        function(folder / "chapter.txt" / "run")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_failing_disk_leaves_what_was_there(tmp_path, monkeypatch, number, words, existing):
    if existing:
        write_run(result(), manifest(), tmp_path / "run")
    before = {p.name: snapshot(p) for p in tmp_path.iterdir()}
    real = store.write_synced

    def fail(file, data):
        if file.name == "metrics.csv":
            raise OSError(number, os.strerror(number))
        real(file, data)

    monkeypatch.setattr(store, "write_synced", fail)
    with pytest.raises(OutputError, match=words) as caught:
        write_run(result(time_us=7.0), manifest(), tmp_path / "run")
    assert caught.value.exit_code == 1
    assert {p.name: snapshot(p) for p in tmp_path.iterdir()} == before


def test_a_failing_rename_leaves_a_directory_that_says_it_is_unfinished(tmp_path, monkeypatch):
    write_run(result(), manifest(), tmp_path / "run")
    real = Path.replace

    def fail(self, target):
        if self.name == "stages.parquet":
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError):
        write_run(result(time_us=7.0), manifest(), tmp_path / "run")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["run"]
    assert (tmp_path / "run" / "unfinished.json").is_file()
    assert not (tmp_path / "run" / "manifest.json").exists()
    write_run(result(time_us=7.0), manifest(), tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").is_file()
    assert not (tmp_path / "run" / "unfinished.json").exists()


def test_what_others_put_into_a_run_directory_stays(tmp_path):
    write_run(result(), manifest(), tmp_path / "run")
    (tmp_path / "run" / "points").mkdir()
    (tmp_path / "run" / "points" / "a.json").write_text("kept")
    write_run(result(time_us=7.0), manifest(), tmp_path / "run")
    assert (tmp_path / "run" / "points" / "a.json").read_text() == "kept"


def test_a_kill_before_the_rename_leaves_no_run_directory(tmp_path):
    """The process dies with everything written aside and nothing renamed."""
    code = (
        "import os, sys; sys.path.insert(0, 'tests/results'); from pathlib import Path;"
        "from simulator.results import store; import test_results_store as t;"
        "Path.rename = lambda aside, out: os._exit(9);"
        f"store.write_run(t.result(), t.manifest(), Path({str(tmp_path)!r}) / 'run')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 9
    assert not (tmp_path / "run").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".run.")
    assert left.suffix == ".part"
    write_run(result(), manifest(), tmp_path / "run")
    assert (tmp_path / "run" / "manifest.json").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_disk_that_is_really_full(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(OutputError, match="the disk is full"):
            write_run(result(), manifest(), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission denied"):
        check_target(tmp_path / "run")


def test_checking_the_target_leaves_nothing(tmp_path):
    check_target(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
