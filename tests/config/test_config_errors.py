"""A user's mistakes: all at once, each at its place, with what is allowed, in plain words."""

import copy
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.config.expand import expand
from simulator.config.experiment import Names
from simulator.config.load import load_experiment, parse_experiment
from simulator.config.parameters import SystemKeys
from simulator.config.reader import read_text
from simulator.config.writer import to_yaml
from simulator.errors import ConfigError
from simulator.hardware.devices import part_kinds

NAMES = Names(
    systems=dict.fromkeys(
        ("hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only"), SystemKeys()
    ),
    policies=("lru", "lfu", "fifo", "random"),
    parts=part_kinds(),
)
GOOD = """\
config_version: 1
platform: v100_p3
model: default
trace: {kind: locality, locality: medium}
systems: [hybrid, {name: scratchpipe, cache: {policy: lfu}}]
cache: {policy: lru, fraction: 0.1, scope: table, if_too_small: error}
pipeline: {mode: async, window_past: 3}
run: {batches: 5, warmup_batches: 2, seed: 0, check: false}
"""
JARGON = re.compile(
    r"pydantic|Input should|valid dictionary|instance of|type=|https?://|tuple|dict"
)


def mistakes(folder: Path, text: str, *overrides: str) -> list[str]:
    """The problems of an experiment file, without the folder in front."""
    file = folder / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_experiment(file, overrides, NAMES)
    assert caught.value.exit_code == 2
    assert not JARGON.search(str(caught.value)), str(caught.value)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_the_good_one_is_good(tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    assert load_experiment(tmp_path / "x.yaml", (), NAMES).name == "x"


def test_all_mistakes_at_once(tmp_path):
    text = (
        GOOD.replace("config_version: 1", "config_version: 7")
        .replace("v100_p3", "v100")
        .replace("locality: medium", "locality: mediun")
        .replace("[hybrid,", "[hybird,")
        .replace("policy: lfu", "polciy: lfu")
        .replace("fraction: 0.1", "fraction: 0")
        .replace("mode: async", "mode: asinc")
        .replace("batches: 5", "batches: -5")
        .replace("check: false", "check: false, batches: 3")
    )
    told = "\n".join(mistakes(tmp_path, text))
    for expected in (
        "x.yaml:1:17: config_version: is 7: not a version that can be read\n    this release reads",
        'x.yaml:2:11: platform: is "v100": not in the catalogue of platforms\n    did you mean '
        "'v100_p3'?",
        'x.yaml:4:35: trace.locality: is "mediun": expected one of random, low, medium, high\n'
        "    did you mean 'medium'?",
        "x.yaml:5:11: systems: is \"hybird\": there is no such system\n    did you mean 'hybrid'?",
        "x.yaml:5:47: systems[1].cache.polciy: unknown key\n    did you mean 'policy'?",
        "x.yaml:6:32: cache.fraction: is 0: must be greater than 0",
        'x.yaml:7:18: pipeline.mode: is "asinc": expected one of async, lockstep\n'
        "    did you mean 'async'?",
        "x.yaml:8:16: run.batches: is -5: must be greater than 0",
        "run.batches: the key is given twice: here and at x.yaml:8:7",
    ):
        assert expected in told


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("config_version: 1\n", "", "x.yaml:1:1: config_version: is missing"),
        ("model: default\n", "", "x.yaml:1:1: model: is missing"),
        (
            "model: default",
            "modle: default",
            "x.yaml:3:1: modle: unknown key\n    did you mean 'mod",
        ),
        ("model: default", "model: 5", "x.yaml:3:8: model: is 5: expected text or a mapping"),
        ("model: default", "model: [default]", 'x.yaml:3:8: model: is ["default"]: expected text'),
        ("model: default", "model: ./no.yaml", 'x.yaml:3:8: model: is "./no.yaml": there is no f'),
        ("model: default", "model: {base: defualt}", 'x.yaml:3:15: model: is "defualt": not in'),
        ("model: default", "model: {base: 3}", "x.yaml:3:8: model: base is 3: expected the name"),
        (
            "model: default",
            "model: {base: default, rows_per_table: 0}",
            "x.yaml:3:40: model.rows_per_table: is 0: must be greater than 0",
        ),
        (
            "model: default",
            "model: {base: default, rows_per_table: [1, 2]}",
            "x.yaml:3:40: model.rows_per_table: lists 2 numbers but there are 8 tables",
        ),
        (
            "model: default",
            "model: {base: default, top_mlp: [8, 0]}",
            "x.yaml:3:37: model.top_mlp[1]: is 0: must be greater than 0",
        ),
        (
            "model: default",
            "model: {base: default, mlp_precision: bf61}",
            'x.yaml:3:39: model.mlp_precision: is "bf61": expected one of',
        ),
        (
            "v100_p3",
            "{base: v100_p3, host: {pcie: {raw_bandwidth: 16 GB}}}",
            "x.yaml:2:56: platform.host.pcie.raw_bandwidth: '16 GB' has the unit",
        ),
        (
            "v100_p3",
            "{base: v100_p3, host: {cpu: {memory: {capacity: 256}}}}",
            "x.yaml:2:59: platform.host.cpu.memory.capacity: 256 has no unit",
        ),
        (
            "kind: locality, locality: medium",
            "kind: zpf",
            'trace.kind: is "zpf": expected one of uni',
        ),
        (
            "v100_p3",
            "{base: v100_p3, host: {cpu: {memory: {part: ddr4_240}}}}",
            'x.yaml:2:55: platform.host.cpu.memory.part: is "ddr4_240": not in the catalogue of '
            "parts\n    did you mean 'ddr4_2400'?",
        ),
        (
            "v100_p3",
            "{base: v100_p3, host: {gpu: {memory: {timing: {rpp: 4}}}}}",
            "x.yaml:2:58: platform.host.gpu.memory.timing.rpp: unknown key",
        ),
        ("kind: locality, locality: medium", "kind: zipf", "x.yaml:4:8: trace.alpha: is missing"),
        (
            "locality: medium",
            "locality: medium, locallity: 3",
            "x.yaml:4:43: trace.locallity: unknown key\n    did you mean 'locality'?",
        ),
        (
            "kind: locality, locality: medium",
            "kind: zipf, alpha: .nan",
            "x.yaml:4:28: trace.alpha: is .nan: must be a finite number",
        ),
        ("seed: 0", "seed: -1", "x.yaml:8:44: run.seed: is -1: must be at least 0"),
        ("seed: 0", "seed: 1.5", "x.yaml:8:44: run.seed: is 1.5: expected a whole number"),
        ("seed: 0", "seed: '1'", 'x.yaml:8:44: run.seed: is "1": expected a whole number'),
        ("seed: 0", "seed: true", "x.yaml:8:44: run.seed: is true: expected a whole number"),
        ("check: false", "check: no", 'x.yaml:8:54: run.check: is "no": expected true or false'),
        ("fraction: 0.1", "fraction: 1.5", "cache.fraction: is 1.5: must be at most 1"),
        ("fraction: 0.1", "fraction: .inf", "cache.fraction: is .inf: must be"),
        ("fraction: 0.1", "fraction: 110%", "cache.fraction: '110%' is no share of anything"),
        ("fraction: 0.1", "fraction: 0%", 'cache.fraction: is "0%": must be greater than 0'),
        (
            "[hybrid, {",
            "[hybrid, {name: scratchpipe}, {",
            "x.yaml:5:40: systems[2]: two entries are called 'scratchpipe': here and at ",
        ),
        ("batches: 5", "batches: 1.50e0", "run.batches: is 1.50e0: expected a whole number"),
        ("batches: 5", "batches: 1e400", "run.batches: is 1e400: expected a whole number"),
        ("batches: 5", "batches: 1e20", "run.batches: is 1e20: must be at most 1,000,000,000"),
        ("batches: 5", "batches: .inf", "run.batches: is .inf: expected a whole number"),
        ("batches: 5", "batches: -0x10", "run.batches: is -0x10: must be greater than 0"),
        ("fraction: 0.1", "fraction: 1.0e1", "cache.fraction: is 1.0e1: must be at most 1"),
        (
            "model: default",
            "model: {base: default, rows_per_table: 2.50e0}",
            "model.rows_per_table: is 2.50e0: expected a whole number or a list",
        ),
        (
            "model: default",
            "model: {base: default, tables: 2, rows_per_table: [2e4, 2.50]}",
            "x.yaml:3:57: model.rows_per_table[1]: is 2.50: expected a whole number",
        ),
        (
            "model: default",
            "model: {base: default, rows_per_table: []}",
            "model.rows_per_table: is []: needs 1 or more entries",
        ),
        (
            "v100_p3",
            "{base: v100_p3, host: {cpu: {memory: {capacity: 2e4}}}}",
            "platform.host.cpu.memory.capacity: 2e4 has no unit",
        ),
        ("[hybrid, {", "[hybrid, 7, {", "x.yaml:5:19: systems[1]: is 7: expected a mapping"),
        ("[hybrid, {", "[{gpus: 0, name: hybrid}, {", "systems[0].gpus: is 0: must be greater"),
        ("[hybrid, {", "[{nmae: hybrid}, {", "x.yaml:5:12: systems[0].nmae: unknown key"),
        (
            "pipeline: {",
            "pipeline: {window_future: -1, ",
            "window_future: is -1: must be at least 0",
        ),
        ("run: {", "name: a/b\nrun: {", 'x.yaml:8:7: name: is "a/b": has other characters'),
        ("run: {", "operators: papr\nrun: {", 'operators: is "papr": not in the catalogue'),
        (
            "run: {",
            "sweep: {cache.fraction: 0.1}\nrun: {",
            "x.yaml:8:9: sweep.cache.fraction: expec",
        ),
        (
            "run: {",
            "sweep: {cache: {fraction: [1]}}\nrun: {",
            "write the whole path: `cache.fraction:",
        ),
        ("run: {", "sweep: {cache.fraction: []}\nrun: {", "is an empty list"),
        ("run: {", "sweep: {systems: [hybrid]}\nrun: {", "sweep.systems: cannot be swept"),
        ("run: {", "sweep: {cahce.policy: [lru]}\nrun: {", "did you mean 'cache'?"),
        (
            "run: {",
            "sweep: {model.dim: [64, 0]}\nrun: {",
            "x.yaml:8:25: model.dim: is 0: must be gre",
        ),
        ("run: {", "sweep: {model.dmi: [64]}\nrun: {", "model.dmi: unknown key"),
        ("run: {", "sweep: {run.seed.x: [1]}\nrun: {", "run.seed is a single value"),
        ("run: {", "sweep: 4\nrun: {", "x.yaml:8:8: sweep: is 4: expected a mapping"),
    ],
)
def test_one_mistake(tmp_path, old, new, expected):
    assert old in GOOD
    told = mistakes(tmp_path, GOOD.replace(old, new, 1))
    assert any(expected in one for one in told), told


