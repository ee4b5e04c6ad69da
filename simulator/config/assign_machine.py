"""Put a value at a path below `platform`: a change laid over the machine, whatever its form.

A machine may be a name, a base with changes, or written out, and its sockets may be names, so that
only reading it (`simulator.config.machine_file`) shows what a change means: another part drops what
was laid over the old one. Where setting a key in place means the same, it is set in place (what
`config show` prints stays short); else the machine becomes the `base` of the change.
"""

from __future__ import annotations

import copy
from typing import Any

from simulator.config.machine import CHOOSERS, SOCKET_KEYS
from simulator.config.reader import KeyPath, Mark, Marks

__all__ = ["machine_path", "with_change"]

_WRITTEN_OUT = ("kind", "sources")
"""Keys of a mapping whose changes do more than set a key."""


def machine_path(path: KeyPath) -> int:
    """How many keys of `path` lead to a machine of which it names a key; 0: none."""
    if path[0] == "platform" and len(path) > 1:
        return 1
    below_entry = path[0] == "systems" and len(path) > 3 and path[2] == "platform"
    return 3 if below_entry else 0


def with_change(
    machine: Any, marks: Marks, path: KeyPath, value: Any, new: Marks
) -> tuple[Any, Marks]:
    """`machine` and its `marks` (rooted at ()) with `value` laid over it at `path`.

    Raises `ValueError` where the machine is no name and no mapping.
    """
    if isinstance(machine, str):
        machine, marks = {"base": machine}, Marks({(): marks.mark(()), ("base",): marks.mark(())})
    if machine is None:
        machine, marks = {}, Marks({(): new.mark(())})
    if not isinstance(machine, dict):
        raise ValueError("platform is a single value: it has no keys")
    machine = copy.deepcopy(machine)
    if _in_place(machine, marks, path, value):
        return _set(machine, marks, path, value, new)
    kept = _given(machine, marks, path)
    wrapped = Marks({(): marks.mark(())}).overlaid(("base",), marks)
    outer, wrapped = _set({"base": machine}, wrapped, path, value, new)
    for inner, (kept_value, mark) in kept.items():
        outer, wrapped = _set(outer, wrapped, inner, kept_value, Marks({(): mark}))
    return outer, wrapped


def _set(
    machine: dict[Any, Any], marks: Marks, path: KeyPath, value: Any, new: Marks
) -> tuple[dict[Any, Any], Marks]:
    """One key, the mappings on the way to it made where they lack."""
    here: Any = machine
    at: KeyPath = ()
    for key in path[:-1]:
        step: Any = key if isinstance(here, list) else str(key)
        at = (*at, step)
        inner = here[step] if isinstance(here, list) else here.get(step)
        if isinstance(inner, str):
            name = Mark(marks.value(at), marks.value(at))
            here[step], marks = {"part": inner}, marks.overlaid((*at, "part"), Marks({(): name}))
        elif inner is None:
            here[step], marks = {}, marks.grafted(at, Marks({(): new.mark(())}))
        here = here[step]
    here[path[-1]] = copy.deepcopy(value)
    return machine, marks.grafted((*at, path[-1]), new)


def _in_place(machine: dict[Any, Any], marks: Marks, path: KeyPath, value: Any) -> bool:
    """Whether setting the key is the same as laying it over the machine."""
    other = {"host": "hosts", "hosts": "host"}.get(str(path[0]))
    if other is not None and machine.get(other) is not None:
        return False
    if path == ("hosts",) and isinstance(machine.get("hosts"), list):
        return False
    here: Any = machine
    for depth, key in enumerate(path[:-1]):
        if isinstance(here, list):
            if not isinstance(key, int) or key >= len(here):
                return False
            inner = here[key]
        else:
            inner = "" if any(name in here for name in _WRITTEN_OUT) else here.get(key)
        if isinstance(inner, str) and _is_socket(path[: depth + 1]):
            inner = {"part": inner}
        if inner is None:
            return True
        if not isinstance(inner, dict | list):
            return False
        here = inner
    if not isinstance(here, dict) or any(name in here for name in _WRITTEN_OUT):
        return False
    if path[-1] in CHOOSERS:
        laid = [k for k in here if k not in (*CHOOSERS, *SOCKET_KEYS)]
        return all(marks.value((*path[:-1], k)).startswith("--set") for k in laid)
    if here.get(path[-1]) is None:
        return True
    return not isinstance(value, dict) and not (isinstance(value, str) and _is_socket(path))


def _is_socket(path: KeyPath) -> bool:
    """Whether the value at `path` is a socket."""
    within_host = len(path) == {"host": 2, "hosts": 3}.get(str(path[0]), 0)
    return path == ("network",) or (within_host and path[-1] not in ("count", "name"))


def _given(machine: dict[Any, Any], marks: Marks, path: KeyPath) -> dict[KeyPath, tuple[Any, Mark]]:
    """What the command line has said of the part that `path` is about: it outlives the part."""
    if path[-1] not in CHOOSERS and not _is_socket(path):
        return {}
    top = path[:-1] if path[-1] in CHOOSERS else path
    here: Any = machine
    for key in top:
        here = here.get(key) if isinstance(here, dict) else None
    given: dict[KeyPath, tuple[Any, Mark]] = {}

    def collect(value: Any, at: KeyPath) -> None:
        mark = marks.mark(at)
        if isinstance(value, dict):
            for key, inner in value.items():
                if key not in CHOOSERS:
                    collect(inner, (*at, key))
        elif mark.value.startswith("--set"):
            given[at] = (value, mark)

    if isinstance(here, dict):
        collect(here, top)
    return given
