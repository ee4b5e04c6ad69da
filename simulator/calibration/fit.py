"""Fits parameters block by block to pooled points, robustly and deterministically.

Loss: weighted sum of log errors, quadratic below 5 % and linear beyond (Huber), so that one odd
point cannot pull a fit, and errors of 10 us and of 10 ms count alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulator.calibration.blocks import BLOCKS, Block, Parameter
from simulator.calibration.minimize import minimize
from simulator.calibration.points import Point, Residual, residuals
from simulator.calibration.rig import Rig

__all__ = ["Fit", "fit_blocks"]

_KNEE = 0.05
_OUTSIDE = 100.0
"""Loss of one e-fold outside of a parameter's range."""
_DIGITS = 4
"""Significant digits of a fitted number: more would be noise of the measurements."""


@dataclass
class Fit:
    """The rig with its fitted parameters, and what each block was decided by."""

    rig: Rig
    values: dict[str, float] = field(default_factory=dict)
    """Fitted number by dotted path."""
    evidence: dict[str, str] = field(default_factory=dict)
    """Where each number comes from: files, points, residual."""


def fit_blocks(rig: Rig, points: Sequence[Point]) -> Fit:
    """Fit every block whose points were measured."""
    fit = Fit(rig)
    for block in BLOCKS:
        own = [point for point in points if point.operator in block.operators and point.weight]
        fits = block.when is None or block.when(rig.profile)
        if not fits or len(own) < len(block.parameters):
            continue
        values = _fit(fit.rig, block, own)
        fit.rig = fit.rig.changed(values)
        fit.values |= values
        text = _evidence(block, residuals(own, fit.rig))
        fit.evidence |= dict.fromkeys(values, text)
    return fit


def _fit(rig: Rig, block: Block, points: Sequence[Point]) -> dict[str, float]:
    parameters = block.parameters
    start = np.log([p.start for p in parameters])

    def loss(logs: npt.NDArray[np.float64]) -> float:
        values, outside = _inside(parameters, logs)
        tried = residuals(points, rig.changed(values))
        return _loss(tried) + _OUTSIDE * outside

    logs = minimize(loss, start)
    values, _ = _inside(parameters, logs)
    return {path: _rounded(value) for path, value in values.items()}


def _inside(
    parameters: Sequence[Parameter], logs: npt.NDArray[np.float64]
) -> tuple[dict[str, float], float]:
    """Values within their ranges, and how far `logs` lies outside of them."""
    values: dict[str, float] = {}
    outside = 0.0
    for parameter, log in zip(parameters, logs, strict=True):
        kept = min(max(float(log), math.log(parameter.low)), math.log(parameter.high))
        outside += abs(kept - float(log))
        values[parameter.path] = math.exp(kept)
    return values, outside


def _loss(tried: Iterable[Residual]) -> float:
    total = 0.0
    for residual in tried:
        error = abs(residual.log_error)
        size = error**2 / (2 * _KNEE) if error < _KNEE else error - _KNEE / 2
        total += residual.point.weight * size
    return total


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS - 1}e}")


def _evidence(block: Block, fitted: Sequence[Residual]) -> str:
    errors = sorted(abs(residual.error) for residual in fitted)
    files = ", ".join(dict.fromkeys(residual.point.file for residual in fitted))
    median = errors[len(errors) // 2]
    return (
        f"fitted ({block.name}): {files}, {len(errors)} points of "
        f"{len({residual.point.operator for residual in fitted})} operators; "
        f"residual {median:.1%} median, {errors[-1]:.1%} worst"
    )
