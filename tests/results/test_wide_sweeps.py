"""A wide sweep: what is printed and drawn is bounded, says so, and points to the rest."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from simulator.cli import main
from simulator.cli.curve import curves
from simulator.engine import parse_experiment, simulate
from simulator.figures import report_data
from simulator.figures.page import render_report
from simulator.results import timeline
from simulator.results.manifest import manifest_of
from simulator.results.reading import read_run
from simulator.results.record import Result
from simulator.results.store import write_run
from simulator.results.summary import MOST_POINTS, ends_of, groups_of
from simulator.results.tables import tables
from simulator.text import few, on_one_line, some_of, with_rest

DATA = {
    "config_version": 1,
    "name": "wide",
    "platform": "v100_p3",
    "model": {"base": "default", "tables": 1, "rows_per_table": 2000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 1.05},
    "systems": ["static_cache"],
    "run": {"batches": 3, "warmup_batches": 1},
    "sweep": {"cache.fraction": [0.9]},
}
SIZES = 700


@pytest.fixture(scope="module")
def wide():
    """Two points multiplied: as many as a sweep over cache sizes and seeds would give."""
    experiment = parse_experiment(DATA)
    (outcome,) = simulate(experiment).points
    points = []
    for n in range(SIZES):
        for seed in (0, 1):
            size = 0.1 + n / 1000
            time = 1000.0 - n + 0.25 * seed
            swept = {"cache.fraction": size, "run.seed": seed}
            point = outcome.point.model_copy(update={"swept": swept})
            name = {"point": f"{n:032x}{seed:032x}", "sweep": point.sweep_text()}
            points.append(
                dataclasses.replace(
                    outcome,
                    point=point,
                    metrics={**outcome.metrics, **name, "cache_fraction": size}
                    | {"iteration_time_us": time},
                    stages=[{**row, **name} for row in outcome.stages],
                    devices=[{**row, "point": name["point"]} for row in outcome.devices],
                )
            )
    return experiment, Result("wide", tuple(points))


@pytest.fixture(scope="module")
def folder(wide, tmp_path_factory):
    """The run directory of `wide`."""
    experiment, result = wide
    manifest = manifest_of(experiment, result, 1.0)
    for point, outcome in zip(manifest["points"], result, strict=True):
        point["key"] = outcome.metrics["point"]
    out = tmp_path_factory.mktemp("wide") / "run"
    write_run(result, manifest, out)
    return out


@pytest.mark.parametrize("width", [80, 120, 200])
def test_tables_show_the_ends_a_summary_and_where_the_rest_is(wide, width):
    text = io.StringIO()
    Console(file=text, width=width).print(*tables(wide[1], width))
    lines = text.getvalue().splitlines()
    assert len(lines) < 250
    told = " ".join(text.getvalue().split())
    assert "the 8 fastest and the 8 slowest of 1,400 points" in told
    assert "All 1,400 points are in metrics.csv and devices.csv." in told
    assert "cache.fraction" in told
    assert "(690 more values)" in told


def test_the_ends_are_the_ends(wide):
    rows = wide[1].metrics()
    times = [rows[number]["iteration_time_us"] for number in ends_of(rows)]
    every = sorted(row["iteration_time_us"] for row in rows)
    assert times == every[:8] + every[-8:]
    assert ends_of(rows[:MOST_POINTS]) == list(range(MOST_POINTS))


def test_the_summary_is_of_all_points(wide):
    rows, swept = wide[1].metrics(), wide[1].swept()
    groups = list(groups_of(rows, swept))
    seeds = [group for group in groups if group.key == "run.seed"]
    assert [(g.value, g.points, g.left_out) for g in seeds] == [("0", SIZES, 0), ("1", SIZES, 0)]
    assert [(g.best_us, g.worst_us) for g in seeds] == [(301.0, 1000.0), (301.25, 1000.25)]
    assert [g.median_us for g in seeds] == [650.5, 650.75]
    sizes = [group for group in groups if group.key == "cache.fraction"]
    assert (len(sizes), sizes[-1].left_out) == (10, SIZES - 10)
    assert {group.key for group in groups} == {"cache.fraction", "run.seed"}


def test_rates_of_many_sizes_stay_apart(wide):
    lines = list(curves(list(zip(wide[1].metrics(), wide[1].swept(), strict=True))))
    assert len(lines) < 120
    assert all(len(line) <= 80 for line in lines)
    heads = [line.split() for line in lines if line.startswith("lookup hits")]
    assert [len(head) for head in heads] == [13, 13]
    assert [float(head[2]) for head in heads] == [0.1, 0.1]
    assert "(11 of 700 sizes; all are in metrics.csv)" in lines


def test_the_page_is_bounded_and_says_what_it_leaves_out(folder, monkeypatch):
    page = render_report(read_run(folder))
    assert len(page) < 5_000_000
    told = " ".join(page.split())
    assert "stages and resources of 1,000 more points are in stages.parquet and devices.csv" in told
    assert "devices.csv: too long for a page, see the run directory" in told
    assert (folder / "devices.csv").is_file()
    monkeypatch.setattr(report_data, "MOST_POINTS", 1_000)
    told = " ".join(render_report(read_run(folder)).split())
    assert "400 more points are not on this page: they are in metrics.csv" in told


def test_a_timeline_is_bounded_and_says_so(folder, tmp_path, monkeypatch, capsys):
    run = read_run(folder)
    whole = timeline.trace_events(run, range(3))
    assert (whole.points, whole.cut) == (3, False)
    monkeypatch.setattr(timeline, "MOST_EVENTS", len(whole.document["traceEvents"]))
    assert timeline.trace_events(run, range(1400)) == whole
    with pytest.raises(SystemExit) as ended:
        main(["timeline", str(folder), "--out", str(tmp_path / "t.json")])
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "t.json: 3 points" in out
    assert "1,397 more points left out" in out
    assert json.loads((tmp_path / "t.json").read_text()) == whole.document
    spans = len(run.timeline()) // 1400
    monkeypatch.setattr(timeline, "_MOST_SPANS", spans - 1)
    first = timeline.trace_events(run, [0])
    assert first.cut
    batches = [e["args"]["batch"] for e in first.document["traceEvents"] if e["ph"] == "X"]
    assert sorted(set(batches)) == list(range(min(batches), max(batches) + 1))


def test_lists_in_messages_end():
    assert few("abc", 3) == "a, b, c"
    assert few("abcde", 3) == "a, b, c and 2 more"
    assert list(with_rest(["a", "b", "c"], 2, "see x")) == ["a", "b", "... and 1 more: see x"]
    assert list(with_rest(["a", "b"], 2, "see x")) == ["a", "b"]
    assert some_of(range(100), 4) == [0, 33, 66, 99]
    assert some_of([1, 2], 4) == [1, 2]
    assert on_one_line("a\nb\tc\x1b[1m é世") == "a\\nb\\tc\\x1b[1m é世"


def test_an_error_with_very_many_problems_ends(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    data = DATA | {"sweep": {"cache.fraction": [2.0 + n for n in range(300)]}}
    file.write_text(json.dumps(data))
    with pytest.raises(SystemExit) as ended:
        main(["config", "check", str(file)])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 120
    assert lines[-1] == "... and 250 more"
