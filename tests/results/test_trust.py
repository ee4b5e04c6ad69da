"""How far to trust the platforms of a run is said where its numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.engine import parse_experiment, simulate
from simulator.results import trust
from simulator.results.record import Result
from simulator.results.trust import iteration_errors, trust_lines


def row(platform: str, calibrated: str, operators: str = "tuned") -> dict[str, str]:
    return {"platform": platform, "calibrated": calibrated, "operators": operators}


@pytest.fixture(autouse=True)
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A summary that knows one platform with one operator profile."""
    file = tmp_path / trust.SUMMARY
    file.parent.mkdir()
    file.write_text(
        "kind,machine,platform,median,worst\n"
        'whole iterations,server,"known, tuned",0.0721,-0.2821\n'
        'order of systems,server,"known, tuned",,\n'
    )
    monkeypatch.setattr(trust, "data_path", lambda _: tmp_path)
    trust._compared.cache_clear()


def test_a_platform_that_was_compared_says_how_far_it_is_off() -> None:
    assert trust_lines([row("known", "yes")]) == [
        "platform known: calibrated; whole iterations with tuned operators 7.2% off in the median, "
        "28% at worst (docs/validation.md)"
    ]


def test_other_operators_and_platforms_are_not_those_that_were_compared() -> None:
    (stock,) = trust_lines([row("known", "yes", "stock")])
    assert "whole iterations with stock operators were not compared" in stock
    (other,) = trust_lines([row("unknown", "yes")])
    assert "were not compared" in other


def test_the_errors_of_a_machine_are_those_of_its_iterations() -> None:
    assert iteration_errors("server") == (0.0721, 0.2821)
    assert iteration_errors("another") is None


def test_platforms_that_mean_the_same_share_a_line() -> None:
    lines = trust_lines([row("a", "no"), row("b", "no"), row("a", "no")])
    assert lines == [
        "platform a, b: not calibrated: numbers are data-sheet or assumed (docs/validation.md)"
    ]


def test_a_mix_is_told() -> None:
    lines = trust_lines([row("known", "yes"), row("known*", "partly"), row("a", "no")])
    assert len(lines) == 4
    assert "calibrated in part" in lines[1]
    assert lines[3].startswith("Calibrated and other platforms stand side by side")


@pytest.fixture(scope="module")
def mixed() -> Result:
    data = {
        "config_version": 1,
        "platform": "h200",
        "model": {"base": "default", "tables": 1, "rows_per_table": 1_000, "batch_size": 8},
        "trace": {"kind": "uniform"},
        "systems": ["hybrid", {"name": "hybrid", "label": "far", "platform": "v100_p3"}],
        "operators": "tuned",
        "run": {"batches": 1, "warmup_batches": 1},
    }
    return simulate(parse_experiment(data))


def test_the_terminal_shows_it_under_the_table(mixed: Result) -> None:
    assert [row["calibrated"] for row in mixed.metrics()] == ["yes", "no"]
    text = " ".join(repr(mixed).split())
    assert "platform v100_p3: not calibrated: numbers are data-sheet or assumed" in text
    assert "Calibrated and other platforms stand side by side" in text
