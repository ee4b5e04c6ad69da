"""Plug-ins: systems, policies and kinds of parts that other packages announce as entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from simulator.errors import UsageError

__all__ = ["load_plugin", "plugins"]


def plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted."""
    entries = entry_points(group=group)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def load_plugin(entry: EntryPoint) -> Any:
    """What an entry point names.

    Raises `UsageError` that says which package announces it, where importing it fails.
    """
    try:
        return entry.load()
    except Exception as error:
        package = "a package" if entry.dist is None else f"the package {entry.dist.name}"
        raise UsageError(
            f"{entry.name} of {package} cannot be loaded ({entry.group}: {entry.value}): "
            f"{type(error).__name__}: {error}"
        ) from error
