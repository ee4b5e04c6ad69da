"""Numbers of several mini-batches in one: code that is written for one number runs once for all.

A `Column` holds a number of each and computes as Python does, to the last bit: integers are exact
whatever their size, quotients of integers and powers are rounded once, halves are rounded to even.
Where code asks whether a number is so (`if rows`, `a < b`, `int(a)`) all must agree;
else `UndecidedError` says who are on which side, and whoever wanted them together takes both
sides one by one. `most`, `least` and `same` need no agreement.

What a function does to numbers that no operator says (powers, tables) it does element by element
(`by_element`); so the plain code is the only code there is.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
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
    __hash__ = None  # type: ignore[assignment]
    """What is kept by a number must not be found by the numbers of other mini-batches."""

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

    def __neg__(self) -> Any:
        values, kind, bound = _operand(self)
        return Column(-values, bound) if kind in (_WHOLE, _FLOAT) else _mapped(operator.neg, self)

    def __pos__(self) -> Column:
        return self

    def __abs__(self) -> Column:
        return _mapped(abs, self)

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
    values = np.array(numbers)
    if values.dtype == np.int64:
        bound = max(float(values.max()), -float(values.min()))
        if bound < _EXACT:
            return Column(values, bound)
    elif values.dtype == np.float64 and all(type(n) is float or abs(n) < _EXACT for n in numbers):
        return Column(values)
    elif values.dtype == np.bool_:
        return Column(values, 1.0)
    return Column(np.array(numbers, object), math.inf)


class _Product(Column):
    """The product of whole numbers and a whole number, too large for int64: most are divided by a
    rate next, which needs it rounded to a float once."""

    __slots__ = ("factors",)

    def __init__(self, values: Array, other: int) -> None:
        self.factors = values, other

    @property
    def values(self) -> Array:  # type: ignore[override]
        """The exact product, as Python's integers."""
        return np.array(self.values_of(lambda product: product), object)

    @property
    def bound(self) -> float:  # type: ignore[override]
        """None is known."""
        return math.inf

    def __len__(self) -> int:
        return len(self.factors[0])

    @property
    def rounded(self) -> Array:
        """The product in floats: its factors fit them."""
        return cast(Array, self.factors[0] * float(self.factors[1]))

    def values_of(self, act: Callable[[int], Any]) -> list[Any]:
        """`act` of each exact product."""
        values, other = self.factors
        return [act(value * other) for value in values.tolist()]


# -- operators


_WHOLE, _FLOAT, _LARGE, _PRODUCT = "i", "f", "O", "P"
"""Kinds of operands: whole numbers that floats hold, floats, larger whole numbers of Python, and
products that are not there yet."""


def _operand(number: Any) -> tuple[Any, str, float]:
    """Values of a column or a number, their kind, and the bound of whole ones; an empty kind for
    what is no number."""
    kind = type(number)
    if kind is Column:
        values = number.values
        if values.dtype == np.bool_:
            return values.astype(np.int64), _WHOLE, 1.0
        return values, values.dtype.kind, number.bound
    if kind is float:
        return number, _FLOAT, math.inf
    if kind is int or kind is bool:
        bound = float(abs(number))
        return int(number), _WHOLE if bound < _EXACT else _LARGE, bound
    if kind is _Product:
        return number, _PRODUCT, math.inf
    return _operand(number.item()) if isinstance(number, np.generic) else (None, "", math.inf)


def _rounded(values: Any, kind: str, other: str) -> tuple[Any, str]:
    """A product as floats, where it meets such."""
    return (values.rounded, _FLOAT) if kind == _PRODUCT and other == _FLOAT else (values, kind)


def _computed(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A sum, difference or product."""
    a, kind, most_a = _operand(left)
    b, other, most_b = _operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == _WHOLE == other:
        bound = most_a * most_b if act is operator.mul else most_a + most_b
        if bound < _EXACT:
            return Column(act(a, b), bound)
        if act is operator.mul and isinstance(a, np.ndarray) and isinstance(b, int):
            return _Product(a, b)
        return _mapped(act, left, right)
    a, kind = _rounded(a, kind, other)
    b, other = _rounded(b, other, kind)
    if _FLOAT in (kind, other) and {kind, other} <= {_FLOAT, _WHOLE}:
        return Column(act(a, b))
    return _mapped(act, left, right)


def _divided(left: Any, right: Any) -> Any:
    a, kind, _ = _operand(left)
    b, other, _ = _operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == _PRODUCT and isinstance(b, int) and b:
        return Column(np.array(a.values_of(lambda product: product / b), np.float64))
    a, kind = _rounded(a, kind, other)
    if {kind, other} <= {_FLOAT, _WHOLE} and _none_is_zero(b):
        return Column(a / b)
    return _mapped(operator.truediv, left, right)


def _whole(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A whole quotient, or its remainder."""
    a, kind, most_a = _operand(left)
    b, other, most_b = _operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == _WHOLE == other and _none_is_zero(b):
        return Column(act(a, b), most_a + 1.0 if act is operator.floordiv else most_b)
    return _mapped(act, left, right)


def _none_is_zero(divisor: Any) -> bool:
    return bool(divisor.all()) if isinstance(divisor, np.ndarray) else bool(divisor)


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


# -- questions that need no agreement


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
            return _mapped(function, *arguments)
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
    a, kind, most_a = _operand(one)
    b, other_kind, most_b = _operand(other)
    if {kind, other_kind} <= {_FLOAT, _WHOLE}:
        return Column(act(a, b), max(most_a, most_b))
    return _mapped(plain, one, other)


def same(one: Any, other: Any) -> bool:
    """Whether both are equal in every mini-batch."""
    if isinstance(one, Column) or isinstance(other, Column):
        if one is other:
            return True
        alike: Any = one == other
        return bool(alike.values.all())
    return bool(one == other)
