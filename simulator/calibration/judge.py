"""Whether points decide the numbers that a search found for them.

A number is undecided where it sits on a limit that physics does not set, where its standard error
is above `WORST_ERROR`, or where numbers of its block can stand in for each other
(`WORST_CONDITION`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.calibration.blocks import Block, Parameter
from simulator.calibration.points import Point
from simulator.calibration.quantities import told
from simulator.calibration.search import KNEE, Optimum, Problem
from simulator.calibration.uncertainty import Uncertainty, uncertainty

__all__ = ["WORST_CONDITION", "WORST_ERROR", "Fault", "Number", "Trial", "faults", "judged"]

Vector = npt.NDArray[np.float64]

WORST_ERROR = 0.5
"""Standard error above which a number is not identifiable: half of it fits as well as twice."""
WORST_CONDITION = 30.0
"""Condition of the scaled Jacobian above which numbers are not: 30 is what two numbers have whose
columns have a cosine of 0.998."""
_AT_LIMIT = 0.01
"""Relative distance within which a number is on its limit."""


@dataclass(frozen=True)
class Number:
    """One fitted number and how well it is known."""

    path: str
    value: float
    error: float
    """Relative standard error; 0 for a number on a limit that physics sets."""
    partner: str
    """The number of its block that it is most correlated with; empty where it is alone."""
    correlation: float
    at_limit: bool = False

    @property
    def known(self) -> str:
        """The same in a few words."""
        if self.at_limit:
            return f"at its limit, {told(self.path, self.value)}"
        text = f"+-{self.error:.2g}" if self.error > 10 else f"+-{self.error:.1%}"
        return f"{text}, r = {self.correlation:.2f} with {self.partner}" if self.partner else text


@dataclass(frozen=True)
class Fault:
    """A number that the points do not decide."""

    parameter: Parameter
    block: str
    why: str
    hint: str
    found: float | None
    """What the search left it at; None where no point depends on it."""
    kept: float | None = None
    """The value that it keeps; None where it is an error."""

    def __str__(self) -> str:
        path = self.parameter.path
        stays = "" if self.kept is None else f". It stays {told(path, self.kept)}"
        return f"{path} (block {self.block}): {self.why}. {self.hint}{stays}"


@dataclass(frozen=True)
class Trial:
    """A search that has ended, and what the points say of its numbers."""

    parameters: Sequence[Parameter]
    points: Sequence[Point]
    optimum: Optimum
    jacobian: Vector
    """Elasticities at the optimum, shape (points, numbers)."""
    values: Vector
    """The numbers, shape (n,); those at a limit exactly there."""
    limits: tuple[str, ...]
    """`low`, `high` or nothing: the limit that each number sits on."""
    uncertainty: Uncertainty
    """Of the numbers that sit on no limit that physics sets; the others are as good as given."""

    @classmethod
    def of(
        cls,
        parameters: Sequence[Parameter],
        points: Sequence[Point],
        problem: Problem,
        optimum: Optimum,
    ) -> Trial:
        """What `optimum` is worth."""
        limits = tuple(_limit(*each) for each in zip(parameters, optimum.logs, strict=True))
        values = [
            getattr(p, limit) if limit else float(np.exp(log))
            for p, limit, log in zip(parameters, limits, optimum.logs, strict=True)
        ]
        jacobian = problem.jacobian(optimum.logs)
        open_ones = [n for n, p in enumerate(parameters) if not _physical(p, limits[n])]
        errors = problem.errors(optimum.logs)
        found = uncertainty(jacobian[:, open_ones], errors, problem.weights, KNEE)
        whole = _spread(found, open_ones, len(parameters))
        return cls(parameters, points, optimum, jacobian, np.array(values), limits, whole)


def _limit(parameter: Parameter, log: float) -> str:
    if abs(log - np.log(parameter.low)) < _AT_LIMIT:
        return "low"
    return "high" if abs(log - np.log(parameter.high)) < _AT_LIMIT else ""


def _physical(parameter: Parameter, limit: str) -> bool:
    return bool(limit) and parameter.physical in (limit, "both")


def _spread(found: Uncertainty, places: Sequence[int], n: int) -> Uncertainty:
    """`found` for `places` among `n` numbers; the others are known and alone."""
    errors, correlations = np.zeros(n), np.eye(n)
    errors[list(places)] = found.errors
    correlations[np.ix_(places, places)] = found.correlations
    return Uncertainty(errors, correlations, found.condition)


def judged(trial: Trial) -> tuple[Number, ...]:
    """The numbers of a search with their errors."""
    numbers = []
    for index, parameter in enumerate(trial.parameters):
        other, r = trial.uncertainty.partner(index)
        numbers.append(
            Number(
                parameter.path,
                float(trial.values[index]),
                float(trial.uncertainty.errors[index]),
                _short(trial.parameters[other].path) if other != index else "",
                r,
                _physical(parameter, trial.limits[index]),
            )
        )
    return tuple(numbers)


def _short(path: str) -> str:
    """The last words of a path: enough within a block."""
    return ".".join(path.split(".")[-2:]).removeprefix("memory_path.")


def faults(block: Block, trial: Trial) -> list[Fault]:
    """Numbers that the points do not decide, worst first."""
    errors = trial.uncertainty.errors
    reasons: dict[int, str] = {}
    for index, parameter in enumerate(trial.parameters):
        limit = trial.limits[index]
        if limit and not _physical(parameter, limit):
            reasons[index] = _on_limit(parameter, limit)
    for index in np.argsort(-errors, kind="stable"):
        answer = _physical(trial.parameters[index], trial.limits[index])
        if errors[index] > WORST_ERROR and not answer:
            reasons.setdefault(int(index), _unknown(trial, int(index)))
    if not reasons and trial.uncertainty.condition > WORST_CONDITION:
        worst = int(np.argmax(errors))
        reasons[worst] = (
            f"not identifiable: numbers of the block stand in for each other, the scaled Jacobian "
            f"has condition {trial.uncertainty.condition:.0f} (at most {WORST_CONDITION:.0f}); "
            f"this one is known least, {judged(trial)[worst].known}"
        )
    return [
        Fault(
            trial.parameters[index],
            block.name,
            why,
            _hint(trial, index),
            float(trial.values[index]) if np.isfinite(errors[index]) else None,
        )
        for index, why in reasons.items()
    ]


def _on_limit(parameter: Parameter, limit: str) -> str:
    path = parameter.path
    return (
        f"on the {limit} end of its range, {told(path, getattr(parameter, limit))} "
        f"({told(path, parameter.low)} to {told(path, parameter.high)})"
    )


def _unknown(trial: Trial, index: int) -> str:
    number = judged(trial)[index]
    if not np.isfinite(number.error):
        return "not identifiable: no point that was measured depends on it"
    return f"not identifiable: {number.known} (at most +-{WORST_ERROR:.0%})"


def _hint(trial: Trial, index: int) -> str:
    """The measurement that would decide a number."""
    parameter = trial.parameters[index]
    if parameter.decided_by:
        return f"What would decide it: {parameter.decided_by}"
    felt: dict[str, float] = {}
    for point, row in zip(trial.points, trial.jacobian, strict=True):
        felt[point.operator] = max(felt.get(point.operator, 0.0), abs(float(row[index])))
    most = max(felt, key=lambda operator: felt[operator])
    if felt[most] < 1e-3:
        files = ", ".join(dict.fromkeys(point.file for point in trial.points))
        return f"What would decide it: sizes in {files} where it is what limits"
    return (
        f"What would decide it: more sizes of {most!r}, which feels it most: 10 % of it move a "
        f"point by up to {0.1 * felt[most]:.1%}"
    )
