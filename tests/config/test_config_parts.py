"""Parts of the catalogue: references, changes laid over them, their sources and names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_parts import KINDS, Engine, Store

from simulator.config.machine import Part
from simulator.config.part_keys import full_key
from simulator.config.parts import part_files, read_part
from simulator.config.reader import Document, Mark, Marks, read_text
from simulator.errors import ConfigError
from simulator.hardware.devices.gpu import Gpu

pytestmark = pytest.mark.usefixtures("made_up")

Add = Callable[[str, str], Path]


def part(text: str, **changes: Any) -> Part:
    """The part that YAML text stands for, with changes by dotted key (`__` for a dot)."""
    documents = {
        key.replace("__", "."): Document(value, Marks({(): Mark(f"--set {key}", f"--set {key}")}))
        for key, value in changes.items()
    }
    return read_part(read_text(text, "f.yaml"), documents, KINDS)


def engine(text: str, **changes: Any) -> Engine:
    found = part(text, **changes)
    assert isinstance(found, Engine)
    return found


def mistakes(text: str, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        part(text, **changes)
    return [str(problem) for problem in caught.value.problems]


def test_a_name_stands_for_the_file_with_all_that_it_refers_to():
    v8 = engine("v8")
    assert (v8.name, v8.speed, v8.store.size) == ("V8", 8, 2_000_000)
    assert (v8.store.shape.width, v8.store.shape.height) == (8, 1)


def test_a_part_may_start_from_another():
    v12 = engine("v12")
    assert (v12.name, v12.speed, v12.limits) == ("V12", 12, engine("v8").limits)


@pytest.mark.parametrize("text", ["{part: v8, speed: 9}", "{base: v8, speed: 9}"])
def test_keys_beside_a_reference_are_laid_over_it(text):
    changed, v8 = engine(text), engine("v8")
    assert changed.speed == 9
    assert changed.limits == v8.limits
    assert changed.store == v8.store


def test_a_part_can_be_written_out():
    text = "{kind: engine, name: mine, speed: 1, store: {part: large, shape: {width: 3}}}"
    mine = engine(text)
    assert (mine.name, mine.store.size, mine.store.shape.width) == ("mine", 9_000_000, 3)
    assert mine.store.shape.height == 8


def test_the_written_out_part_of_a_reference_may_be_changed():
    inner = "{kind: engine, name: mine, speed: 1, store: small}"
    assert engine(f"{{part: {inner}, speed: 2}}").speed == 2


def test_a_file_is_named_by_its_path_from_the_file_that_names_it(made_up: Add):
    made_up("mine/engine", "base: v8\nname: mine\nstore: {part: ./store.yaml}\n")
    made_up("mine/store", "base: large\nname: my store\n")
    file = made_up("other/top", "base: ../mine/engine.yaml\nspeed: 5\n")
    found = read_part(Document(str(file), Marks({(): Mark("x", "x")})), {}, KINDS)
    assert isinstance(found, Engine)
    assert (found.speed, found.store.name) == (5, "my store")


# -- another part ---------------------------------------------------------------------------------


def test_another_part_drops_what_was_laid_over_the_old_one():
    """V8 has its own size of the small store; the large one has its own."""
    assert engine("{part: v8, store: {part: large}}").store == part("large")
    assert engine("{part: v8, store: large}").store == part("large")


def test_the_same_part_again_drops_nothing():
    again = engine("{part: v8, store: {part: small, shape: {height: 2}}}").store
    assert (again.size, again.shape.height) == (2_000_000, 2)


def test_another_preset_drops_what_was_laid_over_the_old_one():
    store = part("{part: small, shape: {width: 3}}", shape="tall")
    assert isinstance(store, Store)
    assert (store.shape.width, store.shape.height) == (8, 8)


def test_changes_of_a_preset_are_laid_over_it():
    store = part("{part: small, shape: {base: tall, width: 3}}")
    assert isinstance(store, Store)
    assert (store.shape.width, store.shape.height) == (3, 8)


# -- sources and names ----------------------------------------------------------------------------


def test_a_changed_value_loses_its_source():
    sources = engine("{part: v8, speed: 9}").sources
    assert "speed" not in sources
    assert sources["limits.read"] == "measured"


def test_a_changed_key_loses_the_sources_below_it():
    assert set(engine("{part: v8, limits: null}").sources) == {"speed"}


def test_a_key_below_leaves_the_source_above_it_to_the_others():
    sources = engine("{part: v8, limits: {read: 3 B/s}}").sources
    assert set(sources) == {"speed", "limits.write", "limits", "limits.read"}
    assert sources["limits.read"] == "changed, without a source"


@pytest.mark.parametrize("shape", ["{width: 3}", "{base: tall, width: 3}"])
def test_the_source_of_a_changed_preset_leaves_out_what_was_changed(shape):
    store = part(f"{{part: large, shape: {shape}}}")
    assert store.sources["shape"] == "the tall shape, but for width"


def test_an_equal_value_of_a_preset_keeps_its_source():
    store = part("{part: large, shape: {height: 8}}")
    assert store.sources["shape"] == "the tall shape"


def test_an_equal_value_keeps_its_source_and_name():
    same = engine("{part: v8, speed: 8}")
    assert same == engine("v8")


def test_a_source_given_beside_counts():
    sources = engine("{part: v8, speed: 9, sources: {speed: my bench}}").sources
    assert sources["speed"] == "my bench"
    assert sources["limits.read"] == "measured"


def test_the_sources_of_a_part_within_follow_the_same_rule():
    assert engine("v8").store.sources["size"] == "V8 sheet"
    assert "size" not in engine("{part: v8, store: {size: 3 MB}}").store.sources
    assert engine("{part: v8, store: {part: large}}").store.sources["size"] == "large sheet"


def test_the_source_of_a_preset_is_that_of_its_key():
    assert part("small").sources["shape"] == "the wide shape"
    assert part("large").sources["shape"] == "the tall shape"
    assert part("{part: small, shape: tall}").sources["shape"] == "the tall shape"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("v8", ("V8", "small store, changed")),
        ("{part: v8, speed: 9}", ("V8, changed", "small store, changed")),
        ("{part: v8, speed: 9, name: V9}", ("V9", "small store, changed")),
        ("{part: v8, store: {size: 5 MB}}", ("V8", "small store, changed")),
        ("{part: v8, store: {part: large}}", ("V8", "large store")),
        ("{part: v8, sources: {speed: elsewhere}}", ("V8", "small store, changed")),
        ("{part: v12, limits: null}", ("V12, changed", "small store, changed")),
    ],
)
def test_the_name_of_the_part_whose_own_keys_changed_gets_a_star(text, names):
    found = engine(text)
    assert (found.name, found.store.name) == names


# -- short keys -----------------------------------------------------------------------------------


def test_a_change_may_name_the_last_word_of_a_key():
    assert engine("v8", read="5 B/s").limits == engine("{part: v8, limits: {read: 5 B/s}}").limits
    assert engine("v8", store__size="5 MB").store.size == 5_000_000


def test_a_word_that_two_keys_end_in_is_ambiguous():
    assert full_key("l2_cache", Gpu) == ("l2_cache", "")
    key, hint = full_key("batched", Gpu)
    assert not key
    assert hint.startswith("write one of products.fp32.batched, products.tf32.batched")


def test_a_word_that_no_key_ends_in_is_a_mistake():
    (problem,) = mistakes("v8", sped=3)
    assert problem == "--set sped: sped: names no key of V8\n    did you mean 'speed'?"


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "larg",
            "f.yaml:1:1: is \"larg\": not in the catalogue of parts\n    did you mean 'large'?",
        ),
        ("{part: v9}", 'f.yaml:1:8: part: is "v9": not in the catalogue of parts'),
        ("{part: ./v9.yaml}", 'f.yaml:1:8: part: is "./v9.yaml": there is no file v9.yaml'),
        ("{part: 9}", "f.yaml:1:8: part: is 9: expected the name of a part, or its keys"),
        ("{part: v8, base: v12}", "f.yaml:1:1: has both `part` and `base`"),
        ("[v8]", 'f.yaml:1:1: is ["v8"]: expected the name of a part, or its keys'),
        (
            "{kind: engin, name: x}",
            'f.yaml:1:8: kind: is "engin": there is no such kind of part'
            "\n    did you mean 'engine'? known: engine, store, wire",
        ),
        ("{name: x}", "f.yaml:1:1: kind: is missing: which kind of part it is"),
        ("{kind: [x]}", 'f.yaml:1:8: kind: is ["x"]: there is no such kind of part'),
        ("{part: v8, sped: 9}", "f.yaml:1:12: sped: unknown key\n    did you mean 'speed'?"),
        (
            "{part: v8, width: 9}",
            "f.yaml:1:12: width: unknown key\n    did you mean 'store.shape.w",
        ),
        ("{part: v8, store: v12}", "f.yaml:1:19: store: is a part of kind engine: expected store"),
        ("{part: v8, store: {part: larg}}", 'f.yaml:1:26: store.part: is "larg": not in the cata'),
        ("{part: v8, store: 5}", "f.yaml:1:19: store: is 5: expected a mapping"),
        ("{part: small, shape: wid}", 'f.yaml:1:22: shape: is "wid": not in the catalogue of shap'),
        ("{part: small, shape: 5}", "f.yaml:1:22: shape: is 5: expected a mapping"),
        ("{part: small, size: 5}", "f.yaml:1:21: size: 5 has no unit"),
        ("{part: small, sources: 5}", "f.yaml:1:24: sources: is 5: expected a mapping"),
        ("{part: small, sources: {size: 5}}", "f.yaml:1:31: sources.size: is 5: expected text"),
    ],
)
def test_one_mistake(text, expected):
    found = mistakes(text)
    assert any(expected in problem for problem in found), found


def test_all_mistakes_at_once():
    found = mistakes("{part: v8, sped: 9, limits: {read: 5}, store: {part: small, shape: 7}}")
    assert [problem.split(": ")[1] for problem in found] == ["limits.read", "store.shape", "sped"]


def test_a_mistake_in_a_file_is_placed_there(made_up: Add):
    file = made_up("parts/engines/bad", "base: v8\nname: bad\nspeed: fast\n")
    (problem,) = mistakes("{part: bad, store: small}")
    assert problem == f'{file}:3:8: speed: is "fast": expected a whole number'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base: loop\n", "leads back to itself"),
        ("kind: engine\nname: x\nspeed: 1\nstore: {part: loop}\n", "leads back to itself"),
        ("- a\n- list\n", 'loop.yaml:1:1: part: is ["a", "list"]: an entry is a mapping'),
        ("kind: [\n", "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_followed(made_up: Add, text, words):
    made_up("parts/engines/loop", text)
    assert any(words in problem for problem in mistakes("{part: loop}"))


def test_two_parts_of_one_name_are_refused(made_up: Add):
    made_up("parts/wires/v8", "kind: wire\nname: x\n")
    with pytest.raises(ConfigError, match=r"wires/v8\.yaml: is the name of two parts"):
        part_files()
