"""Systems, policies and kinds of parts out of a file: they run everywhere, and errors in them name
the line and the contract."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from outside import EXAMPLES, ROOT

from simulator import ConfigError, PluginError, PolicyError, UsageError, load_experiment, simulate
from simulator._plugin_files import anchored, from_file, own_sources, short_name
from simulator.caches import policy_class
from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.hardware.catalogue import load_machine
from simulator.sweep.keys import point_key

POLICY = """
import numpy as np
from simulator.caches import Policy

class Newest(Policy):
    "Gives up the highest slots first."
    def __init__(self, setup):
        pass
    def used(self, pool, use):
        pass
    def victims(self, pool, count):
        taken = np.arange(pool.used, dtype=np.int64)[::-1]
        return taken[~pool.held(taken)][:count]
"""
SYSTEM = """
from simulator.systems import Hybrid

class Mine(Hybrid):
    "Hybrid by another name."
"""


def data(**changes: Any) -> dict[str, Any]:
    """A point of a cache that evicts."""
    return {
        "config_version": 1,
        "platform": "v100_p3",
        "model": {"base": "default", "tables": 2, "rows_per_table": 2000, "batch_size": 8},
        "trace": {"kind": "uniform"},
        "systems": ["scratchpipe"],
        "cache": {"fraction": 0.6, "prefill": "empty"},
        "run": {"batches": 6, "warmup_batches": 6},
        **changes,
    }


def cached(policy: str) -> dict[str, Any]:
    return data(cache={"fraction": 0.6, "prefill": "hot", "policy": policy})


def put(file: Path, text: str) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return str(file)


def yaml(folder: Path, text: str) -> Path:
    head = (
        "config_version: 1\nplatform: v100_p3\n"
        "model: {base: default, tables: 2, rows_per_table: 2000, batch_size: 8}\n"
        "trace: {kind: uniform}\nrun: {batches: 6, warmup_batches: 6}\n"
    )
    return Path(put(folder / "own.yaml", head + text))


def command(folder: Path, *arguments: str, code: int = 0) -> str:
    """What `scratchpipe` prints in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


# references


def test_a_reference_names_a_file_and_a_class() -> None:
    assert from_file("./mine.py:Mine") == ("./mine.py", "Mine")
    assert from_file("C:\\mine.py:Mine") == ("C:\\mine.py", "Mine")
    assert from_file("mine.py") == ("mine.py", "")
    assert from_file("lru") is None
    assert from_file("package.module:Mine") is None


def test_a_reference_is_relative_to_the_folder_of_what_says_so() -> None:
    assert anchored("./mine.py:Mine", Path("sub")) == "sub/mine.py:Mine"
    assert anchored("/abs/mine.py:Mine", Path("sub")) == "/abs/mine.py:Mine"
    assert anchored("lru", Path("sub")) == "lru"
    assert short_name("sub/mine.py:Mine") == "mine.py:Mine"
    assert short_name("lru") == "lru"


# where they can be named


def test_a_policy_beside_its_yaml_runs_in_workers(tmp_path: Path) -> None:
    put(tmp_path / "sub" / "mine.py", POLICY)
    yaml(
        tmp_path / "sub",
        "systems: scratchpipe\ncache: {fraction: 0.6, prefill: hot}\n"
        "sweep: {cache.policy: [fifo, ./mine.py:Newest], model.dim: [32, 64]}\n",
    )
    out = command(tmp_path, "run", "sub/own.yaml", "--jobs", "2", "--out", "runs")
    assert out.count("mine.py:Newest") >= 2
    again = command(tmp_path, "run", "sub/own.yaml", "--jobs", "2", "--out", "runs")
    assert "4 of them taken from an earlier run" in again
    set_here = ("--set", "cache.policy=sub/mine.py:Newest", "--set", "sweep={}")
    command(tmp_path, "run", "sub/own.yaml", *set_here, "--out", "r2")
    assert ",mine.py:Newest," in (tmp_path / "r2" / "metrics.csv").read_text(encoding="utf-8")


def test_a_kind_of_part_and_a_system_of_one_file_run_as_the_package_does(tmp_path: Path) -> None:
    """The adder, without installing it: its part in a worker, unpickled there."""
    folder = tmp_path / "adder"
    shutil.copytree(EXAMPLES / "adder", folder)
    part = (folder / "near_memory.yaml").read_text(encoding="utf-8")
    put(folder / "near_memory.yaml", part.replace("adder_memory", "./adder.py:AdderMemory"))
    file = folder / "experiment.yaml"
    text = file.read_text(encoding="utf-8").replace("adder_hybrid", "./adder.py:AdderHybrid")
    put(file, text)
    out = command(tmp_path, "run", "adder/experiment.yaml", "--jobs", "2", "--out", "runs")
    assert out.count("AdderHybrid") >= 3
    assert "2 channels x 4 ranks with adders" in command(
        tmp_path, "machine", "show", "adder/machine.yaml"
    )
    words = ("--system", "adder/adder.py:AdderHybrid", "--platform", "adder/machine.yaml")
    assert "0 stale reads" in command(tmp_path, "hazards", *words, "--tables", "2")


