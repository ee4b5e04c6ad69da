"""Trace files with sums of rows: gains of real ones, memory, and what is refused."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator import load_experiment, simulate
from simulator.cli.trace import app
from simulator.config.trace import FileTraceConfig
from simulator.engine.prepare import open_for
from simulator.errors import CapacityError, ConfigError, TraceError, UsageError
from simulator.traces import Trace, bags_of, open_trace
from simulator.traces.curves import shipped
from simulator.traces.replay import Place

ALGORITHMS = ("grace", "merci", "space")
FLIGHTS = 5721
"""Flight numbers of the shipped trace."""


def history(looked: int = 10) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The last flights of each aircraft, as many as `looked` a sample, in the order of the last."""
    columns = np.load(shipped("nycflights13_2013.npz"))
    tail, flight = columns["tailnum"], columns["flight"].astype(np.int64)
    order = np.argsort(tail, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(tail[order])) + 1).tolist(), len(tail)]
    whole = [order[a : b - (b - a) % looked].reshape(-1, looked) for a, b in pairwise(edges)]
    samples = np.concatenate(whole)
    return flight[samples[np.argsort(samples[:, -1])]]


def opened(
    path: Path, algorithm: str, rows: int, looked: int, keys: Any = None, **more: Any
) -> Trace:
    transform = {"algorithm": algorithm, "train_share": 0.5} | (keys or {})
    config = FileTraceConfig.model_validate({"path": str(path), "transform": transform})
    shape = {"batch_size": 64, "seed": 0} | more
    return open_trace(config, rows=(rows,), lookups=(looked,), **shape)


def looked_up(trace: Trace, batches: range) -> float:
    """Lookups of a sample."""
    every = [trace.minibatch(index) for index in batches]
    return sum(b.lookups for b in every) / sum(b.samples for b in every)


def last_half(trace: Trace) -> range:
    return range((trace.batches or 0) // 2, trace.batches or 0)


@pytest.mark.parametrize(("algorithm", "most"), [("grace", 9.3), ("merci", 9.0), ("space", 9.95)])
def test_flights_of_an_aircraft_gain_and_independent_ones_do_not(
    tmp_path: Path, algorithm: str, most: float
) -> None:
    """Of ten lookups a sample, behind the part that the sums were chosen by."""
    samples = history()
    np.savez(tmp_path / "history.npz", flight=samples)
    real = opened(tmp_path / "history.npz", algorithm, FLIGHTS, 10)
    assert looked_up(real, last_half(real)) < most
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "uniform.npz", flight=rng.integers(0, FLIGHTS, samples.shape))
    even = opened(tmp_path / "uniform.npz", algorithm, FLIGHTS, 10)
    assert looked_up(even, last_half(even)) > 9.97
    for trace in (real, even):
        assert trace.rows == (2 * FLIGHTS,)
        highest = max(int(trace.minibatch(k).ids[0].max()) for k in last_half(trace))
        assert highest < 2 * FLIGHTS


@pytest.mark.parametrize("algorithm", ["grace", "merci"])
def test_rows_that_are_always_together_cost_one_lookup(tmp_path: Path, algorithm: str) -> None:
    """Forty clusters of four rows in samples of three clusters: a quarter of the lookups."""
    rng = np.random.default_rng(4)
    chosen = np.argsort(rng.random((2000, 40)), axis=1)[:, :3]
    np.savez(tmp_path / "log.npz", t=(4 * chosen[:, :, None] + np.arange(4)).reshape(2000, 12))
    keys = {"extra_rows": 11 / 4} | ({"max_length": 4} if algorithm == "grace" else {})
    trace = opened(tmp_path / "log.npz", algorithm, 160, 12, keys)
    assert trace.rows == (160 + 440,)
    assert looked_up(trace, last_half(trace)) == 3.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_memory_is_no_change(tmp_path: Path, algorithm: str) -> None:
    np.savez(tmp_path / "log.npz", t=history()[:1000])
    trace = opened(tmp_path / "log.npz", algorithm, FLIGHTS, 10, {"extra_rows": 0.0})
    plain = open_trace(
        FileTraceConfig(path=str(tmp_path / "log.npz")),
        rows=(FLIGHTS,), lookups=(10,), batch_size=64, seed=0,
    )  # fmt: skip
    assert trace.rows == plain.rows
    for index in range(plain.batches or 0):
        ours, theirs = trace.minibatch(index), plain.minibatch(index)
        assert ours.ids[0].tolist() == theirs.ids[0].tolist()
        assert ours.offsets[0].tolist() == theirs.offsets[0].tolist()


