"""A number of each of several mini-batches, and what operators do to it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt

__all__ = ["FLOAT", "WHOLE", "Column", "UndecidedError", "column_of", "mapped", "operand"]

Array = npt.NDArray[Any]

_EXACT = float(1 << 53)
"""Integers below it are floats too; larger ones are kept as those of Python."""
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


class UndecidedError(Exception):
    """Mini-batches go different ways; `side`: bool, which of them on one of two."""

    def __init__(self, side: npt.NDArray[np.bool_]) -> None:
        super().__init__("mini-batches that are priced together go different ways")
        self.side = side


WHOLE, FLOAT, _LARGE, _PRODUCT = "i", "f", "O", "P"
"""Kinds of operands: whole numbers that floats hold, floats, larger whole numbers of Python, and
products that are not there yet."""


def operand(number: Any) -> tuple[Any, str, float]:
    """Values of a column or a number, their kind, and the bound of whole ones; an empty kind for
    what is no number."""
    kind = type(number)
    if kind is Column:
        values = number.values
        if values.dtype == np.bool_:
            return values.astype(np.int64), WHOLE, 1.0
        return values, values.dtype.kind, number.bound
    if kind is float:
        return number, FLOAT, math.inf
    if kind is int or kind is bool:
        bound = float(abs(number))
        return int(number), WHOLE if bound < _EXACT else _LARGE, bound
    if kind is _Product:
        return number, _PRODUCT, math.inf
    return operand(number.item()) if isinstance(number, np.generic) else (None, "", math.inf)


def _rounded(values: Any, kind: str, other: str) -> tuple[Any, str]:
    """A product as floats, where it meets such."""
    return (values.rounded, FLOAT) if kind == _PRODUCT and other == FLOAT else (values, kind)


def _computed(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A sum, difference or product."""
    a, kind, most_a = operand(left)
    b, other, most_b = operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == WHOLE == other:
        bound = most_a * most_b if act is operator.mul else most_a + most_b
        if bound < _EXACT:
            return Column(act(a, b), bound)
        if act is operator.mul and isinstance(a, np.ndarray) and isinstance(b, int):
            return _Product(a, b)
        return mapped(act, left, right)
    a, kind = _rounded(a, kind, other)
    b, other = _rounded(b, other, kind)
    if FLOAT in (kind, other) and {kind, other} <= {FLOAT, WHOLE}:
        return Column(act(a, b))
    return mapped(act, left, right)


def _divided(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A quotient that is no whole number."""
    a, kind, _ = operand(left)
    b, other, _ = operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == _PRODUCT and isinstance(b, int) and b:
        return Column(np.array(a.values_of(lambda product: product / b), np.float64))
    a, kind = _rounded(a, kind, other)
    if {kind, other} <= {FLOAT, WHOLE} and _none_is_zero(b):
        return Column(a / b)
    return mapped(act, left, right)


def _whole(act: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """A whole quotient, or its remainder."""
    a, kind, most_a = operand(left)
    b, other, most_b = operand(right)
    if not (kind and other):
        return NotImplemented
    if kind == WHOLE == other and _none_is_zero(b):
        return Column(act(a, b), most_a + 1.0 if act is operator.floordiv else most_b)
    return mapped(act, left, right)


def _none_is_zero(divisor: Any) -> bool:
    return bool(divisor.all()) if isinstance(divisor, np.ndarray) else bool(divisor)


def _compared(act: Callable[[Any, Any], Any], left: Column, right: Any) -> Any:
    if not isinstance(right, (Column, *_NUMBERS)):
        return NotImplemented
    other = right.values if isinstance(right, Column) else right
    return Column(np.asarray(act(left.values, other), np.bool_))


def mapped(act: Callable[..., Any], *arguments: Any) -> Column:
    """`act` of the numbers of each mini-batch."""
    count = next(len(a) for a in arguments if isinstance(a, Column))
    lists = [a.tolist() if isinstance(a, Column) else [a] * count for a in arguments]
    return _column([act(*numbers) for numbers in zip(*lists, strict=True)])


def _sides(
    act: Callable[[Any, Any], Any], compute: Callable[..., Any]
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The methods of an operator for a column to its left, and to its right."""

    def left(column: Any, other: Any) -> Any:
        return compute(act, column, other)

    def right(column: Any, other: Any) -> Any:
        return compute(act, other, column)

    return left, right


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

    __add__, __radd__ = _sides(operator.add, _computed)
    __sub__, __rsub__ = _sides(operator.sub, _computed)
    __mul__, __rmul__ = _sides(operator.mul, _computed)
    __truediv__, __rtruediv__ = _sides(operator.truediv, _divided)
    __floordiv__, __rfloordiv__ = _sides(operator.floordiv, _whole)
    __mod__, __rmod__ = _sides(operator.mod, _whole)
    __pow__, __rpow__ = _sides(operator.pow, mapped)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Any:
        values, kind, bound = operand(self)
        return Column(-values, bound) if kind in (WHOLE, FLOAT) else mapped(operator.neg, self)

    def __pos__(self) -> Column:
        return self

    def __abs__(self) -> Column:
        return mapped(abs, self)

    def __round__(self, digits: int | None = None) -> Any:
        if digits is not None or self.values.dtype != np.float64:
            return mapped(round, self) if digits is None else mapped(round, self, digits)
        if not np.abs(self.values).max(initial=0.0) < _EXACT:
            return mapped(round, self)
        whole = np.rint(self.values).astype(np.int64)
        return Column(whole, float(np.abs(whole).max(initial=0)))

    def __ceil__(self) -> Any:
        return mapped(math.ceil, self)

    def __floor__(self) -> Any:
        return mapped(math.floor, self)

    def __trunc__(self) -> Any:
        return mapped(math.trunc, self)

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

    __lt__ = _sides(operator.lt, _compared)[0]
    __le__ = _sides(operator.le, _compared)[0]
    __gt__ = _sides(operator.gt, _compared)[0]
    __ge__ = _sides(operator.ge, _compared)[0]


def column_of(numbers: Sequence[Any] | npt.NDArray[np.int64]) -> Any:
    """`numbers` (int, float or bool) in a column; the number itself where all are the same."""
    if isinstance(numbers, np.ndarray):
        return _column(numbers) if (numbers != numbers[0]).any() else int(numbers[0])
    first = numbers[0]
    kind = type(first)
    if all(type(n) is kind and n == first for n in numbers):
        return first
    return _column(numbers)


def _column(numbers: Sequence[Any] | npt.NDArray[np.int64]) -> Column:
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
