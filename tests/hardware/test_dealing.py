"""Threads that take ranges of rows one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.columns import Column, column_of
from simulator.hardware.devices.dealing import ranges_of, slowest_ps


@pytest.mark.parametrize(
    ("rows", "bits", "ranges"),
    [
        (1 << 20, 7, 128),
        ((1 << 20) + 1, 7, 65),  # one bit more: ranges twice as wide, half of them
        (80_000_000, 7, 77),
        (3, 7, 3),  # fewer rows than ranges: one each
        (1, 7, 1),
        (0, 7, 128),  # nobody says how many
    ],
)
def test_rows_are_split_by_their_leading_bits(rows: int, bits: int, ranges: int) -> None:
    assert ranges_of(rows, bits) == ranges


@given(rows=st.integers(1, 5000), bits=st.integers(1, 10))
def test_ranges_are_those_that_rows_lie_in(rows: int, bits: int) -> None:
    shift = max(0, (rows - 1).bit_length() - bits)
    assert ranges_of(rows, bits) == len({row >> shift for row in range(rows)})


def test_ranges_that_threads_divide_are_shared_evenly() -> None:
    assert slowest_ps(16, 128, 1600.0) == pytest.approx(100.0)


def test_a_turn_that_few_threads_work_in_counts_as_a_whole_one() -> None:
    """77 ranges on 16 threads are 5 turns, the last of them of 13; on 32 threads 3 turns."""
    assert slowest_ps(16, 77, 77.0) == pytest.approx(5.0)
    assert slowest_ps(32, 77, 77.0) == pytest.approx(3.0)


def test_one_row_is_one_thread_s_however_many_there_are() -> None:
    assert slowest_ps(64, 128, 1000.0, 1000.0) == pytest.approx(1000.0)
    assert slowest_ps(1, 128, 1000.0, 300.0, 200.0) == pytest.approx(1000.0)


def test_the_hottest_row_of_a_table_is_in_the_middle_of_its_ranges() -> None:
    """Ranges of 1, 1, 10 and 1 on two threads: 1 + 10 and 1 + 1; with two tables 1, 10, 1, 10."""
    assert slowest_ps(2, 4, 13.0, 9.0) == pytest.approx(11.0)
    assert slowest_ps(2, 4, 22.0, 9.0, 9.0) == pytest.approx(12.0)


@given(
    threads=st.integers(1, 64),
    ranges=st.integers(1, 128),
    rest=st.floats(0, 1e9),
    hottest=st.lists(st.floats(0, 1e8), max_size=8),
)
def test_between_even_shares_and_grahams_bound(
    threads: int, ranges: int, rest: float, hottest: list[float]
) -> None:
    """List scheduling takes at most the mean and one longest range more (Graham, 1966)."""
    whole = rest + sum(hottest)
    slowest = slowest_ps(threads, ranges, whole, *hottest)
    longest = rest / ranges + sum(hottest)  # were all hot rows in one range
    assert slowest >= whole / threads * (1 - 1e-9)
    assert slowest <= (whole / threads + longest) * (1 + 1e-9)
    assert slowest <= whole * (1 + 1e-9) + 1e-6


def test_columns_are_priced_as_their_numbers() -> None:
    whole, hottest = [1000.0, 2000.0], [100, 700]
    both = slowest_ps(16, 77, column_of(whole), column_of(hottest))
    assert isinstance(both, Column)
    assert both.tolist() == [slowest_ps(16, 77, w, h) for w, h in zip(whole, hottest, strict=True)]
