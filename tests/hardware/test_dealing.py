"""Threads that take ranges of rows one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.caches.ranges import Ranges, by_range, ranges_of
from simulator.columns import Column, column_of
from simulator.hardware.devices.dealing import hot_rows_in, slowest_ps


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
    assert slowest_ps(16, 12.5, *[0.0] * 128) == pytest.approx(100.0)


def test_a_turn_that_few_threads_work_in_counts_as_a_whole_one() -> None:
    """77 ranges on 16 threads are 5 turns, the last of them of 13; on 32 threads 3 turns."""
    assert slowest_ps(16, 1.0, *[0.0] * 77) == pytest.approx(5.0)
    assert slowest_ps(32, 0.0, *[1.0] * 77) == pytest.approx(3.0)


def test_one_row_is_one_thread_s_however_many_there_are() -> None:
    assert slowest_ps(64, 0.0, *hot_rows_in(128, (1000,))) == pytest.approx(1000.0)
    assert slowest_ps(1, 500 / 128, *hot_rows_in(128, (300, 200))) == pytest.approx(1000.0)


def test_the_hottest_row_of_a_table_is_in_the_middle_of_its_ranges() -> None:
    assert hot_rows_in(4, (9,)) == [0, 0, 9, 0]
    assert hot_rows_in(4, (9, 8)) == [0, 9, 0, 8]
    assert hot_rows_in(1, (9, 8)) == [17]


def test_ranges_are_taken_in_their_order() -> None:
    """Two threads, 1, 1, 10 and 1 and 1: the long one is begun third, so that 11 are waited for."""
    assert slowest_ps(2, 1.0, 0.0, 0.0, 9.0, 0.0) == pytest.approx(11.0)
    assert slowest_ps(2, 1.0, 9.0, 0.0, 0.0, 0.0) == pytest.approx(10.0)


@given(
    threads=st.integers(1, 64),
    even=st.floats(0, 1e8),
    own=st.lists(st.floats(0, 1e8), min_size=1, max_size=128),
)
def test_between_even_shares_and_grahams_bound(threads: int, even: float, own: list[float]) -> None:
    """List scheduling takes at most the mean and one longest range more (Graham, 1966)."""
    whole, slowest = sum(even + ps for ps in own), slowest_ps(threads, even, *own)
    assert slowest >= whole / threads * (1 - 1e-9)
    assert slowest <= (whole / threads + even + max(own)) * (1 + 1e-9)
    assert slowest <= whole * (1 + 1e-9) + 1e-6


def test_columns_are_priced_as_their_numbers() -> None:
    even, own = [1000.0, 2000.0], [100, 700]
    both = slowest_ps(16, column_of(even), column_of(own), 5)
    assert isinstance(both, Column)
    assert both.tolist() == [slowest_ps(16, e, o, 5) for e, o in zip(even, own, strict=True)]


@given(
    tables=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    bits=st.integers(1, 9),
    data=st.data(),
)
def test_lookups_are_counted_in_the_range_that_their_row_is_in(
    tables: list[int], bits: int, data: st.DataObject
) -> None:
    rows = [data.draw(st.lists(st.integers(0, n - 1), max_size=40)) for n in tables]
    whole = sum(tables)
    shift = max(0, (whole - 1).bit_length() - bits)
    told = by_range([np.array(own, np.int64) for own in rows], tables, bits)
    start = 0
    for size, own, ranges in zip(tables, rows, told, strict=True):
        each = [(start + row) >> shift for row in own]
        assert ranges.among == whole
        assert list(ranges.lookups) == [each.count(k) for k in range(ranges_of(whole, bits))]
        start += size


@given(rows=st.lists(st.integers(0, 999), max_size=60), fine=st.integers(1, 10), data=st.data())
def test_fewer_bits_tell_neighbouring_ranges_together(
    rows: list[int], fine: int, data: st.DataObject
) -> None:
    bits = data.draw(st.integers(1, fine))
    ids = [np.array(rows, np.int64)]
    (whole,), (coarse,) = (by_range(ids, [1000], b) for b in (fine, bits))
    assert whole.in_fewer(ranges_of(1000, bits)) == coarse.lookups


def test_more_ranges_than_were_counted_are_not_told() -> None:
    assert Ranges(8, (3, 4)).in_fewer(4) is None
    assert Ranges(8, (3, 4)) + Ranges(8, (1, 0)) == Ranges(8, (4, 4))
