"""Runs read back from disk, shown and compared."""

import json

import pytest

from simulator.cli import main
from simulator.cli.curve import curves
from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.errors import UsageError
from simulator.results.compare import compare
from simulator.results.dictionary import DEVICES
from simulator.results.manifest import manifest_of
from simulator.results.reading import read_run
from simulator.results.record import PointResult, Result
from simulator.results.store import begin_run, write_run

SIZES = (0.1, 0.2, 0.4)


def written(folder, change=lambda metrics, stages, devices: None, sizes=SIZES, label="sp", **more):
    """A run directory; `change` edits the rows of each point."""
    experiment = parse_experiment(
        {
            "config_version": 1,
            "name": "sizes",
            "platform": "v100_p3",
            "model": "default",
            "trace": {"locality": "medium"},
            "systems": ["hybrid", {"name": "scratchpipe", "label": label}],
            "sweep": {"cache.fraction": list(sizes)},
        }
        | more
    )
    outcomes = []
    for point in expand(experiment):
        named = {"label": point.system.label, "sweep": point.sweep_text()}
        metrics = named | {
            "point": point.key(),
            "system": point.system.name,
            "locality": point.locality,
            "iteration_time_us": 4000.0 * (1 - point.cache.fraction),
            "lookup_hit_rate": None if point.system.name == "hybrid" else point.cache.fraction,
            "wall_s": 1.0,
        }
        stages = [named | {"point": point.key(), "stage": "train", "order": 0, "busy_us": 2.5}]
        devices = [
            {"point": point.key(), "label": point.system.label, "device": "cpu"}
            | {"resource": "cpu.dram", "kind": "dram", "utilization": 0.5, "bytes": 1e6}
        ]
        change(metrics, stages, devices)
        outcomes.append(PointResult(point, metrics, stages, devices))
    result = Result("sizes", tuple(outcomes))
    write_run(result, manifest_of(experiment, result, 1.0), folder)
    return read_run(folder)


def slower(metrics, stages, devices):
    if metrics["label"] == "hybrid" and "0.2" in metrics["sweep"]:
        metrics["iteration_time_us"] *= 1.01
        stages[0]["busy_us"] = 5.0


def run(*arguments):
    """The exit code of `scratchpipe results`."""
    with pytest.raises(SystemExit) as caught:
        main(["results", *map(str, arguments)])
    return caught.value.code or 0


