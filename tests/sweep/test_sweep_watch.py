"""How far a sweep is said to be: replays weigh what they are expected to take."""

from __future__ import annotations

import pytest

from simulator.engine.replaying import Tracker
from simulator.results.record import Progress
from simulator.sweep import work
from simulator.sweep.tasks import divide
from simulator.sweep.watch import Watch
from simulator.sweep.work import Event

GIB = 1 << 30


@pytest.fixture
def task(make_points):
    (only,) = divide({p.key(): p for p in make_points()}, workers=1, memory=64 * GIB)
    return only


def events_of(task, *reports):
    """Shares of `task` that are sent for what the engine reports."""
    sent = []
    with work.sending(sent.append):
        reporter = work._reporter(task)
        for report in reports:
            reporter(report)
    return [event.share for event in sent]


def test_replays_are_the_share_that_they_are_expected_to_take(task, monkeypatch):
    monkeypatch.setattr(work, "_EVERY_S", -1.0)
    points = len(task.points)
    assert 0.0 < task.replays_share < 1.0
    made = []
    tracker = Tracker(made.append, points, 0, points)
    tracker.replayed(0.5, "random")
    tracker.replayed(1.0, "random")
    tracker.timed(0, "hybrid")
    tracker.timed(points - 1, "hybrid")
    half, whole, first, last = events_of(task, *made)
    assert half == pytest.approx(task.replays_share / 2)
    assert task.replays_share <= whole <= first < last < 1.0
    assert events_of(task, Progress(points, points, 0.0, ""))[0] == 1.0


def watched(task, share, elapsed, monkeypatch):
    """Seconds left after `elapsed`, of the one task."""
    seen, clock = [], [100.0]
    monkeypatch.setattr("simulator.sweep.watch.time.monotonic", lambda: clock[0])
    watch = Watch([task], done=0, points=len(task.keys), workers=1, report=seen.append)
    clock[0] += elapsed
    watch.event(Event(task.number, 0, share, "x"))
    return seen[-1].left_s


def test_time_left_goes_from_what_is_expected_to_the_speed_so_far(task, monkeypatch):
    assert watched(task, 0.0, 5.0, monkeypatch) == pytest.approx(task.cost)
    assert watched(task, 0.5, 5.0, monkeypatch) == pytest.approx(5.0)
    between = watched(task, 0.125, 5.0, monkeypatch)
    assert between == pytest.approx(0.875 * (0.5 * task.cost + 0.5 * 40.0))
    assert watched(task, 1.0, 5.0, monkeypatch) == 0.0
