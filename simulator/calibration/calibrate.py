"""From a folder of micro-benchmarks to a fitted platform, a fitted profile and their residuals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simulator.calibration.blocks import BLOCKS
from simulator.calibration.cpu_points import cpu_points
from simulator.calibration.direct import Direct, direct_values
from simulator.calibration.facts import (
    MACHINE,
    Facts,
    disagreements,
    machine_facts,
    recognised,
    with_facts,
)
from simulator.calibration.fit import BlockFit, Rules, fit_blocks
from simulator.calibration.gpu_points import gpu_points
from simulator.calibration.hits import HitShares
from simulator.calibration.link_points import link_points
from simulator.calibration.points import Point, Residual, residuals
from simulator.calibration.rig import Rig
from simulator.calibration.sockets import cpu_of, gpu_of
from simulator.calibration.tables import FILES, check_threads
from simulator.config.machine import MachineConfig
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.errors import UsageError

__all__ = ["UNUSED", "Calibration", "Entries", "Options", "calibrate", "held_out", "points_in"]

UNUSED = "not used"


@dataclass(frozen=True)
class Entries:
    """What a calibration starts from."""

    platform: MachineConfig
    operators: OperatorProfile
    model: ModelConfig
    """Gives the tables that the measurements drew from."""


@dataclass(frozen=True)
class Options:
    """How a calibration goes about it."""

    keep_undecided: bool = False
    """Numbers that the measurements do not decide keep the base's value; else they are an error."""
    keep_profile: bool = False
    """The software is the same: its numbers are held, only the machine's are fitted."""
    own_facts: bool = True
    """Names, cores and sizes that the machine says of itself replace those of the base. Else the
    base is that machine: other cores and caches are an error."""


@dataclass(frozen=True)
class Calibration:
    """What a calibration found."""

    platform: MachineConfig
    operators: OperatorProfile
    values: dict[str, float]
    """Every number that was fitted or measured, by dotted path."""
    sources: dict[str, str]
    """Where each of them comes from, and how well it is known."""
    facts: Facts
    """What the machine said of itself, by dotted path; none where the base keeps its own."""
    residuals: list[Residual]
    """Every point beside the fitted model, shown-only points included."""
    blocks: list[BlockFit]
    """How each block of numbers was fitted, and what was kept or skipped."""
    files: dict[str, str] = field(default_factory=dict)
    """Every file of the folder, and what it was used for; begins with `UNUSED` for nothing."""


@dataclass(frozen=True)
class _Start:
    """What every fit to one folder starts from."""

    rig: Rig
    points: list[Point]
    direct: Direct
    facts: Facts
    rules: Rules


def calibrate(folder: Path, entries: Entries, options: Options | None = None) -> Calibration:
    """Fit platform and operators of `entries` to the files in `folder`; deterministic.

    Parameters whose files are missing keep their values. Raises `UsageError` where there is nothing
    to read, `UndecidedError` for numbers that the measurements do not decide.
    """
    start = _start(folder, entries, options or Options())
    fit = fit_blocks(start.rig, start.points, start.rules)
    values = {path: one.value for path, one in start.direct.items()} | fit.values
    sources = {path: one.source for path, one in start.direct.items()} | fit.evidence
    return Calibration(
        fit.rig.config,
        fit.rig.profile,
        values,
        sources,
        start.facts,
        residuals(start.points, fit.rig),
        fit.blocks,
        _files(folder, start),
    )


def held_out(folder: Path, entries: Entries, options: Options | None = None) -> list[Residual]:
    """Points as predicted by a fit that did not see them: how well the models interpolate.

    Two fits, each without every other point of every operator; the first and the last point of an
    operator are always fitted and not among the residuals. Numbers are taken as half of the points
    give them, decided or not. Raises `UsageError` as `calibrate`.
    """
    start = _start(folder, entries, options or Options())
    rules = replace(start.rules, undecided="take")
    errors = []
    for half in (0, 1):
        hidden = _every_other(start.points, half)
        fitted = [point for number, point in enumerate(start.points) if number not in hidden]
        fit = fit_blocks(start.rig, fitted, rules)
        errors += residuals([start.points[number] for number in sorted(hidden)], fit.rig)
    return errors


