"""Whatever a file or `--set` says: a configuration, or a `ConfigError` that says where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.config.expand import expand
from simulator.engine import load_experiment
from simulator.errors import ConfigError

GOOD = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 2}
trace: {kind: locality, locality: medium}
systems: [hybrid, {name: scratchpipe, cache: {policy: lfu}}]
cache: {policy: lru, fraction: 0.1, scope: table, if_too_small: error}
operators: {base: paper}
pipeline: {mode: async, window_past: 3}
run: {batches: 5, warmup_batches: 2, seed: 0, check: false}
sweep: {model.dim: [16, 32]}
"""
KEYS = tuple(line.partition(":")[0] for line in GOOD.splitlines())
PATHS = (
    *KEYS,
    "model.dim",
    "model.rows_per_table",
    "model.base",
    "trace.kind",
    "trace.path",
    "trace.0",
    "operators.gather.overlap",
    "operators.0.x",
    "systems.0",
    "systems.0.gpus",
    "systems.0.cache",
    "systems.1.cache.policy",
    "systems.1.platform.host.gpu.count",
    "platform.host",
    "platform.hosts",
    "platform.hosts.0.name",
    "platform.network",
    "platform.base",
    "platform.host.gpu",
    "platform.host.gpu.part",
    "platform.host.gpu.count",
    "platform.host.gpu.sources",
    "platform.host.gpu.memory.controller",
    "platform.host.gpu.memory.mapping.order",
    "platform.host.gpu.memory.timing.rp",
    "platform.host.cpu.calibrated",
    "platform.host.pcie.join",
    "platform.host.pcie.flow_control",
    "cache.fraction",
    "run.seed",
    "sweep.model",
    "sweep.run.seed",
    "sweep.platform",
    "x-mine",
    "<<",
)
VALUES = (
    *("", " ", "~", "5", "-0.0", "1.5", "1e400", ".nan", "-.inf", "true", "0o17", "1:30"),
    *("2001-99-99", "'1'", "''", "[]", "{}", "[[[]]]", "[{}]", "[1, 2]", "{1: 2}", "{null: 2}"),
    *("{true: 2}", "{[1]: 2}", "&a [*a]", "&a {<<: *a}", "{<<: 1}", "{<<: {base: default}}"),
    *("!x 5", "!!binary aGk=", "!!int x", "!!bool x", "!!set {a}", "${HOME}", "!include a.yaml"),
    *('"\\U00110000"', '"\\0"', "'a\\0b.yaml'", '"a\\0b.yaml"', "\0", "\x07", "\t1", "\udcff"),
    *("../", "/", "no.yaml", "/dev/null", "x" * 5000 + ".yaml", "1" * 5000, "9" * 400, "a: b: c"),
    *("[" * 3000, "{a: " * 90 + "1" + "}" * 90, "{base: {base: {base: 5}}}", "{part: [1]}"),
    *("{kind: dram}", "{base: null}", "{name: 5}", "{x: {y: {z: 1}}}", "[~]", "|\n  a", "*a", "@"),
)


def outcome(file: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    """The problems of a file, none where it can be run; anything but a `ConfigError` passes."""
    try:
        expand(load_experiment(file, overrides))
    except ConfigError as error:
        return [problem.where for problem in error.problems] or [f"no place: {error}"]
    return []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=st.sampled_from(KEYS), value=st.sampled_from(VALUES))
def test_any_value_of_any_key_of_a_file(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "x.yaml"
    text = re.sub(rf"(?m)^{key}: .*$", lambda _: f"{key}: {value}", GOOD)
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    for where in outcome(file):
        assert re.search(r"\.yaml(:\d+:\d+)?$", where), where


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(PATHS), value=st.sampled_from(VALUES))
def test_any_value_of_any_key_of_the_command_line(tmp_path: Path, path: str, value: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(GOOD)
    for where in outcome(file, (f"{path}={value}",)):
        assert re.match(r"--set |.*\.yaml:\d+:\d+$", where), where


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_of_a_file(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 8)))
        content[start:end] = data.draw(st.binary(max_size=4))
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    outcome(file)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("a" + ".a" * 1000 + "=1", "is a path of 1,001 keys: 100 at most"),
        ("systems." + "1" * 5000 + ".gpus=1", "is a list whose entries are numbered"),
        ("sweep.a" + ".a" * 300 + "=[1]", "302 keys"),
        ("operators.0.x=1", "unknown key"),
        ("model=" + "x" * 5000 + ".yaml", "there is no file"),
        ("config_version=true", "not a version that can be read"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, override: str, words: str) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=re.escape(words)):
        load_experiment(tmp_path / "x.yaml", (override,))


def test_a_swept_path_without_end_is_told_at_its_place(tmp_path: Path) -> None:
    text = GOOD.replace("model.dim", "model" + ".a" * 150)
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.yaml:10:9: sweep: a key of 305 characters"):
        load_experiment(tmp_path / "x.yaml")


def test_an_unknown_system_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace("[hybrid", "[hybird"))
    with pytest.raises(
        ConfigError, match=r"x\.yaml:5:11: systems: is \"hybird\": there is no such"
    ):
        load_experiment(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("platform.host.pcie.flow_control", "1.0"),
        ("platform.host.pcie.read_latency", "0 ps"),
        ("platform.host.pcie.raw_bandwidth", "1e30 B/s"),
        ("platform.host.cpu.memory_latency", "2 s"),
        ("platform.host.cpu.last_level_cache", "1e19 B"),
        ("platform.host.gpu.sort_rate", "1e-300"),
        ("platform.host.gpu.memory.mapping.interleave", "1 PB"),
        ("operators.gather.overlap", "1e-300"),
    ],
)
def test_what_makes_a_rate_nothing_or_a_time_endless_is_refused(
    tmp_path: Path, path: str, value: str
) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        load_experiment(tmp_path / "x.yaml", (f"{path}={value}",))
    (problem,) = caught.value.problems
    assert problem.key == path
    assert "must be at" in problem.message or "must be greater than 0" in problem.message