def test_hazards_explain_and_replay_take_a_file(tmp_path: Path) -> None:
    import numpy as np

    put(tmp_path / "mine.py", POLICY + SYSTEM)
    np.save(tmp_path / "ids.npy", np.random.default_rng(0).integers(0, 300, 2000))
    assert "0 stale reads" in command(tmp_path, "hazards", "--policy", "mine.py:Newest")
    assert "0 stale reads" in command(tmp_path, "hazards", "--system", "mine.py:Mine")
    assert "Hybrid by another name." in command(tmp_path, "explain", "./mine.py:Mine")
    replay = ("replay", "--trace", "ids.npy", "--capacity", "100", "--policy")
    assert "evictions" in command(tmp_path, *replay, "./mine.py:Newest")
    batch = ("--granularity", "batch", "--batch-lookups", "10", "--window-past", "1")
    assert "evictions" in command(tmp_path, *replay, "./mine.py:Newest", *batch)


def test_from_python_results_name_the_file_without_its_folder(tmp_path: Path) -> None:
    put(tmp_path / "mine.py", POLICY + SYSTEM)
    file = yaml(tmp_path, "systems: ./mine.py:Mine\ncache: {policy: ./mine.py:Newest}\n")
    (result,) = simulate(load_experiment(file))
    assert result.metrics["system"] == "mine.py:Mine"
    assert result.metrics["label"] == "Mine"
    (result,) = simulate(parse_experiment(cached(f"{tmp_path}/mine.py:Newest")))
    assert result.metrics["policy"] == "mine.py:Newest"
    assert result.metrics["victims_per_batch"] > 0