def _every_other(points: list[Point], half: int) -> set[int]:
    """Places in `points`: one of two neighbours of each operator, never its first or last."""
    numbers: dict[str, list[int]] = {}
    for number, point in enumerate(points):
        if point.weight:
            numbers.setdefault(point.operator, []).append(number)
    return {number for each in numbers.values() for number in each[1:-1][half::2]}


def _start(folder: Path, entries: Entries, options: Options) -> _Start:
    platform = entries.platform
    facts = recognised(platform, machine_facts(folder))
    if options.own_facts:
        platform = with_facts(platform, facts)
    elif other := disagreements(platform, facts):
        raise UsageError(
            f"{folder / MACHINE}: {'; '.join(other)}: change the part, or write a machine of its "
            "own with --out FILE"
        )
    points = points_in(folder, platform, entries.model)
    direct = direct_values(folder)
    if options.keep_profile:
        direct = {path: one for path, one in direct.items() if not path.startswith("operators.")}
    rig = Rig(platform, entries.operators, entries.model)
    rig = rig.changed({path: one.value for path, one in direct.items()})
    rules = Rules(
        "keep" if options.keep_undecided else "refuse",
        _values(entries),
        ("operators.",) if options.keep_profile else (),
    )
    return _Start(rig, points, direct, facts if options.own_facts else {}, rules)


def _values(entries: Entries) -> dict[str, float]:
    """What the base says of every number that a fit may decide; those it lacks are left out."""
    rooms: Mapping[str, Any] = {
        "operators": entries.operators,
        "platform": entries.platform,
    }
    found = {}
    for block in BLOCKS:
        for parameter in block.parameters:
            room, *keys = parameter.path.split(".")
            value = _at(rooms[room], keys)
            if isinstance(value, int | float):
                found[parameter.path] = float(value)
    return found


def _at(value: Any, keys: list[str]) -> Any:
    """The value at a path of keys of configurations; None where there is none."""
    if isinstance(value, MachineConfig):
        socket = value.socket(keys[1])
        value, keys = (None if socket is None else socket.part), keys[2:]
    for key in keys:
        value = getattr(value, key, None)
    return value


def points_in(folder: Path, platform: MachineConfig, model: ModelConfig) -> list[Point]:
    """Every point that the files in `folder` hold.

    Raises `UsageError` where the folder holds none of the documented files, nothing of use, or a
    row on more threads than `platform` has cores.
    """
    if not any((folder / name).is_file() for name in FILES):
        raise UsageError(f"{folder}: has none of {', '.join(FILES)}")
    check_threads(folder, cpu_of(platform).cores)
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


def _files(folder: Path, start: _Start) -> dict[str, str]:
    """Every file of the folder by name, with what it was used for."""
    used: dict[str, list[str]] = {}
    for name in dict.fromkeys(point.file for point in start.points):
        own = [point for point in start.points if point.file == name]
        fitted = sum(point.weight > 0 for point in own)
        shown = f", {len(own) - fitted} of them shown only" if fitted < len(own) else ""
        used.setdefault(name, []).append(f"{len(own)} points{shown}")
    for path, one in start.direct.items():
        if one.file:
            used.setdefault(one.file, []).append(f"{path.rpartition('.')[2]} as measured")
    if (folder / MACHINE).is_file():
        used[MACHINE] = ["what was measured"]
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    return {name: ", ".join(used.get(name, [_unused(name)])) for name in names}


def _unused(name: str) -> str:
    return f"{UNUSED}: no row of it is of use" if name in FILES else UNUSED
