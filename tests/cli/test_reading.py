"""Sentences under the tables of a run: what its fastest point waits for, what would help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from quick_training import QUICK

from simulator.cli import main, reading

SMALL = {**QUICK, "name": "small", "platform": "v100_p3"}


def run(folder: Path, *words: str) -> None:
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--out", str(folder / "run"), *words])
    assert not ended.value.code


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith("held up by"))
    return lines[begin + 1 : lines.index("Files:")]


def test_the_fastest_point_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its critical path in any case; what faster parts change where that may take its time, and
    its replay is at hand."""
    monkeypatch.setattr(reading, "COST", 1e9)
    run(tmp_path)
    path, helped = told(capsys)
    run(tmp_path, "--no-resume", "--json")
    document = capsys.readouterr().out
    rows = json.loads(document)
    fastest = min(rows, key=lambda row: row["iteration_time_us"])
    assert path.startswith(f"critical path of {fastest['label']}, zipf-0.9 (")
    assert "twice as fast" in helped
    assert "critical path" not in document
    run(tmp_path)  # from the finished points
    assert told(capsys) == [path]


def test_no_time_is_no_variation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "COST", 0.0)
    run(tmp_path)
    (path,) = told(capsys)
    assert path.startswith("critical path of ")
