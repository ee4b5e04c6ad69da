"""Zeros on pages that others had: zero again, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from simulator._threads import map_threads
from simulator.caches.plan import arrays
from simulator.caches.plan.arrays import give_back, pages_kept, zeros

COUNT = arrays.LARGE_BYTES // 4


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Nothing is kept before or after."""
    assert not arrays._keepers
    give_back()
    yield
    assert not arrays._kept


def where(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_pages_of_an_array_that_is_gone_are_zero_again() -> None:
    with pages_kept():
        first = zeros(COUNT, np.uint32)
        first[:] = 7
        place = where(first)
        del first
        again = zeros(COUNT, np.int32)
        assert where(again) == place
        assert again.dtype == np.int32
        assert not again.any()


def test_a_view_keeps_the_pages() -> None:
    with pages_kept():
        first = zeros(COUNT, np.uint32)
        view = first[COUNT // 2 :].reshape(2, -1)[1]
        view[:] = 3
        del first
        other = zeros(COUNT, np.uint32)
        other[:] = 9
        assert (view == 3).all()
        del view
        assert len(arrays._kept) == 1


def test_nothing_is_kept_unless_asked_for_or_beyond_its_end() -> None:
    zeros(COUNT, np.uint32)
    assert not arrays._kept
    with pages_kept():
        with pages_kept():
            zeros(COUNT, np.uint32)
        assert len(arrays._kept) == 1
    assert not arrays._kept


def test_large_arrays_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", arrays.LARGE_BYTES)
    with pages_kept():
        zeros(2 * COUNT, np.uint32)
        assert not arrays._kept
        zeros(COUNT, np.uint32)
        assert len(arrays._kept) == 1


def test_as_much_as_is_made_anew_is_given_back() -> None:
    with pages_kept():
        kept = [zeros(COUNT, np.uint32) for _ in range(4)]
        del kept
        assert len(arrays._kept) == 4
        larger = zeros(2 * COUNT, np.uint32)
        assert len(arrays._kept) == 2
        assert not larger.any()


def test_threads_share_no_pages() -> None:
    with pages_kept():
        for _ in range(3):
            made = map_threads(lambda _: zeros(COUNT, np.uint32), 8, 4)
            assert len({where(each) for each in made}) == 8
            for number, each in enumerate(made):
                each[:] = number
            assert [int(each[-1]) for each in made] == list(range(8))
            del made, each
            assert len(arrays._kept) <= 8, "other tests' threads may have them given back"
