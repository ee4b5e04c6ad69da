"""Comparing observed with simulated: numbers, goal, guard, page, exit code. Needs no PyTorch.

The observation is made from a simulation, changed by known factors, so every error is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from simulator.cli.app import main
from simulator.config.load import parse_experiment
from simulator.engine import known_names, simulate
from simulator.errors import ConfigError, UsageError
from simulator.observe.reading import read_observed
from simulator.results.record import PointResult
from simulator.validation.compare import Comparison, compare
from simulator.validation.figures import table
from simulator.validation.goal import Goal
from simulator.validation.page import page_text
from simulator.validation.predict import predict
from simulator.validation.reasons import Notes, Reason, read_notes
from simulator.validation.summary import rows_of

EXPERIMENT: dict[str, Any] = {
    "config_version": 1,
    "name": "made",
    "platform": "v100_p3",
    "operators": "tuned",
    "model": {"base": "default", "rows_per_table": 2_000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid", "scratchpipe"],
    "cache": {"fraction": 0.9, "if_too_small": "grow"},
    "pipeline": {"mode": "lockstep"},
    "run": {"batches": 10, "warmup_batches": 6, "cpu_threads": 4},
}
COUNTS = {"unique_rows": "unique_rows_per_batch", "misses": "misses_per_batch"}


def _point(result: Any) -> dict[str, Any]:
    metrics = result.metrics
    return {
        "label": result.point.system.label,
        "sweep": "",
        "batches": 10,
        "repeats": 2,
        "iteration_us": metrics["iteration_time_us"],
        "repeats_us": [99.0, 101.0],
        "stages_us": {s["stage"]: s["busy_us"] for s in result.stages},
        "counts": {
            name: round(10 * metrics[column])
            for name, column in COUNTS.items()
            if metrics[column] is not None
        },
    }


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    """What the simulated machine itself would have observed."""
    results = simulate(parse_experiment(EXPERIMENT, names=known_names()))
    return {
        "format": 1,
        "name": "made",
        "device": "cpu",
        "threads": 4,
        "machine": {"cpu": "a processor", "cores": 4, "versions": {"numpy": "2"}},
        "experiment": EXPERIMENT,
        "points": [_point(result) for result in results],
    }


@pytest.fixture(autouse=True)
def simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal questions have one answer: the points are simulated once for all tests."""

    def once(
        observed: dict[str, Any], platform: str | None, operators: str | None = None
    ) -> list[PointResult | None]:
        labels = [(point["label"], "error" in point) for point in observed["points"]]
        key = json.dumps([observed["experiment"], labels, platform, operators])
        if key not in ANSWERS:
            ANSWERS[key] = predict(observed, platform, operators)
        return ANSWERS[key]

    monkeypatch.setattr("simulator.validation.compare.predict", once)


ANSWERS: dict[str, list[PointResult | None]] = {}


