"""What was measured and what the models say of it: the points that a fit goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.calibration.rig import Rig

__all__ = ["Point", "Residual", "residuals"]


@dataclass(frozen=True, slots=True)
class Point:
    """One measured condition of one operator."""

    operator: str
    """What the residual table calls it."""
    file: str
    condition: str
    """Sizes, threads, distribution: as the file has them."""
    measured: float
    unit: str
    spread: float
    """Largest over smallest measurement of the condition (hosts)."""
    model: Callable[[Rig], float]
    weight: float = 1.0
    """How much a fit heeds it; 0: shown, not fitted."""


@dataclass(frozen=True, slots=True)
class Residual:
    """A point beside its model."""

    point: Point
    modelled: float

    @property
    def error(self) -> float:
        """Relative: 0.05 is a model 5 % above the measurement."""
        return self.modelled / self.point.measured - 1.0

    @property
    def log_error(self) -> float:
        return math.log(self.modelled / self.point.measured)


def residuals(points: Sequence[Point], rig: Rig) -> list[Residual]:
    """Every point beside what `rig` says."""
    return [Residual(point, point.model(rig)) for point in points]
