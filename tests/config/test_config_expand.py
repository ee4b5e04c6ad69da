"""From an experiment to its points."""

import json
import os
import pickle
import subprocess
import sys
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import engine
from simulator.config.expand import expand
from simulator.config.experiment import Experiment, Names
from simulator.config.load import load_experiment, parse_experiment
from simulator.config.point import PointConfig, canonical_json, config_hash
from simulator.config.reader import read_text
from simulator.config.writer import to_yaml
from simulator.errors import ConfigError
from simulator.hardware.devices import part_kinds

BASE = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": "default",
    "trace": {"locality": "medium"},
    "systems": ["hybrid", "scratchpipe"],
}


NAMES = Names(parts=part_kinds())


def points(**changes):
    return expand(parse_experiment(BASE | changes, names=NAMES))


def test_the_first_swept_key_changes_slowest_and_systems_fastest():
    found = points(sweep={"model.dim": [64, 128], "cache.fraction": [0.1, 0.2]})
    assert [(p.model.width, p.cache.fraction, p.system.name) for p in found] == [
        (dim, fraction, system)
        for dim in (64, 128)
        for fraction in (0.1, 0.2)
        for system in ("hybrid", "scratchpipe")
    ]


def test_a_point_says_what_the_sweep_gave_it():
    found = points(sweep={"model": ["rmc1", {"base": "rmc2", "dim": 64}], "run.seed": [1, 2]})
    texts = [p.sweep_text() for p in found if p.system.name == "hybrid"]
    assert texts == [
        "model=rmc1, run.seed=1",
        "model=rmc1, run.seed=2",
        "model=rmc2*, run.seed=1",
        "model=rmc2*, run.seed=2",
    ]


def test_an_entry_overrides_the_sweep_and_is_not_repeated():
    systems = ["hybrid", {"name": "gpu_only", "platform": "p3_16xlarge"}]
    found = points(systems=systems, sweep={"platform": ["v100_p3", "h200"]})
    assert [(p.system.name, p.platform.name) for p in found] == [
        ("hybrid", "v100_p3"),
        ("gpu_only", "p3_16xlarge"),
        ("hybrid", "h200"),
    ]


def test_the_profile_is_that_of_the_platform_unless_named():
    assert points()[0].operators.name == points()[0].platform.operators
    assert points(operators="tuned")[0].operators.name == "tuned"
    own = points(systems=[{"name": "hybrid", "operators": "stock"}, "scratchpipe"])
    assert [p.operators.name for p in own] == ["stock", "paper"]


def test_the_same_system_twice_under_two_labels():
    systems = [
        {"name": "scratchpipe", "label": "narrow", "pipeline": {"window_past": 2}},
        {"name": "scratchpipe", "label": "wide", "pipeline": {"window_past": 4}},
    ]
    found = points(systems=systems)
    assert [(p.system.label, p.pipeline.window_past) for p in found] == [("narrow", 2), ("wide", 4)]


@pytest.mark.parametrize(
    ("trace", "locality"),
    [
        ({"locality": "high"}, "high"),
        ({"kind": "zipf", "alpha": 0.5}, "zipf-0.5"),
        ({"kind": "uniform"}, "uniform"),
        ({"path": "a/b/ids.npy"}, "ids"),
    ],
)
def test_how_results_call_the_trace(trace, locality):
    assert points(trace=trace)[0].locality == locality


def test_keys_tell_points_apart_and_are_the_same_again():
    found = points(sweep={"model.dim": [64, 128], "run.seed": [0, 1]})
    assert len({p.key() for p in found}) == len(found) == 8
    assert [p.key() for p in points(sweep={"model.dim": [64, 128], "run.seed": [0, 1]})] == [
        p.key() for p in found
    ]


def test_a_key_does_not_depend_on_how_the_point_was_reached():
    swept = points(systems="hybrid", sweep={"run.seed": [7]})[0]
    labelled = points(systems=[{"name": "hybrid", "label": "x"}], run={"seed": 7})[0]
    assert swept.key() == labelled.key()
    assert config_hash([swept]) != config_hash([labelled])


def test_a_point_goes_through_json_and_pickle_unchanged():
    for point in points(model="mlperf_dlrm", sweep={"run.seed": [0]}):
        text, kinds = point.model_dump_json(), {"parts": part_kinds()}
        assert PointConfig.model_validate_json(text, context=kinds) == point
        assert pickle.loads(pickle.dumps(point)) == point


def test_an_experiment_goes_through_pickle_with_its_points():
    experiment = parse_experiment(BASE | {"sweep": {"run.seed": [0, 1]}}, names=NAMES)
    assert expand(pickle.loads(pickle.dumps(experiment))) == expand(experiment)


def test_an_experiment_can_be_built_in_python():
    experiment = Experiment.model_validate(BASE | {"systems": ("hybrid",)})
    assert [p.system.name for p in expand(experiment, NAMES)] == ["hybrid"]


def test_what_show_prints_is_an_experiment_again(tmp_path):
    data = BASE | {"sweep": {"model.dim": [64]}}
    changes = ["cache.fraction=0.02", "platform.host.gpu.count=2", "platform.hosts=3"]
    experiment = parse_experiment(data, changes, NAMES)
    text = to_yaml(experiment.model_dump(mode="json"))
    file = tmp_path / "again.yaml"
    file.write_text(text)
    points = expand(load_experiment(file, names=NAMES))
    assert [(p.key(), p.sweep_text()) for p in points] == [
        (p.key(), p.sweep_text()) for p in expand(experiment)
    ]


