"""Ages of rows: the closed form against its plain reference, and against lookups of the past."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._mix import GOLDEN, mixed
from simulator.config.trace import DriftTraceConfig, SessionTraceConfig, ZipfTraceConfig
from simulator.traces import open_trace
from simulator.traces.cells import counts_cells, zipf_cells
from simulator.traces.cuts import TablePart, parted
from simulator.traces.draws import draws_of
from simulator.traces.recency import Recency, bag_rates, fixed_rates, series_of, summed_series
from simulator.traces.synthetic import pooling_cumulative


def recency(cells, lookups=64, key=5):
    return Recency(cells, lambda p: fixed_rates(p, lookups), np.uint64(key), lambda ranks: ranks)


def plain(probabilities, lookups, key, age):
    """Rank -> age of those looked up at most `age` mini-batches ago."""
    ages = {}
    for rank, p in enumerate(probabilities):
        if p > 0.0:
            word = mixed(key + rank * int(GOLDEN))
            rate = -lookups * (math.log1p(-p) if p < 1.0 else -math.inf)
            ages[rank] = -math.log((word + 0.5) / 2.0**64) / rate
    return {rank: a for rank, a in ages.items() if a <= age}


@given(
    alpha=st.sampled_from([0.0, 0.37, 1.05, 4.0]),
    rows=st.integers(1, 3000),
    age=st.one_of(st.floats(0.01, 1e4), st.just(math.inf)),
    key=st.integers(0, 2**64 - 1),
)
@settings(max_examples=60, deadline=None)
def test_ages_equal_the_plain_reference(alpha, rows, age, key):
    weights = np.arange(1, rows + 1.0) ** -alpha
    expected = plain(weights / weights.sum(), 64, key, age)
    ranks, ages = recency(zipf_cells(rows, alpha), key=key).within(age)
    assert sorted(ranks.tolist()) == sorted(expected)
    wanted = [expected[rank] for rank in ranks.tolist()]
    assert np.allclose(ages, wanted, rtol=1e-5, atol=1e-12)


@given(st.floats(0.0, 4.0), st.floats(0.0, 2.0**-7))
def test_the_series_of_a_power_near_one_is_that_power(power, excess):
    series = summed_series(series_of(power), excess)
    assert series == pytest.approx((1.0 + excess) ** power, rel=1e-15)


def test_rows_that_nobody_looks_up_have_no_age():
    found = recency(counts_cells(np.array([5, 0, 3, 0])))
    assert found.touched == 2
    assert sorted(found.within(math.inf)[0].tolist()) == [0, 1]  # ranks: the two hottest
    assert found.expected(math.inf) == 2.0


def test_the_mean_number_is_that_of_the_closed_form():
    """10,000 equal rows, 64 lookups: after 20 mini-batches 1 - (1 - 1e-4)**1280 of them."""
    found = recency(zipf_cells(10_000, 0.0))
    mean = 10_000 * (1 - (1 - 1e-4) ** 1280)
    assert found.expected(20.0) == pytest.approx(mean, rel=1e-9)
    assert abs(len(found.within(20.0)[0]) - mean) < 5 * math.sqrt(mean)


def test_a_fixed_bag_is_a_bag_of_a_random_size_that_is_always_the_same():
    p = np.array([0.0, 1e-9, 0.01, 0.5, 1.0])
    always_four = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert np.allclose(bag_rates(p, 7, always_four), fixed_rates(p, 28), rtol=1e-6)


@pytest.mark.parametrize("pooling", ["fixed", "poisson", "geometric"])
def test_ages_are_those_of_lookups_long_after_the_start(pooling):
    """Share of the rows that were looked up in the last k mini-batches, rows by popularity."""
    config = ZipfTraceConfig(alpha=1.0, pooling=pooling)
    trace = open_trace(config, rows=(5000,), lookups=(6,), batch_size=50, seed=4)
    rows, ages = trace.popularity_ages(0).within(math.inf)
    assert sorted(rows.tolist()) == list(range(5000))
    seen = np.zeros(5000, bool)
    for back in range(1, 31):
        seen[trace.minibatch(-back).ids[0]] = True
        if back in (1, 5, 30):
            drawn = np.zeros(5000, bool)
            drawn[rows[ages <= back]] = True
            for hot in (slice(0, 50), slice(50, 1000), slice(1000, 5000)):
                group = trace.hottest(0, 5000)[hot]
                spread = math.sqrt(2 * max(seen[group].sum(), 9))
                assert abs(int(seen[group].sum()) - int(drawn[group].sum())) < 4.5 * spread


def test_bags_of_random_size_leave_rows_alone_more_often():
    """A long bag looks a hot row up several times, so that others see fewer distinct rows."""
    p = np.array([0.02])
    geometric = bag_rates(p, 50, pooling_cumulative("geometric", 6))
    assert geometric < fixed_rates(p, 300)
    # G(z) = z q / (1 - z (1 - q)) with q = 1/6, at z = 0.98
    closed = 0.98 / 6 / (1 - 0.98 * 5 / 6)
    assert geometric[0] == pytest.approx(-50 * math.log(closed), rel=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        DriftTraceConfig(alpha=1.0, hot_fraction=0.1, replaced=0.2, period_batches=3),
        SessionTraceConfig(alpha=1.0, repeat=0.3, length=4.0, concurrent=8),
    ],
)
def test_draws_that_depend_on_time_are_said_to(config):
    trace = open_trace(config, rows=(90,), lookups=(2,), batch_size=9, seed=0)
    for known in (draws_of(trace), draws_of(parted(trace, (TablePart(0),)))):
        assert known is not None
        assert not known.independent


def test_ages_of_a_part_by_rows_are_those_of_its_rows():
    trace = open_trace(
        ZipfTraceConfig(alpha=1.0), rows=(5000,), lookups=(6,), batch_size=50, seed=4
    )
    parts = tuple(TablePart(0, "row", index, 3) for index in range(3))
    whole, known = draws_of(trace), draws_of(parted(trace, parts))
    ages = dict(zip(*(part.tolist() for part in whole.ages(0).within(40.0)), strict=True))
    mine = {}
    for index in range(3):
        rows, times = known.ages(index).within(40.0)
        mine |= dict(zip((rows * 3 + index).tolist(), times.tolist(), strict=True))
    assert mine == ages
    assert sum(known.ages(k).touched for k in range(3)) == whole.ages(0).touched == 5000
    expected = sum(known.ages(k).expected(40.0) for k in range(3))
    assert expected == pytest.approx(whole.ages(0).expected(40.0))


def test_nothing_is_said_of_copies_of_tables_and_of_what_is_read():
    trace = open_trace(ZipfTraceConfig(alpha=1.0), rows=(50,), lookups=(2,), batch_size=8, seed=0)
    copies = parted(trace, tuple(TablePart(0, "replica", index, 2) for index in range(2)))
    assert draws_of(copies) is None
