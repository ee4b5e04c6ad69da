"""What a machine says of itself: names, cores, sizes of caches and memories."""

from __future__ import annotations

import json
from pathlib import Path

from simulator.calibration.sockets import CPU, GPU, with_key
from simulator.config.machine import MachineConfig
from simulator.errors import UsageError

__all__ = ["MACHINE", "Facts", "machine_facts", "with_facts"]

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


def machine_facts(folder: Path) -> Facts:
    """By dotted path; none where `folder` has no `machine.json`. Raises `UsageError` where that
    cannot be read."""
    file = folder / MACHINE
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise UsageError(f"{file}: must be a mapping")
    facts: Facts = {}
    for key, path in _PATHS.items():
        value = said.get(key)
        if value is None:
            continue
        kind = str if path.endswith(".name") else int
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            raise UsageError(f"{file}: {key} is {value!r}")
        facts[path] = value
    return facts


def with_facts(platform: MachineConfig, facts: Facts) -> MachineConfig:
    """`platform` with `facts` in place."""
    for path, value in facts.items():
        platform = with_key(platform, path, value)
    return platform
