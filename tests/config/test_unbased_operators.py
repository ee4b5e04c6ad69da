"""Keys of `operators` without a profile that they change: they change that of the platform."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.errors import ConfigError

DATA: dict[str, Any] = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": "default",
    "trace": {"kind": "uniform"},
    "systems": ["hybrid"],
}


def software(operators: Any) -> Any:
    (point,) = expand(parse_experiment(DATA | {"operators": operators}))
    return point.operators


def test_they_change_the_profile_of_the_platform() -> None:
    usual, changed = software(None), software({"gpu": {"submission": "7 us"}})
    assert usual.gpu.submission != 7_000_000
    assert changed.gpu.submission == 7_000_000
    assert changed.gather == usual.gather


def test_a_misspelt_one_is_the_only_thing_said() -> None:
    with pytest.raises(ConfigError) as caught:
        software({"gpu": {"submision": "7 us"}})
    (problem,) = caught.value.problems
    assert "submission" in str(problem)
