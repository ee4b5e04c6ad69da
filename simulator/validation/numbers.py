"""What is compared: times, counts, and the order of systems, each measured beside simulated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["INPUTS", "NOTABLE_US", "Count", "Errors", "Order", "Time"]

NOTABLE_US = 20.0
"""Shorter stages are launches and waits: listed, but no reason is asked for."""
INPUTS = ("lookups", "unique_rows")
"""Counts of the mini-batches themselves: given to both sides, so equal or not the same run."""


@dataclass(frozen=True, slots=True)
class Time:
    """A time as measured and as simulated, in microseconds; `stage` None: the whole iteration."""

    experiment: str
    system: str
    sweep: str
    stage: str | None
    measured_us: float
    simulated_us: float
    spread: float | None
    """Of repeat runs: (largest - smallest mean) / median of means; None where there was one, or
    where the record does not tell."""
    reason: str = ""
    fewer_threads: bool = False
    """Whether fewer CPU threads ran than the machine has cores."""
    run: int = 0
    """Number of the run directory that it comes from."""
    session_spread: float | None = None
    """Of several sessions that measured the same, as `spread`; None where there was one."""
    gpus: int = 1
    """That the system used."""
    bottleneck: str = ""
    """Of a whole iteration: the resource that binds it as simulated, or `latency`."""

    @property
    def error(self) -> float:
        """Signed: simulated over measured, less one."""
        return self.simulated_us / self.measured_us - 1.0

    @property
    def notable(self) -> bool:
        """Whether it is long enough to matter."""
        return self.stage is None or max(self.measured_us, self.simulated_us) >= NOTABLE_US

    @property
    def uncertainty(self) -> float:
        """The larger of both spreads; 0 where none is known."""
        return max(self.spread or 0.0, self.session_spread or 0.0)


@dataclass(frozen=True, slots=True)
class Count:
    """A count over the timed mini-batches."""

    experiment: str
    system: str
    sweep: str
    name: str
    observed: int
    simulated: int
    independent: bool = False
    """Whether a planner of the machine's own chose what was counted; else both sides followed one
    plan and are equal by construction."""

    @property
    def is_input(self) -> bool:
        return self.name in INPUTS

    @property
    def error(self) -> float:
        """Signed and relative; of a count of nothing, relative to one."""
        return (self.simulated - self.observed) / max(1, self.observed)


@dataclass(frozen=True, slots=True)
class Order:
    """Two systems in one regime that differ by more than the spread of their measurements."""

    experiment: str
    sweep: str
    faster: str
    slower: str
    measured: float
    """Time of the slower over that of the faster, as measured."""
    simulated: float
    spread: float
    """Sum of both spreads: by less than this the order is not known."""

    @property
    def agrees(self) -> bool:
        return self.simulated > 1.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Errors of one kind of number, summed up."""

    n: int
    median: float
    """Of absolute values."""
    worst: float
    """The one with the largest absolute value, signed."""
    bias: float
    """Signed median."""

    @classmethod
    def of(cls, errors: Sequence[float]) -> Errors | None:
        """None of nothing."""
        if not errors:
            return None
        worst = max(errors, key=abs)
        return cls(len(errors), float(np.median(np.abs(errors))), worst, float(np.median(errors)))

    @classmethod
    def of_times(cls, times: Iterable[Time]) -> Errors | None:
        return cls.of([time.error for time in times])
