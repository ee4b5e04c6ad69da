"""The numbers of a machine with their units and sources, as lists for people to read."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.config.machine import MachineConfig, Part
from simulator.config.part_keys import by_dotted_key
from simulator.units import format_quantity

__all__ = ["numbers_of", "parts_of", "sourced_numbers"]


def parts_of(machine: MachineConfig) -> Iterator[tuple[str, Part]]:
    """(path, part) of every socket, parts within parts after them; equal ones once.

    The path is that of the socket (`cpu.memory`), the host's name before it where hosts differ.
    """
    shown: list[Part] = []
    for path, part in _all_parts(machine):
        if part not in shown:
            shown.append(part)
            yield path, part


def _all_parts(machine: MachineConfig) -> Iterator[tuple[str, Part]]:
    for host in machine.hosts:
        prefix = f"{host.name}." if len(machine.hosts) > 1 else ""
        for name, socket in host.sockets.items():
            yield from _with_inner(f"{prefix}{name}", socket.part)
    if machine.network is not None:
        yield from _with_inner("network", machine.network.part)


def _with_inner(path: str, part: Part) -> Iterator[tuple[str, Part]]:
    yield path, part
    for name in type(part).model_fields:
        inner = getattr(part, name)
        if isinstance(inner, Part):
            yield from _with_inner(f"{path}.{name}", inner)


def numbers_of(part: Part, everything: bool = True) -> Iterator[tuple[str, str, str]]:
    """(key, value, source) of a part, derived ones last: every key, or those that it gives itself
    and that stand at its top or are rates.

    The source of a key above holds for the keys below it that have none.
    """
    for key, value in _values(part, unset=everything).items():
        if everything or "." not in key or value.endswith("/s"):
            yield key, value, _source(key, part.sources)
    for key, text in part.derived().items():
        yield key, format_quantity(text), "derived"


def sourced_numbers(part: Part) -> Iterator[tuple[str, str, str]]:
    """(key, value, source) of each source; no value where it is that of several."""
    values = _values(part, unset=True)
    for key, source in part.sources.items():
        yield key, values.get(key, ""), source


def _values(part: Part, unset: bool) -> dict[str, str]:
    """The values of a part by dotted key, those of parts within it left out."""
    data = part.model_dump(
        mode="json",
        exclude={"kind", "name", "sources", "calibrated"},
        exclude_none=True,
        exclude_unset=not unset,
    )
    own = {name: value for name, value in data.items() if not isinstance(getattr(part, name), Part)}
    return {key: _text(value) for key, value in by_dotted_key(own)}


def _text(value: object) -> str:
    if isinstance(value, str):
        return format_quantity(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _source(key: str, sources: dict[str, str]) -> str:
    while key not in sources and "." in key:
        key = key.rpartition(".")[0]
    return sources.get(key, "not given")
