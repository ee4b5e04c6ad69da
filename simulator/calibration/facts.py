"""What a machine says of itself: names, cores, sizes of caches and memories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.calibration.sockets import CPU, GPU, cpu_of, gpu_of, with_key
from simulator.config.machine import MachineConfig
from simulator.errors import UsageError

__all__ = [
    "MACHINE",
    "Described",
    "Facts",
    "described",
    "described_by",
    "disagreements",
    "machine_facts",
    "recognised",
    "with_facts",
]

MACHINE = "machine.json"
Facts = dict[str, int | str]

_PATHS = {
    "cpu": f"{CPU}.name",
    "cores": f"{CPU}.cores",
    "last_level_cache_bytes": f"{CPU}.last_level_cache",
    "memory_bytes": f"{CPU}.memory.capacity",
    "gpu": f"{GPU}.name",
    "gpu_l2_cache_bytes": f"{GPU}.l2_cache",
    "gpu_memory_bytes": f"{GPU}.memory.capacity",
}
"""Keys of the file, and what they say of a platform."""
_GPUS = "gpus"
"""Key of the number of GPUs; 1 where a file with a GPU does not say."""
_SIZES_DIFFER = 0.1
"""Share by which a size may differ from that of a part and mean the same: 60 MB of a white paper
are 62.9 million bytes of the driver."""


@dataclass(frozen=True)
class Described:
    """What tells which machine of the catalogue was measured."""

    origin: str
    """Who says so, for messages."""
    gpu: str | None
    """What its driver calls it; None: there is none."""
    gpus: int
    cores: int | None


def described_by(folder: Path) -> Described | None:
    """The machine that was measured into `folder`; None where it has no `machine.json`."""
    file = folder / MACHINE
    return described(_read(file), str(file)) if file.is_file() else None


def described(said: Mapping[str, Any], origin: str) -> Described:
    """What plain data, as `machine.json` holds it, says. Raises `UsageError` for values that are
    none."""
    facts = _facts(said, origin)
    gpus = said.get(_GPUS, 1)
    if not isinstance(gpus, int) or isinstance(gpus, bool) or gpus < 1:
        raise UsageError(f"{origin}: {_GPUS} is {gpus!r}: expected a number of GPUs, 1 or more")
    gpu, cores = facts.get(_PATHS["gpu"]), facts.get(_PATHS["cores"])
    return Described(
        origin,
        gpu if isinstance(gpu, str) else None,
        gpus,
        cores if isinstance(cores, int) else None,
    )


def machine_facts(folder: Path) -> Facts:
    """By dotted path; none where `folder` has no `machine.json`. Raises `UsageError` where that
    cannot be read."""
    file = folder / MACHINE
    return _facts(_read(file), str(file)) if file.is_file() else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise UsageError(f"{file}: must be a mapping")
    return said


def _facts(said: Mapping[str, Any], origin: str) -> Facts:
    facts: Facts = {}
    for key, path in _PATHS.items():
        value = said.get(key)
        if value is None:
            continue
        kind = str if path.endswith(".name") else int
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            wanted = "a name" if kind is str else "a whole number above 0"
            raise UsageError(f"{origin}: {key} is {value!r}: expected {wanted}")
        facts[path] = value
    return facts


def recognised(platform: MachineConfig, facts: Facts) -> Facts:
    """`facts` with the name that the catalogue has for a GPU that `platform` recognises."""
    part = gpu_of(platform)
    known = facts.get(f"{GPU}.name") in part.reported_as
    return facts | {f"{GPU}.name": part.name} if known else facts


def with_facts(platform: MachineConfig, facts: Facts) -> MachineConfig:
    """`platform` with `facts` in place."""
    for path, value in facts.items():
        platform = with_key(platform, path, value)
    return platform


def disagreements(platform: MachineConfig, facts: Facts) -> list[str]:
    """Where parts of the catalogue are not those of the machine that was measured: cores and caches
    that a fit goes by. Memories are left out, whose usable bytes are fewer than those sold."""
    own: dict[str, int] = {
        f"{CPU}.cores": cpu_of(platform).cores,
        f"{CPU}.last_level_cache": cpu_of(platform).last_level_cache,
        f"{GPU}.l2_cache": gpu_of(platform).l2_cache,
    }
    return [
        f"{path} is {value:,} in the catalogue, {facts[path]:,} says the machine"
        for path, value in own.items()
        if path in facts and _differ(value, facts[path], exactly=path.endswith("cores"))
    ]


def _differ(value: int, said: int | str, *, exactly: bool) -> bool:
    return abs(value / float(said) - 1.0) > (0.0 if exactly else _SIZES_DIFFER)
