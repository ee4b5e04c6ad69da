"""Whole numbers that tables have one each of: one number for all, or a list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Counts", "Dims"]

_MOST = 10**13
"""Rows of a table: far beyond any real one, and far below what 64 bits can number."""
_WIDEST = 65_536
"""Elements of a row."""


def _reader(most: int) -> Callable[[object], object]:
    def read(value: object) -> object:
        """A whole number, or one for each table: always a tuple inside, of length 1 for a
        number."""
        if isinstance(value, list | tuple):
            for item in value:
                problem = _problem(item, most)
                if problem:
                    raise ValueError(f"{item!r}: {problem}")
            return tuple(value)
        problem = _problem(value, most)
        if problem:
            told = isinstance(value, dict) or type(value) is int
            said = f"is {json.dumps(value, default=str)}: " if told else ""
            raise ValueError(said + problem)
        return (value,)

    return read


def _problem(item: object, most: int) -> str:
    """What is wrong with one number; empty where nothing is."""
    if isinstance(item, bool) or not isinstance(item, int):
        return "expected a whole number, or one for each table"
    if item <= 0:
        return "must be greater than 0"
    return "" if item <= most else f"must be at most {most:,}"


def _not_empty(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise ValueError("is an empty list: expected a whole number, or one for each table")
    return value


def _compact(value: tuple[int, ...]) -> int | list[int]:
    """Written as people write it: one number where all tables are alike."""
    return value[0] if len(set(value)) == 1 else list(value)


def _schema(most: int | None) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "integer", "exclusiveMinimum": 0}
    number |= {} if most is None else {"maximum": most}
    return WithJsonSchema({"anyOf": [number, {"type": "array", "items": number, "minItems": 1}]})


Counts = Annotated[
    tuple[int, ...],
    BeforeValidator(_reader(_MOST)),
    AfterValidator(_not_empty),
    PlainSerializer(_compact),
    _schema(None),
]
"""Rows, or lookups."""

Dims = Annotated[
    tuple[int, ...],
    BeforeValidator(_reader(_WIDEST)),
    AfterValidator(_not_empty),
    PlainSerializer(_compact),
    _schema(_WIDEST),
]
"""Elements of a row."""
