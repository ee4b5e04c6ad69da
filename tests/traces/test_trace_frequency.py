"""Lookups of rows in many mini-batches: the closed form against a Poisson's, and against draws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._mix import GOLDEN, mixed
from simulator.config.trace import ZipfTraceConfig
from simulator.traces import open_trace
from simulator.traces.cells import counts_cells, zipf_cells
from simulator.traces.cuts import TablePart, parted
from simulator.traces.draws import draws_of
from simulator.traces.frequency import LARGE, Frequency


def frequency(cells, lookups=64.0, key=5):
    return Frequency(cells, lookups, np.uint64(key), lambda ranks: ranks)


def together(lookups, batches):
    rows, counts = zip(*lookups.over(batches), strict=True)
    return np.concatenate(rows), np.concatenate(counts)


def plain(probabilities, lookups, key):
    """Rank -> lookups, by inversion of the sum of a Poisson's probabilities."""
    counts = {}
    for rank, p in enumerate(probabilities):
        share, mean = mixed(key + rank * int(GOLDEN)) / 2.0**64, p * lookups
        term = below = math.exp(-mean)
        while share >= below and counts.get(rank, 0) < 150:
            counts[rank] = counts.get(rank, 0) + 1
            term *= mean / counts[rank]
            below += term
    return counts


@given(
    alpha=st.sampled_from([0.0, 0.37, 1.05]),
    rows=st.integers(1, 1000),
    batches=st.integers(1, 40),
    key=st.integers(1, 2**64 - 1),  # 0: the word 0, which is below every share
)
@settings(max_examples=40, deadline=None)
def test_counts_below_large_means_equal_the_plain_reference(alpha, rows, batches, key):
    weights = np.arange(1, rows + 1.0) ** -alpha
    probabilities = weights / weights.sum()
    lookups = min(8.0 * rows, 0.9 * LARGE / probabilities[0]) / batches
    expected = plain(probabilities, lookups * batches, key)
    ranks, counts = together(frequency(zipf_cells(rows, alpha), lookups, key), batches)
    found = dict(zip(ranks.tolist(), counts.tolist(), strict=True))
    differ = [rank for rank in range(rows) if found.get(rank, 0) != expected.get(rank, 0)]
    assert len(differ) <= rows // 500  # a share that a float's last bit decides


@pytest.mark.parametrize("mean", [0.01, 1.0, 20.0, 63.0, 65.0, 1000.0])
def test_counts_are_those_of_a_poisson(mean):
    """Mean, variance and skewness of 400,000 rows, across pieces."""
    rows = 400_000
    counts = np.zeros(rows)
    found, times = together(frequency(zipf_cells(rows, 0.0), mean * rows / 4), 4)
    counts[found] = times
    assert len(np.unique(found)) == len(found)
    moved = counts - mean
    assert abs(moved.mean()) < 5 * math.sqrt(mean / rows)
    assert moved.var() == pytest.approx(mean, rel=5 * math.sqrt((2 + 1 / mean) / rows))
    skewness = (moved**3).mean() / mean**1.5
    assert skewness == pytest.approx(mean**-0.5, abs=0.02 + 0.1 * mean**-0.5)


def test_rows_that_nobody_looks_up_have_no_count():
    ranks, counts = together(frequency(counts_cells(np.array([5, 0, 3, 0])), 800.0), 10)
    assert sorted(ranks.tolist()) == [0, 1]
    assert abs(counts.sum() - 8000) < 5 * math.sqrt(8000)


@pytest.mark.parametrize("pooling", ["fixed", "poisson", "geometric"])
def test_counts_are_those_of_lookups(pooling):
    """Of 60 mini-batches, rows by popularity."""
    config = ZipfTraceConfig(alpha=1.0, pooling=pooling)
    trace = open_trace(config, rows=(5000,), lookups=(6,), batch_size=50, seed=4)
    rows, counts = together(draws_of(trace).counts(0), 60)
    drawn = np.zeros(5000)
    drawn[rows] = counts
    seen = np.zeros(5000)
    for back in range(1, 61):
        seen += np.bincount(trace.minibatch(-back).ids[0], minlength=5000)
    for hot in (slice(0, 50), slice(50, 1000), slice(1000, 5000)):
        group = trace.hottest(0, 5000)[hot]
        spread = math.sqrt(2 * seen[group].sum())
        assert abs(seen[group].sum() - drawn[group].sum()) < 4.5 * spread
        once = [float(each[group].astype(bool).sum()) for each in (seen, drawn)]
        assert abs(once[0] - once[1]) < 4.5 * math.sqrt(2 * max(once[0], 9.0))


def test_counts_of_a_part_by_rows_are_those_of_its_rows():
    config = ZipfTraceConfig(alpha=1.0)
    trace = open_trace(config, rows=(5000,), lookups=(6,), batch_size=50, seed=4)
    parts = tuple(TablePart(0, "row", index, 3) for index in range(3))
    whole, known = draws_of(trace), draws_of(parted(trace, parts))
    counts = dict(zip(*(part.tolist() for part in together(whole.counts(0), 20)), strict=True))
    mine = {}
    for index in range(3):
        rows, times = together(known.counts(index), 20)
        mine |= dict(zip((rows * 3 + index).tolist(), times.tolist(), strict=True))
    assert mine == counts
