"""Threads: as many as this process may use, and results in order."""

import os
import threading

import pytest

from simulator._threads import cores, map_threads


def test_cores_are_those_that_the_process_may_use():
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_whatever_the_number_of_threads(threads):
    assert map_threads(lambda number: number * number, 7, threads) == [0, 1, 4, 9, 16, 25, 36]
    assert map_threads(str, 0, threads) == []


def test_two_threads_work_at_once():
    barrier = threading.Barrier(2, timeout=20)
    map_threads(lambda _: barrier.wait(), 2, 2)


def test_an_error_of_one_is_raised():
    with pytest.raises(ZeroDivisionError):
        map_threads(lambda number: 1 // number, 3, 2)


def test_the_error_of_the_lowest_number_is_raised_though_another_fails_first():
    barrier = threading.Barrier(2, timeout=20)
    failed = threading.Event()

    def work(number):
        barrier.wait()
        if number == 0:
            failed.wait(20)
        failed.set()
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^0$"):
        map_threads(work, 2, 2)


def test_work_may_use_threads_itself():
    assert map_threads(lambda n: sum(map_threads(lambda k: n * k, 4, 2)), 5, 2) == [
        0,
        6,
        12,
        18,
        24,
    ]
