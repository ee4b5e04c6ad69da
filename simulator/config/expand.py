"""From an experiment to its points: every combination of the sweep, every system, resolved.

The order is that of the file: the first swept key changes slowest, systems change fastest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.config.assign import Assignment, apply, keys_of
from simulator.config.experiment import Experiment, Names, Origin
from simulator.config.memo import by_identity
from simulator.config.point import PointConfig
from simulator.config.reader import Marks
from simulator.config.resolve import Resolver
from simulator.errors import ConfigError, Problem

__all__ = ["MOST_POINTS", "Axis", "Space", "check", "expand"]

MOST_POINTS = 100_000
"""Of an experiment: a minute to look at, a day to simulate."""


def expand(experiment: Experiment, names: Names | None = None) -> tuple[PointConfig, ...]:
    """Every point of `experiment`, in a fixed order, without repetitions.

    `names` stand in where the experiment was read without any. Raises `ConfigError` with every
    problem of every point.
    """
    origin = experiment.origin
    if names is not None and origin.names == Names():
        return _expanded(experiment, replace(origin, names=names))
    return _as_read(experiment)


@by_identity
def _as_read(experiment: Experiment) -> tuple[PointConfig, ...]:
    return _expanded(experiment, experiment.origin)


def _expanded(experiment: Experiment, origin: Origin) -> tuple[PointConfig, ...]:
    data = experiment.model_dump(mode="json")
    choices = list(_choices(data, origin.marks))
    _require_few(data, choices, origin.marks)
    data, resolver = _without_sweep(data, origin)
    points: dict[tuple[str, str], PointConfig] = {}
    problems: dict[Problem, None] = {}
    for combination in itertools.product(*choices):
        expanded, mistakes = _points(data, combination, resolver)
        problems |= dict.fromkeys(mistakes)
        for point in expanded:
            points.setdefault((point.system.label, point.key()), point)
    if problems:
        raise ConfigError(*problems)
    return tuple(points.values())


@dataclass(frozen=True, slots=True)
class Axis:
    """A swept key with its values, or the systems with their numbers."""

    key: str
    values: tuple[Any, ...]


class Space:
    """The points that an experiment spans, each made when it is asked for: there may be more of
    them than can be expanded."""

    def __init__(self, experiment: Experiment) -> None:
        data = experiment.model_dump(mode="json")
        self._choices = list(_choices(data, experiment.origin.marks))
        self._data, self._resolver = _without_sweep(data, experiment.origin)
        self._systems = list(self._resolver.systems(self._data))
        swept = (Axis(".".join(map(str, c[0].path)), _values(c)) for c in self._choices)
        self.axes = (*swept, Axis("systems", tuple(self._systems)))
        """Swept keys as in the file, then the systems."""

    @property
    def size(self) -> int:
        """Combinations; some may be the same point."""
        return math.prod(len(axis.values) for axis in self.axes)

    def point(self, picks: Sequence[int]) -> PointConfig:
        """The point with value number `picks[i]` of axis *i*.

        Raises `ConfigError` for values that do not go together.
        """
        *numbers, system = picks
        pairs = zip(self._choices, numbers, strict=True)
        combination = tuple(values[number] for values, number in pairs)
        points, problems = _points(self._data, combination, self._resolver, [self._systems[system]])
        if problems:
            raise ConfigError(*problems)
        return points[0]

    def every(self) -> Iterator[tuple[int, ...]]:
        """The picks of all points, the first axis changing slowest."""
        return itertools.product(*(range(len(axis.values)) for axis in self.axes))

    def one_at_a_time(self) -> Iterator[PointConfig]:
        """The first point, and those that differ from it in one value.

        Raises `ConfigError` as `point` does.
        """
        first = [0] * len(self.axes)
        yield self.point(first)
        for number, axis in enumerate(self.axes):
            for pick in range(1, len(axis.values)):
                yield self.point([*first[:number], pick, *first[number + 1 :]])


def _values(choice: Sequence[Assignment]) -> tuple[Any, ...]:
    return tuple(assignment.value for assignment in choice)


def check(data: Any, origin: Origin) -> list[Problem]:
    """Every problem of the points of raw `data`: each swept value is tried once.

    Not every combination: that is left to `expand`.
    """
    choices = list(_choices(data, origin.marks))
    data, resolver = _without_sweep(data, origin)
    problems: dict[Problem, None] = {}
    for combination in _one_at_a_time(choices):
        problems |= dict.fromkeys(_points(data, combination, resolver)[1])
    return list(problems)


def _require_few(data: Any, choices: list[list[Assignment]], marks: Marks) -> None:
    """Raise `ConfigError` for a sweep of more points than can be looked at, let alone simulated."""
    count = math.prod(map(len, choices)) * max(1, len(data["systems"]))
    if count > MOST_POINTS:
        sizes = " x ".join(f"{len(values):,} of {keys}" for keys, values in data["sweep"].items())
        message = f"makes {count:,} points ({sizes}): {MOST_POINTS:,} at most"
        hint = "split it into several experiments, or take fewer values"
        raise ConfigError(Problem(marks.key(("sweep",)), "sweep", message, hint))


def _without_sweep(data: Any, origin: Origin) -> tuple[Any, Resolver]:
    """What every point begins with: a point that carried all values of a long sweep would take
    time that grows with their number.

    A sweep over platforms keeps one operator profile, that of the experiment's own platform, unless
    the experiment names some: its points then differ in their machine alone.
    """
    swept = data.get("sweep")
    data = {key: value for key, value in data.items() if key != "sweep"}
    resolver = _resolver(origin)
    if isinstance(swept, dict) and "platform" in swept and "operators" not in swept:
        data = resolver.with_profile_of_platform(data)
    return data, resolver


@by_identity
def _resolver(origin: Origin) -> Resolver:
    """One for all that is asked of an experiment: its points are looked at twice."""
    return Resolver(replace(origin, marks=origin.marks.grafted(("sweep",), Marks())))


def _choices(data: Any, marks: Marks) -> Iterator[list[Assignment]]:
    """For each swept key the assignments of its values, a value that is repeated once."""
    sweep = data.get("sweep")
    for key, values in sweep.items() if isinstance(sweep, dict) else ():
        if not isinstance(values, list) or not values:
            continue
        swept = marks.below(("sweep", key))
        below = [Marks({(): swept.mark((i,))}) for i in range(len(values))]
        for path in swept.by_path:
            i = path[0] if len(path) > 1 else None
            if isinstance(i, int) and i < len(below) and len(below[i].by_path) == 1:
                below[i] = swept.below((i,))
        first: dict[str, Assignment] = {}
        for value, where in zip(values, below, strict=True):
            first.setdefault(repr(value), Assignment(keys_of(key), value, where))
        yield list(first.values())


def _one_at_a_time(choices: list[list[Assignment]]) -> Iterator[tuple[Assignment, ...]]:
    first = tuple(values[0] for values in choices)
    yield first
    for index, values in enumerate(choices):
        for value in values[1:]:
            yield (*first[:index], value, *first[index + 1 :])


def _points(
    data: Any,
    combination: Iterable[Assignment],
    resolver: Resolver,
    systems: Iterable[int] | None = None,
) -> tuple[list[PointConfig], list[Problem]]:
    """The points of one combination of swept values: one for each system, or each of `systems`."""
    combination = tuple(combination)
    try:
        data, marks = apply(data, resolver.marks, combination)
    except ValueError as error:
        return [], [Problem(combination[0].marks.value(()), "sweep", str(error))]
    swept = {".".join(map(str, assigned.path)): assigned.value for assigned in combination}
    points: list[PointConfig] = []
    problems: list[Problem] = []
    for index in resolver.systems(data) if systems is None else systems:
        point, mistakes = resolver.point(data, marks, index, swept)
        problems += mistakes
        if point is not None:
            points.append(point)
    return points, problems
