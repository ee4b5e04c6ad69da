"""What limits a point, and what would help: each lever twice as fast, half as fast, and free.

All variations of a point share its replay. The elasticity of a lever is the share of a percent that
the iteration becomes shorter where it becomes a percent faster, taken between `1 / factor` and
`factor` times its speed: ln(T(slower) / T(faster)) / ln(factor^2). In a system whose stages follow
each other elasticities add up to one; where they overlap, what hides behind others has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from simulator.config.point import PointConfig
from simulator.engine.levers import Lever, levers_of, with_speed
from simulator.engine.points import simulate_each
from simulator.errors import ConfigError, UsageError
from simulator.results.record import PointResult, Progress

__all__ = ["MOST_POINTS", "Answer", "Change", "WhatIf", "what_if"]

MOST_POINTS = 5_000
"""Variations that one call simulates at most."""
_PAIRED = 5
"""Levers of which every pair is tried."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An iteration of a varied point; `training_is_ours`: see the column of that name."""

    time_us: float
    bottleneck: str
    training_is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Iterations with one lever (or several together) at other speeds; None: its keys cannot say
    that speed."""

    levers: tuple[Lever, ...]
    base: Answer
    factor: float
    faster: Answer | None
    free: Answer | None
    slower: Answer | None

    @property
    def name(self) -> str:
        return " + ".join(lever.name for lever in self.levers)

    @property
    def gain(self) -> float:
        """By how much more iterations a second it has at `factor` times the speed: 0.5 is half as
        many again; nan where that was refused."""
        return self.base.time_us / self.faster.time_us - 1 if self.faster else math.nan

    @property
    def most(self) -> float:
        """The same where it takes no time at all."""
        return self.base.time_us / self.free.time_us - 1 if self.free else math.nan

    @property
    def loss(self) -> float:
        """The same at `1 / factor` of the speed, below zero where iterations become longer."""
        return self.base.time_us / self.slower.time_us - 1 if self.slower else math.nan

    @property
    def elasticity(self) -> float:
        """See above."""
        if not self.faster or not self.slower:
            return math.nan
        return math.log(self.slower.time_us / self.faster.time_us) / math.log(self.factor**2)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """All that was varied of one point, what helps most first; `pair`: the two that help most
    together."""

    point: PointConfig
    base: Answer
    changes: tuple[Change, ...]
    pair: Change | None = None


def what_if(
    points: Sequence[PointConfig],
    factor: float = 2.0,
    *,
    single: bool = False,
    pair: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[WhatIf]:
    """For each point what each of its levers would change; `single`: a lever a key.

    Raises `UsageError` for a factor that is no speed-up and for too many variations; what the point
    itself raises.
    """
    if not factor > 1 or math.isinf(factor):
        raise UsageError(f"--factor {factor:g}: a number above 1, as 2 for twice as fast")
    levers = [levers_of(point, single=single) for point in points]
    count = sum(1 + 3 * len(each) for each in levers)
    if count > MOST_POINTS:
        raise UsageError(
            f"{len(points)} points of up to {max(map(len, levers))} levers are {count:,} "
            f"variations, more than {MOST_POINTS:,}: choose points with --set, as "
            "systems=[scratchpipe]"
        )
    for point, own in zip(points, levers, strict=True):
        yield _varied(point, own, factor, pair, progress)


def _varied(
    point: PointConfig,
    levers: Sequence[Lever],
    factor: float,
    pair: bool,
    progress: Callable[[Progress], None] | None,
) -> WhatIf:
    speeds = (factor, math.inf, 1 / factor)
    wanted = [((), 1.0), *(((lever,), speed) for lever in levers for speed in speeds)]
    base, *answers = _answers(point, wanted, progress)
    if base is None:
        raise AssertionError("the point itself is never refused")
    changes = [
        Change((lever,), base, factor, *answers[3 * number : 3 * number + 3])
        for number, lever in enumerate(levers)
    ]
    ranked = sorted(range(len(levers)), key=lambda k: -_number(changes[k].gain))
    best = None
    if pair and len(levers) > 1:
        pairs = list(combinations([levers[k] for k in ranked[:_PAIRED]], 2))
        tried = [(two, speed) for two in pairs for speed in speeds]
        found = _answers(point, tried, progress)
        both = [Change(two, base, factor, *found[3 * k : 3 * k + 3]) for k, two in enumerate(pairs)]
        best = max(both, key=lambda change: _number(change.gain))
    return WhatIf(point, base, tuple(changes[k] for k in ranked), best)


def _number(gain: float) -> float:
    return -math.inf if math.isnan(gain) else gain


def _answers(
    point: PointConfig,
    wanted: Sequence[tuple[tuple[Lever, ...], float]],
    progress: Callable[[Progress], None] | None,
) -> list[Answer | None]:
    """The iteration of each variation of a point; None where its keys are refused together."""
    places, varied = [], []
    for number, (levers, speed) in enumerate(wanted):
        changed = point
        try:
            for lever in levers:
                changed = with_speed(changed, lever, speed)
        except ConfigError:
            continue
        places.append(number)
        varied.append(changed)
    answers: list[Answer | None] = [None] * len(wanted)
    for index, outcome in simulate_each(varied, progress=progress):
        number = places[index]
        if isinstance(outcome, PointResult):
            metrics = outcome.metrics
            answers[number] = Answer(
                metrics["iteration_time_us"], metrics["bottleneck"], metrics["training_is_ours"]
            )
        elif number == 0 or not isinstance(outcome, ConfigError):
            raise outcome
    return answers
