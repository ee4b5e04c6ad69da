"""Building blocks of the configuration models: the frozen base and quantities with units."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator.config.bounds import AtMost, Within
from simulator.config.meanings import meaning_of
from simulator.text import quoted
from simulator.units import UNITS, parse_quantity

__all__ = [
    "AccessRate",
    "Batches",
    "Bytes",
    "BytesOrNone",
    "BytesPerSecond",
    "FlopPerSecond",
    "Fraction",
    "Frozen",
    "Hertz",
    "Latency",
    "MisfitError",
    "PerSecond",
    "Picojoules",
    "Picoseconds",
    "Positive",
    "Reached",
    "Source",
    "Watts",
]


class Frozen(BaseModel):
    """Base of every configuration model: immutable, no unknown keys, no silent conversions.

    A number that is whole is a whole number however it is written (`1e6`, `20000.0`), where a key
    takes one and no other number.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, data: Any) -> Any:
        """Lists are tuples here, which frozen models hold, and whole numbers integers."""
        if not isinstance(data, dict):
            return data
        whole = _whole_keys(cls)
        return {key: _frozen(value, key in whole) for key, value in data.items()}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Keys are described by their docstrings."""
        schema = handler(core_schema)
        for key, entry in handler.resolve_ref_schema(schema).get("properties", {}).items():
            if (meaning := meaning_of(cls, key)) is not None:
                entry["description"] = meaning
        return schema


@cache
def _whole_keys(model: type[BaseModel]) -> frozenset[str]:
    """Keys of `model` that take whole numbers, or lists of them, and no other number."""
    return frozenset(
        name
        for name, field in model.model_fields.items()
        if int in (types := _numbers(field.annotation)) and float not in types
    )


def _numbers(annotation: Any) -> frozenset[type]:
    """`int` and `float`, as far as values of a type may be or hold them."""
    if annotation in (int, float):
        return frozenset({annotation})
    if get_origin(annotation) is Literal:
        return frozenset({int} if any(type(x) is int for x in get_args(annotation)) else ())
    if get_origin(annotation) is Annotated:
        return _numbers(get_args(annotation)[0])
    return frozenset().union(*map(_numbers, get_args(annotation)))


def _frozen(value: Any, whole: bool) -> Any:
    """Lists as tuples, at any depth; where `whole`, whole numbers as integers."""
    if isinstance(value, (list, tuple)):
        return tuple([_frozen(item, whole) for item in value])
    if isinstance(value, dict):
        return {key: _frozen(item, False) for key, item in value.items()}
    return int(value) if whole and isinstance(value, float) and value.is_integer() else value


class MisfitError(ValueError):
    """Values that are right on their own and wrong together: raised by a validator of a model.

    `key`: the (dotted) key of the model whose value is refused; messages name its place.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key} {message}")
        self.key = key
        self.message = message


def _reader(dimension: str) -> Callable[[object], int | float]:
    def read(value: object) -> int | float:
        quantity = parse_quantity(value, dimension)
        if not math.isfinite(quantity) or quantity < 0:
            raise ValueError(f"{quoted(value)} must be finite and not negative")
        return (
            round(quantity)
            if isinstance(next(iter(UNITS[dimension].values())), int)
            else (quantity)
        )

    return read


def _writer(unit: str) -> Callable[[int | float], str]:
    return lambda value: f"{value} {unit}"


def _positive(value: Any) -> Any:
    if value <= 0:
        raise ValueError("must be greater than 0")
    return value


Bytes = Annotated[
    int,
    BeforeValidator(_reader("bytes")),
    AfterValidator(_positive),
    PlainSerializer(_writer("B")),
    Within("1 B", "1000 PB", "bytes", "32 GiB"),
]
"""A size, written with its unit; integer bytes inside."""

BytesOrNone = Annotated[
    int,
    BeforeValidator(_reader("bytes")),
    PlainSerializer(_writer("B")),
    Within("0 B", "1000 PB", "bytes", "0 B"),
]
"""A size that may be zero, written with its unit; integer bytes inside."""

BytesPerSecond = Annotated[
    int,
    BeforeValidator(_reader("bytes/s")),
    AfterValidator(_positive),
    PlainSerializer(_writer("B/s")),
    Within("1 B/s", "1000 PB/s", "bytes/s", "16 GB/s"),
]
"""A bandwidth, written with its unit; integer bytes per second inside."""

Picoseconds = Annotated[
    int,
    BeforeValidator(_reader("time")),
    PlainSerializer(_writer("ps")),
    Within("0 s", "1 s", "time", "1.2 us"),
]
"""A duration (zero allowed), written with its unit; integer picoseconds inside."""

Latency = Annotated[Picoseconds, AfterValidator(_positive)]
"""A duration above zero, where a rate is divided by it."""

Positive = Annotated[int, Field(gt=0), AtMost(10**6, "no hardware has so many")]
"""A count of what hardware has of something."""

Batches = Annotated[int, Field(ge=0), AtMost(10**9, "nobody waits for so many mini-batches")]
"""A number of mini-batches, none included."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A share of something, all and nothing included."""

Reached = Annotated[float, Field(ge=0.001, le=1)]
"""The share of a rate that is reached: never nothing, for times are divided by it."""


@dataclass(frozen=True, slots=True)
class PerSecond:
    """Marks a plain number as one of something a second: a faster device has a larger one."""


AccessRate = Annotated[float, Field(ge=1e3, le=1e18), PerSecond()]
"""A number of accesses, elements or pairs a second."""

Hertz = Annotated[
    int,
    BeforeValidator(_reader("Hz")),
    AfterValidator(_positive),
    PlainSerializer(_writer("Hz")),
    Within("1 Hz", "1 THz", "Hz", "2.2 GHz"),
]
"""A frequency, written with its unit; integer hertz inside."""

FlopPerSecond = Annotated[
    int,
    BeforeValidator(_reader("FLOP/s")),
    AfterValidator(_positive),
    PlainSerializer(_writer("FLOP/s")),
    Within("1 FLOP/s", "1000000 PFLOP/s", "FLOP/s", "15.7 TFLOP/s"),
]
"""An arithmetic rate, written with its unit; integer FLOP/s inside."""

Watts = Annotated[
    float,
    BeforeValidator(_reader("power")),
    PlainSerializer(_writer("W")),
    Within("0 W", "1000 kW", "power", "300 W"),
]
"""A power, written with its unit; watts inside."""

Picojoules = Annotated[
    float,
    BeforeValidator(_reader("energy")),
    PlainSerializer(_writer("pJ")),
    Within("0 J", "1000 J", "energy", "3.9 pJ"),
]
"""An energy, written with its unit; picojoules inside."""

Source = str
"""Where a number comes from: data sheet, paper, measured (where, when) or `assumed`."""
