"""The test that says whether numbers of mini-batches move."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.caches.trend import FEWEST, critical_t, trend_of


@pytest.mark.parametrize("freedom", [4, 5, 8, 18, 48, 1000])
def test_the_critical_value_is_that_of_students_t(freedom):
    assert critical_t(freedom) == pytest.approx(stats.t.isf(0.0005, freedom), rel=0.05)


@given(numbers=st.lists(st.integers(0, 10_000), min_size=FEWEST, max_size=80))
@settings(max_examples=100, deadline=None)
def test_slope_and_its_error_are_those_of_a_regression(numbers):
    trend = trend_of(numbers)
    line = stats.linregress(np.arange(len(numbers)), numbers)
    mean = np.mean(numbers)
    assert trend.change * mean == pytest.approx(line.slope * (len(numbers) - 1), abs=1e-6)
    if line.stderr > 1e-6:
        assert trend.t == pytest.approx(np.clip(line.slope / line.stderr, -1e6, 1e6), rel=1e-6)


def test_halves_leave_the_middle_out():
    trend = trend_of([1, 1, 1, 100, 5, 5, 5])
    assert (trend.first_half, trend.second_half) == (1.0, 5.0)


def test_a_line_moves_and_a_constant_does_not():
    assert trend_of(range(100, 110)).t == 1e6
    assert trend_of(range(100, 110)).moves
    assert trend_of([7] * 10).t == 0.0
    assert not trend_of([7] * 10).moves
    assert not trend_of([0] * 10).moves


def test_a_slope_that_matters_to_nobody_is_none():
    """1.9 % over the window, without any noise, against 2.1 %."""
    line = np.linspace(-0.5, 0.5, 50)
    assert not trend_of(1000 + 19 * line).moves
    assert trend_of(1000 + 21 * line).moves


def test_noise_hides_a_slope():
    """A change of 3 % in noise of 10 %: t is about 0.6 with 50 numbers, 6 with 5,000."""
    rng = np.random.default_rng(4)
    for count, moves in ((50, False), (5000, True)):
        numbers = 1000 + 30 * np.linspace(-0.5, 0.5, count) + rng.normal(0, 100, count)
        assert trend_of(numbers).moves == moves


def test_one_in_a_thousand_still_windows_is_called_moving():
    """4,000 windows of Poisson numbers: about four, and only where noise reaches 2 %."""
    rng = np.random.default_rng(1)
    found = sum(trend_of(rng.poisson(100, 20)).moves for _ in range(4000))
    assert 0 <= found <= 14


def test_too_few_numbers_say_nothing():
    assert trend_of([1, 2, 3, 4, 5]) is None
