"""The section `load`: every key works or is refused at its place, with what to do about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from simulator.cli import main
from simulator.config.catalogue import load_named, names
from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.engine.levers import levers_of, with_speed
from simulator.errors import ConfigError, UsageError

CORES = {"cores": 4, "source_bandwidth": "1 GB/s"}
DRIVES = {"accelerator": "in_storage", "devices": 1}


def experiment(load: Any, **model: Any) -> dict[str, Any]:
    return {
        "config_version": 1,
        "platform": "p3_2xlarge",
        "model": {"base": "default", "tables": 2, "rows_per_table": 1000} | model,
        "trace": {"kind": "uniform"},
        "systems": ["hybrid"],
        "operators": "paper",
        "load": load,
    }


def point(load: Any, *changes: str, **model: Any) -> Any:
    (only,) = expand(parse_experiment(experiment(load, **model), changes))
    return only


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"source_bandwidth": "1 GB/s"}, r"load\.cores: is missing: .*`cores: 16`"),
        ({"cores": 4}, r"load\.source_bandwidth: is missing: .*`source_bandwidth: 1.25 GB/s`"),
        ({**CORES, "cores": 0}, r"load\.cores: is 0: must be greater than 0"),
        ({**CORES, "source_bandwidth": "0 GB/s"}, r"load\.source_bandwidth: .*greater than 0"),
        ({**CORES, "devices": 2}, r"load\.devices: has no use: set accelerator: in_storage"),
        ({**DRIVES, "format": "raw"}, r"load\.format: is raw: .*decodes parquet alone"),
        ({"accelerator": "in_storage"}, r"load\.devices: is missing: .*`devices: 1`"),
        ({**DRIVES, "cores": 4}, r"load\.cores: has no use: .*leave it out"),
        ({**DRIVES, "source_bandwidth": "1 GB/s"}, r"load\.source_bandwidth: .*its own flash"),
        ({**DRIVES, "profile": "plain"}, r"load\.accelerator: is in_storage: profile plain does"),
        ({**CORES, "format": "raw", "compression": 2.0}, r"load\.compression: has no use"),
        ({**CORES, "compression": 0.5}, r"load\.compression: is 0\.5: must be at least 1"),
        ({**CORES, "borders": 1024}, r"load\.borders: has no use: no feature is bucketized"),
        ({**CORES, "bucketized": 1}, r"load\.borders: is missing: .*`borders: 1024`"),
        ({**CORES, "format": "csv"}, r"load\.format: .*raw, parquet"),
        ({**CORES, "accelerator": "fpga"}, r"load\.accelerator: .*none, in_storage"),
        ({**CORES, "profile": "torcharow"}, r"load\.profile: .*did you mean 'torcharrow'"),
        ({**CORES, "profile": {"base": "plain", "hsh_time": "1 ns"}}, r"load\.profile\.hsh_time"),
        ({**CORES, "cors": 4}, r"load\.cors: unknown key.*did you mean 'cores'"),
        ("torcharrow", r"load: .*mapping"),
        ([1], r"load: .*mapping"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(load: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        point(load)
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)
    assert len(caught.value.problems) == 1, "each mistake once"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({}, "is 3, but the model has 0 features that are looked up once a sample"),
        ({"lookups_per_table": 1}, "the model has 2 features that are looked up once a sample"),
        ({"dense_features": 2}, "the model has 2 dense features that they could be made of"),
    ],
)
def test_more_bucketized_features_than_a_model_has_are_refused(
    model: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        point({**CORES, "bucketized": 3, "borders": 16}, **model)


def test_a_profile_is_a_name_or_that_with_changes() -> None:
    assert names("loaders") == ("plain", "torcharrow")
    assert point(CORES).load.profile == load_named("loaders", "torcharrow")
    changed = point(CORES, "load.profile.hash_time=7 ns").load.profile
    assert (changed.name, changed.hash_time) == ("torcharrow*", 7000)
    plain = point({**CORES, "profile": "plain"}, "load.profile.hash_time=7 ns").load.profile
    assert (plain.name, plain.bucketize_step_time, plain.hash_time) == ("plain*", 600, 7000)


def test_a_profile_may_be_a_file_beside_the_experiment(tmp_path: Path) -> None:
    from simulator.config.writer import to_yaml
    from simulator.engine import load_experiment

    (tmp_path / "mine.yaml").write_text(to_yaml({"base": "plain", "log_time": "9 ns"}))
    (tmp_path / "x.yaml").write_text(to_yaml(experiment({**CORES, "profile": "./mine.yaml"})))
    (only,) = expand(load_experiment(tmp_path / "x.yaml"))
    assert only.load is not None
    assert only.load.profile.log_time == 9000


def test_every_number_of_a_profile_says_where_it_comes_from() -> None:
    for name in names("loaders"):
        profile = load_named("loaders", name)
        words = {"name", "description", "in_storage", "sources"}
        given = {key for key in set(type(profile).model_fields) - words if getattr(profile, key)}
        if profile.in_storage is not None:
            given |= {f"in_storage.{key}" for key in profile.in_storage.model_dump()}
        assert given == set(profile.sources), name


def test_it_can_be_swept_and_set() -> None:
    data = experiment(CORES)
    swept = expand(parse_experiment(experiment(CORES) | {"sweep": {"load.cores": [1, 2]}}))
    assert [p.load.cores for p in swept if p.load] == [1, 2]
    data["sweep"] = {"load": [CORES, DRIVES, None]}
    whole = expand(parse_experiment(data))
    assert [p.load and p.load.workers for p in whole] == [4, 1, None]
    assert len({p.key() for p in whole}) == 3
    assert point(None, "load.cores=3", "load.source_bandwidth=2 GB/s").load.cores == 3


def test_a_faster_one_is_a_lever() -> None:
    only = point(CORES)
    levers = {lever.name: lever for lever in levers_of(only)}
    assert {"load", "load.profile"} <= set(levers)
    fast = with_speed(only, levers["load"], 2.0).load
    assert fast is not None
    assert fast.source_bandwidth == 2 * 10**9
    quick = with_speed(only, levers["load.profile"], 2.0).load
    assert quick is not None
    assert quick.profile.hash_time == 1500
    assert quick.profile.decode_many == 1_200_000_000


def test_its_price_counts_where_that_of_the_machine_does() -> None:
    from simulator.sweep.optimize import Wanted, optimize

    run = {"run": {"batches": 2, "warmup_batches": 2}}
    found = optimize(parse_experiment(experiment(CORES) | run), Wanted(throughput=1.0, budget=None))
    assert found.best is not None
    assert found.best.usd_per_hour == pytest.approx(3.06 + 4 * 0.085)
    free = {**CORES, "profile": {"base": "plain", "price_usd_per_hour": None}}
    unpriced = parse_experiment(experiment(free) | run)
    with pytest.raises(UsageError, match=r"load\.profile\.price_usd_per_hour"):
        optimize(unpriced, Wanted(throughput=1.0, budget=None))


def test_observe_refuses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from simulator.observe.refusals import require_trainable

    with pytest.raises(UsageError, match="leave out load"):
        require_trainable(point(CORES), "cpu")


def test_the_catalogue_lists_profiles(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["list", "loaders"])
    printed = capsys.readouterr().out
    assert "torcharrow  TorchArrow on CPU cores" in printed
    assert "plain" in printed
