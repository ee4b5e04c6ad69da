"""The kernels that micro-benchmarks add, against plain references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.observe import rows as kernels
from simulator.observe.microbench import passes, skips
from simulator.observe.microbench.footprint import chain, chase, read_rows_at


def plain_pool(table: np.ndarray, ids: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Row by row, in fp64."""
    out = np.zeros((len(offsets) - 1, table.shape[1]))
    for bag in range(len(out)):
        for row in ids[offsets[bag] : offsets[bag + 1]]:
            if row >= 0:
                out[bag] += table[row]
    return out


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31), bags=st.integers(1, 70), dim=st.sampled_from([1, 12, 16, 128]),
    share=st.floats(0, 1), threads=st.integers(1, 2),
)  # fmt: skip
def test_a_list_with_holes_and_a_compacted_one_pool_the_same(
    seed: int, bags: int, dim: int, share: float, threads: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 30, bags))])
    table = kernels.aligned(200, dim)
    table[:] = rng.random((200, dim))
    (ids,) = skips.punched([rng.integers(0, 200, int(offsets[-1]))], share, seed)
    assert (ids < 0).sum() == round(share * len(ids))
    expected = plain_pool(table, ids, offsets)
    holes, dense = np.full((2, bags, dim), np.nan, np.float32)
    skips.pool_with_holes(table, ids, offsets, holes, threads)
    kernels.pool_rows(table, *skips.compacted(ids, offsets), dense, threads)
    np.testing.assert_allclose(holes, expected, rtol=1e-4)
    assert np.array_equal(holes, dense)  # in the same order, to the bit


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 700), threads=st.integers(1, 2))
def test_reading_rows_reads_each_of_them_once(seed: int, count: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.random((50, 128)).astype(np.float32)
    ids = rng.integers(0, 50, count)
    sums = np.full((threads, 128), np.nan, np.float32)
    read_rows_at(table, ids, sums, threads)
    np.testing.assert_allclose(sums.sum(axis=0), table[ids].sum(axis=0), rtol=1e-3)


@pytest.mark.parametrize("lines", [16, 1024, 1 << 14])
def test_a_chain_goes_through_every_line_once(lines: int) -> None:
    links = np.full(lines * 8, -1, np.int64)
    chain(links, 2)
    seen, at = set(), 0
    for _ in range(lines):
        assert at % 8 == 0  # one element a line
        seen.add(at)
        at = int(links[at])
    assert at == 0
    assert len(seen) == lines


def test_a_chase_follows_the_chain() -> None:
    links = np.full(64 * 8, -1, np.int64)
    chain(links, 1)
    at = 0
    for _ in range(10):
        at = int(links[at])
    assert chase(links, 0, 10) == at
    assert chase(links, 0, 64) == 0  # all the way round


@pytest.mark.parametrize("lines", [1, 5, 64])
@pytest.mark.parametrize("threads", [1, 2])
def test_passes_write_and_copy_everything(lines: int, threads: int) -> None:
    a, b = kernels.aligned(lines, 16).reshape(-1), kernels.aligned(lines, 16).reshape(-1)
    a[:] = np.arange(len(a))
    for number in (passes.COPY, passes.COPY_NT):
        b[:] = -1
        passes.pass_over(number, a, b, threads)
        assert np.array_equal(a, b)
    b[:] = -1
    passes.pass_over(passes.WRITE, a, b, threads)
    assert (b == 1).all()
    passes.pass_over(passes.WRITE_NT, a, b, threads)  # the first line, again and again
    assert np.array_equal(b.reshape(-1, 16) % 16, np.tile(np.arange(16.0), (lines, 1)))


def test_each_thread_reads_the_whole_buffer() -> None:
    a = np.arange(32, dtype=np.float32)
    assert passes.read_by_each(a, 2).tolist() == [a.view(np.int64).sum()] * 2
