"""Comparing observed with simulated: numbers, reasons, page, exit code. Needs no PyTorch.

The observation is made from a simulation, changed by known factors, so every error is known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.cli.app import main
from simulator.config.load import parse_experiment
from simulator.engine import known_names, simulate
from simulator.errors import ConfigError, UsageError
from simulator.observe.record import read_observed
from simulator.validation.compare import compare
from simulator.validation.page import page_text
from simulator.validation.reasons import Notes, Reason, Tolerance, read_notes

EXPERIMENT: dict[str, Any] = {
    "config_version": 1,
    "name": "made",
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 2_000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid", "scratchpipe"],
    "cache": {"fraction": 0.9, "if_too_small": "grow"},
    "pipeline": {"mode": "lockstep"},
    "run": {"batches": 10, "warmup_batches": 6, "cpu_threads": 4},
}


def _observed(factor: float = 1.0) -> dict[str, Any]:
    """What a machine `factor` times slower than the simulated one would have observed."""
    points = []
    for result in simulate(parse_experiment(EXPERIMENT, names=known_names())).points:
        metrics = result.metrics
        counts = {"unique_rows": "unique_rows_per_batch", "misses": "misses_per_batch"}
        points.append(
            {
                "label": result.point.system.label,
                "sweep": "",
                "batches": 10,
                "repeats": 2,
                "iteration_us": factor * metrics["iteration_time_us"],
                "repeats_us": [99.0, 101.0],
                "stages_us": {s["stage"]: factor * s["busy_us"] for s in result.stages},
                "counts": {
                    name: round(10 * metrics[column])
                    for name, column in counts.items()
                    if metrics[column] is not None
                },
            }
        )
    machine = {"cpu": "a processor", "versions": {"numpy": "2"}}
    return {
        "format": 1,
        "name": "made",
        "device": "cpu",
        "threads": 4,
        "machine": machine,
        "experiment": EXPERIMENT,
        "points": points,
    }


@pytest.fixture(scope="module")
def observed() -> dict[str, Any]:
    return _observed()


def _changed(observed: dict[str, Any], factor: float) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(observed))
    for point in copy["points"]:
        point["iteration_us"] *= factor
        point["stages_us"] = {k: factor * v for k, v in point["stages_us"].items()}
    return copy


def test_a_perfect_observation_has_no_error(observed: dict[str, Any]) -> None:
    comparison = compare([observed], None, Notes())
    assert comparison.failures() == []
    assert comparison.unequal == []
    assert max(abs(time.error) for time in comparison.times) < 1e-12
    assert all(one.agrees for one in comparison.orders)
    assert [time.spread for time in comparison.iterations] == pytest.approx([0.02, 0.02])


def test_errors_are_signed_and_relative_to_what_was_measured(observed: dict[str, Any]) -> None:
    """A machine 1.25 times slower: simulated / measured - 1 = -20 %."""
    comparison = compare([_changed(observed, 1.25)], None, Notes())
    assert comparison.iterations[0].error == pytest.approx(-0.2)
    assert "median error" in comparison.failures()[0]


def test_one_count_that_differs_fails(observed: dict[str, Any]) -> None:
    copy = _changed(observed, 1.0)
    copy["points"][1]["counts"]["misses"] += 1
    comparison = compare([copy], None, Notes())
    assert [one.name for one in comparison.unequal] == ["misses"]
    assert "1 of 3 counts differ" in comparison.failures()[0]


def test_another_platform_stands_for_the_machine(observed: dict[str, Any]) -> None:
    comparison = compare([observed], "a100", Notes())
    assert comparison.platform.startswith("a100 ")
    assert any(abs(time.error) > 0.01 for time in comparison.iterations)


def test_missing_reasons_are_listed_and_given_ones_shown(observed: dict[str, Any]) -> None:
    reasons = (Reason(reason="made up", system="hybrid"),)
    notes = Notes(tolerance=Tolerance(stage=10.0), reasons=reasons, not_run=("the rest",))
    page = page_text(compare([_changed(observed, 2.0)], None, notes))
    assert "| made up |" in page
    missing = page.partition("without a reason")[2].partition("##")[0]
    assert "scratchpipe iteration, -50.0%" in missing
    assert "hybrid" not in missing
    assert "- the rest" in page


def test_points_that_failed_are_named(observed: dict[str, Any]) -> None:
    copy = _changed(observed, 1.0)
    first = copy["points"][0]
    copy["points"][0] = {k: first[k] for k in ("label", "sweep", "repeats")} | {"error": "no room"}
    comparison = compare([copy], None, Notes())
    assert comparison.failed == ("made: hybrid : no room",)


def test_points_of_another_experiment_are_refused(observed: dict[str, Any]) -> None:
    copy = _changed(observed, 1.0)
    copy["points"].pop()
    with pytest.raises(UsageError, match="observe it again"):
        compare([copy], None, Notes())


def test_notes_beside_the_data_and_their_mistakes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    file = tmp_path / "validation.yaml"
    file.write_text("tolerance: {iteration_worst: 0.5}\nreasons:\n- {reason: why, stage: mlp}\n")
    notes = read_notes([run])
    assert notes.tolerance.iteration_worst == 0.5
    assert notes.why("any", "any", "", "mlp") == "why"
    assert notes.why("any", "any", "", None) == ""
    file.write_text("tolerance: {iteration_worst: none}\n")
    with pytest.raises(ConfigError, match=r"validation\.yaml:1"):
        read_notes([run])


def test_the_command_writes_the_page_and_exits_with_3(
    observed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(UsageError, match="scratchpipe observe"):
        read_observed(run)
    (run / "observed.json").write_text(json.dumps(_changed(observed, 1.25)))
    out = tmp_path / "page"
    with pytest.raises(SystemExit) as outcome:
        main(["validate", str(run), "--out", str(out)])
    assert outcome.value.code == 3
    wide = ["--tolerance", "0.3", "--median-tolerance", "0.3"]
    with pytest.raises(SystemExit) as outcome:
        main(["validate", str(run), "--out", str(out), *wide])
    assert outcome.value.code == 0
    assert "median error 20.0%" in capsys.readouterr().out
    names = {file.name for file in out.iterdir()}
    assert {"validation.md", "iterations.svg", "stages.png", "stages.csv"} <= names
