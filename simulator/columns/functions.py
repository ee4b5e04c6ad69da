"""What functions do to columns that no operator says, element by element; `most`, `least`, `same`
and `some`, in which mini-batches need not agree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from simulator.columns.column import FLOAT, WHOLE, Column, mapped, operand

__all__ = ["by_element", "least", "most", "same", "some"]

F = TypeVar("F", bound=Callable[..., Any])


def by_element(function: F, of_floats: Callable[..., Any] | None = None) -> F:
    """`function` of numbers (arguments in their order), for columns of them too; `of_floats`: the
    same for arrays of floats (float64, to the last bit), and so at once for columns of such."""

    @functools.wraps(function)
    def applied(*arguments: Any) -> Any:
        columns = [argument for argument in arguments if isinstance(argument, Column)]
        if not columns:
            return function(*arguments)
        whole = any(type(argument) is int for argument in arguments)
        if of_floats is None or whole or any(c.values.dtype != np.float64 for c in columns):
            return mapped(function, *arguments)
        arrays = (a.values if isinstance(a, Column) else a for a in arguments)
        return Column(of_floats(*arrays))

    return cast(F, applied)


def most(*numbers: Any) -> Any:
    """The greatest of `numbers`, the first of equal ones, mini-batch by mini-batch."""
    return functools.reduce(_greater, numbers)


def least(*numbers: Any) -> Any:
    """The least of `numbers`, the first of equal ones, mini-batch by mini-batch."""
    return functools.reduce(_smaller, numbers)


def _greater(one: Any, other: Any) -> Any:
    if not (isinstance(one, Column) or isinstance(other, Column)):
        return other if other > one else one
    return _chosen(np.maximum, max, one, other)


def _smaller(one: Any, other: Any) -> Any:
    if not (isinstance(one, Column) or isinstance(other, Column)):
        return other if other < one else one
    return _chosen(np.minimum, min, one, other)


def _chosen(act: Any, plain: Callable[..., Any], one: Any, other: Any) -> Column:
    a, kind, most_a = operand(one)
    b, other_kind, most_b = operand(other)
    if {kind, other_kind} <= {FLOAT, WHOLE}:
        return Column(act(a, b), max(most_a, most_b))
    return mapped(plain, one, other)


def same(one: Any, other: Any) -> bool:
    """Whether both are equal in every mini-batch."""
    if isinstance(one, Column) or isinstance(other, Column):
        if one is other:
            return True
        alike: Any = one == other
        return bool(alike.values.all())
    return bool(one == other)


def some(number: Any) -> bool:
    """Whether it is other than zero in any mini-batch."""
    return bool(number.values.any()) if isinstance(number, Column) else bool(number)