def test_combinations_that_fail_only_together_are_told_by_expand():
    """Each swept value alone fits; one pair does not."""
    gpu = {"base": "v100_p3", "host": {"gpu": {"memory": {"burst_bytes": "64 B"}}}}
    sweep = {
        "platform": ["v100_p3", gpu],
        "platform.host.gpu.memory.mapping.interleave": ["64 B", "32 B"],
    }
    experiment = parse_experiment(BASE | {"sweep": sweep}, names=NAMES)
    with pytest.raises(ConfigError, match=r"mapping\.interleave: must be a multiple"):
        expand(experiment)


def test_points_do_not_depend_on_the_hash_seed():
    code = (
        "import json; from simulator.config.load import parse_experiment;"
        "from simulator.config.expand import expand;"
        "from simulator.config.experiment import Names;"
        "from simulator.hardware.devices import part_kinds;"
        f"e = parse_experiment(json.loads({json.dumps(json.dumps(BASE))}),"
        "['sweep.model.dim=[64,128]', 'model.optimizer=adagrad'], Names(parts=part_kinds()));"
        "print([p.key() for p in expand(e)])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 256


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(plain)
@settings(max_examples=50, deadline=None)
def test_canonical_json_reads_back(data):
    assert json.loads(canonical_json(data)) == data


printable = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), min_size=1)


keys = printable.filter(lambda key: not key.startswith("x-"))
"""Keys of a file that begin with `x-` are for anchors alone: readers leave them out."""


@given(st.dictionaries(keys, printable | st.integers() | st.booleans(), min_size=1))
@settings(max_examples=50, deadline=None)
def test_yaml_reads_back(data):
    assert read_text(to_yaml(data), "f").data == data


def test_a_key_does_not_depend_on_where_the_package_lies(tmp_path, monkeypatch):
    point = points(trace="flights")[0]
    assert point.trace.path.endswith("/traces/nycflights13_2013.npz")
    assert ".." not in point.trace.path
    here = point.key()
    (tmp_path / "simulator/_data/configs").mkdir(parents=True)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path / package)
    moved = str(tmp_path / "simulator/_data/traces/nycflights13_2013.npz")
    there = point.model_copy(update={"trace": point.trace.model_copy(update={"path": moved})})
    assert there.key() == here


def test_a_point_holds_its_parts_with_what_was_laid_over_them():
    changed = {"base": "v100_p3", "host": {"cpu": {"memory": {"timing": {"rp": 99}}}}}
    plain, other = points()[0], points(platform=changed)[0]
    assert other.platform.socket("cpu").part.memory.timing.rp == 99
    assert other.platform.socket("gpu") == plain.platform.socket("gpu")
    assert plain.key() != other.key()


def test_a_key_covers_numbers_and_names_but_no_remarks():
    changes = {
        "description": {"description": "another"},
        "price source": {"sources": {"price_usd_per_hour": "elsewhere"}},
        "part source": {"host": {"gpu": {"sources": {"kernel_latency": "elsewhere"}}}},
    }
    same = {"base": "v100_p3", "name": "v100_p3"}
    key = points(platform=same)[0].key()
    for what, change in changes.items():
        assert points(platform=same | change)[0].key() == key, what
    other = {"host": {"gpu": {"kernel_latency": "6 us"}}}
    assert points(platform=same | other)[0].key() != key


def test_a_sweep_of_more_points_than_can_be_looked_at_is_refused_at_its_place(tmp_path):
    text = (
        "config_version: 1\nplatform: v100_p3\nmodel: default\nsystems: [hybrid, scratchpipe]\n"
        "trace: {kind: zipf, alpha: 1.0}\n"
        f"sweep:\n  run.seed: {list(range(1000))}\n  run.batches: {list(range(1, 101))}\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml:6:1: sweep: makes 200,000 points .*100,000 at"):
        expand(engine.load_experiment(tmp_path / "x.yaml"))


def test_a_sweep_over_platforms_keeps_one_operator_profile_unless_told():
    sweep = {"platform": ["v100_p3", "h200"]}
    assert {p.operators.name for p in points(sweep=sweep)} == {"paper"}
    own = points(platform="h200", sweep=sweep)
    assert {p.operators.name for p in own} == {"tuned"}
    both = points(sweep=sweep | {"operators": ["paper", "tuned"]})
    assert {(p.platform.name, p.operators.name) for p in both} == {
        (platform, profile) for platform in ("v100_p3", "h200") for profile in ("paper", "tuned")
    }
    told = points(systems=[{"name": "hybrid", "operators": "stock"}], sweep=sweep)
    assert {p.operators.name for p in told} == {"stock"}
    assert points(platform="h200")[0].operators.name == "tuned"


def test_what_an_entry_sets_itself_is_not_called_swept():
    systems = [
        "hybrid",
        {"name": "static_cache", "cache": {"fraction": 0.3}},
        {"name": "gpu_only", "platform": "p3_16xlarge"},
    ]
    sweep = {"platform.host.pcie.part": ["pcie3_x16", "pcie4_x16"], "cache.fraction": [0.1, 0.2]}
    found = points(systems=systems, sweep=sweep)
    swept = {(p.system.name, tuple(p.swept)) for p in found}
    assert swept == {
        ("hybrid", ("platform.host.pcie.part", "cache.fraction")),
        ("static_cache", ("platform.host.pcie.part",)),
        ("gpu_only", ("cache.fraction",)),
    }
    assert [p.swept for p in found if p.system.name == "static_cache"] == [
        {"platform.host.pcie.part": "pcie3_x16"},
        {"platform.host.pcie.part": "pcie4_x16"},
    ]
