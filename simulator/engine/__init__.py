"""Wires trace, policy, system and platform together, runs them, checks invariants.

`simulate(experiment) -> Result` is the one entry: the command line, the sweep runner and a
notebook all call it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from simulator.caches.policies.base import Policies
from simulator.config.expand import expand
from simulator.config.experiment import Experiment, Names
from simulator.config.load import load_experiment as _load
from simulator.config.load import parse_experiment as _parse
from simulator.config.point import PointConfig
from simulator.engine.check import check_points
from simulator.engine.drawn import DrawnResult
from simulator.engine.points import simulate_each, simulate_points
from simulator.engine.replaying import Ahead, read_ahead, replays_ahead, write_ahead
from simulator.engine.sharing import misfits, replay_key, trace_key
from simulator.hardware.devices import part_kinds
from simulator.results.finishing import finished_points
from simulator.results.record import Progress
from simulator.results.seeds import each_seed
from simulator.systems import UsedKeys

__all__ = [
    "Ahead",
    "DrawnResult",
    "check_points",
    "known_names",
    "load_experiment",
    "parse_experiment",
    "read_ahead",
    "replay_key",
    "replays_ahead",
    "simulate",
    "simulate_each",
    "simulate_points",
    "trace_key",
    "write_ahead",
]


def known_names() -> Names:
    """The systems, policies and kinds of parts that exist, for reading experiments."""
    return Names(systems=UsedKeys(), policies=Policies(), parts=part_kinds(), misfits=misfits)


def load_experiment(
    path: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), *, over: Iterable[str] = ()
) -> Experiment:
    """The experiment in the YAML file `path`, or in a mapping that says what such a file does,
    after `overrides` ("model.dim=64"). `over`: values to sweep, too ("cache.fraction=0.1,0.2").

    Raises `ConfigError` with every problem found, each with file:line:column.
    """
    if isinstance(path, Mapping):
        return _parse(dict(path), overrides, known_names(), over=over)
    return _load(path, overrides, known_names(), over)


def parse_experiment(
    data: dict[str, Any], overrides: Iterable[str] = (), names: Names | None = None
) -> Experiment:
    """The experiment that plain `data` says: what `load_experiment` does without a file."""
    return _parse(data, overrides, names or known_names())


def simulate(
    experiment: Experiment, *, progress: Callable[[Progress], None] | None = None
) -> DrawnResult:
    """Simulate every point of `experiment`.

    Deterministic: equal experiments give equal results, wall-clock columns apart. Raises
    `CapacityError` where a cache cannot hold its window or tables do not fit, `TraceError` for a
    trace that cannot be read, `InvariantError` where a check of the simulation itself fails.
    """
    points: tuple[PointConfig, ...] = expand(experiment, known_names())
    every = tuple(one for point in points for one in each_seed(point))
    results = simulate_points(every, progress=progress)
    outcomes = finished_points(points, results)
    return DrawnResult(experiment.name, outcomes, experiment.origin.software)
