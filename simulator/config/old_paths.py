"""Paths of machines as they were written before machines were made of parts: what to write now."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.config.nodes import Node
from simulator.config.reader import KeyPath, dotted
from simulator.errors import Problem

__all__ = ["OLD_KEYS", "moved"]

OLD_KEYS = ("cpu", "gpu", "link", "nvlink")
"""Keys that stood at the top of a machine."""


def moved(machine: Node, prefix: KeyPath) -> Iterator[Problem]:
    """A problem for each old key at the top of `machine`, with the path to write instead."""
    for key in OLD_KEYS:
        inner = machine.get(key)
        if inner is None:
            continue
        old: tuple[str, ...] = (key,)
        while len(inner.keys()) == 1:
            name, inner = next(inner.items())
            old = (*old, str(name))
        new = dotted((*prefix, "host", *_renamed(old, machine)))
        message = "is an old path: the parts of a machine stand under `host`"
        yield Problem(inner.mark.key, dotted((*prefix, *old)), message, f"write {new}")


def _renamed(old: tuple[str, ...], machine: Node) -> tuple[str, ...]:
    """The path below `host` that says now what `old` said."""
    part, *rest = old
    if part == "link":
        part = _link(machine)
    if rest[:1] == ["memory"]:
        inner = rest[1:]
        if inner == ["device"]:
            inner = ["part"]
        elif inner == ["channels"]:
            inner = ["organization", "channels"]
        elif inner[:1] == ["overrides"]:
            inner = inner[1:]
        rest = ["memory", *inner]
    return (part, *rest)


def _link(machine: Node) -> str:
    """The socket of the link between processors: the first that joins two others."""
    host = machine.get("host")
    for name, socket in host.items() if host is not None else ():
        join = socket.get("join")
        if join is not None and isinstance(join.value, tuple) and len(join.value) > 1:
            return str(name)
    return "pcie"
