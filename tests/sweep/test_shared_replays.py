"""Tasks whose points share a replay have it made once; without it they make their own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from simulator.engine import replaying
from simulator.results.finished import FinishedPoints
from simulator.sweep.keys import point_key
from simulator.sweep.runner import Workers, run_sweep
from simulator.sweep.shared import commons
from simulator.sweep.tasks import divide
from simulator.sweep.work import make_replays

SWEEP = {
    "systems": ["scratchpipe"],
    "run": {"batches": 80, "warmup_batches": 2},
    "sweep": {"platform.host.cpu.memory_latency": [f"{60 + n} ns" for n in range(6)]},
}


@pytest.fixture
def store(tmp_path):
    return FinishedPoints(tmp_path / "run" / "points")


@pytest.fixture
def runs(monkeypatch):
    """Replays that were run, each time."""
    real, seen = replaying.run_replays, []

    def counted(stream, replays, **options):
        seen.append(list(replays))
        return real(stream, replays, **options)

    monkeypatch.setattr(replaying, "run_replays", counted)
    return seen


WALL = ("wall", "realtime")


def told(sweep):
    assert not sweep.failed
    return [
        {name: value for name, value in one.metrics.items() if name.partition("_")[0] not in WALL}
        for one in sweep.result
    ]


def test_one_replay_for_all_workers(make_points, store, runs):
    points = make_points(**SWEEP)
    alone = told(run_sweep(points))
    runs.clear()
    with ThreadPoolExecutor(3) as pool:
        shared = run_sweep(points, workers=Workers(pool, 3), store=store)
    assert len(runs) == 1
    assert told(shared) == alone
    assert not list(store.folder.glob(".*.part"))


class Losing(ThreadPoolExecutor):
    """Loses the worker that makes replays."""

    def submit(self, fn, /, *args):
        if fn is make_replays:
            future = Future()
            future.set_exception(BrokenProcessPool("died"))
            return future
        return super().submit(fn, *args)


def test_tasks_make_their_own_where_the_worker_that_makes_it_dies(make_points, store, runs):
    points = make_points(**SWEEP)
    alone = told(run_sweep(points))
    runs.clear()
    with Losing(2) as pool:
        assert told(run_sweep(points, workers=Workers(pool, 2), store=store)) == alone
    assert len(runs) == 2


def test_workers_elsewhere_make_their_own(make_points, store, runs):
    with ThreadPoolExecutor(2) as pool:
        run_sweep(make_points(**SWEEP), workers=Workers(pool, 2, here=False), store=store)
    assert len(runs) == 2


def test_only_tasks_that_part_a_replay_have_it_in_common(make_points, tmp_path):
    def tasks_of(**changes):
        points = {point_key(point): point for point in make_points(**SWEEP | changes)}
        return divide(points, workers=2, memory=1 << 36)

    assert [task.shares for task in tasks_of()] == [0, 0]
    apart = tasks_of(sweep={"trace.locality": ["low", "high"]})
    assert [task.shares for task in apart] == [None, None]
    with commons(tasks_of(), tmp_path) as (common,):
        assert len(common.points) == 1
        assert all(task.replays == common.file for task in common.with_file())
        common.file.touch()
    assert not common.file.exists()


def test_software_that_asks_for_more_of_the_facts_gets_it(make_points, store):
    latencies = SWEEP["sweep"]["platform.host.cpu.memory_latency"]
    sweep = {"operators": ["paper", "stock"], "platform.host.cpu.memory_latency": latencies}
    points = make_points(**SWEEP | {"sweep": sweep})
    alone = told(run_sweep(points))
    with ThreadPoolExecutor(2) as pool:
        shared = run_sweep(points, workers=Workers(pool, 2), store=store)
    assert told(shared) == alone
