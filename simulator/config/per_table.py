"""Whole numbers that tables have one each of: one number for all, or a list.

Of lookups a table has one number a feature: a list in the list where several features share it.
"""

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


def _schema(maximum: int, levels: int = 1) -> WithJsonSchema:
    """Of one number for all, or a list; `levels`: 2 where a list may stand for each."""
    number: dict[str, Any] = {"type": "integer", "exclusiveMinimum": 0, "maximum": maximum}
    shown = number
    for _ in range(levels):
        shown = {"anyOf": [number, {"type": "array", "items": shown, "minItems": 1}]}
    return WithJsonSchema(shown)


def _features(value: int | tuple[int | tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """Always a tuple a table inside, with a number a feature."""
    each = value if isinstance(value, tuple) else (value,)
    features = tuple(number if isinstance(number, tuple) else (number,) for number in each)
    most = max(map(sum, features))
    if most > _MOST_LOOKUPS:
        raise ValueError(
            f"the features of a table make {most:,} lookups a sample: {_MOST_LOOKUPS:,} at most"
        )
    return features


def _compact_features(value: tuple[tuple[int, ...], ...]) -> int | list[int | list[int]]:
    """As `_compact`; tables that one feature alone looks up have a number."""
    each = [numbers[0] if len(numbers) == 1 else list(numbers) for numbers in value]
    if len(set(value)) > 1:
        return each
    return each[0] if isinstance(each[0], int) else each[:1]


Rows = Annotated[
    tuple[int, ...],
    _one_or_many(Annotated[int, Field(gt=0, le=_MOST_ROWS)]),
    AfterValidator(_one_for_each),
    PlainSerializer(_compact),
    _schema(maximum=_MOST_ROWS),
]
"""Rows of tables."""

_Lookups = Annotated[int, Field(gt=0, le=_MOST_LOOKUPS)]

Lookups = Annotated[
    tuple[tuple[int, ...], ...],
    _one_or_many(_Lookups | Annotated[tuple[_Lookups, ...], Field(min_length=1)]),
    AfterValidator(_features),
    PlainSerializer(_compact_features),
    _schema(maximum=_MOST_LOOKUPS, levels=2),
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