def test_a_number_that_is_whole_is_a_whole_number_however_it_is_written(tmp_path):
    text = (
        GOOD.replace("config_version: 1", "config_version: 1.0")
        .replace("batches: 5", "batches: 5e1")
        .replace("window_past: 3", "window_past: 3.0")
        .replace("model: default", "model: {base: default, rows_per_table: 2e4, top_mlp: [1e1, 1]}")
        .replace("[hybrid", "[{name: gpu_only, gpus: 1e0}, hybrid")
    )
    (tmp_path / "x.yaml").write_text(text)
    overrides = ("platform.host.cpu.cores=1.0e1", "run.seed=1e6", "model.tables=2e0")
    experiment = load_experiment(tmp_path / "x.yaml", overrides, NAMES)
    point = expand(experiment)[0]
    assert (experiment.run.batches, experiment.run.seed) == (50, 10**6)
    assert experiment.pipeline.window_past == 3
    assert point.model.rows_per_table == (20_000, 20_000)
    assert point.model.top_mlp == (10, 1)
    assert point.platform.socket("cpu").part.cores == 10
    whole = (point.system.gpus, experiment.run.batches, *point.model.rows_per_table)
    assert all(type(number) is int for number in (*whole, *point.model.top_mlp))


def test_a_mistake_in_a_file_that_is_referred_to_is_placed_there(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: default\ndim: 0\n")
    told = mistakes(tmp_path, GOOD.replace("model: default", "model: ./mine.yaml"))
    assert told == ["mine.yaml:2:6: model.dim: is 0: must be greater than 0"]


def test_a_file_that_is_its_own_base_is_told(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: ./mine.yaml\n")
    told = mistakes(tmp_path, GOOD.replace("model: default", "model: ./mine.yaml"))
    assert "has itself as its base" in told[0]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.dmi=64", "--set model.dmi: model.dmi: unknown key\n    did you mean 'dim'?"),
        ("model.dim=0", "--set model.dim: model.dim: is 0: must be greater than 0"),
        ("model.dim.x=1", '--set model.dim.x: model.dim: is {"x": 1}: expected a whole number'),
        ("model.dim", "--set model.dim: is not path=value, such as model.dim=64"),
        ("=3", "--set =3: is not path=value"),
        ("a..b=3", "--set a..b=3: is not path=value"),
        ("model=[1", "--set model: is not valid YAML"),
        ("model=", "--set model: is empty"),
        ("platform=h20", '--set platform: platform: is "h20": not in the catalogue'),
        ("systems=hybird", '--set systems: systems: is "hybird": there is no such system'),
        ("systems.7.gpus=1", "--set systems.7.gpus: systems[7].gpus: systems is a list"),
        ("run.batches.x=1", "--set run.batches.x: run.batches.x: run.batches is a single value"),
        ("cache.policy=lur", '--set cache.policy: cache.policy: is "lur": there is no such policy'),
        ("trace.alpha=1", "--set trace.alpha: trace.alpha: unknown key"),
    ],
)
def test_a_mistake_on_the_command_line_is_placed_there(tmp_path, override, expected):
    told = mistakes(tmp_path, GOOD, override)
    assert any(one.startswith(expected) for one in told), told