def test_what_is_read_is_what_was_written(tmp_path):
    stored = written(tmp_path / "a")
    assert stored.name == "sizes"
    assert [row["label"] for row in stored.metrics()] == ["hybrid", "sp"] * 3
    assert [swept["cache.fraction"] for swept in stored.swept()] == [0.1, 0.1, 0.2, 0.2, 0.4, 0.4]
    assert stored.metrics()[1]["lookup_hit_rate"] == 0.1
    assert stored.metrics()[0]["wall_s"] is None
    assert [row["resource"] for row in stored.devices()] == ["cpu.dram"] * 6
    assert (
        stored.to_pandas()["iteration_time_us"].tolist()
        == [3600.0] * 2 + [3200.0] * 2 + [2400.0] * 2
    )
    assert list(stored.devices_to_pandas().columns) == [column.name for column in DEVICES]
    assert list(stored.stages_to_pandas()["stage"]) == ["train"] * 6
    assert stored.timeline_to_pandas().empty


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="no such run directory"):
        read_run(tmp_path / "none")
    with pytest.raises(UsageError, match="is no run directory"):
        read_run(tmp_path)
    begin_run(tmp_path / "begun", {})
    with pytest.raises(UsageError, match="is unfinished, 0 points are done"):
        read_run(tmp_path / "begun")
    written(tmp_path / "a")
    (tmp_path / "a" / "metrics.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UsageError, match="is damaged"):
        read_run(tmp_path / "a")


def test_wall_clock_is_no_difference(tmp_path):
    def later(metrics, stages, devices):
        metrics["wall_s"] = 9.0

    comparison = compare(written(tmp_path / "a"), written(tmp_path / "b", later))
    assert comparison.within
    assert comparison.compared == 6


def test_differences_are_relative_to_the_larger_value(tmp_path):
    first, second = written(tmp_path / "a"), written(tmp_path / "b", slower)
    time, busy = compare(first, second).differences
    assert time.point == "hybrid, medium, cache.fraction=0.2"
    assert (time.stage, time.column) == ("", "iteration_time_us")
    assert time.relative == pytest.approx(0.01 / 1.01)
    assert (busy.stage, busy.column, busy.relative) == ("train", "busy_us", 0.5)
    assert not compare(first, second, 0.4999).within
    assert compare(first, second, 0.5).within


def test_resources_are_compared_by_name(tmp_path):
    def busier(metrics, stages, devices):
        if metrics["label"] == "sp" and "0.4" in metrics["sweep"]:
            devices[0]["utilization"] = 0.75
            devices.append({**devices[0], "resource": "cpu.cores", "kind": "cpu"})

    first, second = written(tmp_path / "a"), written(tmp_path / "b", busier)
    busy, extra = compare(first, second).differences
    assert (busy.stage, busy.resource, busy.column) == ("", "cpu.dram", "utilization")
    assert busy.relative == pytest.approx(1 / 3)
    assert (extra.resource, extra.column) == ("cpu.cores", "resource")
    assert (extra.first, extra.second, extra.relative) == (None, "cpu.cores", None)


def test_a_value_that_is_missing_is_never_within(tmp_path):
    def without(metrics, stages, devices):
        metrics["lookup_hit_rate"] = None

    comparison = compare(written(tmp_path / "a"), written(tmp_path / "b", without), 1e9)
    assert {d.column for d in comparison.differences} == {"lookup_hit_rate"}
    assert {d.relative for d in comparison.differences} == {None}


def test_points_of_other_configurations_are_matched_by_their_names(tmp_path):
    first = written(tmp_path / "a")
    assert compare(first, written(tmp_path / "b", run={"seed": 7})).within
    comparison = compare(first, written(tmp_path / "c", sizes=(0.1, 0.3)))
    assert comparison.compared == 2
    assert comparison.only_first[0] == "hybrid, medium, cache.fraction=0.2"
    assert comparison.only_second == (
        "hybrid, medium, cache.fraction=0.3",
        "sp, medium, cache.fraction=0.3",
    )


def test_compare_on_the_command_line(tmp_path, capsys):
    a, b, c, d = (tmp_path / name for name in "abcd")
    written(a), written(b, slower), written(c, sizes=(0.1, 0.2))
    assert run("compare", a, a) == 0
    assert capsys.readouterr().out == "6 points agree exactly\n"
    assert run("compare", a, b, "--tolerance", "0.6") == 0
    assert run("compare", a, b, "--tolerance", "0.1") == 3
    captured = capsys.readouterr()
    assert "hybrid, medium, cache.fraction=0.2, train: busy_us: 2.5 and 5.0 (50 %)" in captured.out
    assert "1 values of 1 points differ by more than 0.1" in captured.err
    assert run("compare", a, c) == 3
    captured = capsys.readouterr()
    assert f"only in {a}: sp, medium, cache.fraction=0.4" in captured.out
    assert "2 points are in one run only\n" in captured.err
    written(d, sizes=(0.1, 0.3))
    assert run("compare", a, d) == 3
    advice = f"paired by other columns: scratchpipe results compare {a} {d} --match COLUMNS"
    assert advice not in capsys.readouterr().err
    assert run("compare", a, b, "--json") == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["within"], document["compared"], len(document["differences"])) == (False, 6, 2)
    assert run("compare", a, b, "--tolerance", "-1") == 2
    assert run("compare", a, b, "--tolerance", "nan") == 2
    assert run("compare", a, tmp_path / "none") == 2


def test_show_prints_tables_and_the_curve(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    written(tmp_path / "a")
    assert run("show", tmp_path / "a") == 0
    text = capsys.readouterr().out
    assert "iteration" in text
    assert "Iteration time in ms by cache.fraction: medium" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert run("show", tmp_path / "a", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 6
    assert rows[0]["devices"][0]["resource"] == "cpu.dram"
    assert "label" not in rows[0]["devices"][0]


def pairs(stored):
    return list(zip(stored.metrics(), stored.swept(), strict=True))


def test_the_curve_falls_where_time_falls(tmp_path):
    lines = list(curves(pairs(written(tmp_path / "a"))))
    plot = lines[1:11]
    height = {
        column: next(n for n, line in enumerate(plot) if line[column : column + 1] == "h")
        for column in (9, 9 + 23, 9 + 47)
    }
    assert height[9] == 0, "the largest value is at the top"
    assert height[9] < height[32] < height[56]
    assert plot[0].startswith("    3.6 |hs"), "points in one place stand side by side"
    assert lines[12].split() == ["0.1", "0.2", "0.4"]
    assert lines[13].split() == ["h", "hybrid", "s", "sp"]
    assert lines[15].split() == ["sp", "10%", "20%", "40%"]


def test_no_curve_without_a_sweep_of_sizes(tmp_path):
    assert list(curves(pairs(written(tmp_path / "a", sizes=(0.1,))))) == []


@pytest.mark.parametrize("count", [2, 12, 30, 90])
def test_curves_fit_into_80_columns(tmp_path, count):
    sizes = [round(0.01 + n / 100, 2) for n in range(count)]
    stored = written(tmp_path / "a", sizes=sizes, label="a system with a name that is very long")
    lines = list(curves(pairs(stored)))
    assert lines
    assert max(map(len, lines)) <= 80
