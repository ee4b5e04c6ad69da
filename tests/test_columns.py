"""Columns compute as Python's numbers do, to the last bit and whatever their size."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator.columns import (
    Column,
    UndecidedError,
    by_element,
    column_of,
    least,
    most,
    same,
    some,
)
from simulator.hardware.demand import Turnaround

INTS = st.integers(-(10**22), 10**22) | st.integers(-100, 100)
FLOATS = st.floats(-1e15, 1e15, allow_subnormal=False)
LISTS = st.lists(INTS, min_size=2, max_size=5) | st.lists(FLOATS, min_size=2, max_size=5)
OPERATORS: tuple[Callable[[Any, Any], Any], ...] = (
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
)
COMPARISONS = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)


def listed(number: Any, count: int) -> list[Any]:
    return number.tolist() if isinstance(number, Column) else [number] * count


def plain(act: Callable[..., Any], *lists: list[Any]) -> list[Any]:
    """`act` one by one; what Python refuses is assumed away."""
    try:
        return [act(*numbers) for numbers in zip(*lists, strict=True)]
    except (ZeroDivisionError, OverflowError):
        assume(False)
        raise


@given(st.sampled_from(OPERATORS), LISTS, LISTS)
def test_operators_are_those_of_python(act: Any, left: list[Any], right: list[Any]) -> None:
    count = min(len(left), len(right))
    left, right = left[:count], right[:count]
    for other in (right, [right[0]] * count):
        wanted = plain(act, left, other)
        wanted_back = plain(act, other, left)
        column, beside = column_of(left), column_of(other)
        assert listed(act(column, beside), count) == wanted
        assert listed(act(beside, column), count) == wanted_back


@given(
    st.lists(st.integers(1, 10**14), min_size=2, max_size=5),
    st.integers(10**9, 10**15),
    st.sampled_from([3, 7 * 10**10 + 1, 8.1e10, 1e-3]),
)
def test_large_products_over_a_rate_are_rounded_once(
    sizes: list[int], factor: int, rate: float
) -> None:
    assume(len(set(sizes)) > 1)
    column = column_of(sizes) * factor
    assert (column / rate).tolist() == [size * factor / rate for size in sizes]
    assert (column * 0.3).tolist() == [size * factor * 0.3 for size in sizes]
    assert (1.5 + column).tolist() == [1.5 + size * factor for size in sizes]
    assert column.tolist() == [size * factor for size in sizes]
    assert (column // 7 + column % 7).tolist() == [s * factor // 7 + s * factor % 7 for s in sizes]


@given(LISTS)
def test_rounding_is_that_of_python(numbers: list[Any]) -> None:
    assume(len(set(numbers)) > 1)
    column = column_of(numbers)
    for act in (round, math.ceil, math.floor, operator.neg, abs):
        assert listed(act(column), len(numbers)) == [act(number) for number in numbers]


def test_halves_are_rounded_to_even() -> None:
    assert round(Column(np.array([0.5, 1.5, 2.5, -0.5]))).tolist() == [0, 2, 2, 0]


@given(st.sampled_from(COMPARISONS), LISTS, LISTS)
def test_comparisons_are_those_of_python(act: Any, left: list[Any], right: list[Any]) -> None:
    count = min(len(left), len(right))
    left, right = left[:count], right[:count]
    wanted = [act(a, b) for a, b in zip(left, right, strict=True)]
    column = column_of(left)
    assume(isinstance(column, Column))
    assert listed(act(column, column_of(right)), count) == wanted


@given(LISTS, LISTS)
def test_greatest_and_least_are_taken_one_by_one(left: list[Any], right: list[Any]) -> None:
    count = min(len(left), len(right))
    pairs = list(zip(left[:count], right[:count], strict=True))
    one, other = column_of(left[:count]), column_of(right[:count])
    assert listed(most(one, other), count) == [max(pair) for pair in pairs]
    assert listed(least(one, other), count) == [min(pair) for pair in pairs]


def test_powers_and_functions_are_computed_element_by_element() -> None:
    @by_element
    def act(number: float, power: float) -> float:
        return number**power

    numbers = [0.1, 2.7, 1e9]
    assert act(column_of(numbers), 0.37).tolist() == [n**0.37 for n in numbers]
    assert (column_of(numbers) ** 0.37).tolist() == [n**0.37 for n in numbers]
    assert act(2.0, 3.0) == 8.0


TIMES = st.lists(st.floats(0.0, 1e15) | st.just(0.0), min_size=4, max_size=4)


@given(TIMES, st.floats(0.0, 1e9) | TIMES, st.lists(st.integers(1, 99), unique=True, max_size=4))
def test_turnarounds_of_columns_are_those_of_each(
    reads: list[float], writes: float | list[float], shares: list[int]
) -> None:
    points = tuple((share / 100, 0.013 * share) for share in sorted(shares))
    turnaround = Turnaround(points)
    written = column_of(writes) if isinstance(writes, list) else writes
    each = writes if isinstance(writes, list) else [writes] * len(reads)
    wanted = [turnaround.factor(read, write) for read, write in zip(reads, each, strict=True)]
    assert listed(turnaround.factor(column_of(reads), written), len(reads)) == wanted  # type: ignore[arg-type]


def test_a_decision_that_all_agree_in_is_one() -> None:
    column = column_of([3, 4, 5])
    assert column
    assert not column - column
    assert column > 2
    assert int(column - column_of([0, 1, 2])) == 3


def test_a_decision_that_divides_them_says_how() -> None:
    column = column_of([3, 0, 5])
    for ask in (bool, int, lambda c: bool(c > 1)):
        with pytest.raises(UndecidedError) as caught:
            ask(column)
        assert caught.value.side.any()
        assert not caught.value.side.all()


def test_nothing_can_be_kept_by_a_column() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        {column_of([1, 2]): "kept"}


def test_numbers_that_are_all_the_same_are_no_column() -> None:
    assert column_of([7, 7]) == 7
    assert same(column_of([1, 2]), column_of([1, 2]))
    assert not same(column_of([1, 2]), column_of([1, 3]))
    assert not same(column_of([1, 2]), 1)


def test_a_division_by_nothing_fails_as_that_of_python() -> None:
    with pytest.raises(ZeroDivisionError):
        column_of([1, 2]) / column_of([1, 0])
    with pytest.raises(TypeError):
        column_of([1, 2]) + "text"


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=5))
def test_some_are_other_than_zero_where_any_is(numbers: list[int]) -> None:
    assert some(column_of(numbers)) == any(numbers)
    assert some(numbers[0]) == bool(numbers[0])