def test_mistakes_in_the_file_and_on_the_command_line_come_together(tmp_path):
    told = mistakes(tmp_path, GOOD.replace("seed: 0", "seed: -1"), "model.dim=0", "nonsense")
    assert len(told) == 3


def _leaves(data, path=()):
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path


TREE = read_text(GOOD, "x.yaml").data
KEYS = sorted({p[: n + 1] for p in _leaves(TREE) for n in range(len(p))}, key=str)
NAMED = [path for path in KEYS if isinstance(path[-1], str)]


def _at(tree, path):
    for part in path:
        tree = tree[part]
    return tree


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from(NAMED),
    mistake=st.sampled_from(["misspelt", "nan", "negative", "list of lists", "null key"]),
)
def test_any_single_mutation_is_refused_at_a_place_in_the_file(tmp_path, path, mistake):
    """Whatever key is spoiled, there is a problem and it says where."""
    tree = copy.deepcopy(TREE)
    around, key = _at(tree, path[:-1]), path[-1]
    if mistake == "misspelt":
        spoiled = {f"{k}x" if k == key else k: v for k, v in around.items()}
        around.clear()
        around.update(spoiled)
    else:
        bad = {"nan": float("nan"), "negative": -3, "list of lists": [[[]]]}
        around[key] = bad.get(mistake, {"": 1})
    told = mistakes(tmp_path, to_yaml(tree))
    assert told
    assert all(re.match(r"(x\.yaml|/.*\.yaml):\d+:\d+: ", one) for one in told), told


