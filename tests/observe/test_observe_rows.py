"""The compiled row kernels agree with plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.observe import rows as kernels

ROWS = 5_000


def _table(dim: int) -> kernels.Floats:
    table = kernels.aligned(ROWS, dim)
    kernels.fill_rows(table, threads=2)
    return table


@pytest.mark.parametrize("dim", [5, 16, 48])
def test_gather_and_scatter_agree_with_indexing(dim: int) -> None:
    """Whole cache lines (streamed) and odd rows (copied); reads and writes of other rows."""
    rng = np.random.default_rng(dim)
    table = _table(dim)
    before = table.copy()
    picked = rng.permutation(ROWS)
    wanted, given = picked[:1_700], picked[2_000:2_390]
    out = kernels.aligned(len(wanted), dim)
    values = rng.random((len(given), dim), dtype=np.float32)
    kernels.gather_and_scatter(table, wanted, out, given, values, threads=2)
    assert np.array_equal(out, before[wanted])
    before[given] = values
    assert np.array_equal(table, before)


def test_copies_in_one_direction() -> None:
    table = _table(16)
    rows = np.array([3, 1, 4_999])
    out = kernels.aligned(3, 16)
    kernels.copy_rows(table, rows, out, 2, to=False)
    assert np.array_equal(out, table[rows])
    out[:] = 7.0
    kernels.copy_rows(table, rows, out, 2, to=True)
    assert (table[rows] == 7.0).all()


def test_filling_depends_on_row_and_column_alone() -> None:
    one, two = kernels.aligned(100, 8), kernels.aligned(100, 8)
    kernels.fill_rows(one, threads=1)
    kernels.fill_rows(two, threads=2)
    assert np.array_equal(one, two)
    assert np.abs(one).max() <= 0.01
    assert len(np.unique(one)) > 700


def test_pooling_sums_in_the_order_of_the_lookups() -> None:
    """Jagged bags, one of them empty; the same bits as a plain loop."""
    rng = np.random.default_rng(0)
    table = _table(16)
    offsets = np.array([0, 3, 3, 10, 50])
    ids = rng.integers(0, ROWS, 50)
    out = kernels.aligned(4, 16)
    kernels.pool_rows(table, ids, offsets, out, threads=2)
    expected = np.zeros((4, 16), np.float32)
    for bag in range(4):
        for k in range(offsets[bag], offsets[bag + 1]):
            expected[bag] += table[ids[k]]
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("rows", [1, 100, 5_000, 80_000_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_sorting_is_by_id_then_position(rows: int, threads: int) -> None:
    ids = np.random.default_rng(1).integers(0, rows, 3_000)
    pairs = kernels.sort_pairs(ids, rows, threads)
    order = np.argsort(ids, kind="stable")
    assert np.array_equal(pairs.packed & 0xFFFFFFFF, order)
    assert np.array_equal(pairs.packed >> 32, ids[order])


def test_update_sums_gradients_of_equal_ids_once() -> None:
    rng = np.random.default_rng(2)
    table = _table(8)
    expected = table.copy()
    ids = rng.integers(0, 40, 900)
    bag_of = rng.integers(0, 60, 900).astype(np.int32)
    gradients = rng.random((60, 8), dtype=np.float32)
    kernels.coalesced_update(
        table, kernels.sort_pairs(ids, ROWS, 2), bag_of, gradients, 0.5, threads=2
    )
    for row in np.unique(ids):
        total = np.zeros(8, np.float32)
        for k in np.flatnonzero(ids == row):
            total += gradients[bag_of[k]]
        expected[row] -= np.float32(0.5) * total
    assert np.array_equal(table, expected)
