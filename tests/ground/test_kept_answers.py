"""Answers on disk: given back as they were, and never the reason why a run fails."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

MODULE = """\
from simulator._kept_answers import kept

worked = []

@kept("numpy")
def halves(numbers, name="x"):
    worked.append(numbers)
    return [n / {divisor} for n in numbers] if numbers else None
"""

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the module anew, as another process would; its folder is below `tmp_path`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))

    def loaded(divisor: int = 2) -> Any:
        file = tmp_path / f"by_{divisor}" / "halving.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(MODULE.format(divisor=divisor))
        spec = importlib.util.spec_from_file_location("halving", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


def answers(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.answer"))


def test_an_answer_is_worked_out_once(load: Load, tmp_path: Path) -> None:
    for expected in ([(1, 3)], []):
        module = load()
        assert module.halves((1, 3)) == [0.5, 1.5]
        assert module.worked == expected
    assert len(answers(tmp_path)) == 1


def test_no_answer_is_one_too(load: Load) -> None:
    assert load().halves(()) is None
    again = load()
    assert again.halves(()) is None
    assert again.worked == []


def test_other_arguments_and_other_text_have_other_answers(load: Load) -> None:
    module = load()
    module.halves((1, 3))
    assert module.halves((1, 4)) == [0.5, 2.0]
    assert module.halves((1, 3), name="y") == [0.5, 1.5]
    assert len(module.worked) == 3
    assert load(divisor=4).halves((1, 3)) == [0.25, 0.75]


@pytest.mark.parametrize("damage", [b"", b"[0.5]", b"\0" * 32 + b"[0.5, 1.5]"])
def test_a_damaged_answer_is_worked_out_again(load: Load, tmp_path: Path, damage: bytes) -> None:
    load().halves((1, 3))
    (file,) = answers(tmp_path)
    file.write_bytes(damage)
    module = load()
    assert module.halves((1, 3)) == [0.5, 1.5]
    assert module.worked == [(1, 3)]
    assert load().halves((1, 3)) == [0.5, 1.5]


def test_answers_that_cannot_be_kept_are_given_all_the_same(load: Load, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    for _ in range(2):
        module = load()
        assert module.halves((1, 3)) == [0.5, 1.5]
        assert module.worked == [(1, 3)]


def test_a_module_keeps_so_many_answers(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator._kept_answers.MOST", 2)
    for number in range(4):
        assert load().halves((number,)) == [number / 2]
    assert len(answers(tmp_path)) == 2
    module = load()
    assert [module.halves((number,)) for number in range(4)] == [[0.0], [0.5], [1.0], [1.5]]
    assert module.worked == [(2,), (3,)]