def test_the_order_of_problems_does_not_depend_on_hashing(tmp_path):
    text = GOOD.replace("seed: 0", "seed: -1, sede: 3, zeed: 4").replace("0.1", "0")
    assert mistakes(tmp_path, text) == mistakes(tmp_path, text)


USES = Names(
    systems={
        "hybrid": SystemKeys(frozenset()),
        "gpu_only": SystemKeys(frozenset({"gpus"})),
        "static_cache": SystemKeys(frozenset({"cache.fraction", "cache.scope"})),
        "scratchpipe": SystemKeys(frozenset({"cache", "pipeline"})),
        "outside": SystemKeys(),
    },
    parts=part_kinds(),
)


def refused(entry: str, folder: Path) -> list[str]:
    """Keys of problems with an entry, and what its system uses."""
    file = folder / "x.yaml"
    file.write_text(GOOD.replace("[hybrid, {name: scratchpipe, cache: {policy: lfu}}]", entry))
    try:
        load_experiment(file, (), USES)
    except ConfigError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            "{name: scratchpipe, gpus: 8}",
            "x.yaml:5:30: systems.gpus: is not used by scratchpipe\n"
            "    scratchpipe uses cache, label, operators, pipeline, platform",
        ),
        ("{name: hybrid, gpus: 1}", "x.yaml:5:25: systems.gpus: is not used by hybrid"),
        (
            "[scratchpipe, {name: hybrid, cache: {fraction: 0.1}}]",
            "x.yaml:5:47: systems[1].cache.fraction: is not used by hybrid",
        ),
        (
            "{name: static_cache, cache: {fraction: 0.1, policy: lru}}",
            "x.yaml:5:54: systems.cache.policy: is not used by static_cache\n"
            "    static_cache uses cache.fraction, cache.scope, label, operators, platform",
        ),
        (
            "{name: gpu_only, pipeline: {mode: async}}",
            "x.yaml:5:38: systems.pipeline.mode: is not used by gpu_only",
        ),
    ],
)
def test_a_key_that_its_system_does_not_use_is_refused(tmp_path, entry, expected):
    found = refused(entry, tmp_path)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    "entry",
    [
        "{name: scratchpipe, cache: {policy: lfu}, pipeline: {mode: async}}",
        "{name: static_cache, cache: {fraction: 0.2}}",
        "{name: hybrid, gpus: null, cache: {}, label: x, platform: h200, operators: tuned}",
        "{name: gpu_only, gpus: 1}",
        "{name: outside, gpus: 1, cache: {fraction: 0.1}, pipeline: {mode: async}}",
    ],
)
def test_keys_that_its_system_uses_are_taken(tmp_path, entry):
    assert refused(entry, tmp_path) == []


def test_a_key_given_on_the_command_line_is_refused_there(tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        load_experiment(tmp_path / "x.yaml", ["systems.0.gpus=2"], USES)
    (problem,) = caught.value.problems
    assert (problem.where, problem.key) == ("--set systems.0.gpus", "systems[0].gpus")


def test_a_wrong_entry_is_not_also_a_list_that_is_too_short(tmp_path):
    text = (
        "config_version: 1\nplatform: v100_p3\nmodel: default\ntrace: {kind: uniform}\n"
        "systems: [{name: hybrid, fraction: 0.5}]\n"
    )
    (problem,) = mistakes(tmp_path, text)
    assert problem.startswith("x.yaml:5:26: systems[0].fraction: unknown key")


def test_who_asks_for_as_much_warm_up_as_it_takes_is_told_what_does_that() -> None:
    data = {"config_version": 1, "platform": "v100_p3", "systems": ["hybrid"]}
    data |= {"model": "default", "trace": {"locality": "low"}, "run": {"warmup_batches": "auto"}}
    with pytest.raises(
        ConfigError, match=r"run\.warmup_batches: is auto: .*cache\.prefill: steady"
    ):
        parse_experiment(data)
