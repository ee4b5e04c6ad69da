"""One-hot ids of a file that stand for fixed lists of ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import Trace, bags_of, open_trace
from simulator.traces.multi_hot import listed


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """64 samples of two columns."""
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "log.npz", a=rng.integers(0, 40, 64), b=rng.integers(0, 500, 64))
    return tmp_path / "log.npz"


def opened(path: Path, lookups: Any = (3, 12), **keys: Any) -> Trace:
    config = FileTraceConfig.model_validate({"path": str(path), "multi_hot": True} | keys)
    rows = (40, 500)[-len(lookups) :]
    return open_trace(config, rows=rows, lookups=lookups, batch_size=16, seed=0)


def test_a_list_begins_with_its_id_and_is_the_same_each_time() -> None:
    ids = np.array([7, 3, 7])
    lists = listed(ids, 0, 500, 12)
    assert lists[:, 0].tolist() == [7, 3, 7]
    assert lists[0].tolist() == lists[2].tolist() != lists[1].tolist()
    assert listed(ids[:1], 0, 500, 4)[0].tolist() == lists[0, :4].tolist()
    assert listed(ids[:1], 1, 500, 12)[0, 1:].tolist() != lists[0, 1:].tolist()


def test_members_of_lists_are_uniform_over_the_table() -> None:
    """By chi-squared: mean 99, standard deviation sqrt(2 x 99)."""
    members = listed(np.arange(20_000), 3, 100, 11)[:, 1:]
    counts = np.bincount(members.reshape(-1), minlength=100)
    expected = 20_000 * 10 / 100
    chi = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi - 99) < 4 * np.sqrt(2 * 99)


def test_every_sample_looks_its_lists_up(log: Path) -> None:
    trace, plain = opened(log), np.load(log)
    batch = trace.minibatch(1)
    for table, (name, rows, size) in enumerate((("a", 40, 3), ("b", 500, 12))):
        wanted = listed(plain[name][16:32], table, rows, size)
        assert batch.ids[table].reshape(16, size).tolist() == wanted.tolist()
        assert batch.offsets[table].tolist() == list(range(0, 17 * size, size))
    assert (batch.longest, trace.batches, bags_of(trace)) == ((3, 12), 4, None)
    assert trace.fingerprint() != opened(log, (3, 13)).fingerprint()


def test_the_hottest_rows_are_counted_in_the_lists(log: Path) -> None:
    trace = opened(log)
    every = np.concatenate([trace.minibatch(k).ids[1] for k in range(4)])
    counts = np.bincount(every, minlength=500)
    hottest = trace.hottest(1, 20, 1.0)
    assert hottest.tolist() == np.argsort(-counts, kind="stable")[:20].tolist()


def test_features_of_one_table_have_lists_of_their_own_length(log: Path) -> None:
    trace = opened(log, ((2, 5),), tables={"a": "items", "b": "items"})
    batch, plain = trace.minibatch(0), np.load(log)
    lists = batch.ids[0].reshape(16, 7)
    assert lists[:, :2].tolist() == listed(plain["a"][:16], 0, 500, 2).tolist()
    assert lists[:, 2:].tolist() == listed(plain["b"][:16], 0, 500, 5).tolist()
    assert np.diff(batch.pooled[0]).tolist() == [2, 5] * 16


def test_bags_of_the_file_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"b": [[1], [2, 3]] * 16}).to_parquet(tmp_path / "log.parquet")
    with pytest.raises(TraceError, match=r"table 'b' has bags of its own: trace.multi_hot"):
        opened(tmp_path / "log.parquet", (4,))
