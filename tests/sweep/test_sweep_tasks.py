"""How points are divided, what they are expected to cost, and what their keys depend on."""

import json

import numpy as np
import pytest

from simulator.cli import main
from simulator.config.expand import expand
from simulator.config.load import load_experiment
from simulator.engine import known_names, replay_key, trace_key
from simulator.errors import ConfigError, TraceError
from simulator.sweep import keys
from simulator.sweep.estimate import (
    BASE_BYTES,
    estimate,
    require_memory,
    seconds_of,
    task_bytes,
)
from simulator.sweep.keys import code_version, point_key
from simulator.sweep.repeat import overrides_of
from simulator.sweep.tasks import MOST_REPLAYS, divide

GIB = 2**30
FRACTIONS = [0.5 + 0.01 * n for n in range(MOST_REPLAYS + 1)]
GRID = {"sweep": {"trace.locality": ["low", "high"], "cache.fraction": FRACTIONS}}


def keyed(points):
    return {point_key(point): point for point in points}


def replays(task):
    return {replay_key(point) for point in task.points}


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 100])
def test_tasks_partition_the_points_and_part_few_replays(make_points, workers):
    points = keyed(make_points(**GRID))
    tasks = divide(points, workers=workers, memory=64 * GIB)
    told = [key for task in tasks for key in task.keys]
    assert sorted(told) == sorted(points)
    assert all(len({trace_key(p) for p in task.points}) == 1 for task in tasks)
    assert all(len(replays(task)) <= MOST_REPLAYS for task in tasks)
    apart = sum(len(replays(task)) for task in tasks) - len({r for t in tasks for r in replays(t)})
    assert 0 <= apart < workers


def test_points_of_one_trace_stay_together_while_every_worker_has_a_task(make_points):
    points = keyed(make_points(sweep={"trace.locality": ["low", "high"]}))
    assert len(divide(points, workers=2, memory=64 * GIB)) == 2
    assert len(divide(points, workers=3, memory=64 * GIB)) == 3


MACHINES = {
    "systems": ["scratchpipe"],
    "sweep": {"platform.host.cpu.memory_latency": [f"{60 + n} ns" for n in range(14)]},
}
"""Points of one replay."""


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 14, 100])
def test_points_of_one_replay_part_over_the_workers(make_points, workers):
    points = keyed(make_points(**MACHINES))
    tasks = divide(points, workers=workers, memory=64 * GIB)
    sizes = [len(task.keys) for task in tasks]
    assert len(tasks) == min(workers, len(points))
    assert max(sizes) - min(sizes) <= 1
    assert sorted(key for task in tasks for key in task.keys) == sorted(points)
    order = list(points)
    assert all(list(task.keys) == sorted(task.keys, key=order.index) for task in tasks)
    assert all(len(replays(task)) == 1 for task in tasks)


def test_a_replay_that_takes_longer_than_its_points_does_not_part(make_points, monkeypatch):
    points = keyed(make_points(**MACHINES))
    (whole,) = divide(points, workers=1, memory=64 * GIB)
    monkeypatch.setattr("simulator.sweep.estimate.PLANNED_PER_S", 1.0)
    assert [task.keys for task in divide(points, workers=3, memory=64 * GIB)] == [whole.keys]


def test_of_several_replays_few_part(make_points):
    data = MACHINES | {"systems": ["hybrid", "scratchpipe", "static_cache"]}
    points = keyed(make_points(**data))
    tasks = divide(points, workers=2, memory=64 * GIB)
    assert [len(task.keys) for task in tasks] == [21, 21]
    assert sorted(len(replays(task)) for task in tasks) == [2, 2]
    assert sorted(key for task in tasks for key in task.keys) == sorted(points)


def test_replays_that_do_not_fit_into_memory_part(make_points):
    points = keyed(make_points())
    assert len(divide(points, workers=1, memory=64 * GIB)) == 1
    assert len(divide(points, workers=1, memory=1)) == 3


def test_machines_share_a_replay_policies_and_windows_do_not(make_points):
    base, *_ = make_points(systems=["scratchpipe"])
    other = make_points(systems=["scratchpipe"], platform="a100")[0]
    assert replay_key(base) == replay_key(other)
    for change in (
        {"cache": {"fraction": 0.9, "policy": "lfu", "if_too_small": "grow"}},
        {"pipeline": {"window_past": 4}},
        {"run": {"batches": 4, "warmup_batches": 2, "memory_fidelity": "exact"}},
        {"trace": {"locality": "high"}},
    ):
        assert replay_key(make_points(systems=["scratchpipe"], **change)[0]) != replay_key(base)


def test_more_work_is_expected_to_take_longer_and_workers_to_help(make_points):
    few, many = make_points(), make_points(**GRID)
    one = estimate([few], workers=1, cores=2)
    assert estimate([many], workers=1, cores=2).seconds > one.seconds
    assert estimate([few, few], workers=2, cores=2).bytes > one.bytes
    assert estimate([], workers=1, cores=1).seconds == 0.0


