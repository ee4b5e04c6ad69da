"""Numbers on the command line: whole however they are written; others named as they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typed import ran

from simulator.cli.app import VERBS, _loaded
from simulator.units import whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        ("1e6", 10**6),
        ("1.5e3", 1500),
        ("20000.0", 20000),
        ("1_000_000", 10**6),
        ("10e6", 10**7),
        (" 5 ", 5),
        ("-2e0", -2),
        ("0.0", 0),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_a_number_that_is_whole_is_a_whole_number(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["1.5", "1e-1", "nan", "inf", "true", "", "1e400", "1e999999999", "1e20", "0x10", "1" * 5000],
)
def test_no_other_is(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        whole_number(text)


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """A trace of one column."""
    np.save(tmp_path / "ids.npy", np.arange(50) % 7)
    return tmp_path / "ids.npy"


def test_options_take_them(ids: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--capacity", "3e0", "--capacity", "1_0", "--seed", "1e3", "--json")
    code, out, _ = ran(capsys, "replay", "--trace", ids, "--policy", "random", *more)
    points = json.loads(out)["points"]
    assert code == 0
    assert [(point["capacity"], point["seed"]) for point in points] == [(3, 1000), (10, 1000)]


@pytest.mark.parametrize("text", ["1.50", "nan", "1e400", "true", "1e20", ""])
def test_an_option_says_what_was_written(
    ids: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    code, _, told = ran(capsys, "replay", "--trace", ids, "--policy", "lru", "--capacity", text)
    assert code == 2
    assert "--capacity" in told
    assert repr(text) in told


def test_bounds_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = ran(capsys, "trace", "generate", tmp_path / "a.npy", "--rows", "-1e3")
    assert code == 2
    assert "-1e3 is less than 1" in told


def test_other_numbers_are_finite(capsys: pytest.CaptureFixture[str]) -> None:
    memory = ("memory", "measure", "--memory", "ddr4_2400", "--pattern", "zipf")
    for text in ("nan", "inf", "1e400"):
        code, _, told = ran(capsys, *memory, "--alpha", text)
        assert code == 2
        assert f"{text!r} is not a finite number" in told


def _functions(app: typer.Typer) -> Any:
    for command in app.registered_commands:
        yield command.callback
    for group in app.registered_groups:
        yield from _functions(group.typer_instance)


@pytest.mark.parametrize("name", VERBS)
def test_every_number_of_every_verb_is_read_so(name: str) -> None:
    _loaded(name)
    verb: Any = getattr(__import__(VERBS[name].module, fromlist=["_"]), VERBS[name].attribute)
    for function in _functions(verb) if isinstance(verb, typer.Typer) else [verb]:
        for hint in function.__annotations__.values():
            kind, *options = getattr(hint, "__origin__", None), *getattr(hint, "__metadata__", ())
            if int in (kind, *getattr(kind, "__args__", ())):
                assert all(option.parser is not None for option in options)


def test_the_end_of_a_file_is_not_taken_for_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ids: Path
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr("simulator.traces.files.open_source", ends)
    code, _, told = ran(capsys, "replay", "--trace", ids, "--policy", "lru", "--capacity", 2)
    assert code == 1
    assert "Ran out of input" in told
    assert "Abort" not in told
