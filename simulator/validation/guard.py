"""The guard: what was reached on each machine, so that a change which makes it worse fails.

Written by `scratchpipe validate --write-guard FILE` and read by `--guard FILE`; nobody sets its
numbers. A comparison passes while no error is larger than the recorded one plus `MARGIN`. It says
nothing about the goal, which may be far away (`simulator.validation.goal`).

    h200:
      platform: h200
      operators: tuned
      iterations: {n: 79, median: 0.0721, worst: 0.2821}
      bias: {hybrid: -0.0512}
      orders: {n: 128, disagree: 2}
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, TypeAdapter
from ruamel.yaml import YAML

from simulator.config.problems import validate
from simulator.config.reader import read_yaml
from simulator.config.types import Frozen
from simulator.errors import ConfigError, UsageError
from simulator.validation.compare import Comparison
from simulator.validation.numbers import Errors

__all__ = ["MARGIN", "Guard", "guard_of", "read_guards", "with_guard", "worse_than"]

MARGIN = 0.005
"""Half a percentage point: what may change between releases of the libraries that a simulation
uses. The simulation itself is deterministic."""

_HEAD = (
    "# Written by `scratchpipe validate --write-guard`: errors that were reached, by machine.\n"
    "# Not a goal; do not edit.\n"
)


class Reached(Frozen):
    """Errors of one kind of number, absolute."""

    n: int
    median: float
    worst: float


class Orders(Frozen):
    """Pairs of systems, and how many come in the other order."""

    n: int
    disagree: int


class Guard(Frozen):
    """What was reached on one machine."""

    platform: str
    operators: str
    iterations: Reached | None = None
    fewer_threads: Reached | None = None
    counts: Reached | None = None
    bias: dict[str, float] = Field(default_factory=dict)
    """Signed median of each system."""
    orders: Orders = Orders(n=0, disagree=0)


_GUARDS: TypeAdapter[dict[str, Guard]] = TypeAdapter(dict[str, Guard])


def guard_of(comparison: Comparison) -> Guard:
    """What `comparison` reached."""
    return Guard(
        platform=comparison.platform,
        operators=comparison.operators,
        iterations=_reached(Errors.of_times(comparison.iterations)),
        fewer_threads=_reached(Errors.of_times(comparison.fewer_threads)),
        counts=_reached(Errors.of([count.error for count in comparison.chosen])),
        bias={
            name: round(errors.bias, 4)
            for name, times in comparison.systems.items()
            if (errors := Errors.of_times(times)) is not None
        },
        orders=Orders(n=len(comparison.orders), disagree=len(comparison.disagreeing)),
    )


def _reached(errors: Errors | None) -> Reached | None:
    if errors is None:
        return None
    return Reached(n=errors.n, median=round(errors.median, 4), worst=round(abs(errors.worst), 4))


def read_guards(file: Path) -> dict[str, Guard]:
    """The guard of each machine by its name. Raises `UsageError` where there is no such file,
    `ConfigError` with every mistake in it."""
    if not file.is_file():
        raise UsageError(f"{file}: there is no guard yet: write it with --write-guard {file}")
    document = read_yaml(file)
    guards, misfits = validate(_GUARDS, document.data, document.marks, ())
    if document.problems or misfits or guards is None:
        raise ConfigError(*document.problems, *misfits)
    read: dict[str, Guard] = guards
    return read


def with_guard(file: Path, machine: str, guard: Guard) -> str:
    """The text of `file` with the guard of `machine` set, others as they are."""
    guards = (read_guards(file) if file.is_file() else {}) | {machine: guard}
    data = {
        name: guards[name].model_dump(mode="json", exclude_none=True) for name in sorted(guards)
    }
    text = io.StringIO()
    yaml = YAML()
    yaml.dump(data, text)
    return _HEAD + text.getvalue()


def worse_than(guard: Guard, comparison: Comparison) -> list[str]:
    """What has become worse, in sentences; empty where nothing has."""
    return comparison.unusable() or list(_worse(guard, guard_of(comparison)))


def _worse(guard: Guard, now: Guard) -> Iterator[str]:
    if (now.platform, now.operators) != (guard.platform, guard.operators):
        yield (
            f"compares {now.platform} with {now.operators} operators, but the guard was written "
            f"for {guard.platform} with {guard.operators}"
        )
    for name in ("iterations", "fewer_threads", "counts"):
        yield from _worse_errors(name.replace("_", " "), getattr(guard, name), getattr(now, name))
    for system, bias in guard.bias.items():
        if system not in now.bias:
            yield f"{system} is not compared any more"
        elif abs(now.bias[system]) > abs(bias) + MARGIN:
            yield f"bias of {system} {now.bias[system]:+.1%}, was {bias:+.1%}"
    if now.orders.n < guard.orders.n or now.orders.disagree > guard.orders.disagree:
        yield (
            f"{now.orders.disagree} of {now.orders.n} pairs of systems in the other order, "
            f"were {guard.orders.disagree} of {guard.orders.n}"
        )


def _worse_errors(name: str, was: Reached | None, now: Reached | None) -> Iterator[str]:
    if was is None:
        return
    if now is None or now.n < was.n:
        yield f"{name}: compares {0 if now is None else now.n} numbers, were {was.n}"
        return
    if now.median > was.median + MARGIN:
        yield f"{name}: median error {now.median:.1%}, was {was.median:.1%}"
    if now.worst > was.worst + MARGIN:
        yield f"{name}: worst error {now.worst:.1%}, was {was.worst:.1%}"
