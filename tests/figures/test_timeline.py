"""`scratchpipe timeline`: a trace that Perfetto reads.

The trace processor of Perfetto is a binary that its package fetches at run time, so it cannot be
counted on offline. These tests check the rules of the Trace Event Format instead.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.cli import main

Event = dict[str, Any]

NEEDED = {
    "M": {"name", "ph", "pid", "tid", "args"},
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "C": {"name", "ph", "ts", "pid", "args"},
    "s": {"name", "cat", "ph", "id", "ts", "pid", "tid"},
    "t": {"name", "cat", "ph", "id", "ts", "pid", "tid", "bp"},
    "f": {"name", "cat", "ph", "id", "ts", "pid", "tid", "bp"},
}


def _timeline(run: Path, *more: str) -> list[Event]:
    target = run.parent / "trace.json"
    with pytest.raises(SystemExit) as ended:
        main(["timeline", str(run), "--out", str(target), *more])
    assert not ended.value.code
    document = json.loads(target.read_text())
    assert document["displayTimeUnit"] == "ns"
    events: list[Event] = document["traceEvents"]
    return events


@pytest.fixture(scope="module")
def events(small_run: Path) -> list[Event]:
    return _timeline(small_run)


def test_every_event_has_the_fields_of_its_kind(events: list[Event]) -> None:
    for event in events:
        assert set(event) == NEEDED[event["ph"]], event
        assert isinstance(event["pid"], int)
        assert isinstance(event["name"], str)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0


def test_every_track_has_a_name(events: list[Event]) -> None:
    names = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    processes = {e["pid"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    for event in events:
        if event["ph"] in "Xstf":
            assert (event["pid"], event["tid"]) in names
        assert event["pid"] in processes


def test_slices_of_one_track_never_overlap(events: list[Event]) -> None:
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            span = (event["ts"], event["ts"] + event["dur"])
            tracks[event["pid"], event["tid"]].append(span)
    for spans in tracks.values():
        spans.sort()
        for (_, end), (start, _) in itertools.pairwise(spans):
            assert start >= end - 1e-6


def test_arrows_follow_each_mini_batch_from_first_to_last_stage(events: list[Event]) -> None:
    flows: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
    starts = {(e["pid"], e["tid"], e["ts"]) for e in events if e["ph"] == "X"}
    assert flows
    for arrows in flows.values():
        kinds = [event["ph"] for event in arrows]
        assert kinds == ["s", *["t"] * (len(kinds) - 2), "f"]
        times = [event["ts"] for event in arrows]
        assert times == sorted(times)
        for event in arrows:
            assert (event["pid"], event["tid"], event["ts"]) in starts


def test_slices_are_the_spans_of_the_run(small_run: Path, events: list[Event]) -> None:
    spans = pd.read_parquet(small_run / "timeline.parquet")
    stage_pids = {e["pid"] for e in events if e["name"] == "process_name"
                  and e["args"]["name"].endswith(": stages")}  # fmt: skip
    found = [e for e in events if e["ph"] == "X" and e["pid"] in stage_pids]
    assert len(found) == len(spans)
    total_us = (spans["end_ps"] - spans["start_ps"]).sum() / 1e6
    assert sum(event["dur"] for event in found) == pytest.approx(total_us)


def test_bandwidth_counters_hold_the_bytes_of_the_slices(events: list[Event]) -> None:
    moved: dict[int, float] = defaultdict(float)
    counted: dict[int, float] = defaultdict(float)
    counters: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X" and event["dur"] > 0:
            moved[event["pid"]] += event["args"].get("bytes", 0)
        if event["ph"] == "C" and "bandwidth" in event["name"]:
            counters[event["pid"]].append(event)
    for pid, steps in counters.items():
        for step, after in itertools.pairwise(steps):
            counted[pid] += step["args"]["GB/s"] * (after["ts"] - step["ts"]) * 1e3
        assert steps[-1]["args"]["GB/s"] == 0
        assert counted[pid] == pytest.approx(moved[pid], rel=1e-3)
    assert counters


def test_scratchpad_rows_are_counted_where_there_is_a_scratchpad(events: list[Event]) -> None:
    pids = {e["pid"] for e in events if e["ph"] == "C" and e["name"] == "scratchpad rows in use"}
    titles = {e["args"]["name"] for e in events if e["name"] == "process_name" and e["pid"] in pids}
    assert {name.split()[0] for name in titles} == {"straw_man", "scratchpipe"}


def test_the_same_run_gives_the_same_bytes(small_run: Path) -> None:
    _timeline(small_run)
    first = (small_run.parent / "trace.json").read_bytes()
    _timeline(small_run)
    assert (small_run.parent / "trace.json").read_bytes() == first


def test_point_chooses_by_label(small_run: Path) -> None:
    chosen = _timeline(small_run, "--point", "hybrid")
    names = {e["args"]["name"].split()[0] for e in chosen if e["name"] == "process_name"}
    assert names == {"hybrid"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--point", "nobody"], "there is hybrid, random"), (None, "is no run directory")],
)
def test_mistakes_are_told(
    small_run: Path,
    arguments: list[str] | None,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = small_run if arguments else small_run.parent
    with pytest.raises(SystemExit) as ended:
        main(["timeline", str(target), *(arguments or [])])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("point", "count"),
    [("locality=high", 4), ("trace.locality=high", 4), ("random", 4), ("hybrid, high", 1)],
)
def test_point_chooses_by_what_was_swept(small_run: Path, point: str, count: int) -> None:
    out = small_run.parent / "chosen.json"
    with pytest.raises(SystemExit) as ended:
        main(["timeline", str(small_run), "--point", point, "--out", str(out)])
    assert not ended.value.code
    events = json.loads(out.read_text())["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert sum(name.endswith(": stages") for name in names) == count


def test_slices_of_stages_say_what_moves(events: list[Event], small_run: Path) -> None:
    slices = [event for event in events if event["ph"] == "X"]
    moving = [event["args"] for event in slices if "resource" in event["args"]]
    stages = [event for event in slices if "resource" not in event["args"]]
    assert moving
    assert all(event["args"]["unique rows"] > 0 for event in stages)
    kept = pd.read_parquet(small_run / "stages.parquet")
    copied = sum(event["args"].get("CPU DRAM bytes", 0) for event in stages)
    assert copied == sum(each["bytes"] for each in moving if each["resource"] == "CPU DRAM")
    sizes = set(kept["dram_bytes"].dropna().round().astype(int))
    assert {e["args"]["CPU DRAM bytes"] for e in stages if "CPU DRAM bytes" in e["args"]} <= sizes
