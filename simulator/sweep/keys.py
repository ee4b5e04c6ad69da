"""The key of a finished point: equal keys, equal outcomes.

A key is the hash of the resolved configuration, of the contents of the files that the trace is read
from (their paths do not count as contents), of the files of systems, policies and parts that are
referred to, and of the version of the code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import simulator
from simulator._plugin_files import from_file, module_file, own_sources
from simulator.config.machine import Part
from simulator.config.point import PointConfig, canonical_json
from simulator.errors import TraceError
from simulator.source import text_hash
from simulator.traces.curves import shipped

__all__ = ["code_version", "point_key"]

SHOWING = ("cli", "figures", "studies", "sweep")
"""Rooms of the package that show results or order the work; no outcome depends on their code."""

_COMPUTING = ("numpy", "simpy", "numba")
"""Packages whose version counts as code."""

_GROUPS = ("scratchpipe.parts", "scratchpipe.policies", "scratchpipe.systems")
_SHIPPED = {
    "curve": {"path": "popularity_curves.csv"},
    "stack": {"path": "popularity_curves.csv", "distances_path": "stack_distance_hist.csv"},
}
"""Files that a kind of trace reads where its configuration names none."""


def point_key(point: PointConfig) -> str:
    """SHA-256 (hex) of all that determines the outcome of `point`.

    Raises `TraceError` where a file of the trace cannot be read.
    """
    facts: list[Any] = [point.key(), _trace_contents(point), code_version()]
    facts += _own_code(point)
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()


def _own_code(point: PointConfig) -> list[str]:
    """Hashes of the files that hold its system, its policy and kinds of parts of its machine."""
    named = map(from_file, (point.system.name, point.cache.policy))
    files = [Path(reference.file) for reference in named if reference is not None]
    sockets = [socket for host in point.platform.hosts for socket in host.sockets.values()]
    parts = [socket.part for socket in (*sockets, point.platform.network) if socket is not None]
    for part in parts:
        files += filter(None, (module_file(type(p).__module__) for p in _with_inner(part)))
    return [own_sources(file) for file in sorted(set(files))]


def _with_inner(part: Part) -> Iterator[Part]:
    """A part and those within it."""
    yield part
    for name in type(part).model_fields:
        inner = getattr(part, name)
        if isinstance(inner, Part):
            yield from _with_inner(inner)


def _trace_contents(point: PointConfig) -> list[str]:
    """Hashes of the files that the trace is read from."""
    trace = point.trace
    hashes = []
    for name in ("path", "distances_path"):
        path = getattr(trace, name, "")
        default = _SHIPPED.get(trace.kind, {}).get(name)
        if path:
            hashes.append(_contents(Path(path)))
        elif default:
            hashes.append(_contents(shipped(default)))
    return hashes


def _contents(path: Path) -> str:
    """The hash of a file, or of all files of a folder; read again only where it has changed."""
    try:
        if path.is_dir():
            inner = sorted(file for file in path.rglob("*") if file.is_file())
            contents = [[file.relative_to(path).as_posix(), _contents(file)] for file in inner]
            return hashlib.sha256(canonical_json(contents).encode()).hexdigest()
        about = path.stat()
        return _file_hash(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from error


@cache
def _file_hash(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def code_version() -> str:
    """SHA-256 (hex) of the source files that outcomes depend on, of parts, policies and systems
    from other packages, and of the versions of the packages that compute."""
    root = Path(simulator.__file__).parent
    files = [
        file
        for file in sorted(root.rglob("*.py"))
        if file.relative_to(root).parts[0] not in SHOWING
    ]
    versions = [f"{name} {metadata.version(name)}" for name in _COMPUTING]
    plugins = [
        f"{entry.name} {entry.value} {hashlib.sha256(_source(entry)).hexdigest()}"
        for group in _GROUPS
        for entry in sorted(entry_points(group=group), key=lambda entry: entry.name)
    ]
    return text_hash(files, *versions, *plugins)


def _source(entry: EntryPoint) -> bytes:
    """The source of a part, policy or system of another package."""
    try:
        spec = find_spec(entry.module)
    except ImportError:
        return b""
    origin = Path(spec.origin) if spec and spec.origin else None
    return origin.read_bytes() if origin and origin.is_file() else b""
