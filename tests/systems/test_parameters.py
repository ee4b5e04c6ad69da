"""Parameters that systems declare: keys of their entries, checked, told, and part of a point."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from simulator import systems
from simulator.config.expand import expand
from simulator.config.experiment import Names
from simulator.config.parameters import Given, Parameters, SystemKeys, parameters_of
from simulator.config.point import PointConfig
from simulator.config.types import Bytes
from simulator.engine import known_names, parse_experiment
from simulator.errors import ConfigError


class Knobs(Parameters):
    """Of a system made up for the test."""

    depth: Annotated[int, Field(ge=1, le=8), Given("verified", "its code, main.py")] = 2
    """Mini-batches read ahead."""
    budget: Annotated[Bytes, Given("assumed")] = Field("1 MiB")
    """Bytes of hot rows."""
    order: Literal["fifo", "lifo"] = "fifo"


def points(*entries: object) -> tuple[PointConfig, ...]:
    names = known_names()
    keys = {"hybrid": SystemKeys(frozenset({"gpus"}), Knobs), "straw_man": SystemKeys(None)}
    names = Names(keys, names.policies, names.parts, names.misfits)
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": {"base": "default", "tables": 2, "rows_per_table": 1000, "batch_size": 64},
        "trace": {"kind": "uniform"},
        "systems": list(entries),
    }
    return expand(parse_experiment(data, names=names))


def test_what_is_not_given_has_its_default_and_what_is_given_is_converted() -> None:
    (point,) = points({"name": "hybrid", "budget": "2 MiB"})
    assert point.system.parameters == {"depth": 2, "budget": "2097152 B", "order": "fifo"}
    assert Knobs(**point.system.parameters) == Knobs(budget="2 MiB")


def test_parameters_are_part_of_a_point() -> None:
    first, second, third = points(
        {"name": "hybrid"},
        {"name": "hybrid", "label": "default", "depth": 2},
        {"name": "hybrid", "label": "deep", "depth": 3},
    )
    assert first.key() == second.key() != third.key()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"depth": 9}, "systems[0].depth: is 9: must be at most 8"),
        ({"depth": 0}, "systems[0].depth: is 0: must be at least 1"),
        ({"depth": "two"}, 'systems[0].depth: is "two": expected a whole number'),
        ({"order": "fif"}, "expected one of fifo, lifo"),
        ({"budget": 12}, "systems[0].budget: 12 has no unit"),
        ({"dept": 3}, "systems[0].dept: unknown key"),
        ({"dept": 3}, "did you mean 'depth'?"),
        ({"labl": "x"}, "did you mean 'label'?"),
    ],
)
def test_bad_values_and_unknown_keys_are_named(entry: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        points({"name": "hybrid", **entry})
    assert message in str(caught.value)


def test_a_system_without_parameters_takes_no_key_of_another() -> None:
    with pytest.raises(ConfigError, match=r"systems\[0\]\.depth: unknown key"):
        points({"name": "straw_man", "depth": 3})


def test_parameters_are_told_with_range_meaning_and_source() -> None:
    depth, budget, order = parameters_of(Knobs)
    assert depth[:4] == ("depth", 2, "a whole number, at least 1, at most 8", depth.meaning)
    assert (depth.meaning, str(depth.given)) == (
        "Mini-batches read ahead.",
        "verified: its code, main.py",
    )
    assert (budget.default, budget.allowed, str(budget.given)) == (
        "1 MiB",
        "such as 32 GiB",
        "assumed",
    )
    assert (order.allowed, order.given) == ("one of fifo, lifo", None)


@pytest.mark.parametrize("name", systems.names())
def test_every_parameter_has_a_meaning_and_a_source(name: str) -> None:
    for parameter in parameters_of(systems.system_class(name).parameters):
        assert parameter.meaning.endswith("."), parameter.name
        assert parameter.given is not None, parameter.name
        assert parameter.given.source or parameter.given.label == "assumed", parameter.name


@pytest.mark.parametrize("name", systems.names())
def test_every_system_says_where_it_comes_from_and_what_its_result_is(name: str) -> None:
    kind = systems.system_class(name)
    assert systems.group_of(name) != "other" or kind.source == ""
    claimed = kind.consistency or kind.no_training
    assert systems.group_of(name) == "other" or (kind.source and claimed)
