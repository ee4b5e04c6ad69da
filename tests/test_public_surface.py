"""What `import simulator` offers."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import simulator
from simulator import errors

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_public_name_is_there() -> None:
    for name in simulator.__all__:
        assert getattr(simulator, name) is not None
    assert dir(simulator) == sorted(simulator.__all__)


def test_every_error_is_public() -> None:
    raised = {name for name in errors.__all__ if name != "Problem"}
    assert raised <= set(simulator.__all__)


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nosuch"):
        _ = simulator.nosuch


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n != "Problem"])
def test_exceptions_rebuild_from_their_arguments(name: str) -> None:
    """SimPy raises a process's exception again as `type(e)(*e.args)`."""
    kind = getattr(errors, name)
    one = kind("what", "where")
    again = type(one)(*one.args)
    assert again.args == one.args
    assert str(again) == str(one)
    assert again.exit_code in (1, 2, 3)


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.py")), ids=lambda file: file.stem)
def test_benchmarks_import_what_is_there(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simulator"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
