"""A damaged run directory is one clear error, whichever verb reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.cli import main

TEXT = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 1000, batch_size: 16, lookups_per_table: 2}
trace: {locality: medium}
systems: [hybrid, scratchpipe]
cache: {fraction: 0.5}
run: {batches: 3, warmup_batches: 2}
"""

VERBS: dict[str, Callable[[Path, Path], list[str]]] = {
    "show": lambda run, whole: ["results", "show", str(run)],
    "show --json": lambda run, whole: ["results", "show", str(run), "--json"],
    "compare first": lambda run, whole: ["results", "compare", str(run), str(whole)],
    "compare second": lambda run, whole: ["results", "compare", str(whole), str(run)],
    "report": lambda run, whole: ["report", str(run)],
    "timeline": lambda run, whole: ["timeline", str(run)],
}


def _code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(TEXT)
    assert _code("run", str(folder / "tiny.yaml"), "--out", str(folder / "run")) == 0
    return folder / "run"


def _table(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        pq.write_table(change(pq.read_table(run / f"{name}.parquet")), run / f"{name}.parquet")

    return damage


def _renamed(name: str, column: str) -> Callable[[Path], None]:
    def change(table: pa.Table) -> pa.Table:
        return table.rename_columns([f"x_{c}" if c == column else c for c in table.column_names])

    return _table(name, change)


def _filled(name: str, column: str, value: Any) -> Callable[[Path], None]:
    """The first row of `column` is `value`."""

    def change(table: pa.Table) -> pa.Table:
        values = [value, *table.column(column).to_pylist()[1:]]
        position = table.column_names.index(column)
        array = pa.array(values, type=table.field(column).type)
        return table.set_column(position, table.field(column), array)

    return _table(name, change)


def _manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        data = json.loads((run / "manifest.json").read_text())
        change(data)
        (run / "manifest.json").write_text(json.dumps(data))

    return damage


def _rename_key(data: dict[str, Any]) -> None:
    data["sektions"] = data.pop("sections")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a table is missing": (lambda run: (run / "stages.parquet").unlink(), "stages.parquet is miss"),
    "devices are missing": (lambda run: (run / "devices.parquet").unlink(), "devices.parquet is "),
    "no table at all": (lambda run: _zero(run / "metrics.parquet"), ""),
    "a column is missing": (
        _table("metrics", lambda table: table.drop_columns(["energy_mj"])),
        "metrics.parquet is without energy_mj",
    ),
    "a column is renamed": (
        _renamed("stages", "busy_us"),
        "stages.parquet is without busy_us and with x_busy_us",
    ),
    "a column is foreign": (
        _table("devices", lambda table: table.append_column("mood", table.column("kind"))),
        "devices.parquet is with mood",
    ),
    "a column of another type": (
        _table(
            "metrics",
            lambda table: table.set_column(
                table.column_names.index("seed"), "seed", pa.array(["x"] * table.num_rows)
            ),
        ),
        "metrics.parquet: seed is string, not int64",
    ),
    "infinity": (
        _filled("metrics", "iteration_time_us", float("inf")),
        "iteration_time_us holds a value that is no finite number",
    ),
    "not a number": (
        _filled("devices", "utilization", float("nan")),
        "utilization holds a value that is no finite number",
    ),
    "a foreign kind": (_filled("devices", "kind", "gears"), "kind holds 'gears'"),
    "a row without its name": (_filled("stages", "stage", None), "has rows without stage"),
    "a row of no point": (_filled("devices", "point", "beef"), "devices.parquet has rows of a"),
    "a stage nobody knows": (_filled("timeline", "stage", "tea"), "timeline.parquet has rows of a"),
    "another point": (_filled("metrics", "point", "beef"), "point 0 of manifest.json is not that"),
    "fewer rows": (
        _table("metrics", lambda table: table.slice(1)),
        "2 points in manifest.json, 1 ",
    ),
    "a renamed column of the timeline": (_renamed("timeline", "end_ps"), "without end_ps"),
    "no JSON": (lambda run: _zero(run / "manifest.json"), ""),
    "a list": (lambda run: _overwrite(run / "manifest.json", "[]"), "the manifest is no JSON obj"),
    "a missing key": (_manifest(lambda data: data.pop("points")), "the manifest is without points"),
    "a renamed key": (_manifest(_rename_key), "is without sections and with sektions"),
    "a foreign key": (_manifest(lambda data: data.update(mood=1)), "the manifest is with mood"),
    "a key of another type": (_manifest(lambda data: data.update(points={})), "points in the mani"),
    "infinity in the manifest": (
        _manifest(lambda data: data["durations"].update(wall_s=float("inf"))),
        "manifest.json holds Infinity",
    ),
    "a stage that ends before it begins": (
        _filled("timeline", "end_ps", -1),
        "timeline.parquet: a stage ends before it begins",
    ),
    "a mini-batch far away": (
        _filled("timeline", "batch", 2**62),
        "timeline.parquet: mini-batches are missing",
    ),
    "a folder in place of a file": (lambda run: _folder(run / "metrics.parquet"), "is missing"),
    "a link to nothing": (lambda run: _link(run / "stages.parquet"), "stages.parquet is missing"),
    "half a table": (lambda run: _half(run / "devices.parquet"), ""),
    "half a manifest": (lambda run: _half(run / "manifest.json"), ""),
    "lost failures": (_manifest(lambda data: data.update(failed=1)), "1 points failed"),
}


def _zero(file: Path) -> None:
    file.write_bytes(b"")


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def _half(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _overwrite(file: Path, text: str) -> None:
    file.write_text(text)


@pytest.fixture
def damaged(whole: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    damage, words = DAMAGE[request.param]
    shutil.copytree(whole, tmp_path / "run")
    damage(tmp_path / "run")
    return tmp_path / "run", words


@pytest.mark.parametrize("damaged", list(DAMAGE), indirect=True)
def test_every_verb_says_what_is_wrong(
    damaged: tuple[Path, str], whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, words = damaged
    for name, arguments in VERBS.items():
        assert _code(*arguments(run, whole)) == 2, name
        captured = capsys.readouterr()
        assert captured.out == "", name
        (line,) = captured.err.splitlines()
        assert line.startswith(f"error: {run} is damaged: "), name
        assert line.endswith("; run the experiment again"), name
        assert words in line, name
    assert not {"report.html", "timeline.json"} & {file.name for file in run.iterdir()}


def test_a_run_of_an_older_version_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Format 1 had its resources in columns of the metrics and no devices.parquet."""
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "devices.parquet").unlink()
    _manifest(lambda data: data.update(format=1))(run)
    for arguments in VERBS.values():
        assert _code(*arguments(run, whole)) == 2
        words = "was written by another version of scratchpipe (format 1, this one reads 6)"
        assert words in capsys.readouterr().err


def test_what_is_whole_is_read_by_every_verb(whole: Path, tmp_path: Path) -> None:
    run = shutil.copytree(whole, tmp_path / "run")
    for name, arguments in VERBS.items():
        assert _code(*arguments(run, whole)) == 0, name
