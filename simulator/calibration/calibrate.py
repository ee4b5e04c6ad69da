"""From a folder of micro-benchmarks to a fitted platform, a fitted profile and their residuals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simulator.calibration.cpu_points import cpu_points
from simulator.calibration.direct import direct_values
from simulator.calibration.facts import Facts, machine_facts, with_facts
from simulator.calibration.fit import fit_blocks
from simulator.calibration.gpu_points import gpu_points
from simulator.calibration.hits import HitShares
from simulator.calibration.link_points import link_points
from simulator.calibration.points import Point, Residual, residuals
from simulator.calibration.rig import Rig
from simulator.calibration.sockets import cpu_of, gpu_of
from simulator.calibration.tables import FILES
from simulator.config.machine import MachineConfig
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.errors import UsageError

__all__ = ["Calibration", "calibrate", "held_out", "points_in"]


@dataclass(frozen=True)
class Calibration:
    """What a calibration found."""

    platform: MachineConfig
    operators: OperatorProfile
    values: dict[str, float]
    """Every number that was fitted or measured, by dotted path."""
    sources: dict[str, str]
    """Where each of them comes from."""
    facts: Facts
    """What the machine said of itself, by dotted path."""
    residuals: list[Residual]
    """Every point beside the fitted model, shown-only points included."""


@dataclass(frozen=True)
class _Start:
    """What every fit to one folder starts from."""

    rig: Rig
    points: list[Point]
    direct: dict[str, tuple[float, str]]
    facts: Facts


def calibrate(
    folder: Path, platform: MachineConfig, operators: OperatorProfile, model: ModelConfig
) -> Calibration:
    """Fit `platform` and `operators` to the files in `folder`; deterministic.

    Parameters whose files are missing keep the values of `platform`. `model` gives the tables
    that the measurements drew from. Raises `UsageError` where there is nothing to read.
    """
    start = _start(folder, platform, operators, model)
    fit = fit_blocks(start.rig, start.points)
    values = {path: value for path, (value, _) in start.direct.items()} | fit.values
    sources = {path: source for path, (_, source) in start.direct.items()} | fit.evidence
    errors = residuals(start.points, fit.rig)
    return Calibration(fit.rig.config, fit.rig.profile, values, sources, start.facts, errors)


def held_out(
    folder: Path, platform: MachineConfig, operators: OperatorProfile, model: ModelConfig
) -> list[Residual]:
    """Points as predicted by a fit that did not see them: how well the models interpolate.

    Two fits, each without every other point of every operator; the first and the last point of an
    operator are always fitted and not among the residuals. Raises `UsageError` as `calibrate`.
    """
    start = _start(folder, platform, operators, model)
    errors = []
    for half in (0, 1):
        hidden = _every_other(start.points, half)
        fitted = [point for number, point in enumerate(start.points) if number not in hidden]
        fit = fit_blocks(start.rig, fitted)
        errors += residuals([start.points[number] for number in sorted(hidden)], fit.rig)
    return errors


def _every_other(points: list[Point], half: int) -> set[int]:
    """Places in `points`: one of two neighbours of each operator, never its first or last."""
    numbers: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        if point.weight:
            numbers.setdefault(point.operator, []).append(number)
    return {number for each in numbers.values() for number in each[1:-1][half::2]}


def _start(
    folder: Path, platform: MachineConfig, operators: OperatorProfile, model: ModelConfig
) -> _Start:
    facts = machine_facts(folder)
    platform = with_facts(platform, facts)
    points = points_in(folder, platform, model)
    direct = direct_values(folder)
    rig = Rig(platform, operators, model)
    rig = rig.changed({path: value for path, (value, _) in direct.items()})
    return _Start(rig, points, direct, facts)


def points_in(folder: Path, platform: MachineConfig, model: ModelConfig) -> list[Point]:
    """Every point that the files in `folder` hold.

    Raises `UsageError` where the folder holds none of the documented files, or nothing of use.
    """
    if not any((folder / name).is_file() for name in FILES):
        raise UsageError(f"{folder}: has none of {', '.join(FILES)}")
    hits = HitShares(
        cpu_bytes=cpu_of(platform).last_level_cache,
        gpu_bytes=gpu_of(platform).l2_cache,
        tables=model.tables,
        rows_per_table=model.rows_per_table[0],
    )
    points = [
        *cpu_points(folder, hits),
        *gpu_points(folder, hits),
        *link_points(folder, cpu_of(platform).cores),
    ]
    if not points:
        raise UsageError(f"{folder}: no row measures an operator that the models know")
    return points
