"""The cheapest point that holds a throughput, against brute force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator import _extras
from simulator.config.expand import Space, expand
from simulator.engine import load_experiment, simulate_points
from simulator.errors import UsageError
from simulator.sweep import optimize as module
from simulator.sweep.candidates import Candidate, Found, Searched, Wanted
from simulator.sweep.optimize import Search, optimize
from simulator.sweep.proposals import Proposals
from simulator.sweep.watch import SweepProgress

MODEL = {
    "base": "default",
    "tables": 4,
    "rows_per_table": 50_000,
    "batch_size": 512,
    "bottom_mlp": [64],
    "top_mlp": [64, 1],
}
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
    return optimize(load_experiment(space), Wanted(**wanted))


def goods(each: Candidate) -> tuple[float, ...]:
    return each.goods(Wanted())


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


@pytest.mark.parametrize("within", [0.0, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("budget", [None, 4.0])
def test_the_smallest_cache_that_is_almost_the_fastest_is_that_of_brute_force(
    space: Path, within: float, budget: float | None
) -> None:
    """Of all sizes, on one machine: the least bytes of those that take at most so much longer; on
    machines of several prices the least dollars first."""
    sizes = ["sweep.cache.fraction=[0.15,0.2,0.3,0.5,0.8]", "systems=[scratchpipe,static_cache]"]
    for changes in (sizes, [*sizes, "sweep.platform.price_usd_per_hour=[3.06]"]):
        experiment = load_experiment(space, changes)
        results = simulate_points(expand(experiment))
        told = [
            (
                result.point.platform.price_usd_per_hour or 0.0,
                result.metrics["cache_rows"],
                -result.metrics["throughput_samples_per_s"],
            )
            for result in results
            if budget is None or (result.point.platform.price_usd_per_hour or 0.0) <= budget
        ]
        least = -min(speed for _, _, speed in told) / (1 + within)
        best = optimize(experiment, Wanted(budget=budget, within=within)).best
        assert best is not None
        row_bytes = best.point.stored.table_bytes[0] // best.point.stored.rows_per_table[0]
        assert (best.usd_per_hour, best.cache_bytes / row_bytes, -best.throughput) == pytest.approx(
            min(each for each in told if -each[2] >= least)
        )


def test_the_smallest_is_searched_for_and_needs_no_price(space: Path) -> None:
    """In a large space, and where nobody says what machines cost."""
    changes = [
        "platform=h200",
        "systems=[scratchpipe]",
        "sweep={'cache.fraction': [0.15,0.2,0.3,0.4,0.5,0.6,0.7,0.8], "
        "'model.batch_size': [256,512]}",
    ]
    experiment = load_experiment(space, changes)
    wanted = Wanted(within=0.1)
    whole = optimize(experiment, wanted)
    assert whole.best is not None
    assert not whole.best.priced
    searched = optimize(experiment, wanted, Search(trials=15))
    assert searched.best is not None
    assert searched.best.cache_bytes <= 1.5 * whole.best.cache_bytes


def test_nothing_beats_what_is_on_the_front_and_something_beats_the_rest(space: Path) -> None:
    answer = found(space, throughput=1.0)
    assert answer.front
    for each in answer.candidates:
        beaten = any(
            goods(other) != goods(each)
            and all(x <= y for x, y in zip(goods(other), goods(each), strict=True))
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
    answer = optimize(load_experiment(space, changes), Wanted(throughput=1.0))
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
        ([], Wanted(throughput=1.0, within=0.05), "give one of them"),
        (["platform=h200", "sweep={}"], Wanted(budget=1.0, within=0.05), "nobody says what h200"),
        (["platform=h200", "sweep={}"], Wanted(1.0), "nobody says what h200 costs"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    space: Path, changes: list[str], wanted: Wanted, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        optimize(load_experiment(space, changes), wanted)


LARGE = [
    "sweep.cache.fraction=[0.1,0.2,0.4]",
    "sweep.model.batch_size=[32,64,128]",
    "systems=[scratchpipe,straw_man]",
    "model.tables=2",
    "run.batches=1",
]
"""36 points."""


def names(answer: Found) -> list[str]:
    return [each.name for each in answer.candidates]


def test_a_search_finds_what_brute_force_finds(space: Path) -> None:
    experiment = load_experiment(space, LARGE)
    wanted = Wanted(throughput=1e5)
    brute = optimize(experiment, wanted)
    assert brute.searched.whole
    searched = optimize(experiment, wanted, Search(trials=24))
    assert searched.searched == Searched(24, 36, False)
    assert brute.best is not None
    assert searched.best is not None
    assert goods(searched.best)[:2] == goods(brute.best)[:2]
    assert set(names(searched)) < set(names(brute))


def test_the_same_seed_asks_for_the_same_points(space: Path) -> None:
    experiment = load_experiment(space, LARGE)
    wanted = Wanted(budget=4.0)
    first, again, other = (
        optimize(experiment, wanted, Search(trials=12, seed=seed)) for seed in (1, 1, 2)
    )
    assert names(first) == names(again)
    assert first.front == again.front
    assert set(names(first)) != set(names(other))


class StoppedError(Exception):
    """Somebody pulled the plug."""


def test_a_search_that_was_stopped_goes_on_from_its_points(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_experiment(space, LARGE)
    wanted = Wanted(throughput=1e5)
    whole = optimize(experiment, wanted, Search(trials=16))

    def stop(now: SweepProgress) -> None:
        if now.done >= 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        optimize(experiment, wanted, Search(trials=16, out_dir=tmp_path / "run", progress=stop))
    kept = len(list((tmp_path / "run" / "points").glob("*.json")))
    assert kept >= 8
    taken = []
    sweep_of = module.run_sweep

    def counted(*arguments: Any, **more: Any) -> Any:
        swept = sweep_of(*arguments, **more)
        taken.append(swept.reused)
        return swept

    monkeypatch.setattr(module, "run_sweep", counted)
    resumed = optimize(experiment, wanted, Search(trials=16, out_dir=tmp_path / "run"))
    assert sum(taken) == kept
    assert names(resumed) == names(whole)
    assert list(map(goods, resumed.candidates)) == list(map(goods, whole.candidates))
    assert (tmp_path / "run" / "metrics.csv").is_file()


def test_every_point_is_looked_at_where_trials_suffice(space: Path) -> None:
    experiment = load_experiment(space, ["sweep.cache.fraction=[0.2,0.3,0.5]"])
    answer = optimize(experiment, Wanted(throughput=1.0), Search(trials=10**6))
    assert answer.searched == Searched(len(expand(experiment)), Space(experiment).size, True)


def test_proposals_reach_every_point_of_a_small_space(space: Path) -> None:
    axes = Space(load_experiment(space)).axes
    proposals = Proposals(axes, Wanted(throughput=1.0), seed=0)
    seen = set()
    for _ in range(60):
        for trial, picks in proposals.ask(at_random=True):
            proposals.tell(trial, None)
            seen.add(picks)
    assert len(seen) == 2 * 2 * 3


def test_the_throughput_has_the_published_error_and_the_spread_of_seeds(space: Path) -> None:
    experiment = load_experiment(space, ["run.seeds=2", "sweep={}", "systems=scratchpipe"])
    (each,) = optimize(experiment, Wanted(throughput=1.0)).candidates
    assert each.seeds is not None
    assert each.range == each.seeds
    assert each.seeds[0] < each.throughput * 1.0001
    point = each.point
    half = Candidate(point, 100.0, 1.0, 1.0, "gpu", error=0.25, seeds=(90.0, 120.0))
    assert half.range == (90 / 1.25, 120 / 0.75)
    assert Candidate(point, 100.0, 1.0, 1.0, "gpu", error=None).range is None


def test_the_package_of_a_search_is_asked_for_in_one_line(
    space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_extras.EXTRAS, "optimize", ("optuna", "no_such_module"))
    with pytest.raises(UsageError, match=r"no_such_module missing: .*scratchpipe-sim\[optimize\]"):
        optimize(load_experiment(space, LARGE), Wanted(throughput=1.0), Search(trials=4))


def test_values_that_do_not_go_together_are_refused_not_fatal(space: Path) -> None:
    experiment = load_experiment(
        space, ["sweep.trace.kind=[zipf,uniform]", "sweep.cache.fraction=[0.2]"]
    )
    assert optimize(experiment, Wanted(throughput=1.0)).candidates


def test_what_is_missing_is_said_with_the_options_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"--throughput .* --budget-usd-per-hour .* --within"):
        optimize(load_experiment(SPACE), Wanted())
