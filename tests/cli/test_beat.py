"""Signs of life of verbs that take long."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from simulator._progress import part, tell, watched
from simulator.cli import beat, main
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
    beat.at("point 3/4", 0.5)
    assert "50%" in beat.line(60)
    beat.at("1,000 lookups")
    assert beat.line(3) == "replay: 1,000 lookups, 0:00:03 so far"
    assert clock(3_725) == "1:02:05"


def test_what_a_part_tells_does_not_hide_how_far_all_of_it_is() -> None:
    beat = Beat("run", lambda _: None)
    beat.inside("64 of 65 requests", 0.99)
    assert beat.line(3).startswith("run: 64 of 65 requests, 99%")
    beat.at("point 1/4", 0.1)
    beat.inside("65 of 65 requests", 1.0)
    assert beat.line(10) == "run: point 1/4, 10%, 0:00:10 so far, 0:01:30 left"


def test_before_anything_is_done_a_line_says_what_is_expected() -> None:
    beat = Beat("run", lambda _: None)
    beat.at("point 1/4", 0.0, 42.0)
    assert beat.line(2) == "run: point 1/4, 0:00:02 so far, about 0:00:40 left"
    assert beat.line(99).endswith("about 0:00:01 left")
    beat.at("point 1/4", 0.1, 42.0)
    assert beat.line(10) == "run: point 1/4, 10%, 0:00:10 so far, 0:01:30 left"


def test_a_verb_that_knows_better_than_the_speed_so_far_says_how_long() -> None:
    beat = Beat("run", lambda _: None)
    beat.at("point 1/4", 0.01, 42.0, 20.0)
    assert beat.line(0) == "run: point 1/4, 1%, 0:00:00 so far, 0:00:20 left"
    assert beat.line(5).endswith("0:00:05 so far, 0:00:15 left")
    assert beat.line(99).endswith("0:00:01 left")


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


def test_time_left_is_told_by_the_speed_since_the_first_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """10 s of compiling, 20 % at once, then 1 % a second."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    beat = Beat("replay", print)
    now[0] = 10.0
    beat.at("lookups", 0.2)
    beat.at("lookups", 0.4)
    assert beat.line(30.0) == "replay: lookups, 40%, 0:00:30 so far, 0:01:00 left"


def test_shares_of_parts_add_up_to_those_of_the_whole() -> None:
    heard: list[tuple[str, float]] = []
    tell("nobody hears", 1.0)
    with watched(lambda what, share: heard.append((what, share))):
        with part(0.0, 0.2):
            tell("read", 0.5)
        with part(0.2, 1.0):
            tell("replayed", 0.5)
            with part(0.5, 1.0):
                tell("replayed", 1.5)
    assert [what for what, _ in heard] == ["read", "replayed", "replayed"]
    assert [share for _, share in heard] == pytest.approx([0.1, 0.6, 1.0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["replay", "--trace", "{ids}", "--policy", "lru", "--capacity", "9"], "lookups replayed"),
        (["trace", "validate", "{ids}"], "lookups read"),
        (["trace", "describe", "{ids}"], "lookups read"),
        (["trace", "generate", "{new}", "--kind", "uniform", "--rows", "50"], "mini-batch"),
        (["memory", "measure", "--memory", "ddr4_2400", "--pattern", "seq"], "requests"),
    ],
)
def test_verbs_over_files_and_streams_tell_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    ids = np.arange(90_000) % 1_000
    np.save(tmp_path / "ids.npy", ids)
    names = {"ids": "ids.npy", "new": "new.npy"}
    paths = {key: str(tmp_path / name) for key, name in names.items()}
    heard: list[tuple[str, float]] = []
    monkeypatch.setattr(Beat, "inside", lambda self, what, share=0.0: heard.append((what, share)))
    with pytest.raises(SystemExit) as ended:
        main([word.format(**paths) for word in words])
    assert not ended.value.code
    shares = [share for what, share in heard if told in what]
    assert shares == sorted(shares)
    assert shares[-1] >= 0.5
