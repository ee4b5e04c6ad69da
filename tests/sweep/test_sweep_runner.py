"""What the runner does with points, executors and what goes wrong; the engine stands aside."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from simulator.errors import CapacityError, InvariantError, OutputError
from simulator.results import finished
from simulator.results.finished import FinishedPoints
from simulator.results.record import PointResult
from simulator.sweep.executors import LocalPool
from simulator.sweep.runner import Workers, local_workers, run_sweep
from simulator.sweep.work import run_task

CELLS = {"sweep": {"trace.locality": ["low", "high"], "cache.fraction": [0.8, 0.9]}}


class Engine:
    """Pretends to simulate; `wrong` gives errors by (label, cache fraction)."""

    def __init__(self):
        self.simulated = []
        self.threads = []
        self.wrong = {}

    def __call__(self, points, *, progress=None, threads=None):
        self.threads.append(threads)
        for number, point in enumerate(points):
            self.simulated.append(point)
            error = self.wrong.get((point.system.label, point.cache.fraction))
            metrics = {
                "point": point.key(),
                "system": point.system.name,
                "label": point.system.label,
                "iteration_time_us": 100.0 * point.cache.fraction,
                "platform": point.platform.name,
                "operators": point.operators.name,
                "sweep": point.sweep_text(),
            }
            yield number, error or PointResult(point, metrics, [{"stage": "train", "order": 0}])


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr("simulator.sweep.work.simulate_each", engine)
    return engine


@pytest.fixture
def store(tmp_path):
    return FinishedPoints(tmp_path / "run" / "points")


def times(sweep):
    return [one.metrics["iteration_time_us"] for one in sweep.result]


def test_results_come_in_the_order_of_the_points_whatever_finishes_first(make_points, engine):
    points = make_points(**CELLS)
    alone = run_sweep(points)
    assert [one.point for one in alone.result] == list(points)

    class Backwards(ThreadPoolExecutor):
        """Finishes what was submitted last first."""

        def __init__(self):
            super().__init__(4)
            self.last = threading.Event()
            self.count = 0

        def submit(self, fn, /, *args):
            self.count += 1
            if self.count == 2:
                self.last.set()
                return super().submit(fn, *args)
            return super().submit(lambda: (self.last.wait(10), fn(*args))[1])

    with Backwards() as pool:
        spread = run_sweep(points, workers=Workers(pool, 2))
    assert [dict(one.metrics) for one in spread.result] == [dict(o.metrics) for o in alone.result]
    assert all(one.metrics["speedup_over_hybrid"] == 1.0 for one in spread.result)


def test_workers_share_the_cores(make_points, engine, monkeypatch):
    monkeypatch.setattr("simulator.sweep.work.cores", lambda: 8)
    run_sweep(make_points(), workers=Workers(each_machine=3))
    assert engine.threads == [2]
    run_sweep(make_points(), workers=Workers(each_machine=99))
    assert engine.threads[-1] == 1


def test_finished_points_are_not_simulated_again(make_points, engine, store):
    points = make_points(**CELLS)
    first = run_sweep(points[:5], store=store)
    again = run_sweep(points, store=store)
    assert (first.reused, again.reused) == (0, 5)
    assert len(engine.simulated) == len(points)
    assert times(again) == times(run_sweep(points))


def test_equal_points_are_simulated_once_and_keep_their_names(make_points, engine):
    one, *_ = make_points(systems=[{"name": "hybrid", "label": "a"}])
    other, *_ = make_points(systems=[{"name": "hybrid", "label": "b"}])
    sweep = run_sweep([one, other])
    assert len(engine.simulated) == 1
    assert [r.metrics["label"] for r in sweep.result] == ["a", "b"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other", "garbage"])
def test_a_damaged_finish_marker_is_not_trusted(make_points, engine, store, damage):
    points = make_points()
    good = times(run_sweep(points, store=store))
    file, other = sorted(store.folder.glob("*.json"))[:2]
    data = file.read_bytes()
    body = data.index(b"\n") + 40
    file.write_bytes(
        {
            "cut": data[:-20],
            "flipped": data[:body] + bytes([data[body] ^ 1]) + data[body + 1 :],
            "empty": b"",
            "other": other.read_bytes(),
            "garbage": b"\xff\x00 no json",
        }[damage]
    )
    again = run_sweep(points, store=store)
    assert again.reused == len(points) - 1
    assert times(again) == good
    assert file.read_bytes() == data


def test_a_point_that_fails_does_not_stop_the_others(make_points, engine, store):
    engine.wrong = {
        ("scratchpipe", 0.8): CapacityError("too small"),
        ("straw_man", 0.9): ValueError("a bug"),
    }
    points = make_points(**CELLS)
    sweep = run_sweep(points, store=store)
    assert len(sweep.result) == len(points) - 4
    told = {(f.point.system.label, f.failure.error, f.failure.message) for f in sweep.failed}
    assert told == {
        ("scratchpipe", "CapacityError", "too small"),
        ("straw_man", "ValueError", "a bug"),
    }
    details = {f.failure.error: f.failure.details for f in sweep.failed}
    assert details["CapacityError"] == ""
    assert "ValueError: a bug" in details["ValueError"]
    engine.wrong = {}
    engine.simulated.clear()
    assert not run_sweep(points, store=store).failed
    assert len(engine.simulated) == 4, "only what had failed"


def test_a_system_that_can_nowhere_be_simulated_is_a_bad_configuration(make_points, engine):
    engine.wrong = {("scratchpipe", f): CapacityError(f"{f} too small") for f in (0.8, 0.9)}
    with pytest.raises(CapacityError, match=r"0\.8 too small"):
        run_sweep(make_points(**CELLS))
    assert len(run_sweep(make_points(**CELLS), stop_if_misconfigured=False).failed) == 4


def test_a_bad_configuration_is_told_before_anything_else_is_simulated(make_points, engine):
    engine.wrong = {("straw_man", 0.9): CapacityError("too small")}
    with pytest.raises(CapacityError):
        run_sweep(make_points())
    assert [p.system.label for p in engine.simulated] == ["hybrid", "straw_man"]


def test_a_bug_everywhere_is_told_for_each_point(make_points, engine):
    engine.wrong = {(s, 0.9): InvariantError("x") for s in ("hybrid", "straw_man", "scratchpipe")}
    assert len(run_sweep(make_points()).failed) == 3


def test_a_full_disk_ends_the_sweep_and_keeps_what_is_there(
    make_points, engine, store, monkeypatch
):
    real, calls = finished.replace_file, []

    def fail(file, data, **options):
        calls.append(file)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(file, data, **options)

    monkeypatch.setattr(finished, "replace_file", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        run_sweep(make_points(), store=store)
    assert store.count() == 1
    assert run_sweep(make_points(), store=store).reused == 1


class Fragile:
    """Loses a worker with every task that holds `deadly`, and what else was under way."""

    def __init__(self, deadly):
        self.deadly = deadly
        self.first = True

    def submit(self, fn, /, *args):
        future = Future()
        if self.first or any(p.system.label == self.deadly for p in args[0].points):
            self.first = False
            future.set_exception(BrokenProcessPool("died"))
        else:
            future.set_result(fn(*args))
        return future


def test_a_worker_that_dies_takes_only_its_own_points_along(make_points, engine):
    points = make_points()
    sweep = run_sweep(points, workers=Workers(Fragile("scratchpipe"), count=3))
    assert [one.metrics["label"] for one in sweep.result] == ["hybrid", "straw_man"]
    (failed,) = sweep.failed
    assert failed.failure.error == "MemoryError"
    assert "fewer --jobs" in failed.failure.message


def test_a_worker_with_other_code_is_refused(make_points, engine, monkeypatch):
    monkeypatch.setattr("simulator.sweep.work.point_key", lambda point: "another")
    sweep = run_sweep(make_points())
    assert not engine.simulated
    assert {f.failure.message.split(" has ")[1] for f in sweep.failed} == {
        "another version of scratchpipe or of the trace file: install the same on all machines"
    }


def test_progress_adds_up(make_points, engine, store):
    points = make_points(**CELLS)
    run_sweep(points[:3], store=store)
    seen = []
    run_sweep(points, store=store, progress=seen.append)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[0].done == 3
    assert (seen[-1].done, seen[-1].points, seen[-1].share) == (12, 12, 1.0)
    assert seen[-1].left_s == 0.0


def test_local_workers(make_points):
    with local_workers(1) as alone:
        assert alone.count == 1
    with local_workers(3) as three:
        assert isinstance(three.executor, LocalPool)
        assert (three.count, three.each_machine) == (3, 3)
    assert run_task.__module__ == "simulator.sweep.work", "must be importable by workers"


def test_two_runs_do_not_write_into_one_folder(store):
    with store.owned(), pytest.raises(OutputError, match="another run is writing"), store.owned():
        pass
    with store.owned():
        (store.folder / ".left.part").write_bytes(b"")
    with store.owned():
        assert not list(store.folder.glob(".*.part"))
