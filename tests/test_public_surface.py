"""What `import simulator` offers."""

from __future__ import annotations

import pytest

import simulator
from simulator import errors


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
