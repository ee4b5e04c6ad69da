"""Drawing: the right distribution, in any order, on any number of threads; a true bijection."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config.trace import LocalityTraceConfig, UniformTraceConfig, ZipfTraceConfig
from simulator.errors import TraceError
from simulator.traces import Trace, open_trace
from simulator.traces.cells import counts_cells, curve_cells, zipf_cells, zipf_sums
from simulator.traces.synthetic import Keys, Scatter, Shape, SyntheticTrace


def zipf(alpha, *, rows=(1000, 50), lookups=(3, 2), batch_size=16, seed=1, **options):
    config = ZipfTraceConfig(alpha=alpha, **options)
    return open_trace(config, rows=rows, lookups=lookups, batch_size=batch_size, seed=seed)


def chi_square_is_plausible(observed, expected):
    """Whether a chi-square statistic lies within five standard deviations of its mean."""
    enough = expected >= 5
    observed = np.append(observed[enough], observed[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum() + 1e-9)
    statistic = ((observed - expected) ** 2 / expected)[expected > 1e-6].sum()
    freedom = np.count_nonzero(expected > 1e-6) - 1
    return abs(statistic - freedom) < 5 * math.sqrt(2 * freedom)


def ranks_of(trace, batches):
    """Lookups of table 0 by popularity rank."""
    rows = trace.rows[0]
    rank = np.empty(rows, np.int64)
    rank[trace.hottest(0, rows)] = np.arange(rows)
    ids = np.concatenate([trace.minibatch(b).ids[0] for b in range(batches)])
    return np.bincount(rank[ids], minlength=rows)


@pytest.mark.parametrize("alpha", [0.0, 0.37, 0.8, 1.0, 1.05, 2.0])
@pytest.mark.parametrize("rows", [7, 1000, 20_000])
def test_zipf_draws_pass_a_chi_square_test_against_exact_probabilities(alpha, rows):
    trace = zipf(alpha, rows=(rows,), lookups=(50,), batch_size=2000)
    observed = ranks_of(trace, 5)
    weights = np.arange(1, rows + 1.0) ** -alpha
    assert chi_square_is_plausible(observed, observed.sum() * weights / weights.sum())


def test_ten_million_rows_have_the_shares_of_the_closed_form():
    rows, draws = 10_000_000, 400_000
    trace = zipf(0.8, rows=(rows,), lookups=(20,), batch_size=draws // 20)
    ids = trace.minibatch(0).ids[0]
    for share in (0.0001, 0.02, 0.1):
        hot = trace.hottest(0, int(share * rows))
        expected = float(trace.cells[0].share(len(hot))[0])
        seen = np.isin(ids, hot).mean()
        assert abs(seen - expected) < 5 * math.sqrt(expected / draws)
    assert abs(float(trace.cells[0].share(0.02 * rows)[0]) - 0.437) < 0.001


@pytest.mark.parametrize("alpha", [0.37, 1.0, 1.5])
def test_sums_of_zipf_cells_equal_the_plain_sum(alpha):
    weights = np.arange(1, 200_001.0) ** -alpha
    assert math.isclose(float(zipf_sums(1024, 200_000, alpha)), weights[1024:].sum(), rel_tol=1e-11)
    cells = zipf_cells(200_000, alpha)
    assert math.isclose(
        float(cells.share(5000)[0]), weights[:5000].sum() / weights.sum(), rel_tol=1e-10
    )


@settings(max_examples=60, deadline=None)
@given(masses=st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any))
def test_alias_columns_add_up_to_the_masses(masses):
    cells = counts_cells(np.array(masses))
    threshold, alias = cells.alias
    columns = len(threshold)
    kept = threshold.astype(np.float64) / 2.0**64
    weight = np.zeros(columns)
    np.add.at(weight, np.arange(columns), kept)
    np.add.at(weight, alias.astype(np.int64), 1.0 - kept)
    assert np.allclose(weight[: len(cells.mass)] / columns, cells.mass, atol=1e-12)
    assert np.allclose(weight[len(cells.mass) :], 0.0, atol=1e-12)


def test_counts_are_drawn_in_their_proportions():
    counts = np.array([0, 500, 3, 3, 90, 0, 404])
    trace = SyntheticTrace(Shape((7,), (10,), 5000, 3), [counts_cells(counts)], identity="")
    observed = ranks_of(trace, 2)
    assert chi_square_is_plausible(observed, 100_000 * np.sort(counts)[::-1] / counts.sum())


def test_a_curve_keeps_its_shares_at_any_size():
    fraction, share = np.array([0.01, 0.1, 0.5, 1.0]), np.array([0.3, 0.6, 0.9, 1.0])
    for rows in (100, 12_345, 1_000_000):
        cells = curve_cells(fraction, share, rows)
        assert np.allclose(
            cells.share(fraction * rows), share, atol=0.5 * 30 / rows
        )  # half a row at the head's slope


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 5000), seed=st.integers(0, 2**32))
def test_the_scatter_is_a_bijection(rows, seed):
    image = Scatter(rows, Keys(seed).draw(0, Keys.SCATTER, 4))(np.arange(rows, dtype=np.int64))
    assert np.array_equal(np.sort(image), np.arange(rows))


def test_the_scatter_spreads_the_hottest_rows_evenly():
    hot = zipf(1.0, rows=(1_000_000,), lookups=(1,)).hottest(0, 10_000)
    assert chi_square_is_plausible(np.bincount(hot // 10_000, minlength=100), np.full(100, 100.0))


def test_a_minibatch_does_not_depend_on_order_threads_or_batch_size():
    config = LocalityTraceConfig(locality="high")
    shape = {"rows": (500, 70, 9), "lookups": (4, 1, 2), "seed": 5}
    one = open_trace(config, batch_size=32, **shape)
    many = open_trace(config, batch_size=32, threads=3, **shape)
    twice = open_trace(config, batch_size=64, **shape)
    late = many.minibatch(7)
    for b in range(8):
        one.minibatch(b)
    for t in range(3):
        assert np.array_equal(one.minibatch(7).ids[t], late.ids[t])
        pair = np.concatenate([one.minibatch(6).ids[t], late.ids[t]])
        assert np.array_equal(pair, twice.minibatch(3).ids[t])
    assert one.fingerprint() == many.fingerprint() != twice.fingerprint()


def test_tables_and_seeds_differ():
    trace = zipf(0.5, rows=(1000, 1000), lookups=(5, 5))
    ids = trace.minibatch(0).ids
    assert not np.array_equal(ids[0], ids[1])
    assert not np.array_equal(ids[0], zipf(0.5, seed=2).minibatch(0).ids[0])


def test_ids_of_a_seed_never_change():
    """Guards the bytes that stored results depend on; change the generators' version with it."""
    assert zipf(0.9).minibatch(2).ids[0][:6].tolist() == GOLDEN


