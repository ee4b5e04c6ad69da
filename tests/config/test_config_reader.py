"""Reading YAML: plain data, the place of every value, and mistakes that leave the rest readable."""

from pathlib import Path

import pytest

from simulator.config.reader import dotted, read_text, read_yaml


def test_every_value_knows_its_line_and_column():
    document = read_text("a: 1\nb:\n  - x\n  - {c: 2.5}\n", "f.yaml")
    assert document.data == {"a": 1, "b": ["x", {"c": 2.5}]}
    assert document.marks.value(("a",)) == "f.yaml:1:4"
    assert document.marks.key(("b",)) == "f.yaml:2:1"
    assert document.marks.value(("b", 0)) == "f.yaml:3:5"
    assert document.marks.key(("b", 1, "c")) == "f.yaml:4:6"
    assert document.marks.value(("b", 1, "c")) == "f.yaml:4:9"


def test_what_is_not_there_has_the_place_of_what_is_around_it():
    marks = read_text("a:\n  b: 1\n", "f.yaml").marks
    assert marks.value(("a", "missing", 3)) == "f.yaml:2:3"


def test_marks_of_a_part_are_those_of_a_document():
    marks = read_text("a:\n  b: 1\n", "f.yaml").marks.below(("a",))
    assert marks.key(()) == "f.yaml:1:1"
    assert marks.value(("b",)) == "f.yaml:2:6"


def test_a_grafted_value_replaces_the_places_below_it():
    old = read_text("a:\n  b: {c: 1}\n", "old").marks
    new = read_text("{d: 2}", "new", fixed=True).marks
    both = old.grafted(("a", "b"), new)
    assert both.value(("a", "b", "d")) == "new"
    assert both.value(("a", "b", "c")) == "new"
    assert both.value(("a",)) == "old:2:3"


def test_a_command_line_has_no_line_and_column():
    assert read_text("[1, 2]", "--set x", fixed=True).marks.value((1,)) == "--set x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10_000_000", 10_000_000),
        ("1e-3", 0.001),
        ("yes", "yes"),
        ("true", True),
        ("~", None),
        ("2026-01-02", "2026-01-02"),
        ("'5'", "5"),
        ("0x10", 16),
    ],
)
def test_scalars(text, value):
    data = read_text(f"k: {text}", "f").data["k"]
    assert data == value
    assert type(data) is type(value)


def test_every_duplicate_key_is_told_with_both_places():
    document = read_text("a: 1\nb: {c: 1, c: 2}\na: 3\n", "f.yaml")
    told = sorted(str(problem) for problem in document.problems)
    assert len(told) == 2
    assert told[0].startswith("f.yaml:2:11: b.c: the key is given twice: here and at f.yaml:2:5")
    assert told[1].startswith("f.yaml:3:1: a: the key is given twice: here and at f.yaml:1:1")
    assert document.data == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: [1\nb: 2\n", "f.yaml:2:2", "expected ',' or ']'"),
        ("\tx: 1", "f.yaml:1:1", "indent with spaces, not tabs"),
        ("", "f.yaml:1:1", "is empty"),
        ("# only a comment\n", "f.yaml:1:1", "is empty"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1", "expected a single document"),
        ("a: &x [*x]\n", "f.yaml:1:4", "an alias"),
        ("? [1, 2]\n: 3\n", "f.yaml:1:3", "a key must be plain text"),
        ("a: !!python/name:os.system x", "f.yaml:1:4", "is no value of the tag !!python"),
        ("a: !mine {b: 1}", "f.yaml:1:4", "the tag !mine is not allowed"),
        ("a: !!binary aGk=", "f.yaml:1:4", "must be text or a number"),
        ("a: *nowhere", "f.yaml:1:4", "undefined alias"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_place(text, where, words):
    (problem,) = read_text(text, "f.yaml").problems
    assert problem.where == where
    assert words in str(problem)


def test_aliases_of_aliases_do_not_explode():
    levels = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
    problems = read_text(f"a0: &a0 [1]\n{levels}", "f.yaml").problems
    assert any("grows too large" in str(problem) for problem in problems)


def test_an_alias_stands_for_its_value():
    assert read_text("a: &x {b: 1}\nc: *x\n", "f").data == {"a": {"b": 1}, "c": {"b": 1}}


def test_files_that_cannot_be_read(tmp_path: Path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes("\ufeffa: 1\nb: f\u00fcr ".encode() + b"\xfcber")
    cases = {
        binary: (f"{binary}:2:8", "is not UTF-8 text: byte 0xfc"),
        tmp_path: (str(tmp_path), "is a folder"),
        tmp_path / "missing.yaml": (str(tmp_path / "missing.yaml"), "there is no such file"),
        binary / "below.yaml": (str(binary / "below.yaml"), "cannot be read"),
        Path("a\0b"): ("a\0b", "cannot be read"),
    }
    for file, (where, words) in cases.items():
        (problem,) = read_yaml(file).problems
        assert problem.where == where
        assert words in problem.message


def test_a_file_of_data_is_no_configuration(tmp_path: Path):
    file = tmp_path / "large.yaml"
    with file.open("wb") as out:
        out.truncate(1 << 30)
    (problem,) = read_yaml(file).problems
    assert "is 1.074 GB: too large" in problem.message


def test_a_byte_order_mark_is_skipped(tmp_path: Path):
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(file).data == {"a": 1}


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_of_sixteen_bits_is_text(tmp_path: Path, codec: str):
    file = tmp_path / "wide.yaml"
    file.write_bytes("\ufeffa: ü\n".encode(codec) if "-" in codec[4:] else "a: ü\n".encode(codec))
    data = read_yaml(file).data
    assert data == {"a": "ü"}


def test_dotted_paths():
    assert dotted(("systems", 1, "cache", "policy")) == "systems[1].cache.policy"


def test_bottomless_nesting_is_told():
    (problem,) = read_text("[" * 1000, "f.yaml").problems
    assert "nested too deeply" in problem.message


def test_deep_nesting_that_can_be_read_is_told_too():
    text = "a: " + "{b: " * 200 + "1" + "}" * 200
    (problem,) = read_text(text, "f.yaml").problems
    assert (problem.where, problem.key) == ("f.yaml:1:404", "a")
    assert "nested too deeply" in problem.message
