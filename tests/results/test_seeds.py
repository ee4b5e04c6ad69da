"""`run.seeds`: points repeated with other seeds, and how far they lie apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.config.expand import expand
from simulator.engine import parse_experiment, simulate
from simulator.errors import ConfigError, UsageError
from simulator.results.reading import read_run
from simulator.results.seeds import each_seed, require_one_seed
from simulator.results.tables import tables
from simulator.sweep.repeat import overrides_of
from simulator.sweep.run_directory import run_experiment

DATA: dict[str, Any] = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 4000, "tables": 2, "batch_size": 64},
    "trace": {"locality": "medium"},
    "systems": ["hybrid", "scratchpipe"],
    "cache": {"fraction": 0.8},
    "run": {"batches": 3, "warmup_batches": 2, "seed": 7},
}
SEVERAL = DATA | {"run": DATA["run"] | {"seeds": 3}}
SPREAD = ("iteration_time_low_us", "iteration_time_high_us", "lookup_hit_rate_low", "energy_low_mj")


def of_seed(seed: int) -> list[Any]:
    alone = DATA | {"run": DATA["run"] | {"seed": seed}}
    return [dict(row) for row in simulate(parse_experiment(alone)).metrics()]


def test_the_interval_is_of_the_seeds_and_the_rest_of_the_first(tmp_path: Path) -> None:
    run_experiment(parse_experiment(SEVERAL), tmp_path / "run")
    run = read_run(tmp_path / "run")
    alone = [of_seed(seed) for seed in (7, 8, 9)]
    for number, row in enumerate(run.metrics()):
        times = [rows[number]["iteration_time_us"] for rows in alone]
        assert len(set(times)) == 3
        assert row["iteration_time_us"] == times[0]
        assert (row["seeds"], row["seed"]) == (3, 7)
        ends = row["iteration_time_low_us"], row["iteration_time_high_us"]
        assert ends == (min(times), max(times))
        energies = [rows[number]["energy_mj"] for rows in alone]
        assert (row["energy_low_mj"], row["energy_high_mj"]) == (min(energies), max(energies))
    hits = [rows[1]["lookup_hit_rate"] for rows in alone]
    assert run.metrics()[1]["lookup_hit_rate_high"] == max(hits)
    assert run.metrics()[0]["lookup_hit_rate_high"] is None
    exposed = [row["exposed_us"] for row in run.stages() if row["label"] == "scratchpipe"]
    assert sum(exposed) == pytest.approx(run.metrics()[1]["iteration_time_us"])
    straight = simulate(parse_experiment(SEVERAL)).metrics()[1]
    for name in ("point", "seeds", *SPREAD):
        assert straight[name] == run.metrics()[1][name]
    again = run_experiment(parse_experiment(SEVERAL), tmp_path / "run")
    assert again.sweep.reused == 2
    first, *_ = tables(run, 120)
    assert not isinstance(first, str)
    assert "3 seeds" in str(first.caption)


def test_without_the_key_nothing_changes() -> None:
    (hybrid, _), (same, _) = (
        expand(parse_experiment(DATA | {"run": DATA["run"] | more})) for more in ({}, {"seeds": 1})
    )
    assert "seeds" not in hybrid.run.model_dump(mode="json")
    assert hybrid.key() == same.key()
    assert each_seed(hybrid) == (hybrid,)
    (several, _) = expand(parse_experiment(SEVERAL))
    assert several.key() != hybrid.key()
    assert each_seed(several)[0].key() == hybrid.key()
    (row, _) = simulate(parse_experiment(DATA)).metrics()
    assert [row[name] for name in ("seeds", *SPREAD)] == [None] * 5


@pytest.mark.parametrize("seeds", [0, -1, 1001, "three", 1.5])
def test_how_many_seeds_is_checked(seeds: Any) -> None:
    with pytest.raises(ConfigError, match=r"run\.seeds"):
        parse_experiment(DATA | {"run": {"seeds": seeds}})


def test_who_simulates_one_seed_refuses_several() -> None:
    require_one_seed(expand(parse_experiment(DATA)), "whatif")
    with pytest.raises(UsageError, match="whatif simulates one seed"):
        require_one_seed(expand(parse_experiment(SEVERAL)), "whatif")


def test_a_point_that_failed_is_repeated_with_its_own_seed() -> None:
    experiment = parse_experiment(SEVERAL)
    point = each_seed(expand(experiment)[0])[2]
    texts = overrides_of(experiment, point, ["systems=hybrid,scratchpipe"])
    assert texts == ["run.seeds=1", "run.seed=9", 'systems=["hybrid"]']


def test_calibrated_platforms_have_the_published_error_of_their_operators() -> None:
    (row, _) = simulate(parse_experiment(DATA)).metrics()
    assert (row["published_error"], row["published_error_of"]) == (None, None)
    own = DATA | {"platform": "h200", "systems": ["hybrid"]}
    (row,) = simulate(parse_experiment(own)).metrics()
    assert 0.01 < row["published_error"] < 0.2
    assert "iterations" in row["published_error_of"]
    assert row["published_error_of"].endswith(
        " on h100, h100_second, h200, h200_second, h200_third"
    )


def test_a_load_stage_belongs_to_the_point_of_all_seeds(tmp_path: Path) -> None:
    load = {"cores": 2, "source_bandwidth": "1 GB/s"}
    run_experiment(parse_experiment(SEVERAL | {"load": load}), tmp_path / "run")
    run = read_run(tmp_path / "run")
    points = [(row["point"], row["label"]) for row in run.metrics()]
    assert [(row["point"], row["label"]) for row in run.loads()] == points
    first = simulate(parse_experiment(DATA | {"load": load})).loads()
    assert [row["rest_us"] for row in run.loads()] == [row["rest_us"] for row in first]
