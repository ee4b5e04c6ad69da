"""Every compiled drawing kernel equals its plain reference, lookup by lookup."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.traces import kernels, reference
from simulator.traces.cells import counts_cells, zipf_cells
from simulator.traces.sessions import number_session_lookups
from simulator.traces.synthetic import Keys, Scatter

WORD = st.integers(0, 2**64 - 1)


def words(*values):
    return np.array(values, np.uint64)


@pytest.mark.parametrize("chance", [0, 2**63])
@pytest.mark.parametrize(
    "cells",
    [zipf_cells(9, 1.3), zipf_cells(10_000_000, 1.05), zipf_cells(12345, 0.0),
     counts_cells(np.array([5, 5, 1, 0]))],
)  # fmt: skip
def test_ranks(cells, chance):
    keys, shared = Keys(3).draw(0, 0, 3), words(11, 12, chance)
    counters = np.arange(2000, dtype=np.int64) * 977
    k, s = [int(x) for x in keys], [int(x) for x in shared]
    wanted = [reference.rank_of(c, k, s, cells) for c in counters.tolist()]
    out = counters.copy()
    kernels.draw_ranks(out, out, 0, keys, shared, cells.arrays)
    assert out.tolist() == wanted
    apart, first = np.empty_like(out), 5 << 40
    kernels.draw_ranks(apart, counters - first, first, keys, shared, cells.arrays)
    assert apart.tolist() == wanted


@given(rows=st.integers(1, 2**31), x=st.integers(0, 2**31), seed=st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_scatter(rows, x, seed):
    keys = Keys(seed).draw(0, Keys.SCATTER, 4)
    split = max(1, (rows.bit_length() - 1) // 2)
    expected = reference.scattered(x % rows, rows, split, [int(k) for k in keys])
    assert Scatter(rows, keys)(np.array([x % rows])).tolist() == [expected]


@pytest.mark.parametrize("rows", [1, 33, 2 * kernels.BLOCK + 5])
def test_scatter_of_many(rows):
    keys = Keys(5).draw(0, Keys.SCATTER, 4)
    split = max(1, (rows.bit_length() - 1) // 2)
    plain = [int(k) for k in keys]
    expected = [reference.scattered(x, rows, split, plain) for x in range(rows)]
    assert Scatter(rows, keys)(np.arange(rows)).tolist() == expected


@given(rows=st.integers(1, 400), hot=st.integers(1, 400), turns=st.floats(0, 50), key=WORD)
@settings(max_examples=100, deadline=None)
def test_drift_equals_its_reference_and_is_a_bijection(rows, hot, turns, key):
    hot = min(hot, rows)
    ranks = np.arange(rows, dtype=np.int64)
    kernels.drift_ranks(ranks, hot, rows // hot, turns, np.uint64(key))
    assert sorted(ranks.tolist()) == list(range(rows))
    expected = [reference.drifted(r, hot, rows // hot, turns, key) for r in range(rows)]
    assert ranks.tolist() == expected


@pytest.mark.parametrize("cumulative", [np.zeros(0), np.array([0.2, 0.6, 1.0])])
def test_sessions(cumulative):
    mean, bag_key, session = 2, np.uint64(99), (0.7, 0.2, 3)
    keys = words(1, 2, 3)

    def bag_size(sample):
        if not len(cumulative):
            return mean
        out = np.empty(2, np.int64)
        kernels.pooled_offsets(out, sample, bag_key, cumulative)
        return int(out[1])

    sizes = [bag_size(s) for s in range(500, 900)]
    offsets = np.append(0, np.cumsum(sizes)).astype(np.int64)
    out = np.empty(offsets[-1], np.int64)
    bags = (mean, np.array([bag_key]), cumulative, np.array([0, len(cumulative)]))
    number_session_lookups(out, offsets, 500, session, keys, bags)
    expected = []
    for s, size in enumerate(sizes):
        for j in range(size):
            source, lookup = reference.session_source(500 + s, j, session, [1, 2, 3], bag_size)
            expected.append((source << 20) + lookup)
    assert out.tolist() == expected
