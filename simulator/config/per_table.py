"""Whole numbers that tables have one each of: one number for all, or a list."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    WithJsonSchema,
)

__all__ = ["Counts", "Dims"]

_MOST = 10**13
"""Rows of a table, lookups of a sample: far beyond any real one, far below what 64 bits number."""
_WIDEST = 65_536
"""Elements of a row."""


def _one_for_each(value: int | tuple[int, ...]) -> tuple[int, ...]:
    """Always a tuple inside, of length 1 for a number."""
    return value if isinstance(value, tuple) else (value,)


def _compact(value: tuple[int, ...]) -> int | list[int]:
    """Written as people write it: one number where all tables are alike."""
    return value[0] if len(set(value)) == 1 else list(value)


_POSITIVE = {"type": "integer", "exclusiveMinimum": 0}
_SCHEMA = {"anyOf": [_POSITIVE, {"type": "array", "items": _POSITIVE, "minItems": 1}]}

_Count = Annotated[int, Field(gt=0, le=_MOST)]
_Dim = Annotated[int, Field(gt=0, le=_WIDEST)]
_Counts = _Count | Annotated[tuple[_Count, ...], Field(min_length=1)]
_Dims = _Dim | Annotated[tuple[_Dim, ...], Field(min_length=1)]

Counts = Annotated[
    tuple[int, ...],
    GetPydanticSchema(lambda _, handler: handler.generate_schema(_Counts)),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    WithJsonSchema(_SCHEMA),
]
"""Rows, or lookups."""

Dims = Annotated[
    tuple[int, ...],
    GetPydanticSchema(lambda _, handler: handler.generate_schema(_Dims)),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    WithJsonSchema(_SCHEMA),
]
"""Elements of a row."""
