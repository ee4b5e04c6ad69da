"""Threads: as many as this process may use, and results in order."""

import os
import threading

import pytest

from simulator._threads import Begun, cores, map_threads


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


def test_others_begin_before_anybody_asks_for_results():
    seen = threading.Event()
    begun = Begun(lambda number: seen.set() or number, 3, 2)
    assert seen.wait(20)
    assert begun.results() == [0, 1, 2]


def test_what_is_abandoned_is_over():
    """Nobody works any more, and nobody has begun what was left."""
    at_work, go = threading.Event(), threading.Event()
    done = []

    def work(number):
        at_work.set()
        go.wait(20)
        done.append(number)

    begun = Begun(work, 100, 2)
    assert at_work.wait(20)
    threading.Timer(0.05, go.set).start()
    begun.abandon()
    assert len(done) < 100
    before = list(done)
    assert map_threads(str, 2, 2) == ["0", "1"]
    assert done == before
