"""Fits parameters block by block to pooled points, and says how well each number is known.

A number that sits on a limit which physics does not set, or that the points do not decide, is no
result: it is an error, or it keeps the value that it had, and the others are fitted without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulator.calibration.blocks import BLOCKS, Block, Parameter
from simulator.calibration.judge import Fault, Number, Trial, faults, judged
from simulator.calibration.points import Point, residuals
from simulator.calibration.rig import Rig
from simulator.calibration.search import Problem, search
from simulator.errors import UndecidedError

__all__ = ["BlockFit", "Fit", "Rules", "fit_blocks"]

Vector = npt.NDArray[np.float64]

_DIGITS = 4
"""Significant digits of a fitted number: more would be noise of the measurements."""


@dataclass(frozen=True)
class Rules:
    """What a fit does about numbers that the points do not decide."""

    undecided: Literal["refuse", "keep", "take"] = "refuse"
    """`refuse`: an error. `keep`: they keep the value of `base`. `take`: what the search found."""
    base: Mapping[str, float] = field(default_factory=dict)
    """Values to keep, by dotted path. A number that it lacks stays where the search ended (or, if
    no point depends on it, where it began) and is said to be assumed."""

    def held(self, fault: Fault) -> float:
        """The value that an undecided number keeps."""
        number = fault.parameter
        found = number.start if fault.found is None else fault.found
        return self.base.get(number.path, found)

    fixed: tuple[str, ...] = ()
    """What paths begin with that are not fitted at all."""


@dataclass(frozen=True)
class BlockFit:
    """What came of one block."""

    name: str
    points: int
    numbers: tuple[Number, ...] = ()
    """In the order of the block; those that are fixed are left out."""
    condition: float = 1.0
    """Of the scaled Jacobian at the end."""
    agreed: int = 0
    """Searches that ended at the least loss, of `tried`."""
    tried: int = 0
    kept: tuple[Fault, ...] = ()
    """Numbers that keep their value, and why."""
    evidence: str = ""
    """Files, points, residual: where the numbers come from."""
    skipped: str = ""
    """Why nothing was fitted; empty where something was."""


@dataclass
class Fit:
    """The rig with its fitted parameters, and what each block was decided by."""

    rig: Rig
    values: dict[str, float] = field(default_factory=dict)
    """Fitted number by dotted path."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Where each number comes from: files, points, residual, how well it is known."""
    blocks: list[BlockFit] = field(default_factory=list)
    """Every block, skipped ones included."""


def fit_blocks(
    rig: Rig, points: Sequence[Point], rules: Rules | None = None, blocks: Sequence[Block] = BLOCKS
) -> Fit:
    """Fit every block of which something was measured.

    All numbers start where their blocks say, so that the result does not depend on what the rig
    says of them. Raises `UndecidedError` with every number that the points do not decide, unless
    `rules` say otherwise.
    """
    rules = rules or Rules()
    todo = [
        (block, _free(block, rules), _deciding(block, points))
        for block in blocks
        if block.when is None or block.when(rig.profile)
    ]
    starts = {p.path: p.start for _, free, n in todo if n > len(free) for p in free}
    fit = Fit(rig.changed(starts))
    undecided: list[Fault] = []
    for block, free, deciding in todo:
        skipped = _skipped(deciding, free)
        if skipped:
            fit.blocks.append(BlockFit(block.name, deciding, skipped=skipped))
        elif deciding <= len(free):
            undecided += _keep(fit, block, _own(block, points), rules)
        else:
            undecided += _take(fit, block, _own(block, points), rules)
    if undecided:
        raise UndecidedError("\n".join(map(str, undecided)) + f"\n{_WAYS}")
    return fit


_WAYS = (
    "Measure what would decide them, or give --keep-undecided: these numbers then keep the values "
    "of the base, and the others are fitted again."
)


def _own(block: Block, points: Sequence[Point]) -> list[Point]:
    operators = block.operators + block.beside
    return [point for point in points if point.operator in operators and point.weight]


def _deciding(block: Block, points: Sequence[Point]) -> int:
    return sum(point.operator in block.operators for point in _own(block, points))


def _free(block: Block, rules: Rules) -> list[Parameter]:
    return [p for p in block.parameters if not (p.path + ".").startswith(rules.fixed or ("\0",))]


def _skipped(points: int, free: Sequence[Parameter]) -> str:
    if not points:
        return "nothing of it was measured"
    return "" if free else "all of its numbers are held"


