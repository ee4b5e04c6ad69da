"""Signs of life of verbs that take long."""

from __future__ import annotations

import time

import pytest

from simulator.cli import beat
from simulator.cli.beat import Beat, at, at_point, beating, clock, quiet
from simulator.results.record import Progress


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(beat.SWITCH, raising=False)


def test_a_line_says_what_how_far_and_how_long() -> None:
    lines: list[str] = []
    beat = Beat("replay", lines.append)
    assert beat.line(75) == "replay: 0:01:15 so far"
    beat.at("point 2/4", 0.25)
    assert beat.line(30) == "replay: point 2/4, 25%, 0:00:30 so far, 0:01:30 left"
    beat.at("1,000 lookups")
    assert beat.line(3) == "replay: 1,000 lookups, 0:00:03 so far"
    assert clock(3_725) == "1:02:05"


def test_lines_come_late_and_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beat, "FIRST_S", 0.05)
    with beating("optimize"):
        at_point(Progress(1, 4, 0.5, "hybrid"))
        time.sleep(0.8)
    said = capsys.readouterr().err.splitlines()
    assert 2 <= len(said) <= 7
    assert said[0].startswith("optimize: point 2/4, hybrid, 38%, 0:00:00 so far, 0:00:00 left")
    at("nobody listens")
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_short_verb_says_nothing_nor_one_that_shows_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with beating("list"):
        pass
    monkeypatch.setattr(beat, "FIRST_S", 0.02)
    with beating("run"), quiet():
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_lines_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(beat, "FIRST_S", 0.02)
    monkeypatch.setenv(beat.SWITCH, "off")
    with beating("run"):
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_run_into_a_file_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    from simulator.cli import main

    monkeypatch.setattr(beat, "FIRST_S", 0.001)
    monkeypatch.setattr(beat, "_SLOWER", 1.1)
    with pytest.raises(SystemExit) as ended:
        main(["run", "quickstart", "--set", "run.batches=2", "--set", "systems=hybrid,static_cache",
              "--set", "model.rows_per_table=20000", "--out", f"{tmp_path}/run"])  # fmt: skip
    assert not ended.value.code
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("run: point 1/") and line.endswith(" left") for line in lines)
