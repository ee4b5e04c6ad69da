"""The cheapest point that holds a throughput, against brute force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import MODEL

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import load_experiment, simulate_points
from simulator.engine.optimize import Found, Wanted, optimize
from simulator.errors import UsageError

SPACE: dict[str, Any] = {
    "config_version": 1,
    "platform": "p3_2xlarge",
    "operators": "tuned",
    "model": MODEL,
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid", "scratchpipe", {"name": "gpu_only", "platform": "p3_16xlarge"}],
    "run": {"batches": 3, "warmup_batches": 2},
    "cache": {"if_too_small": "grow"},
    "sweep": {"cache.fraction": [0.2, 0.5], "platform.price_usd_per_hour": [3.06, 24.48]},
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("space") / "space.yaml"
    file.write_text(yaml.safe_dump(SPACE))
    return file


def found(space: Path, **wanted: float) -> Found:
    return optimize(expand(load_experiment(space)), Wanted(**wanted))


def test_the_best_is_that_of_brute_force(space: Path) -> None:
    points = expand(load_experiment(space))
    results = simulate_points(points)
    speeds = [result.metrics["throughput_samples_per_s"] for result in results]
    prices = [point.platform.price_usd_per_hour or 0.0 for point in points]
    for wanted in sorted(speeds)[::3]:
        fitting = [(p, -s) for p, s in zip(prices, speeds, strict=True) if s >= wanted]
        best = found(space, throughput=wanted).best
        assert best is not None
        assert (best.usd_per_hour, -best.throughput) == min(fitting)
    for budget in set(prices):
        within = [s for p, s in zip(prices, speeds, strict=True) if p <= budget]
        best = found(space, budget=budget).best
        assert best is not None
        assert best.throughput == max(within)


def test_nothing_beats_what_is_on_the_front_and_something_beats_the_rest(space: Path) -> None:
    answer = found(space, throughput=1.0)
    assert answer.front
    for each in answer.candidates:
        beaten = any(
            other.goods != each.goods
            and all(x <= y for x, y in zip(other.goods, each.goods, strict=True))
            for other in answer.candidates
        )
        assert beaten is (each not in answer.front)


def test_the_nearest_is_told_where_nothing_holds_it(space: Path) -> None:
    answer = found(space, throughput=1e12)
    assert answer.best is None
    assert answer.nearest is not None
    assert answer.nearest.throughput == max(each.throughput for each in answer.candidates)
    poor = found(space, throughput=1.0, budget=0.01)
    assert poor.best is None
    assert poor.nearest is not None
    assert poor.nearest.usd_per_hour == 3.06


def test_points_that_do_not_fit_are_told_and_left_out(space: Path) -> None:
    changes = ["model.rows_per_table=1e9", "sweep={}"]
    answer = optimize(expand(load_experiment(space, changes)), Wanted(throughput=1.0))
    assert {point.system.name for point, _ in answer.refused} == {
        "hybrid",
        "scratchpipe",
        "gpu_only",
    }
    assert (answer.best, answer.nearest, answer.candidates) == (None, None, ())


@pytest.mark.parametrize(
    ("changes", "wanted", "message"),
    [
        ([], Wanted(), "say what is wanted"),
        (["platform=h200", "sweep={}"], Wanted(1.0), "nobody says what h200 costs"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    space: Path, changes: list[str], wanted: Wanted, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        optimize(expand(load_experiment(space, changes)), wanted)


def test_the_command_sweeps_what_it_is_told(
    space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--set", "sweep={}", "--over", "cache.fraction=0.2,0.4", "--throughput", "1e3"]
    with pytest.raises(SystemExit) as ended:
        main(["optimize", str(space), *arguments, "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert {each["sweep"] for each in told["candidates"]} == {
        "cache.fraction=0.2",
        "cache.fraction=0.4",
    }
    assert told["best"]["meets"] is True
    with pytest.raises(SystemExit) as ended:
        main(["optimize", str(space), "--over", "cache.fraction", "--throughput", "1"])
    assert ended.value.code == 2
    assert "PATH=A,B" in capsys.readouterr().err
