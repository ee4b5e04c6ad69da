"""Whole numbers that tables have one each of: one number for all, or a list.

Of lookups a table has one number a feature: a list in the list where several features share it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetPydanticSchema, PlainSerializer, WithJsonSchema

__all__ = ["Counts", "Dims", "Lookups"]

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


def _one_or_many(number: Any) -> GetPydanticSchema:
    many = Annotated[tuple[number, ...], Field(min_length=1)]
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(number | many))


def _schema(**limits: int) -> WithJsonSchema:
    number: dict[str, Any] = {"type": "integer", "exclusiveMinimum": 0, **limits}
    return WithJsonSchema({"anyOf": [number, {"type": "array", "items": number, "minItems": 1}]})


def _features(value: int | tuple[int | tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Always a tuple a table inside, with a number a feature."""
    each = value if isinstance(value, tuple) else (value,)
    return tuple(number if isinstance(number, tuple) else (number,) for number in each)


def _compact_features(value: tuple[tuple[int, ...], ...]) -> int | list[int | list[int]]:
    """As `_compact`; tables that one feature alone looks up have a number."""
    each = [numbers[0] if len(numbers) == 1 else list(numbers) for numbers in value]
    if len(set(value)) > 1:
        return each
    return each[0] if isinstance(each[0], int) else each[:1]


Counts = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_MOST)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(),
]
"""Rows."""

_Lookups = Annotated[int, Field(gt=0, le=_MOST)]
_NUMBER: dict[str, Any] = {"type": "integer", "exclusiveMinimum": 0}

Lookups = Annotated[
    tuple[tuple[int, ...], ...],
    _one_or_many(_Lookups | Annotated[tuple[_Lookups, ...], Field(min_length=1)]),
    AfterValidator(_features),
    PlainSerializer(_compact_features),
    WithJsonSchema(
        {
            "anyOf": [
                _NUMBER,
                {
                    "type": "array",
                    "items": {
                        "anyOf": [_NUMBER, {"type": "array", "items": _NUMBER, "minItems": 1}]
                    },
                    "minItems": 1,
                },
            ]
        }
    ),
]
"""Lookups of a sample: of each table, one number a feature."""

Dims = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_WIDEST)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(maximum=_WIDEST),
]
"""Elements of a row."""
