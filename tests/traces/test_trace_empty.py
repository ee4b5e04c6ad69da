"""No lookups are a value, in tables, batches and files; a file without any bag is a mistake."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from simulator import load_experiment, simulate
from simulator.cli.replay import replay
from simulator.cli.trace import app
from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import open_trace, read_ids
from simulator.traces.analysis import has_time_order
from simulator.traces.files import open_source
from simulator.traces.pieces import load

SAMPLES = 8 * 30


def saved(folder, name, lengths):
    """A file in which table `a` has bags of `lengths` and table `b` has empty ones."""
    ids = np.random.default_rng(1).integers(0, 900, lengths.sum())
    offsets = np.append(0, np.cumsum(lengths))
    nothing = np.zeros(len(lengths), np.int64)
    none, path = np.empty(0, np.int64), folder / name
    if name.endswith(".npz"):
        bags = {"a_offsets": offsets, "b": none, "b_offsets": np.append(0, nothing)}
        np.savez(path, a=ids, **bags)
    elif name.endswith(".parquet"):
        bags = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(ids))
        pq.write_table(pa.table({"a": bags, "b": pa.array([[]] * len(lengths), bags.type)}), path)
    else:
        both = np.append(offsets, np.full(len(lengths), offsets[-1]))
        value = (ids, both, np.stack([lengths, nothing]))
        torch.save(tuple(torch.from_numpy(x) for x in value), path)
    return path


@pytest.mark.parametrize("name", ["e.npz", "e.parquet", "e.pt"])
def test_a_table_whose_bags_are_all_empty_is_a_table(tmp_path, name):
    path = saved(tmp_path, name, np.array([2, 0, 1, 0]))
    first, second = load(open_source(path))
    assert first.offsets.tolist() == [0, 2, 2, 3, 3]
    assert (second.ids.tolist(), second.offsets.tolist()) == ([], [0] * 5)
    assert read_ids(path, column=second.name).tolist() == []
    every = load(open_source(saved(tmp_path, name, np.zeros(3, int))))
    assert [c.offsets.tolist() for c in every] == [[0] * 4] * 2


def test_empty_arrays_of_two_dimensions(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.empty((4, 0), int), b=np.arange(8).reshape(4, 2))
    assert load(open_source(tmp_path / "a.npz"))[0].offsets.tolist() == [0] * 5


@pytest.mark.parametrize("arrays", [{"a": []}, {"a": [], "a_offsets": [0]}, {"a": [], "b": []}])
def test_a_file_without_any_bag_is_a_mistake(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **{name: np.array(x, int) for name, x in arrays.items()})
    with pytest.raises(TraceError, match=r"a\.npz: holds no ids"):
        load(open_source(tmp_path / "a.npz"))


@pytest.mark.parametrize("name", ["e.npz", "e.parquet"])
def test_convert_keeps_empty_tables(tmp_path, name):
    path = saved(tmp_path, name, np.array([2, 0, 1]))
    for target in ("b.npz", "b.parquet"):
        run("convert", path, tmp_path / target)
        kept = [(c.ids.tolist(), c.offsets.tolist()) for c in load(open_source(tmp_path / target))]
        assert kept == [(c.ids.tolist(), c.offsets.tolist()) for c in load(open_source(path))]


def test_nothing_has_no_order_in_time():
    assert has_time_order(np.empty(0, np.int64)) is False


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_verbs_say_which_tables_have_no_lookups(tmp_path):
    path = saved(tmp_path, "e.npz", np.array([2, 0, 1]))
    assert "3 lookups in 2 table(s), all good; no lookups in b" in run("validate", path)
    tables = json.loads(run("validate", path, "--json"))["tables"]
    assert tables[1] == {"table": "b", "lookups": 0, "max_id": None}
    assert "no lookups, and so no shares: b" in run("describe", path)
    tables = json.loads(run("describe", path, "--json"))["tables"]
    assert (tables[0]["lookups"], tables[1]) == (3, {"table": "b", "lookups": 0})
    picture = tmp_path / "b.svg"
    assert "no shares: b" in run("describe", path, "--column", "b", "--plot", picture)
    assert picture.exists()


def test_a_replay_of_no_lookups_is_refused(tmp_path):
    path = tmp_path / "e.npz"
    np.savez(path, b=np.empty(0, int), b_offsets=np.zeros(4, int))
    with pytest.raises(TraceError, match=r"e\.npz: the table has no lookups: there is nothing"):
        replay(trace=path, policy="lru", capacity=[2])


def experiment(path, *settings):
    document = path.parent / "run.yaml"
    document.write_text(
        f"""
config_version: 1
name: empty
platform: v100_p3
model:
  base: default
  tables: 2
  rows_per_table: [1000, 50]
  lookups_per_table: 1
  batch_size: 8
trace: {{path: {path}}}
systems: [hybrid, gpu_only, static_cache, scratchpipe, straw_man]
cache: {{fraction: 0.5}}
run: {{batches: 6, warmup_batches: 2}}
""",
        encoding="utf-8",
    )
    return load_experiment(document, list(settings))


@pytest.mark.parametrize("prefill", ["steady", "hot", "empty"])
def test_every_system_runs_with_a_table_without_lookups(tmp_path, prefill):
    lengths = np.random.default_rng(2).integers(0, 4, SAMPLES)
    path = saved(tmp_path, "e.npz", lengths)
    result = simulate(experiment(path, f"cache.prefill={prefill}"))
    timed = [point.metrics["lookups_per_batch"] for point in result.points]
    assert len(timed) == 5
    assert len(set(timed)) == 1
    trace = open_trace(
        FileTraceConfig(kind="file", path=str(path)),
        rows=(1000, 50), lookups=(1, 1), batch_size=8, seed=0,
    )  # fmt: skip
    sums = [trace.minibatch(i).lookups for i in range(30)]
    assert any(timed[0] == pytest.approx(np.mean(sums[i : i + 6])) for i in range(25))
    assert trace.hottest(1, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("blank", [slice(0, 64), slice(96, 160), slice(0, SAMPLES)])
def test_windows_and_files_without_lookups_run(tmp_path, blank):
    lengths = np.random.default_rng(2).integers(0, 4, SAMPLES)
    lengths[blank] = 0
    result = simulate(experiment(saved(tmp_path, "e.npz", lengths)))
    for point in result.points:
        assert point.metrics["lookups_per_batch"] >= 0
        assert (point.metrics["lookups_per_batch"] == 0) == (lengths.sum() == 0)


def test_one_sample_and_one_row(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(40), b=np.zeros(40, int))
    settings = ("model.batch_size=1", "model.rows_per_table=[100,1]")
    result = simulate(experiment(tmp_path / "a.npz", *settings))
    assert {point.metrics["lookups_per_batch"] for point in result.points} == {2}
