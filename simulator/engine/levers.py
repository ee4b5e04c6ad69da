"""What of a machine and its software can be made faster, one thing at a time.

A lever is a part of the machine, a section within one (`memory_path`, `peak`), an operator of the
profile or a section of it, with all its numbers that a faster one would have otherwise: rates
(bandwidths, clocks, FLOP/s, accesses a second) times the factor, durations divided by it. Timings
that count clocks follow the clock. What is no speed stays: sizes, counts, shares, powers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from simulator.config.bounds import AtMost, Within
from simulator.config.machine import HostConfig, MachineConfig, Socket
from simulator.config.point import PointConfig
from simulator.config.types import Latency, PerSecond
from simulator.errors import ConfigError
from simulator.units import parse_quantity

__all__ = ["Lever", "levers_of", "with_speed"]

_RATES = ("bytes/s", "FLOP/s", "Hz")
Path = tuple[str, ...]
Direction = Literal["rate", "time"]


@dataclass(frozen=True, slots=True)
class Lever:
    """Something that can be made faster: keys below a place in the configuration of a point."""

    path: Path
    """`platform`, `host` or the host's number, the socket, ...; or `operators`, ..."""
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """`cpu.memory`, `operators.gather`."""
        several = self.path[1].startswith("hosts") if len(self.path) > 1 else False
        begin = 2 if self.path[1:2] == ("host",) else 1 if several or "network" in self.path else 0
        return ".".join(self.path[begin:])

    def settings(self, point: PointConfig) -> dict[str, str]:
        """Keys and values of `point` as an experiment would write them."""
        where = _at(point, self.path)
        told = where.model_dump(mode="json", include=set(self.keys))
        dotted = ".".join(self.path)
        return {f"{dotted}.{key}": str(told[key]) for key in self.keys}


def levers_of(point: PointConfig, *, single: bool = False) -> tuple[Lever, ...]:
    """All levers of a point; `single`: a lever for each key."""
    found: list[Lever] = []
    for place, part in _roots(point):
        for path, keys in _sections(part, place):
            each = [(key,) for key in keys] if single else [keys]
            found += [Lever(path, own) for own in each]
    return tuple(found)


def with_speed(point: PointConfig, lever: Lever, factor: float) -> PointConfig:
    """`point` with a lever `factor` times as fast; infinity: as fast as its keys can say.

    Raises `ConfigError` where the keys do not fit those beside them any more.
    """
    changed: PointConfig = _changed(point, lever.path, lever.keys, factor)
    roots = _roots(changed)
    place, part = next(root for root in roots if lever.path[: len(root[0])] == root[0])
    try:
        type(part).model_validate_json(json.dumps(part.model_dump(mode="json")))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"{'.'.join(place)} with {lever.name} changed: {reason}") from error
    return changed


def _roots(point: PointConfig) -> Iterator[tuple[Path, BaseModel]]:
    machine = point.platform
    for number, host in enumerate(machine.hosts):
        name = "host" if len(machine.hosts) == 1 else f"hosts.{number}"
        for socket in host.sockets:
            yield ("platform", name, socket), host.sockets[socket].part
    if machine.network is not None:
        yield ("platform", "network"), machine.network.part
    yield ("operators",), point.operators
    if point.load is not None:
        yield ("load",), point.load