def _keep(fit: Fit, block: Block, own: Sequence[Point], rules: Rules) -> list[Fault]:
    """The numbers of a block with no more points than numbers, without a search: an error where
    `rules` refuse what is undecided, or they keep their values."""
    free, points = _free(block, rules), _deciding(block, own)
    several = "s" * (points > 1)
    why = f"{points} point{several} cannot decide {len(free)} number{'s' * (len(free) > 1)}"
    hint = f"What would decide it: more sizes of {' or '.join(block.operators)}"
    faults = [Fault(parameter, block.name, why, hint, found=None) for parameter in free]
    if rules.undecided == "refuse":
        fit.blocks.append(BlockFit(block.name, points))
        return faults
    kept = [replace(fault, kept=rules.held(fault)) for fault in faults]
    fit.rig = fit.rig.changed({p.path: rules.held(f) for p, f in zip(free, faults, strict=True)})
    _adopt(fit, block, own, rules, None, kept)
    return []


def _take(fit: Fit, block: Block, own: Sequence[Point], rules: Rules) -> list[Fault]:
    """Fit one block into `fit`; what is undecided and an error."""
    free, kept = _free(block, rules), list[Fault]()
    trial: Trial | None = _trial(fit.rig, free, own)
    while trial and rules.undecided == "keep" and (found := faults(block, trial)):
        value, number = rules.held(found[0]), found[0].parameter
        kept.append(replace(found[0], kept=value))
        fit.rig = fit.rig.changed({number.path: value})
        trial = _without(number, fit.rig, trial)
        if trial and not faults(block, trial):
            trial = _trial(fit.rig, trial.parameters, own)
    _adopt(fit, block, own, rules, trial, kept)
    return faults(block, trial) if trial and rules.undecided == "refuse" else []


def _without(number: Parameter, rig: Rig, trial: Trial) -> Trial | None:
    """A search from where `trial` ended without one of its numbers; None without any left."""
    free = [other for other in trial.parameters if other is not number]
    logs = [
        log
        for other, log in zip(trial.parameters, trial.optimum.logs, strict=True)
        if other is not number
    ]
    return _trial(rig, free, trial.points, [np.array(logs)]) if free else None


def _adopt(
    fit: Fit,
    block: Block,
    own: Sequence[Point],
    rules: Rules,
    trial: Trial | None,
    kept: Sequence[Fault],
) -> None:
    numbers = judged(trial) if trial else ()
    values = {number.path: _rounded(number.value) for number in numbers}
    fit.rig = fit.rig.changed(values)
    evidence = _evidence(block, own, fit.rig)
    fit.values |= values
    fit.evidence |= {n.path: f"{evidence}; {n.known}" for n in numbers}
    for fault in kept:
        path = fault.parameter.path
        if path not in rules.base:
            fit.values[path] = _rounded(rules.held(fault))
            fit.evidence[path] = f"assumed: where a search for it begins or ended; {fault.why}"
    fit.blocks.append(
        BlockFit(
            block.name,
            len(own),
            numbers,
            condition=trial.uncertainty.condition if trial else 1.0,
            agreed=trial.optimum.agreed if trial else 0,
            tried=trial.optimum.tried if trial else 0,
            kept=tuple(kept),
            evidence=evidence,
        )
    )


def _trial(
    rig: Rig,
    free: Sequence[Parameter],
    own: Sequence[Point],
    begin: Sequence[Vector] | None = None,
) -> Trial:
    """The best numbers for `free` from where to `begin` (None: from all starts), whatever they are
    worth."""

    def errors(logs: Vector) -> Vector:
        values = {p.path: float(np.exp(log)) for p, log in zip(free, logs, strict=True)}
        return np.array([r.log_error for r in residuals(own, rig.changed(values))])

    problem = Problem(
        errors,
        np.array([point.weight for point in own]),
        np.log([p.start for p in free]),
        np.log([p.low for p in free]),
        np.log([p.high for p in free]),
    )
    return Trial.of(free, own, problem, search(problem, begin))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS - 1}e}")


def _evidence(block: Block, own: Sequence[Point], rig: Rig) -> str:
    errors = sorted(abs(residual.error) for residual in residuals(own, rig))
    files = ", ".join(dict.fromkeys(point.file for point in own))
    operators = len({point.operator for point in own})
    return (
        f"fitted ({block.name}): {files}, {len(errors)} points of "
        f"{operators} operator{'s' * (operators > 1)}; "
        f"residual {errors[len(errors) // 2]:.1%} median, {errors[-1]:.1%} worst"
    )