def test_a_replay_that_tasks_share_is_expected_once(make_points):
    points = make_points(systems=["scratchpipe"])
    apart = estimate([points, points], workers=2, cores=2)
    shared = estimate([points, points], workers=2, cores=2, shares=[7, 7])
    mixed = estimate([points, points], workers=2, cores=2, shares=[7, None])
    replay_s = seconds_of(points[:1], ())
    assert shared.seconds == pytest.approx(apart.seconds - replay_s / 2)
    assert apart.bytes - shared.bytes == task_bytes(points[:1]) - BASE_BYTES
    assert mixed.bytes == apart.bytes
    assert shared.replays == apart.replays == 1


def test_a_key_depends_on_the_contents_of_the_trace_file(make_points, tmp_path):
    file = tmp_path / "ids.npz"
    ids = np.arange(20 * 64 * 12, dtype=np.int64) % 5000

    def key(values):
        np.savez(file, a=values, b=values)
        keys._file_hash.cache_clear()
        return point_key(make_points(trace={"kind": "file", "path": str(file)})[0])

    first = key(ids)
    assert key(ids[::-1].copy()) != first
    assert key(ids) == first
    point = make_points(trace={"kind": "file", "path": str(file)})[0]
    file.unlink()
    with pytest.raises(TraceError, match=r"ids\.npz"):
        point_key(point)


def test_a_key_depends_on_the_configuration_and_on_the_code(make_points, monkeypatch):
    one, other = make_points()[0], make_points(run={"batches": 5, "warmup_batches": 2})[0]
    key = point_key(one)
    assert key != point_key(other)
    assert len(code_version()) == 64
    monkeypatch.setattr(keys, "code_version", lambda: "other code")
    assert point_key(one) != key


def test_the_command_that_repeats_a_point_means_that_point(tmp_path):
    file = tmp_path / "many.yaml"
    file.write_text(
        "config_version: 1\nplatform: v100_p3\nmodel: default\ntrace: {locality: medium}\n"
        "systems:\n- hybrid\n- {name: scratchpipe, label: sp lfu, cache: {policy: lfu}}\n"
        "- {name: gpu_only, platform: p3_16xlarge, gpus: 4}\n"
        "sweep:\n  platform: [v100_p3, {base: a100, name: 'it''s mine'}]\n"
        "  model: [default, {base: default, dim: 64}]\n"
        "  trace: [{kind: zipf, alpha: 0.5}, {locality: high}]\n"
        "  cache.fraction: [0.05, 0.1]\n"
    )
    given = ["run.seed=3", "model.batch_size=1024"]
    experiment = load_experiment(file, given, known_names())
    points = expand(experiment)
    assert len(points) == 40, "gpu_only has a platform of its own"
    for point in points[::3]:
        overrides = overrides_of(experiment, point, given)
        (alone,) = expand(load_experiment(file, overrides, known_names()))
        assert alone.key() == point.key()
        assert alone.system.label == point.system.label


def dry_run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["run", *arguments, "--dry-run"])
    assert not caught.value.code
    return capsys.readouterr().out


def test_a_dry_run_runs_nothing(shell, capsys, monkeypatch):
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr("simulator.sweep.work.simulate_each", lambda *a, **k: pytest.fail("ran"))
    text = dry_run(capsys, "sweep.yaml", "--jobs", "2")
    assert "points:   8, of which 0 are finished already" in text
    assert "tasks:    2 on 2 worker(s)" in text
    assert "come from a model" in text
    told = json.loads(dry_run(capsys, "sweep.yaml", "--json"))
    assert (told["points"], told["tasks"], told["replays"]) == (8, 2, 6)
    assert told["memory_bytes"] > 0
    assert told["time_s"] > 0
    assert [file.name for file in shell.folder.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--executor", "slurm"], "no executor 'slurm': local or dask"),
        (["--executor", "dask"], "--executor dask and --scheduler ADDRESS go together"),
        (["--scheduler", "tcp://x:1"], "--executor dask and --scheduler ADDRESS go together"),
        (["--executor", "dask", "--scheduler", "tcp://x:1", "--jobs", "2"], "--jobs is for local"),
        (["--jobs", "-1"], "0"),
    ],
)
def test_options_that_do_not_fit_together(shell, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(shell.folder)
    with pytest.raises(SystemExit) as caught:
        main(["run", "sweep.yaml", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
    assert [file.name for file in shell.folder.iterdir()] == ["sweep.yaml"]


def test_more_mini_batches_than_memory_holds_are_refused_with_what_fits(make_points):
    (point,) = make_points(systems=["hybrid"], run={"batches": 10**9, "warmup_batches": 10})
    with pytest.raises(
        ConfigError, match=r"run\.batches 1,000,000,000 .* this machine has"
    ) as caught:
        require_memory([point], 10**10)
    most = int(str(caught.value).rpartition("at most ")[2].replace(",", ""))
    (point,) = make_points(systems=["hybrid"], run={"batches": most, "warmup_batches": 10})
    require_memory([point], 10**10)
