"""Plug-ins: systems, policies and kinds of parts that other packages announce as entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Any

from simulator.errors import PluginError, ScratchPipeError, UsageError

__all__ = ["explained", "load_plugin", "named", "plugins"]


def plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted."""
    return _plugins(group, tuple(sys.path))


@lru_cache
def _plugins(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Looked for once for what is on the `path` of imports: that reads many files."""
    del path
    entries = entry_points(group=group)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def load_plugin(entry: EntryPoint) -> Any:
    """What an entry point names.

    Raises `UsageError` that says which package announces it, where importing it fails.
    """
    try:
        return entry.load()
    except Exception as error:
        raise UsageError(
            f"{named(entry)} cannot be loaded ({entry.group}: {entry.value}): "
            f"{type(error).__name__}: {error}"
        ) from error


def named(entry: EntryPoint) -> str:
    """An entry point for messages: its name and its package."""
    package = "a package" if entry.dist is None else f"the package {entry.dist.name}"
    return f"{entry.name} of {package}"


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Errors of code of another package as a `PluginError` that names it and its line; errors of
    this package, and those that it raises on purpose, pass."""
    try:
        yield
    except ScratchPipeError:
        raise
    except Exception as error:
        where = [frame for frame in extract_tb(error.__traceback__) if not _ours(frame.filename)]
        if not where:
            raise
        last = where[-1]
        raise PluginError(
            f"{name} {what}: {type(error).__name__}: {error} ({last.filename}:{last.lineno}, in "
            f"{last.name})"
        ) from error


def _ours(file: str) -> bool:
    """Whether a file belongs to this package or to what it is installed with."""
    home = Path(__file__).parent
    return home in Path(file).parents or "site-packages" in file or file.startswith("<")
