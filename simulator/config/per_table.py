"""Whole numbers that tables have one each of: one number for all, or a list."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainSerializer, WithJsonSchema

__all__ = ["Dims", "Lookups", "Rows"]

_MOST_ROWS = 2**32 - 1
"""Of a table: generators number its rows with 32 bits."""
_MOST_LOOKUPS = 2**20 - 1
"""Of a sample in a table: generators number them with 20 bits."""
_WIDEST = 65_536
"""Elements of a row."""


def _one_for_each(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """Always a tuple inside, of length 1 for a number."""
    return value if isinstance(value, tuple) else (value,)


def _compact(value: tuple[int, ...]) -> int | list[int]:
    """Written as people write it: one number where all tables are alike."""
    return value[0] if len(set(value)) == 1 else list(value)


def _one_or_many(number: Any) -> GetPydanticSchema:
    many = Annotated[tuple[number, ...], Field(min_length=1)]
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(number | many))


def _schema(**limits: int) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "integer", "exclusiveMinimum": 0, **limits}
    return WithJsonSchema({"anyOf": [number, {"type": "array", "items": number, "minItems": 1}]})


Rows = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_MOST_ROWS)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(maximum=_MOST_ROWS),
]
"""Rows of tables."""

Lookups = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_MOST_LOOKUPS)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(maximum=_MOST_LOOKUPS),
]
"""Lookups of a sample in tables."""

Dims = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_WIDEST)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(maximum=_WIDEST),
]
"""Elements of a row."""
