"""Which points of a large space to try next: Optuna's tree-structured Parzen estimator.

Half of the trials look for the front of cost, speed and energy (and the size of the cache, where
that counts), half for the one point that was asked for, or for the fastest that it is measured by.
Values that are numbers keep their order, others are names. The same seed proposes the same points,
told the same outcomes.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from typing import Any

from simulator._extras import extra_module
from simulator.config.expand import Axis
from simulator.sweep.candidates import Candidate, Wanted

__all__ = ["BATCH", "Picks", "Proposals"]

Picks = tuple[int, ...]
"""The number of a value of each axis of a space."""

BATCH = 8
"""Points proposed at a time: they share replays and workers, and know nothing of each other."""
_STARTUP = 16
"""Trials drawn at random before anything is estimated, for each of the two aims."""
_REFUSED = 1e9
"""How far a point that does not fit is from what was asked for."""


class Proposals:
    """Proposes points, and learns from what became of them."""

    def __init__(self, axes: Sequence[Axis], wanted: Wanted, seed: int) -> None:
        self._optuna = extra_module("optuna", "searching a space that is too large to try all of")
        self._axes, self._wanted = axes, wanted
        self._orders = [_order(axis) for axis in axes]
        self._random = random.Random(seed)
        self._studies = [
            self._study(aim, seed + number)
            for number, aim in enumerate((3 if wanted.within is None else 4, 1))
        ]

    def _study(self, objectives: int, seed: int) -> Any:
        optuna = self._optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                constant_liar=True,
                n_startup_trials=_STARTUP,
            )
        return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)

    def ask(self, at_random: bool = False) -> list[tuple[Any, Picks]]:
        """The next trials, to be told back, and their points; `at_random` learns from none."""
        asked = []
        for number in range(BATCH):
            study = self._studies[number % len(self._studies)]
            if at_random:
                study.enqueue_trial(self._anywhere())
            trial = study.ask()
            asked.append(((study, trial), self._picks(trial)))
        return asked

    def _anywhere(self) -> dict[str, int]:
        """Parameters of a point drawn at random."""
        return {axis.key: self._random.randrange(len(axis.values)) for axis in self._axes}

    def _picks(self, trial: Any) -> Picks:
        return tuple(
            order[trial.suggest_int(axis.key, 0, len(order) - 1)]
            if _numbers(axis)
            else trial.suggest_categorical(axis.key, order)
            for axis, order in zip(self._axes, self._orders, strict=True)
        )

    def tell(self, asked: Any, outcome: Candidate | None) -> None:
        """What became of a trial; None: it does not fit."""
        study, trial = asked
        lacks = _REFUSED if outcome is None else outcome.lacks(self._wanted)
        trial.set_constraint("lacks", lacks)
        study.tell(trial, self._values(outcome, len(study.directions)))

    def _values(self, outcome: Candidate | None, objectives: int) -> list[float]:
        if outcome is None:
            return [_REFUSED] * objectives
        goods = [outcome.usd_per_hour, 1 / outcome.throughput, outcome.energy_mj]
        if self._wanted.within is not None:
            goods.append(outcome.cache_bytes)
        logs = [math.log(max(value, 1e-12)) for value in goods]
        if objectives > 1:
            return logs
        first, second = logs[:2] if self._wanted.throughput is not None else logs[1::-1]
        return [first + 1e-3 * second]


def _numbers(axis: Axis) -> bool:
    """Whether its values have an order."""
    return axis.key != "systems" and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values
    )


def _order(axis: Axis) -> list[int]:
    """The numbers of its values, by value where they are numbers."""
    numbers = range(len(axis.values))
    return sorted(numbers, key=lambda n: axis.values[n]) if _numbers(axis) else list(numbers)
