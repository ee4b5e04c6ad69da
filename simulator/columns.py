"""Numbers of several mini-batches in one: code that is written for one number runs once for all.

A `Column` holds a number of each and computes as Python does, to the last bit: integers are exact
whatever their size, quotients of integers and powers are rounded once, halves are rounded to even.
Where code asks whether a number is so (`if rows`, `a < b`, a key of a dictionary) all must agree;
else `UndecidedError` says who are on which side, and whoever wanted them together takes both
sides one by one. `most`, `least` and `same` need no agreement.

What a function does to numbers that no operator says (powers, tables) it does element by element
(`by_element`); so the plain code is the only code there is.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

__all__ = ["Column", "UndecidedError", "by_element", "column_of", "least", "most", "same"]

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

_EXACT = float(1 << 53)
"""Integers below it are floats too; larger ones are kept as those of Python."""
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


class UndecidedError(Exception):
    """Mini-batches go different ways; `side`: bool, which of them on one of two."""

    def __init__(self, side: npt.NDArray[np.bool_]) -> None:
        super().__init__("mini-batches that are priced together go different ways")
        self.side = side


class Column:
    """Numbers side by side: int64 (below 2^53), float64, bool, or Python's integers; `bound`: of
    integers, what none of them exceeds in size."""

    __slots__ = ("bound", "values")
    __array_ufunc__ = None
    """Scalars of NumPy leave arithmetic to it."""

    def __init__(self, values: Array, bound: float = math.inf) -> None:
        self.values, self.bound = values, bound

    def __repr__(self) -> str:
        return f"Column({self.values.tolist()})"

    def __len__(self) -> int:
        return len(self.values)

    def tolist(self) -> list[Any]:
        """The numbers as Python's."""
        return cast("list[Any]", self.values.tolist())

    def at(self, places: Any) -> Any:
        """The number at a place, or a column of those at several (an array of places)."""
        if isinstance(places, int):
            value = self.values[places]
            return value.item() if isinstance(value, np.generic) else value
        return Column(self.values[places], self.bound)

    # -- arithmetic -----------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _computed(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _computed(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _computed(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _computed(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _computed(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _computed(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _divided(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _divided(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _whole(operator.floordiv, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _whole(operator.floordiv, other, self)

    def __mod__(self, other: Any) -> Any:
        return _whole(operator.mod, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _whole(operator.mod, other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pow__(self, other: Any) -> Any:
        return _mapped(operator.pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return _mapped(operator.pow, other, self)

    def __neg__(self) -> Column:
        return Column(-_numbers(self.values), self.bound)

    def __pos__(self) -> Column:
        return self

    def __abs__(self) -> Column:
        return Column(abs(_numbers(self.values)), self.bound)

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None or self.values.dtype != np.float64:
            return _mapped(round, self) if digits is None else _mapped(round, self, digits)
        if not np.abs(self.values).max(initial=0.0) < _EXACT:
            return _mapped(round, self)
        whole = np.rint(self.values).astype(np.int64)
        return Column(whole, float(np.abs(whole).max(initial=0)))

    def __ceil__(self) -> Any:
        return _mapped(math.ceil, self)

    def __floor__(self) -> Any:
        return _mapped(math.floor, self)

    def __trunc__(self) -> Any:
        return _mapped(math.trunc, self)

    # -- what all must agree in -----------------------------------------------------------------

    def __bool__(self) -> bool:
        some = np.asarray(self.values != 0, np.bool_)
        if some.all() != some.any():
            raise UndecidedError(some)
        return bool(some.all())

    def _only(self) -> Any:
        """The number, where all are equal."""
        alike = np.asarray(self.values == self.values[0], np.bool_)
        if not alike.all():
            raise UndecidedError(alike)
        return self.at(0)

    def __int__(self) -> int:
        return int(self._only())

    def __index__(self) -> int:
        return operator.index(self._only())

    def __float__(self) -> float:
        return float(self._only())

    def __hash__(self) -> int:
        return hash(self._only())

    def __eq__(self, other: object) -> Any:
        return _compared(operator.eq, self, other)

    def __ne__(self, other: object) -> Any:
        return _compared(operator.ne, self, other)

    def __lt__(self, other: Any) -> Any:
        return _compared(operator.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return _compared(operator.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return _compared(operator.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return _compared(operator.ge, self, other)


def column_of(numbers: Sequence[Any]) -> Any:
    """`numbers` (int, float or bool) in a column; the number itself where all are the same."""
    first = numbers[0]
    kind = type(first)
    if all(type(n) is kind and n == first for n in numbers):
        return first
    return _column(numbers)


def _column(numbers: Sequence[Any]) -> Column:
    if any(isinstance(n, float) for n in numbers):
        return Column(np.array([float(n) for n in numbers], np.float64))
    bound = float(max(abs(int(n)) for n in numbers))
    return Column(np.array(numbers, np.int64 if bound < _EXACT else object), bound)


# -- operators --------------------------------------------------------------------------------------


def _numbers(values: Array) -> Array:
    return values.astype(np.int64) if values.dtype == np.bool_ else values


def _operand(number: Any) -> tuple[Any, float]:
    """Values of a column or a number, and the bound of integers (inf of floats, of others too)."""
    if isinstance(number, Column):
        values = _numbers(number.values)
        return values, 1.0 if values is not number.values else number.bound
    if isinstance(number, np.generic):
        number = number.item()
    if isinstance(number, float):
        return number, math.inf
    return number, float(abs(number))


def _is_whole(values: Any) -> bool:
    """Integers that fit; else floats, or integers of Python."""
    return values.dtype == np.int64 if isinstance(values, np.ndarray) else isinstance(values, int)


def _is_large(values: Any, bound: float) -> bool:
    if isinstance(values, np.ndarray):
        return bool(values.dtype == np.dtype(object))
    return isinstance(values, int) and not bound < _EXACT


def _computed(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A sum, difference or product."""
    if not (isinstance(left, (Column, *_NUMBERS)) and isinstance(right, (Column, *_NUMBERS))):
        return NotImplemented
    a, most_a = _operand(left)
    b, most_b = _operand(right)
    if _is_large(a, most_a) or _is_large(b, most_b):
        return _mapped(act, left, right)
    if not (_is_whole(a) and _is_whole(b)):
        return Column(act(a, b))
    bound = most_a * most_b if act is operator.mul else most_a + most_b
    if bound < _EXACT:
        return Column(act(a, b), bound)
    return _mapped(act, left, right)


def _divided(left: Any, right: Any) -> Any:
    if not (isinstance(left, (Column, *_NUMBERS)) and isinstance(right, (Column, *_NUMBERS))):
        return NotImplemented
    a, most_a = _operand(left)
    b, most_b = _operand(right)
    if _is_large(a, most_a) or _is_large(b, most_b) or not np.all(b):
        return _mapped(operator.truediv, left, right)
    return Column(a / b)


def _whole(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A whole quotient, or its remainder."""
    if not (isinstance(left, (Column, *_NUMBERS)) and isinstance(right, (Column, *_NUMBERS))):
        return NotImplemented
    a, most_a = _operand(left)
    b, most_b = _operand(right)
    large = _is_large(a, most_a) or _is_large(b, most_b)
    if large or not (_is_whole(a) and _is_whole(b)) or not np.all(b):
        return _mapped(act, left, right)
    return Column(act(a, b), most_a + 1.0 if act is operator.floordiv else most_b)


def _compared(act: Callable[[Any, Any], Any], left: Column, right: Any) -> Any:
    if not isinstance(right, (Column, *_NUMBERS)):
        return NotImplemented
    other = right.values if isinstance(right, Column) else right
    return Column(np.asarray(act(left.values, other), np.bool_))


def _mapped(act: Callable[..., Any], *arguments: Any) -> Column:
    """`act` of the numbers of each mini-batch."""
    count = next(len(a) for a in arguments if isinstance(a, Column))
    lists = [a.tolist() if isinstance(a, Column) else [a] * count for a in arguments]
    return _column([act(*numbers) for numbers in zip(*lists, strict=True)])


# -- questions that need no agreement ---------------------------------------------------------------


def by_element(function: F) -> F:
    """`function` of numbers (arguments in their order), for columns of them too."""

    @functools.wraps(function)
    def applied(*arguments: Any) -> Any:
        if any(isinstance(argument, Column) for argument in arguments):
            return _mapped(function, *arguments)
        return function(*arguments)

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
    a, most_a = _operand(one)
    b, most_b = _operand(other)
    if _is_large(a, most_a) or _is_large(b, most_b):
        return _mapped(plain, one, other)
    return Column(act(a, b), max(most_a, most_b))


def same(one: Any, other: Any) -> bool:
    """Whether both are equal in every mini-batch."""
    if isinstance(one, Column) or isinstance(other, Column):
        if one is other:
            return True
        alike: Any = one == other
        return bool(alike.values.all())
    return bool(one == other)


