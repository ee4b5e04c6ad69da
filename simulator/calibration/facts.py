"""What a machine says of itself: names, cores, sizes of caches and memories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from simulator.config.platform import PlatformConfig
from simulator.errors import UsageError

__all__ = ["MACHINE", "Facts", "machine_facts", "with_facts"]

MACHINE = "machine.json"
Facts = dict[str, int | str]

_PATHS = {
    "cpu": "platform.cpu.name",
    "cores": "platform.cpu.cores",
    "last_level_cache_bytes": "platform.cpu.last_level_cache",
    "memory_bytes": "platform.cpu.memory.capacity",
    "gpu": "platform.gpu.name",
    "gpu_l2_cache_bytes": "platform.gpu.l2_cache",
    "gpu_memory_bytes": "platform.gpu.memory.capacity",
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


def with_facts(platform: PlatformConfig, facts: Facts) -> PlatformConfig:
    """`platform` with `facts` in place."""
    for path, value in facts.items():
        platform = _put(platform, path.split(".")[1:], value)
    return platform


def _put(model: Any, keys: list[str], value: int | str) -> Any:
    name, *rest = keys
    inner = _put(getattr(model, name), rest, value) if rest else value
    return model.model_copy(update={name: inner})
