"""`--set`: the same paths and YAML values as in the file."""

import pytest

from simulator.config.expand import expand
from simulator.config.experiment import Names
from simulator.config.load import load_experiment, parse_experiment
from simulator.errors import ConfigError
from simulator.hardware.devices import part_kinds

BASE = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": "default",
    "trace": {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"},
    "systems": ["hybrid", {"name": "scratchpipe", "cache": {"policy": "random"}}],
    "cache": {"fraction": 0.05},
}


NAMES = Names(parts=part_kinds())


def points(*overrides, **changes):
    return expand(parse_experiment(BASE | changes, overrides, NAMES))


def first(*overrides, **changes):
    return points(*overrides, **changes)[0]


def test_a_key_of_a_named_model_changes_a_copy_of_it():
    model = first("model.dim=64").model
    assert (model.width, model.tables, model.name) == (64, 8, "default*")


def test_a_deep_key_of_a_named_platform_leaves_the_rest():
    platform = first("platform.host.cpu.memory.organization.channels=8").platform
    memory = platform.socket("cpu").part.memory
    assert memory.channels == 8
    assert memory.timing == first().platform.socket("cpu").part.memory.timing
    assert platform.name == "v100_p3*"


def test_the_whole_platform():
    assert first("platform=h200").platform.name == "h200"


def test_outer_keys_go_in_first_whatever_the_order():
    for overrides in (("model.dim=64", "model=rmc2"), ("model=rmc2", "model.dim=64")):
        model = first(*overrides).model
        assert (model.name, model.width, model.tables) == ("rmc2*", 64, 40)


def test_the_last_of_two_wins():
    assert first("run.seed=1", "run.seed=2").run.seed == 2


def test_the_locality_sets_the_kind_and_drops_its_keys():
    trace = first("trace.locality=medium").trace
    assert (trace.kind, trace.locality, trace.pooling) == ("locality", "medium", "poisson")
    assert not hasattr(trace, "curve")


def test_another_kind_with_its_keys_in_any_order():
    for overrides in (
        ("trace.kind=drift", "trace.hot_fraction=0.1"),
        ("trace.hot_fraction=0.1", "trace.kind=drift"),
    ):
        trace = first(*overrides, "trace.replaced=0.1", "trace.period_batches=2").trace
        assert (trace.kind, trace.hot_fraction, trace.alpha) == ("drift", 0.1, 0.9)


def test_a_named_trace_takes_a_locality():
    assert first("trace.locality=high", trace="uniform").locality == "high"


def test_a_whole_mapping():
    assert first("trace={kind: uniform}").trace.kind == "uniform"


def test_one_system():
    assert [p.system.name for p in points("systems=hybrid")] == ["hybrid"]


def test_a_list_of_systems():
    assert [p.system.name for p in points("systems=[straw_man, hybrid]")] == ["straw_man", "hybrid"]


def test_a_key_of_one_entry():
    hybrid, other = points("systems.0.platform=h200", "systems.1.cache.fraction=0.5")
    assert (hybrid.platform.name, other.platform.name) == ("h200", "v100_p3")
    assert (hybrid.cache.fraction, other.cache.fraction) == (0.05, 0.5)


def test_a_key_of_the_only_system():
    assert first("systems.0.label=mine", systems="hybrid").system.label == "mine"


def test_null_takes_a_value_back():
    assert first("run.cpu_threads=null", run={"cpu_threads": 3}).run.cpu_threads is None


@pytest.mark.parametrize("override", ["cache.fraction=0.3", "sweep.cache.fraction=[0.3]"])
def test_a_swept_key_loses_its_sweep(override):
    found = points(override, sweep={"cache.fraction": [0.1, 0.2]})
    assert [p.cache.fraction for p in found] == [0.3, 0.3]


def test_a_key_below_a_swept_one_changes_every_value():
    found = points("model.dim=64", systems="hybrid", sweep={"model": ["default", "rmc2"]})
    assert [(p.model.name, p.model.width) for p in found] == [("default*", 64), ("rmc2*", 64)]