def _changed(
    observed: dict[str, Any], factor: float = 1.0, factors: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Times of all systems, or of those named, multiplied."""
    copy: dict[str, Any] = json.loads(json.dumps(observed))
    for point in copy["points"]:
        own = (factors or {}).get(point["label"], factor)
        point["iteration_us"] *= own
        point["stages_us"] = {k: own * v for k, v in point["stages_us"].items()}
    return copy


def _independent(observed: dict[str, Any], misses: int) -> dict[str, Any]:
    """With so many more misses of ScratchPipe, whose own planner chose them."""
    copy = _changed(observed)
    point = copy["points"][1]
    assert point["label"] == "scratchpipe"
    point["counts_independent"] = True
    point["counts"]["misses"] += misses
    return copy


def _compared(*observed: dict[str, Any], **goal: float) -> Comparison:
    return compare(observed, None, Notes(goal=Goal(**goal)))


def test_a_perfect_observation_has_no_error(observed: dict[str, Any]) -> None:
    comparison = _compared(observed)
    assert comparison.shortfalls() == []
    assert max(abs(time.error) for time in comparison.times) < 1e-12
    assert all(one.agrees for one in comparison.orders)
    assert [time.spread for time in comparison.iterations] == pytest.approx([0.02, 0.02])
    assert {time.session_spread for time in comparison.times} == {None}


def test_the_page_sums_errors_up_by_what_binds(observed: dict[str, Any]) -> None:
    """As the simulation of each iteration says; stages are bound by nothing of their own."""
    comparison = _compared(_changed(observed, 1.25))
    bound = {time.bottleneck for time in comparison.iterations}
    assert all(bound)
    assert {time.bottleneck for time in comparison.stages} == {""}
    section = page_text(comparison, "made").partition("## Errors by what binds")[2]
    rows = section.partition("## Errors of stages")[0].splitlines()[6:-1]
    assert len(rows) == len(bound)
    assert all("| 20.0% | -20.0% | -20.0% |" in row for row in rows)
    assert list(table(comparison.iterations)["bottleneck"]) == [
        time.bottleneck for time in comparison.iterations
    ]
    assert "bottleneck" not in table(comparison.stages)


def test_errors_are_signed_and_relative_to_what_was_measured(observed: dict[str, Any]) -> None:
    """A machine 1.25 times slower: simulated / measured - 1 = -20 %, beyond 18 %, 5 % and 4 %."""
    comparison = _compared(_changed(observed, 1.25))
    assert comparison.iterations[0].error == pytest.approx(-0.2)
    assert [line.partition(" -")[0] for line in comparison.shortfalls()] == [
        "median error of iterations 20.0% (goal 5.0%)",
        "worst iteration",
        "bias of hybrid",
        "bias of scratchpipe",
    ]
    assert _compared(
        _changed(observed, 1.25), iteration_median=0.21, iteration_worst=0.21, system_bias=0.21
    ).shortfalls() == []  # fmt: skip


def test_errors_that_cancel_are_a_bias_of_each_system(observed: dict[str, Any]) -> None:
    """Hybrid 1 / 0.95 - 1 = +5.3 %, ScratchPipe 1 / 1.05 - 1 = -4.8 %: median bias near nothing."""
    factors = {"hybrid": 0.95, "scratchpipe": 1.05}
    lines = _compared(_changed(observed, factors=factors), iteration_median=0.06).shortfalls()
    assert [line for line in lines if "order" not in line] == [
        "bias of hybrid +5.3% (goal ±4.0%)",
        "bias of scratchpipe -4.8% (goal ±4.0%)",
    ]


def test_iterations_on_fewer_threads_are_a_kind_of_their_own(observed: dict[str, Any]) -> None:
    """The same on a machine of 16 cores, 10 % too fast: nothing is said of all threads."""
    copy = _changed(observed, 1.0 / 0.9)
    copy["machine"]["cores"] = 16
    comparison = _compared(copy)
    assert comparison.iterations == []
    assert len(comparison.fewer_threads) == 2
    assert {row.kind for row in rows_of(comparison, "made", "page")} == {
        "iterations on fewer CPU threads",
        "order of systems",
    }
    assert comparison.shortfalls() == [
        "median error of iterations on fewer threads 10.0% (goal 6.0%)"
    ]
    copy["points"][0]["threads"] = 16
    assert len(_compared(copy).iterations) == 1, "a point says its own threads"


def test_counts_of_one_plan_are_not_compared(observed: dict[str, Any]) -> None:
    comparison = _compared(observed)
    assert comparison.chosen == []
    assert [count.name for count in comparison.planned_once] == ["misses"]
    page = page_text(comparison, "made")
    assert "Not compared, one plan: scratchpipe." in page
    assert "| rows moved |" not in page


def test_counts_of_two_planners_are_compared_as_errors(observed: dict[str, Any]) -> None:
    misses = _compared(observed).planned_once[0].observed
    comparison = _compared(_independent(observed, misses=misses))
    assert [count.error for count in comparison.chosen] == [pytest.approx(-0.5)]
    assert comparison.shortfalls() == ["worst count -50.0% (goal 2.0%)"]
    assert _compared(_independent(observed, misses=misses // 100)).shortfalls() == []
    assert "| rows moved | 1 | 50.0% | -50.0% | -50.0% |" in page_text(comparison, "made")


def test_a_plan_that_has_changed_since_is_told(observed: dict[str, Any]) -> None:
    copy = _changed(observed)
    copy["points"][1]["counts"]["misses"] += 1
    comparison = _compared(copy)
    assert comparison.shortfalls() == []
    assert "1 of 1 counts of that one plan have changed" in page_text(comparison, "made")


def test_other_mini_batches_than_observed_are_compared_with_nothing(
    observed: dict[str, Any],
) -> None:
    copy = _changed(observed)
    copy["points"][0]["counts"]["unique_rows"] += 1
    assert "1 counts of the mini-batches differ" in _compared(copy).shortfalls()[0]


def test_the_order_counts_where_systems_differ_by_more_than_the_spread(
    observed: dict[str, Any],
) -> None:
    """The slower system made faster by 1 % (spread: 2 % + 2 %), and by 10 %."""
    first, second = (p["iteration_us"] for p in observed["points"])
    slow, ratio = ("hybrid", first / second) if first > second else ("scratchpipe", second / first)
    assert ratio > 1.04
    near = _compared(_changed(observed, factors={slow: 0.99 / ratio}))
    assert near.orders == ()
    (order,) = _compared(_changed(observed, factors={slow: 0.9 / ratio})).orders
    assert order.faster == slow
    assert order.measured == pytest.approx(1.0 / 0.9)
    assert order.simulated == pytest.approx(1.0 / ratio)
    assert not order.agrees


def test_sessions_of_one_machine_tell_how_they_differ(observed: dict[str, Any]) -> None:
    """10 % between two sessions: 0.1 over their median 1.05."""
    comparison = _compared(observed, _changed(observed, 1.1))
    assert len(comparison.iterations) == 4
    spreads = [time.session_spread for time in comparison.iterations]
    assert spreads == pytest.approx([0.1 / 1.05] * 4)
    assert len(_compared(observed).orders) == 1
    assert comparison.orders == (), "sessions differ by more than the systems do"


def test_another_platform_stands_for_the_machine(observed: dict[str, Any]) -> None:
    comparison = compare([observed], "a100", Notes())
    assert comparison.platform == "a100"
    assert any(abs(time.error) > 0.01 for time in comparison.iterations)
    assert comparison.fitted_on == ""
    assert "experiments/validation" in compare([observed], "h200", Notes()).fitted_on


def test_missing_reasons_are_listed_and_given_ones_shown(observed: dict[str, Any]) -> None:
    reasons = (Reason(reason="made up", error=(-0.6, -0.4), system="hybrid"),)
    notes = Notes(goal=Goal(stage=10.0), reasons=reasons, not_run=("the rest",))
    page = page_text(compare([_changed(observed, 2.0)], None, notes), "made")
    assert "| made up |" in page
    missing = page.partition("without a reason")[2].partition("##")[0]
    assert "scratchpipe iteration, -50.0%" in missing
    assert "hybrid" not in missing
    assert "- the rest" in page


def test_points_that_failed_are_named(observed: dict[str, Any]) -> None:
    copy = _changed(observed)
    first = copy["points"][0]
    copy["points"][0] = {k: first[k] for k in ("label", "sweep", "repeats")} | {"error": "no room"}
    assert _compared(copy).failed == ("made: hybrid : no room",)


def test_points_of_another_experiment_are_refused(observed: dict[str, Any]) -> None:
    copy = _changed(observed)
    copy["points"].pop()
    with pytest.raises(UsageError, match="observe it again"):
        _compared(copy)


def test_notes_beside_the_data_and_their_mistakes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert read_notes([run]).goal == Goal()
    file = tmp_path / "validation.yaml"
    reason = "{reason: why, error: [0, 0.5], stage: mlp}"
    file.write_text(f"goal: {{iteration_worst: 0.5}}\nreasons:\n- {reason}\n")
    notes = read_notes([run])
    assert notes.goal == Goal(iteration_worst=0.5)
    assert notes.why(("any", "any", "", "mlp"), 0.4) == "why"
    assert notes.why(("any", "any", "", None), 0.4) == ""
    file.write_text("reasons:\n- {reason: why, stage: mlp}\n")
    with pytest.raises(ConfigError, match=r"validation\.yaml:2.*error: is missing"):
        read_notes([run])
    file.write_text("goal: {iteration_worst: none}\n")
    with pytest.raises(ConfigError, match=r"validation\.yaml:1"):
        read_notes([run])


@pytest.mark.parametrize(
    ("error", "explained"),
    [(-0.4, True), (-0.1, True), (-0.41, False), (-0.09, False), (0.2, False)],
)
def test_a_reason_explains_errors_of_its_sign_and_size_alone(error: float, explained: bool) -> None:
    """Another error at the same place is another mistake: the page asks for its reason."""
    small = Reason(reason="copies", error=(-0.4, -0.1), stage="exchange")
    notes = Notes(reasons=(small, Reason(reason="else", error=(0.5, 9.0), stage="exchange")))
    assert (notes.why(("e", "s", "", "exchange"), error) == "copies") is explained
    assert notes.why(("e", "s", "", "exchange"), 0.6) == "else"


@pytest.mark.parametrize("error", [(-0.1, 0.1), (0.2, 0.1), (-1.5, -0.5), (0.1, 0.1)])
def test_a_reason_for_any_error_is_none(error: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="two numbers of one sign"):
        Reason(reason="anything", error=error)


def _exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as outcome:
        main(["validate", *arguments])
    return int(outcome.value.code or 0)


def _run_dir(folder: Path, observed: dict[str, Any]) -> str:
    folder.mkdir(parents=True)
    (folder / "observed.json").write_text(json.dumps(observed))
    return str(folder)


def test_the_command_fails_where_the_goal_is_not_reached(
    observed: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="scratchpipe observe"):
        read_observed(tmp_path / "run")
    run = _run_dir(tmp_path / "slow" / "run", _changed(observed, 1.25))
    out = ("--out", str(tmp_path / "page"))
    with monkeypatch.context() as quick:
        quick.setattr("simulator.validation.page.write_figure", lambda *_: [])
        assert _exit_code(run, *out) == 3
    assert "goal 5.0%" in capsys.readouterr().err
    wide = "goal: {iteration_median: 0.21, iteration_worst: 0.21, system_bias: 0.21}\n"
    (tmp_path / "slow" / "validation.yaml").write_text(wide)
    assert _exit_code(run, *out) == 0
    assert "median 20.0%, worst -20.0%, bias -20.0%" in capsys.readouterr().out
    names = {file.name for file in (tmp_path / "page" / "cpu_4").iterdir()}
    assert {"validation.md", "iterations.svg", "stages.png", "stages.csv"} <= names


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without figures: they take seconds."""
    monkeypatch.setattr("simulator.validation.page.write_figure", lambda *_: [])


@pytest.mark.usefixtures("no_figures")
def test_a_guard_fails_where_something_is_worse_than_it_was(
    observed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recorded at -20 %: the same passes, -20.4 % passes (margin 0.5 %), -21 % does not, nor does
    an observation that lost a system."""
    guard = str(tmp_path / "guard.yaml")
    out = ("--out", str(tmp_path / "page"))
    run = _run_dir(tmp_path / "1", _changed(observed, 1.25))
    assert _exit_code(run, *out, "--guard", guard) == 2
    assert f"write it with --write-guard {guard}" in capsys.readouterr().err
    assert _exit_code(run, *out, "--write-guard", guard) == 3
    assert _exit_code(run, *out, "--guard", guard) == 0
    assert "goal not reached: cpu_4: median error of iterations" in capsys.readouterr().err
    slower = _run_dir(tmp_path / "2", _changed(observed, 1 / (1 - 0.204)))
    assert _exit_code(slower, *out, "--guard", guard) == 0
    slowest = _run_dir(tmp_path / "3", _changed(observed, 1 / (1 - 0.21)))
    assert _exit_code(slowest, *out, "--guard", guard) == 3
    assert "iterations: median error 21.0%, was 20.0%" in capsys.readouterr().err
    lost = _changed(observed, 1.25)
    lost["points"][1] = {"label": "scratchpipe", "sweep": "", "repeats": 2, "error": "no room"}
    assert _exit_code(_run_dir(tmp_path / "4", lost), *out, "--guard", guard) == 3
    assert "scratchpipe is not compared any more" in capsys.readouterr().err
    assert _exit_code(run, *out, "--guard", guard, "--platform", "a100") == 3
    assert "the guard was written for v100_p3" in capsys.readouterr().err


@pytest.mark.usefixtures("no_figures")
def test_the_terminal_sums_up_what_the_page_does(
    observed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer threads than cores are a kind of their own, in both."""
    fewer = {**_changed(observed, 1.25), "machine": {**observed["machine"], "cores": 8}}
    runs = [_run_dir(tmp_path / "a", _changed(observed)), _run_dir(tmp_path / "b", fewer)]
    fewer["machine"]["cpu"] = observed["machine"]["cpu"]
    _exit_code(*runs, "--out", str(tmp_path / "page"))
    said = capsys.readouterr().out
    pages = {f.parent.name: f.read_text() for f in tmp_path.glob("page/*/validation.md")}
    assert len(pages) == 2
    assert "cpu_4, all: n 2, median 0.0%" in said
    assert "cpu_8, on fewer CPU threads: n 2, median 20.0%" in said
    assert "cpu_8, all" not in said
    assert "| whole iterations | 2 |" in pages["cpu_4"]
    assert "| iterations on fewer CPU threads | 2 |" in pages["cpu_8"]


@pytest.mark.usefixtures("no_figures")
def test_a_page_and_a_row_a_machine(
    observed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _changed(observed)
    other["machine"] |= {"gpu": "NVIDIA H100 80GB HBM3", "gpus": 2}
    runs = [_run_dir(tmp_path / "a", observed), _run_dir(tmp_path / "b", other)]
    out, table = tmp_path / "page", tmp_path / "summary.csv"
    assert _exit_code(*runs, "--out", str(out), "--summary", str(table)) == 0
    assert {folder.name for folder in out.iterdir()} == {"cpu_4", "h100_x2"}
    first = table.read_text()
    kinds = [line.split(",")[:2] for line in first.splitlines()[1:]]
    assert [k for k, machine in kinds if machine == "h100_x2"] == [
        "whole iterations",
        "iterations of hybrid",
        "iterations of scratchpipe",
        "stages of 20 us and more",
        "order of systems",
    ]
    assert _exit_code(runs[1], "--out", str(out), "--summary", str(table)) == 0
    assert table.read_text() == first, "rows of the same page are replaced"
    assert _exit_code(*runs, "--platform", "h100") == 2
    assert "--platform cannot stand for 2 machines" in capsys.readouterr().err
