"""Replay of files: mini-batches are the ids in their order, and nothing is made up."""

import numpy as np
import pytest

from simulator.config.trace import FileTraceConfig
from simulator.errors import TraceError
from simulator.traces import Trace, open_trace
from simulator.traces.curves import shipped
from simulator.traces.replay import Place


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
    assert trace.hottest(0, 4, share=1.0).tolist() == [4, 1, 7, 0]


def test_hottest_counts_the_first_half_of_the_mini_batches(tmp_path):
    """Three mini-batches of two lookups: half of them is one, {1, 2}; two thirds are two."""
    np.save(tmp_path / "a.npy", np.array([2, 1, 4, 4, 7, 7, 7]))
    trace = opened(tmp_path / "a.npy", batch_size=1)
    assert trace.hottest(0, 3).tolist() == [1, 2, 0]
    assert trace.hottest(0, 3, share=0.67).tolist() == [4, 1, 2]
    assert trace.hottest(0, 3, share=0.01).tolist() == [1, 2, 0]  # at least one mini-batch
    assert trace.hottest(0, 3, share=1.0).tolist() == [7, 4, 1]  # the odd id at the end as well


def test_hottest_of_bags_counts_their_samples(tmp_path):
    offsets = np.array([0, 3, 3, 4, 6])
    np.savez(tmp_path / "a.npz", x=np.array([5, 5, 3, 4, 4, 4]), x_offsets=offsets)
    trace = opened(tmp_path / "a.npz", batch_size=2, lookups=(99,))
    assert trace.hottest(0, 3).tolist() == [5, 3, 0]  # samples 0 and 1: 5, 5, 3
    assert trace.hottest(0, 1, share=1.0).tolist() == [4]


def placed(path, place, **options):
    config = FileTraceConfig(path=str(path), **options)
    return open_trace(config, rows=(100,), lookups=(1,), batch_size=1, seed=0, place=place)


@pytest.mark.parametrize(
    ("place", "first"),
    [
        (Place(0.5, 5, 10), 15),  # timed: 20 to 29, the second half
        (Place(0.5, 30, 5), 0),  # more warm-up than the first half: from the beginning
        (Place(0.5, 5, 30), 5),  # too long for the second half: as late as the file allows
        (Place(0.5, 5, 20, 6), 9),  # six more behind the timed ones, 14 to 33
        (Place(0.5, 5, 30, 6), 0),  # of which the file has five
        (Place(0.5, 20, 20), 0),
        (Place(0.25, 0, 10), 10),
        (Place(0.5, 60, 60), 0),  # longer than the file: refused by the run itself
    ],
)
def test_timed_mini_batches_come_after_the_profile_where_the_file_is_long_enough(
    tmp_path, place, first
):
    np.save(tmp_path / "a.npy", np.arange(40))
    trace = placed(tmp_path / "a.npy", place)
    assert trace.minibatch(0).ids[0].tolist() == [first]
    assert (trace.past, trace.batches) == (first, 40 - first)
    assert trace.minibatch(-first).ids[0].tolist() == [0]
    with pytest.raises(TraceError, match="mini-batch -1 is asked for, the file has 40"):
        trace.minibatch(-first - 1)
    with pytest.raises(TraceError, match="mini-batch 40 is asked for, the file has 40"):
        trace.minibatch(40 - first)


def test_a_profile_knows_which_mini_batches_it_has_counted(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(40))
    trace = placed(tmp_path / "a.npy", Place(0.5, 5, 30))  # starts at 5, timed: 10 to 39
    assert trace.profiled(0.5, range(5, 35)) == pytest.approx(1 / 3)
    assert trace.profiled(0.25, range(5, 35)) == 0.0
    assert trace.profiled(1.0, range(5, 35)) == 1.0


def test_a_file_that_wraps_has_a_past_without_beginning(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(40))
    trace = placed(tmp_path / "a.npy", Place(0.5, 5, 100), at_end="wrap")
    assert (trace.past, trace.batches) == (None, None)
    assert trace.minibatch(0).ids[0].tolist() == [15]
    assert trace.minibatch(-16).ids[0].tolist() == [39]
    assert trace.profiled(0.5, range(5, 45)) == 0.5  # a lap: its first half is in the profile


def test_a_file_that_does_not_fit_the_model_says_so(twenty):
    with pytest.raises(TraceError, match="id 9 at record 9 is outside of a table of 9 rows"):
        opened(twenty, rows=(9,)).minibatch(1)
    with pytest.raises(TraceError, match="outside of a table"):
        opened(twenty, rows=(9,)).hottest(0, 1, share=1.0)
    with pytest.raises(TraceError, match=r"1 tables in the file \(a\), 2 in the model"):
        opened(twenty, rows=(10, 10), lookups=(1, 1))
    with pytest.raises(TraceError, match="20 ids, fewer than one mini-batch of 30 samples"):
        opened(twenty, batch_size=30)


def test_the_fingerprint_is_that_of_the_ids(twenty, tmp_path):
    np.savez(tmp_path / "b.npz", x=(np.arange(20) % 10).astype(np.int8))
    assert opened(twenty).fingerprint() == opened(tmp_path / "b.npz").fingerprint()
    assert opened(twenty).fingerprint() != opened(twenty, batch_size=2).fingerprint()
    assert (
        placed(twenty, Place(0.5, 1, 1)).fingerprint()
        != placed(twenty, Place(0.5, 2, 1)).fingerprint()
    )


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