@pytest.mark.parametrize("override", ["trace.kind=uniform", "trace=uniform"])
def test_another_kind_ends_the_sweep_of_localities(override):
    changes = {"trace": {"locality": "low"}, "systems": "hybrid"}
    found = points(override, sweep={"trace.locality": ["low", "high"]}, **changes)
    assert [p.trace.kind for p in found] == ["uniform"]


def test_a_locality_given_ends_its_sweep():
    found = points("trace.locality=low", systems="hybrid", sweep={"trace.locality": ["high"]})
    assert [p.locality for p in found] == ["low"]


def test_a_sweep_can_be_added():
    found = points("sweep.model.dim=[64, 128]", systems="hybrid")
    assert [p.model.width for p in found] == [64, 128]


def test_a_reference_may_stand_in_the_sweep_alone():
    rest = {key: value for key, value in BASE.items() if key != "platform"}
    found = expand(parse_experiment(rest | {"sweep": {"platform": ["a100", "h200"]}}, (), NAMES))
    assert [p.platform.name for p in found] == ["a100", "a100", "h200", "h200"]


def test_paths_of_traces_are_relative_to_the_file_and_on_the_command_line_to_the_shell(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        "config_version: 1\nplatform: h200\nmodel: default\n"
        "trace: {path: ids.npy}\nsystems: hybrid\n"
    )
    assert (
        expand(load_experiment(file, names=NAMES))[0].trace.path
        == (tmp_path / "ids.npy").as_posix()
    )
    assert expand(load_experiment(file, ["trace.path=ids.npy"], NAMES))[0].trace.path == "ids.npy"


def test_the_argument_is_left_alone():
    before = str(BASE)
    points("model.dim=64", "trace.locality=low", "systems.1.cache.policy=lru")
    assert str(BASE) == before


def test_values_with_commas_between_them_are_a_sweep():
    found = points("cache.fraction=0.1,0.2", "platform=v100_p3,h200", systems="hybrid")
    assert [(p.cache.fraction, p.platform.name) for p in found] == [
        (0.1, "v100_p3"),
        (0.1, "h200"),
        (0.2, "v100_p3"),
        (0.2, "h200"),
    ]


def test_the_last_of_two_wins_where_one_is_a_sweep():
    assert len(points("platform=v100_p3,h200", "platform=a100", systems="hybrid")) == 1
    assert len(points("run.seed=1", "run.seed=2,3", systems="hybrid")) == 2


def test_systems_with_commas_are_their_list():
    assert [p.system.name for p in points("systems=hybrid,straw_man")] == ["hybrid", "straw_man"]


def test_texts_keep_their_commas():
    experiment = parse_experiment(BASE, ["description=slow, but right"], NAMES)
    assert experiment.description == "slow, but right"


@pytest.mark.parametrize("text", ["5%", "5 %", "0.05", "5.0%"])
def test_a_fraction_may_be_in_per_cent(text):
    assert first(f"cache.fraction={text}").cache.fraction == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("platform.hosts=2", "platform.hosts"),
        ("platform.host.gpu.count=2", "platform.host"),
        ("platform.host.gpu.count=1,2", "sweep.platform.host.gpu.count"),
        ("platform=v100_p3,h200", "sweep.platform"),
    ],
)
def test_keys_of_a_platform_on_which_nothing_runs_are_refused(change: str, key: str) -> None:
    """Those of the entries are others; where one entry has none, the key is used."""
    own = {"name": "gpu_only", "platform": "hgx_h100"}
    data = {"config_version": 1, "platform": "v100_p3", "model": "default"}
    data |= {"trace": {"kind": "uniform"}}
    with pytest.raises(ConfigError) as caught:
        parse_experiment({**data, "systems": [own]}, [change], NAMES)
    (problem,) = caught.value.problems
    assert (problem.key, problem.where) == (key, f"--set {change.partition('=')[0]}")
    assert "each entry of systems has a platform of its own" in problem.message
    parse_experiment({**data, "systems": ["hybrid", own]}, [change], NAMES)