def _sections(model: BaseModel, path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A model and what lies in it, each with its own keys that are speeds."""
    fields = type(model).model_fields
    own = tuple(key for key, field in fields.items() if _is_speed(model, key, field))
    if own:
        yield path, own
    for key in fields:
        value = getattr(model, key)
        if isinstance(value, BaseModel):
            yield from _sections(value, (*path, key))
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                if isinstance(inner, BaseModel):
                    yield from _sections(inner, (*path, key, str(name)))


def _is_speed(model: BaseModel, key: str, field: FieldInfo) -> bool:
    return isinstance(getattr(model, key), int | float) and _direction(field) is not None


def _marks(field: FieldInfo) -> Iterator[Any]:
    """Metadata of a field, and of what its type is made of (`Latency | None`)."""
    yield from field.metadata
    waiting: list[Any] = [field.annotation]
    while waiting:
        annotation = waiting.pop()
        yield from getattr(annotation, "__metadata__", ())
        waiting += get_args(annotation)


def _direction(field: FieldInfo) -> Direction | None:
    for mark in _marks(field):
        if isinstance(mark, PerSecond) or (isinstance(mark, Within) and mark.dimension in _RATES):
            return "rate"
        if isinstance(mark, Within) and mark.dimension == "time":
            return "time"
    return None


def _bounds(field: FieldInfo) -> tuple[float, float]:
    """The least and the most that a key takes, in the unit kept inside."""
    least, most = 0.0, math.inf
    for mark in _marks(field):
        if isinstance(mark, Within):
            least = max(least, parse_quantity(mark.least, mark.dimension))
            most = min(most, parse_quantity(mark.most, mark.dimension))
        elif isinstance(mark, AtMost):
            most = min(most, mark.most)
        elif (bound := getattr(mark, "le", None)) is not None:
            most = min(most, float(bound))
    return least, most


def _faster(model: BaseModel, key: str, factor: float) -> int | float:
    field, value = type(model).model_fields[key], getattr(model, key)
    least, most = _bounds(field)
    if _direction(field) == "rate":
        scaled = most if math.isinf(factor) else value * factor
    else:
        scaled = value / factor
        least = max(least, 1.0 if value and _is_positive(field) else 0.0)
    scaled = min(max(scaled, least), most)
    return round(scaled) if isinstance(value, int) else scaled


def _is_positive(field: FieldInfo) -> bool:
    """Whether a duration may not be nothing, for a rate is divided by it."""
    return any(
        mark in get_args(Latency)[1:] for mark in _marks(field) if not isinstance(mark, Within)
    )


def _at(model: Any, path: Path) -> Any:
    """What lies at `path` below a point."""
    if not path:
        return model
    head, *rest = path
    if isinstance(model, MachineConfig) and head != "network":
        host = model.hosts[_host_number(head)]
        return _at(host.sockets[rest[0]].part, tuple(rest[1:]))
    if isinstance(model, MachineConfig):
        return _at(model.network.part if model.network else None, tuple(rest))
    inner = model[head] if isinstance(model, Mapping) else getattr(model, head)
    return _at(inner, tuple(rest))


def _host_number(name: str) -> int:
    return int(name.partition(".")[2] or 0)


def _changed(model: Any, path: Path, keys: Sequence[str], factor: float) -> Any:
    """`model` with the keys at `path` made faster; all on the way are copies."""
    if not path:
        return model.model_copy(update={key: _faster(model, key, factor) for key in keys})
    head, rest = path[0], path[1:]
    if isinstance(model, MachineConfig):
        return _changed_machine(model, path, keys, factor)
    if isinstance(model, Mapping):
        return {**model, head: _changed(model[head], rest, keys, factor)}
    return model.model_copy(update={head: _changed(getattr(model, head), rest, keys, factor)})


def _changed_machine(
    machine: MachineConfig, path: Path, keys: Sequence[str], factor: float
) -> MachineConfig:
    def faster(socket: Socket, inner: Path) -> Socket:
        part = _changed(socket.part, inner, keys, factor)
        return socket.model_copy(update={"part": part})

    if path[0] == "network":
        assert machine.network is not None
        return machine.model_copy(update={"network": faster(machine.network, path[1:])})
    hosts: list[HostConfig] = list(machine.hosts)
    number, socket = _host_number(path[0]), path[1]
    sockets = {**hosts[number].sockets}
    sockets[socket] = faster(sockets[socket], path[2:])
    hosts[number] = hosts[number].model_copy(update={"sockets": sockets})
    return machine.model_copy(update={"hosts": tuple(hosts)})
