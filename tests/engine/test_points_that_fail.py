"""One point's error is its own: `simulate_each` tells it and goes on with the others."""

import numpy as np
import pytest

from simulator.caches.replays import StaticReplay
from simulator.config.expand import expand
from simulator.engine import parse_experiment, prepare, replaying, simulate_each, simulate_points
from simulator.errors import CapacityError, InvariantError, TraceError
from simulator.results.dictionary import METRICS
from simulator.results.notes import notes_of


def make(*systems, **changes):
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": {"base": "default", "tables": 2, "rows_per_table": 3000, "batch_size": 32},
        "trace": {"locality": "medium"},
        "systems": list(systems),
        "cache": {"fraction": 0.9},
        "run": {"batches": 3, "warmup_batches": 1},
    }
    return expand(parse_experiment(data | changes))


SYSTEMS = ("hybrid", "static_cache", {"name": "scratchpipe", "cache": {"fraction": 0.01}})


def outcomes(points):
    return {points[number].system.name: outcome for number, outcome in simulate_each(points)}


def test_a_cache_that_is_too_small_fails_alone_and_first():
    points = make(*SYSTEMS)
    found = outcomes(points)
    assert next(iter(found)) == "scratchpipe", "known before anything is replayed"
    assert isinstance(found["scratchpipe"], CapacityError)
    good = simulate_points(points[:2])
    times = [found[name].metrics["iteration_time_us"] for name in ("hybrid", "static_cache")]
    assert times == [one.metrics["iteration_time_us"] for one in good]
    with pytest.raises(CapacityError):
        simulate_points(points)


def test_a_trace_that_cannot_be_read_fails_all_of_its_points_and_no_others(tmp_path):
    bad = make("hybrid", "static_cache", trace={"kind": "file", "path": str(tmp_path / "no.npz")})
    points = (*bad, *make("hybrid"))
    found = dict(simulate_each(points))
    assert isinstance(found[0], TraceError)
    assert isinstance(found[1], TraceError)
    assert found[2].metrics["iteration_time_us"] > 0


def test_a_replay_that_fails_leaves_the_others_theirs(monkeypatch):
    real = replaying.run_replays

    def fail(stream, replays, **options):
        if any(isinstance(replay, StaticReplay) for replay in replays):
            raise InvariantError("a bug in one replay")
        return real(stream, replays, **options)

    points = make("hybrid", "static_cache", "scratchpipe")
    good = [one.metrics["iteration_time_us"] for one in simulate_points(points)]
    monkeypatch.setattr(replaying, "run_replays", fail)
    found = outcomes(points)
    assert isinstance(found["static_cache"], InvariantError)
    assert found["hybrid"].metrics["iteration_time_us"] == good[0]
    assert found["scratchpipe"].metrics["iteration_time_us"] == good[2]


def test_the_number_of_threads_changes_nothing():
    points = make("static_cache", "scratchpipe")
    one, two = (simulate_points(points, threads=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        wall = [name for name in a.metrics if name.startswith("wall_") or name == "realtime_factor"]
        assert {**a.metrics, **dict.fromkeys(wall)} == {**b.metrics, **dict.fromkeys(wall)}


def test_what_a_window_needs_is_counted_once_for_all_sizes(monkeypatch):
    calls = []
    real = prepare.window_need

    def count(*arguments, **options):
        calls.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(prepare, "window_need", count)
    sizes = {"sweep": {"cache.fraction": [0.1, 0.2, 0.3]}, "cache": {"if_too_small": "grow"}}
    points = make("straw_man", "scratchpipe", **sizes)
    assert len(simulate_points(points)) == 6
    assert len(calls) <= 2, "one for each window"


def _of_file(tmp_path, batches, system):
    """Points of 2 warm-up and 8 timed mini-batches of 4 samples, on a file that has `batches`."""
    file = tmp_path / "ids.npy"
    np.save(file, np.arange(4 * 5 * batches) % 400)
    return make(
        system,
        model={"base": "default", "tables": 1, "rows_per_table": 3000, "batch_size": 4}
        | {"lookups_per_table": 5},
        trace={"kind": "file", "path": str(file)},
        run={"batches": 8, "warmup_batches": 2},
    )


@pytest.mark.parametrize(
    ("batches", "system", "drained"),
    [(15, "scratchpipe", 0), (13, "scratchpipe", 2), (10, "scratchpipe", 5), (10, "straw_man", 0)],
)
def test_a_trace_that_ends_before_a_pipeline_is_full_again_is_told(
    tmp_path, batches, system, drained
):
    """Six stages: five mini-batches are behind the last timed one. 10 + 5 = 15 are enough, with 13
    two are timed in a pipeline that drains. Nothing overlaps in the straw-man."""
    (result,) = simulate_points(_of_file(tmp_path, batches, system))
    assert result.metrics["drained_batches"] == drained
    row = dict.fromkeys(column.name for column in METRICS) | result.metrics
    assert ("~ the trace ends before the pipeline" in notes_of([row])) is (drained > 0)
