"""Merge keys, shared pieces, and what other tools read of YAML and this one does not."""

from pathlib import Path

import pytest

from simulator.config.experiment import Names
from simulator.config.load import load_experiment
from simulator.config.reader import read_text, read_yaml
from simulator.engine import known_names
from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_machine, load_part


def data(text: str):
    """What the text stands for, which has no mistakes."""
    document = read_text(text, "f.yaml")
    assert not document.problems
    return document.data


def problem(text: str):
    """The one mistake of the text."""
    (only,) = read_text(text, "f.yaml").problems
    return only


def test_a_merged_mapping_lies_under_the_keys_beside_it():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 3, <<: *a}\n"
    assert data(text)["b"] == {"x": 1, "y": 3}
    assert data(text)["c"] == {"x": 1, "y": 3}
    assert list(data(text)["c"]) == ["x", "y"]


def test_of_a_list_of_mappings_the_earlier_prevail():
    text = "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b], z: 3}\n"
    assert data(text)["c"] == {"x": 1, "y": 2, "z": 3}


def test_what_is_merged_may_merge_and_may_be_written_out():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: {<<: *b, z: 3}}\n"
    assert data(text)["c"] == {"x": 1, "y": 2, "z": 3}


def test_a_merge_replaces_whole_values():
    assert data("a: &a {x: {p: 1}}\nb: {<<: *a, x: {q: 2}}\n")["b"] == {"x": {"q": 2}}


def test_a_merged_value_stands_where_it_is_written():
    marks = read_text("a: &a\n  x: 1\nb:\n  <<: *a\n  y: {z: 2}\n", "f.yaml").marks
    assert marks.key(("b", "x")) == "f.yaml:2:3"
    assert marks.value(("b", "x")) == "f.yaml:2:6"
    assert marks.value(("b", "y", "z")) == "f.yaml:5:10"


def test_a_quoted_key_merges_nothing():
    assert data('a: {"<<": {b: 1}}') == {"a": {"<<": {"b": 1}}}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: {<<: 1}", "f.yaml:1:9", "a.<<: a merge key takes a mapping (`<<: *name`), or a list"),
        ("a: {<<: }", "f.yaml:1:8", "a merge key takes a mapping"),
        ("a: {<<: [{b: 1}, 2]}", "f.yaml:1:18", "a merge key takes a mapping"),
        ("a: {<<: [[{b: 1}]]}", "f.yaml:1:10", "a merge key takes a mapping"),
        ("a: {<<: {b: 1}, <<: {c: 1}}", "f.yaml:1:17", "twice: here and at f.yaml:1:5"),
        ("a: &a {<<: *a}", "f.yaml:1:4", "merges a mapping into itself"),
        ("a: &a {b: {<<: *a}}", "f.yaml:1:4", "merges a mapping into itself"),
        ("a: {<<: {b: 1, b: 2}}", "f.yaml:1:16", "b: the key is given twice"),
        ("a: {<<: *none}", "f.yaml:1:9", "undefined alias"),
    ],
)
def test_what_cannot_be_merged_is_told_at_its_place(text, where, words):
    told = problem(text)
    assert told.where == where
    assert words in str(told)


def test_merges_of_merges_do_not_explode():
    levels = "".join(
        f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}\n" for i in range(30)
    )
    assert data(f"a0: &a0 {{x: 1}}\n{levels}")["a30"] == {"x": 1}


def test_shared_pieces_stand_at_the_top_of_a_file_alone():
    assert data("x-usual: &u {a: 1}\nb: *u\n") == {"b": {"a": 1}}
    assert data("b: {x-inner: 1}") == {"b": {"x-inner": 1}}
    assert read_text("{x-a: 1}", "--set model", fixed=True).data == {"x-a": 1}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: !include b.yaml", "f.yaml:1:4", "files are not included"),
        ("a: !env HOME", "f.yaml:1:4", "environment variables are not read"),
        ("a: ${HOME}", "f.yaml:1:4", "environment variables are not read: ${HOME}"),
        ("a: $RUNS/x", "f.yaml:1:4", "environment variables are not read: $RUNS"),
        ("a: 1\n---\na: 2", "f.yaml:2:1", "several documents (`---`) in a file are not read"),
        ("a: !mine 1", "f.yaml:1:4", "the tag !mine is not allowed"),
    ],
)
def test_what_is_not_read_is_named(text, where, words):
    told = problem(text)
    assert told.where == where
    assert words in str(told)


@pytest.mark.parametrize("text", ["a: '${HOME}'", "a: costs 5 $", 'a: "$HOME"', "a: |\n  $HOME\n"])
def test_quoted_text_and_money_are_text(text):
    assert "$" in data(text)["a"]


EXPERIMENT = """\
config_version: 1
x-usual: &usual {policy: lru, fraction: 0.1}
x-model: &model {base: default, dim: 64}
platform: v100_p3
model: {<<: *model, tables: 4}
trace: {kind: uniform}
systems:
  - {name: scratchpipe, label: one, cache: {<<: *usual, fraction: 0.2}}
  - {name: scratchpipe, label: two, cache: *usual}
cache: {<<: [*usual], fraction: 0.3}
"""


def loaded(folder: Path, text: str, *overrides: str, names: Names | None = None):
    """The experiment of a file."""
    file = folder / "x.yaml"
    file.write_text(text)
    return load_experiment(file, overrides, names or known_names())


def test_an_experiment_may_merge(tmp_path):
    experiment = loaded(tmp_path, EXPERIMENT)
    assert experiment.cache.fraction == 0.3
    assert [entry.cache["fraction"] for entry in experiment.systems] == [0.2, 0.1]
    assert experiment.model == {"base": "default", "dim": 64, "tables": 4}


def test_a_merged_mistake_is_told_where_it_is_written(tmp_path):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, EXPERIMENT.replace("dim: 64", "dim: 0"))
    (told,) = caught.value.problems
    assert (told.where, told.key) == (f"{tmp_path}/x.yaml:3:38", "model.dim")


def test_the_command_line_merges_too(tmp_path):
    experiment = loaded(
        tmp_path, EXPERIMENT, "cache={<<: {fraction: 0.5, policy: lfu}, policy: lru}"
    )
    assert (experiment.cache.fraction, experiment.cache.policy) == (0.5, "lru")


def test_machines_parts_and_memories_may_merge(tmp_path):
    (tmp_path / "memory.yaml").write_text(
        "part: ddr4_2400\nx-more: &more {channels: 8}\norganization: {<<: *more}\n"
    )
    (tmp_path / "machine.yaml").write_text(
        "base: v100_p3\nx-more: &more {channels: 8}\n"
        "host: {cpu: {memory: {organization: {<<: *more}}}}\n"
    )
    assert load_part(tmp_path / "memory.yaml").channels == 8
    machine = load_machine(str(tmp_path / "machine.yaml"))
    assert machine.socket("cpu").part.memory.channels == 8


def test_a_file_of_shared_pieces_alone_is_an_empty_mapping(tmp_path):
    (tmp_path / "f.yaml").write_text("x-a: 1\n")
    assert read_yaml(tmp_path / "f.yaml").data == {}