GOLDEN = [258, 622, 605, 373, 630, 348]


def test_shapes_types_and_protocol():
    trace = zipf(0.5)
    batch = trace.minibatch(0)
    assert isinstance(trace, Trace)
    assert (batch.samples, batch.lookups, trace.batches) == (16, 80, None)
    for t in range(2):
        assert batch.ids[t].dtype == batch.offsets[t].dtype == np.int64
        assert len(batch.ids[t]) == batch.offsets[t][-1]
        assert batch.ids[t].min() >= 0
        assert batch.ids[t].max() < trace.rows[t]
    assert not trace.has_time_order


@pytest.mark.parametrize("kind", ["poisson", "geometric", "uniform"])
def test_bags_have_the_mean_and_the_distribution_asked_for(kind):
    mean, samples = 6, 20_000
    config = UniformTraceConfig(pooling=kind)
    trace = open_trace(config, rows=(100,), lookups=(mean,), batch_size=samples, seed=0)
    sizes = np.diff(trace.minibatch(0).offsets[0])
    variance = {"poisson": 6.0, "geometric": 30.0, "uniform": (11**2 - 1) / 12}[kind]
    assert abs(sizes.mean() - mean) < 5 * math.sqrt(variance / samples)
    assert abs(sizes.var() / variance - 1) < 0.1
    assert sizes.min() == (0 if kind == "poisson" else 1)


def test_correlated_tables_see_the_same_rank():
    trace = zipf(0.9, rows=(300, 300), lookups=(4, 4), batch_size=2000, correlation=0.5)
    batch = trace.minibatch(0)
    ranks = []
    for t in range(2):
        rank = np.empty(300, np.int64)
        rank[trace.hottest(t, 300)] = np.arange(300)
        ranks.append(rank[batch.ids[t]])
    independent = float((np.bincount(ranks[0], minlength=300) / 8000) @ np.bincount(
        ranks[1], minlength=300
    )) / 8000  # fmt: skip
    both = 0.5 * 0.5  # each table takes the common number on its own
    assert abs((ranks[0] == ranks[1]).mean() - (both + (1 - both) * independent)) < 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": (0, 5)}, "rows 0"),
        ({"rows": (5,)}, "1 tables have rows and 2 have lookups"),
        ({"lookups": (0, 1)}, "lookups 0"),
        ({"batch_size": 0}, "batch size 0"),
        ({"rows": (2**33, 1)}, "rows 8589934592"),
    ],
)
def test_shapes_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(TraceError, match=message):
        zipf(1.0, **change)


@pytest.mark.parametrize("pooling", ["fixed", "poisson"])
def test_the_past_of_a_run_is_drawn_alike_and_from_other_numbers(pooling):
    trace = zipf(1.0, lookups=(20, 2), batch_size=512, pooling=pooling)
    assert trace.past is None
    past, run = (
        [trace.minibatch(n).ids[0] for n in numbers] for numbers in (range(-40, 0), range(40))
    )
    assert not any(np.array_equal(p, r) for p in past for r in run)
    assert np.array_equal(past[39], trace.minibatch(-1).ids[0])
    counts = [np.bincount(np.concatenate(ids), minlength=1000)[:1000] for ids in (past, run)]
    hot = trace.hottest(0, 20)
    shares = [c[hot].sum() / c.sum() for c in counts]
    assert abs(shares[0] - shares[1]) < 5 * math.sqrt(0.5 / counts[0].sum())