def test_the_same_class_in_two_files_asks_for_labels(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        put(tmp_path / name, SYSTEM)
    file = yaml(tmp_path, "systems: [./a.py:Mine, ./b.py:Mine]\n")
    with pytest.raises(ConfigError, match="two entries are called 'Mine'"):
        load_experiment(file)


def test_a_changed_file_is_loaded_again_and_asks_for_new_points(tmp_path: Path) -> None:
    reference = f"{put(tmp_path / 'mine.py', POLICY)}:Newest"
    put(tmp_path / "beside.py", "ORDER = 1")
    put(tmp_path / "mine.py", POLICY + "from beside import ORDER\n")
    first, (point,) = policy_class(reference), expand(parse_experiment(cached(reference)))
    assert policy_class(reference) is first
    key = point_key(point)
    put(tmp_path / "mine.py", POLICY + "from beside import ORDER  # changed\n")
    assert policy_class(reference) is not first
    changed = point_key(point)
    assert changed != key
    put(tmp_path / "beside.py", "ORDER = 2")
    assert point_key(point) != changed
    assert own_sources(tmp_path / "mine.py") != own_sources(tmp_path / "beside.py")


def test_what_a_file_defines_can_be_unpickled_by_another_process(tmp_path: Path) -> None:
    reference = f"{put(tmp_path / 'mine.py', POLICY)}:Newest"
    (tmp_path / "class.pickle").write_bytes(pickle.dumps(policy_class(reference)))
    text = "import pickle, simulator.sweep.work; print(pickle.load(open('class.pickle', 'rb')))"
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Newest" in done.stdout


# what is wrong with them

BAD_FILES = {
    "no file": (None, "Newest", r"mine\.py: No such file"),
    "no class named": (POLICY, "", r"which class of it\? write .*mine\.py:CLASS \(it has Newest\)"),
    "class not found": (POLICY, "Newset", r"mine\.py has no Newset: it has Newest"),
    "nothing in it": ("x = 1", "Newest", r"has no Newest: it has no class at all"),
    "syntax": ("x = 1\ndef f(:\n", "Newest", r"mine\.py:2: SyntaxError: "),
    "no import": ("\nimport no_such\n", "Newest", r"mine\.py:2: cannot be loaded: ModuleNot"),
    "no policy": (
        "class Newest: pass",
        "Newest",
        r"mine\.py:1: Newest is no subclass of simulator\.caches\.Policy",
    ),
    "missing method": (
        POLICY.replace("def victims", "def victim"),
        "Newest",
        r"mine\.py:5: Newest lacks what a policy must have: victims\(self, pool, count\)",
    ),
    "other arguments": (
        POLICY.replace("victims(self, pool, count)", "victims(self, pool)"),
        "Newest",
        r"has victims\(self, pool\) in line 11: it is called as victims\(self, pool, count\)",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_used_is_a_mistake_at_its_key(tmp_path: Path, case: str) -> None:
    text, name, message = BAD_FILES[case]
    if text is not None:
        put(tmp_path / "mine.py", text)
    file = yaml(tmp_path, f"systems: scratchpipe\ncache: {{policy: './mine.py:{name}'}}\n")
    with pytest.raises(ConfigError, match=r"own\.yaml:7:17: cache\.policy: .*" + message):
        load_experiment(file)
    with pytest.raises(UsageError, match=message):
        policy_class(f"{tmp_path}/mine.py:{name}")


BAD_POLICIES = {
    "list": ("taken.tolist()[:count]", PolicyError, "must be an int64 array.*not a list"),
    "dtype": ("taken[:count].astype('i4')", PolicyError, "not an array of int32"),
    "held": ("taken[:count]", PolicyError, "the window holds"),
    "inside": ("taken[count / 0]", PluginError, "fails in victims, mini-batch .*ZeroDivision"),
}


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_a_policy_that_breaks_its_contract_is_named_with_its_line(
    tmp_path: Path, case: str
) -> None:
    answer, error, message = BAD_POLICIES[case]
    text = POLICY.replace("taken[~pool.held(taken)][:count]", answer)
    reference = f"{put(tmp_path / 'mine.py', text)}:Newest"
    with pytest.raises(error, match=r"policy mine\.py:Newest.*" + message) as raised:
        simulate(parse_experiment(cached(reference)))
    assert re.search(rf"\({tmp_path}/mine\.py:1[13](, in victims)?\)$", str(raised.value))


def test_an_error_in_a_replayed_policy_is_one_line(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "ids.npy", np.arange(200))
    put(tmp_path / "mine.py", POLICY.replace("taken[~pool", "undefined[~pool"))
    words = ("replay", "--trace", "ids.npy", "--capacity", "10", "--policy", "mine.py:Newest")
    out = command(tmp_path, *words, code=1)
    assert "NameError: name 'undefined' is not defined" in out
    assert "mine.py:13, in victims)" in out
    assert "Traceback" not in out


BAD_SYSTEMS = {
    "no replay": (
        "def __init__(self, job, machine):\n        pass",
        r"mine\.py:4: Mine sets no `replay`",
    ),
    "in stages": (
        "def stages(self, facts):\n        return {}[facts.index]",
        r"Mine gives no stages for mini-batch \d: KeyError: \d \(.*mine\.py:7, in stages\)",
    ),
    "no stages": ("def stages(self, facts):\n        return []", r"Mine\.stages gave \[\], no sta"),
}


@pytest.mark.parametrize("case", BAD_SYSTEMS)
def test_a_broken_system_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    body, message = BAD_SYSTEMS[case]
    put(tmp_path / "mine.py", f"{SYSTEM}    {body}\n")
    with pytest.raises((PluginError, UsageError), match=message):
        simulate(parse_experiment(data(systems=[f"{tmp_path}/mine.py:Mine"])))


PART = """
from typing import Literal
from simulator import hardware as hw

class Slow(hw.Part):
    kind: Literal["slow"]
    def device(self, name, setup, members):
        return 1 // 0
"""


ADDER_RULE = "    def _pool(self, word: hw.Pool, software: hw.OperatorProfile, reach: hw.Reach)"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", r"near: _pool gave None, no Demand \(.*adder\.py:\d+\)"),
        (
            "return 1 / 0",
            r"stage pool cannot be timed: ZeroDivisionError.*adder\.py:\d+, in _pool\)",
        ),
    ],
)
def test_a_rule_that_gives_no_demand_is_named_with_its_line(
    tmp_path: Path, body: str, message: str
) -> None:
    folder = tmp_path / "adder"
    shutil.copytree(EXAMPLES / "adder", folder)
    part = (folder / "near_memory.yaml").read_text(encoding="utf-8")
    put(folder / "near_memory.yaml", part.replace("adder_memory", "./adder.py:AdderMemory"))
    code = (folder / "adder.py").read_text(encoding="utf-8")
    assert ADDER_RULE in code
    put(
        folder / "adder.py",
        code.replace(f"{ADDER_RULE} -> hw.Demand:\n", f"{ADDER_RULE}:\n        {body}\n"),
    )
    changes = ("sweep={}", "model.batch_size=8", f"systems={folder}/adder.py:AdderHybrid")
    with pytest.raises(PluginError, match=message):
        simulate(load_experiment(folder / "experiment.yaml", changes))


def test_a_broken_part_is_named_with_its_line(tmp_path: Path) -> None:
    put(tmp_path / "mine.py", PART)
    put(tmp_path / "slow.yaml", "kind: ./mine.py:Slow\nname: slow\n")
    put(
        tmp_path / "machine.yaml",
        "base: v100_p3\nname: m\nhost:\n"
        "  slow: ./slow.yaml\n  link: {part: pcie4_x16, join: [cpu, slow]}\n",
    )
    machine = load_machine(str(tmp_path / "machine.yaml"))
    assert machine.socket("slow").part.kind == "slow"
    from simulator.hardware import build_topology

    with pytest.raises(PluginError, match=r"slow cannot be built.*mine\.py:8, in device\)"):
        build_topology(machine, 512)
    put(tmp_path / "slow.yaml", "kind: ./mine.py:Slwo\nname: slow\n")
    with pytest.raises(ConfigError, match=r"slow\.yaml:1:7: .*kind: .*has no Slwo: it has Slow"):
        load_machine(str(tmp_path / "machine.yaml"))
