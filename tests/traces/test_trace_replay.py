"""Replay of files: mini-batches are the ids in their order, and nothing is made up."""

import numpy as np
import pytest

from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import Trace, open_trace
from simulator.traces.curves import shipped


def opened(path, *, rows=(10,), lookups=(2,), batch_size=3, **options):
    config = FileTraceConfig(path=str(path), **options)
    return open_trace(config, rows=rows, lookups=lookups, batch_size=batch_size, seed=0)


@pytest.fixture
def twenty(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(20) % 10)
    return tmp_path / "a.npy"


def test_minibatches_are_slices_and_the_partial_last_one_is_left_out(twenty):
    trace = opened(twenty)
    assert isinstance(trace, Trace)
    assert trace.batches == 3
    assert trace.minibatch(2).ids[0].tolist() == [2, 3, 4, 5, 6, 7]
    assert trace.minibatch(2).offsets[0].tolist() == [0, 2, 4, 6]
    with pytest.raises(TraceError, match="the file has 3"):
        trace.minibatch(3)


def test_wrap_starts_again(twenty):
    trace = opened(twenty, at_end="wrap")
    assert trace.batches is None
    assert np.array_equal(trace.minibatch(4).ids[0], trace.minibatch(1).ids[0])
    assert trace.minibatch(4).index == 4


def test_bags_of_the_file_are_used(tmp_path):
    np.savez(
        tmp_path / "a.npz", x=np.array([1, 2, 3, 4, 5, 6]), x_offsets=np.array([0, 3, 3, 4, 6])
    )
    trace = opened(tmp_path / "a.npz", batch_size=2, lookups=(99,))
    assert trace.batches == 2
    batch = trace.minibatch(1)
    assert (batch.ids[0].tolist(), batch.offsets[0].tolist()) == ([4, 5, 6], [0, 1, 3])


def test_order_in_time_is_tested_not_taken_for_granted(tmp_path):
    cycle = np.arange(3000) % 30
    np.save(tmp_path / "a.npy", cycle)
    np.save(tmp_path / "b.npy", np.random.default_rng(0).permutation(cycle))
    assert opened(tmp_path / "a.npy", rows=(30,)).has_time_order
    assert not opened(tmp_path / "b.npy", rows=(30,)).has_time_order


def test_hottest_counts_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.array([4, 4, 4, 1, 1, 7], np.uint8))
    trace = opened(tmp_path / "a.npy", batch_size=1)
    assert trace.hottest(0, 4).tolist() == [4, 1, 7, 0]


def test_a_file_that_does_not_fit_the_model_says_so(twenty):
    with pytest.raises(TraceError, match="id 9 at record 9 is outside of a table of 9 rows"):
        opened(twenty, rows=(9,)).minibatch(1)
    with pytest.raises(TraceError, match="outside of a table"):
        opened(twenty, rows=(9,)).hottest(0, 1)
    with pytest.raises(TraceError, match=r"1 tables in the file \(a\), 2 in the model"):
        opened(twenty, rows=(10, 10), lookups=(1, 1))
    with pytest.raises(TraceError, match="20 ids, fewer than one mini-batch of 30 samples"):
        opened(twenty, batch_size=30)


def test_the_fingerprint_is_that_of_the_ids(twenty, tmp_path):
    np.savez(tmp_path / "b.npz", x=(np.arange(20) % 10).astype(np.int8))
    assert opened(twenty).fingerprint() == opened(tmp_path / "b.npz").fingerprint()
    assert opened(twenty).fingerprint() != opened(twenty, batch_size=2).fingerprint()


def test_the_shipped_real_trace_replays():
    trace = opened(
        shipped("nycflights13_2013.npz"),
        rows=(4043, 5721),
        lookups=(1, 1),
        batch_size=2048,
        columns=("tailnum", "flight"),
    )
    assert trace.batches == 334_264 // 2048
    assert trace.has_time_order
    assert [int(i.max()) < n for i, n in zip(trace.minibatch(162).ids, trace.rows, strict=True)]