def test_what_is_known_of_a_file_is_of_its_lookups_of_sums(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", t=history()[:1000])
    trace = opened(tmp_path / "log.npz", "grace", FLIGHTS, 10)
    every = [trace.minibatch(index) for index in range(trace.batches or 0)]
    counts = np.bincount(np.concatenate([b.ids[0] for b in every]), minlength=2 * FLIGHTS)
    hottest = np.argsort(-counts, kind="stable")[:50].tolist()
    assert trace.hottest(0, 50, 1.0).tolist() == hottest
    known = bags_of(trace)
    assert known is not None
    assert known.most == (max(b.lookups for b in every),)
    assert known.mean[0] == pytest.approx(looked_up(trace, range(trace.batches or 0)))
    other = opened(tmp_path / "log.npz", "space", FLIGHTS, 10)
    assert trace.fingerprint() != other.fingerprint()
    assert trace.fingerprint() == opened(tmp_path / "log.npz", "grace", FLIGHTS, 10).fingerprint()


def test_only_the_training_part_chooses(tmp_path: Path) -> None:
    """What comes later may be anything: the first half stays what it is."""
    samples = history()[:1280]
    np.savez(tmp_path / "a.npz", t=samples)
    np.savez(tmp_path / "b.npz", t=np.concatenate([samples[:640], samples[:640][::-1] * 0]))
    a, b = (opened(tmp_path / name, "merci", FLIGHTS, 10, {"min_count": 2}) for name in
            ("a.npz", "b.npz"))  # fmt: skip
    for index in range(10):
        assert a.minibatch(index).ids[0].tolist() == b.minibatch(index).ids[0].tolist()


def test_lists_of_one_hot_ids_are_samples(tmp_path: Path) -> None:
    """An id's list is looked up as a whole: hot ones become few sums."""
    np.save(tmp_path / "hot.npy", np.random.default_rng(1).zipf(1.8, (4000, 1)) % 300)
    config = {"path": str(tmp_path / "hot.npy"), "multi_hot": True}
    transform = {"algorithm": "grace", "max_length": 8, "extra_rows": 8.0, "edge_share": 1.0}
    trace = open_trace(
        FileTraceConfig.model_validate(config | {"transform": transform}),
        rows=(300,), lookups=((8,),), batch_size=50, seed=0,
    )  # fmt: skip
    assert trace.rows == (2700,)
    assert looked_up(trace, last_half(trace)) < 6


def test_ids_without_samples_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", t=history()[:1000].reshape(-1))
    with pytest.raises(TraceError, match=r"'t' holds ids without samples.*write bags"):
        opened(tmp_path / "flat.npz", "grace", FLIGHTS, 10)
    described = ["describe", str(tmp_path / "flat.npz"), "--transform", "grace"]
    with pytest.raises(TraceError, match=r"no sample looks up several rows"):
        CliRunner().invoke(app, described, catch_exceptions=False)


def test_timed_mini_batches_come_behind_the_training_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", t=history()[:1280])
    place = Place(0.5, warmup=2, batches=4)
    trace = opened(tmp_path / "log.npz", "grace", FLIGHTS, 10, place=place)
    assert (trace.past, trace.batches) == (8, 12)
    with pytest.raises(TraceError, match=r"by 10 of 20 mini-batches.*run.batches 11, with 0"):
        opened(tmp_path / "log.npz", "grace", FLIGHTS, 10, place=Place(0.5, warmup=2, batches=11))


EXPERIMENT = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 1, rows_per_table: 5721, lookups_per_table: 10, batch_size: 128}
trace: {path: log.npz, transform: {algorithm: merci}}
systems: [hybrid, static_cache]
cache: {fraction: 0.5}
run: {mode: inference, batches: 6, warmup_batches: 2}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sums")
    np.savez(folder / "log.npz", flight=history())
    (folder / "sums.yaml").write_text(EXPERIMENT)
    return folder / "sums.yaml"


def test_a_run_looks_fewer_rows_up_in_larger_tables(experiment: Path) -> None:
    result = simulate(load_experiment(experiment))
    plain = simulate(load_experiment(experiment, ("trace.transform=null",)))
    for own, other in zip(result.metrics(), plain.metrics(), strict=True):
        assert own["lookups_per_batch"] < 0.9 * other["lookups_per_batch"]
    cached = {row["label"]: row["cache_rows"] for row in result.metrics()}
    assert cached["static_cache"] == FLIGHTS  # half of twice the rows
    point = result.points[0].point
    assert point.stored.rows_per_table == open_for(point, 1).rows == (2 * FLIGHTS,)


def test_sums_are_counted_where_tables_must_fit(experiment: Path) -> None:
    most = int(256e9 / 512)
    fits = (f"model.rows_per_table={most * 2 // 3}", "systems=hybrid", "trace.transform=null")
    assert simulate(load_experiment(experiment, fits)).metrics()
    with pytest.raises(CapacityError, match="rows of 512 B"):
        simulate(load_experiment(experiment, fits[:2]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.mode=training", "training would update all that hold a row.*run.mode: inference"),
        ("model.lookups_per_table=1", "nothing to sum"),
        ("trace.transform.algorithm=metis", "expected one of grace, merci, space"),
        ("trace.transform.decay=0.5", "trace.transform.decay: unknown key"),
        ("trace.transform={decay: 0.5}", "trace.transform.algorithm: is missing"),
        ("trace.transform.train_share=1", "must be less than 1"),
        ("trace.transform.extra_rows=-1", "must be at least 0"),
        ("trace={kind: zipf, alpha: 1, transform: {algorithm: grace}}", "unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused(experiment: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_experiment(experiment, (override,))


def test_describe_tells_lookups_before_and_after(experiment: Path) -> None:
    file = str(experiment.with_name("log.npz"))
    keys = "{algorithm: merci, extra_rows: 0.5}"
    run = partial(CliRunner().invoke, app, catch_exceptions=False)
    described = run(["describe", file, "--transform", keys, "--rows", "6000", "--json"])
    (told,) = json.loads(described.stdout)["transform"]
    assert (told["table"], told["rows"], told["extra_rows"]) == ("flight", 6000, 3000)
    assert 0 < told["sums"] <= 3000
    assert told["before"] == 10.0
    assert 8.0 < told["after"] < 9.0
    assert "Sums of rows" in run(["describe", file, "--transform", "space"]).stdout
    assert "transform" not in json.loads(run(["describe", file, "--json"]).stdout)
    for arguments, message in (
        (["--transform", "metis"], "expected one of grace, merci, space"),
        (["--transform", "grace", "--rows", "50"], "outside of a table of 50 rows"),
        (["--rows", "6000"], "of use with --transform alone"),
    ):
        with pytest.raises((ConfigError, TraceError, UsageError), match=message):
            run(["describe", file, *arguments])
