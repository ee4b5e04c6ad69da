"""Order in time: drift, sessions, and real popularity and LRU curves out of the stack generator."""

import re

import numpy as np
import pytest

from simulator.config.trace import (
    CurveTraceConfig,
    DriftTraceConfig,
    HistogramTraceConfig,
    SessionTraceConfig,
    StackTraceConfig,
)
from simulator.errors import TraceError
from simulator.traces import open_trace
from simulator.traces.arrange import FITTED_FRACTIONS, Target, arrange, interleaved_hits
from simulator.traces.curves import read_distances, read_popularity
from simulator.traces.reuse import lru_hits
from simulator.traces.stack import StackTrace

FRACTIONS = np.array(FITTED_FRACTIONS)


def opened(config, *, rows=(4000,), lookups=(4,), batch_size=256, seed=0):
    return open_trace(config, rows=rows, lookups=lookups, batch_size=batch_size, seed=seed)


def ids_of(trace, batches, table=0):
    return np.concatenate([trace.minibatch(b).ids[table] for b in range(batches)])


def test_drift_replaces_the_stated_share_of_the_hot_set_each_period():
    config = DriftTraceConfig(alpha=3.0, hot_fraction=0.05, replaced=0.25, period_batches=2)
    trace = opened(config, rows=(100_000,), lookups=(1,))
    drift = [set(trace._to_rows(0, np.arange(5000), batch).tolist()) for batch in (0, 1, 2, 4)]
    assert drift[0] == drift[1] == set(trace.hottest(0, 5000).tolist())
    assert abs(len(drift[0] - drift[2]) / 5000 - 0.25) < 0.03
    assert abs(len(drift[0] - drift[3]) / 5000 - 0.5) < 0.03
    assert trace.has_time_order


def test_drift_goes_back_before_the_first_mini_batch():
    config = DriftTraceConfig(alpha=3.0, hot_fraction=0.05, replaced=0.25, period_batches=2)
    trace = opened(config, rows=(100_000,), lookups=(1,))
    hot = [set(trace._to_rows(0, np.arange(5000), batch).tolist()) for batch in (0, -2, -1, -4)]
    assert hot[1] == hot[2]  # one period
    assert abs(len(hot[0] - hot[1]) / 5000 - 0.25) < 0.03
    assert abs(len(hot[0] - hot[3]) / 5000 - 0.5) < 0.03
    every = trace._to_rows(0, np.arange(100_000), -7)
    assert np.array_equal(np.sort(every), np.arange(100_000))


def test_nothing_is_the_hottest_of_a_whole_drifting_trace():
    config = DriftTraceConfig(alpha=1.0, hot_fraction=0.05, replaced=0.25, period_batches=2)
    with pytest.raises(TraceError, match=r"drifting trace has no end.*cache\.profile: prefix"):
        opened(config).hottest(0, 5, share=1.0)


def test_without_replacement_drift_is_zipf():
    config = DriftTraceConfig(alpha=0.9, hot_fraction=0.1, replaced=0.0, period_batches=1)
    trace = opened(config)
    assert np.array_equal(trace.hottest(0, 9), trace._to_rows(0, np.arange(9), 77))


def session(repeat, **options):
    return SessionTraceConfig(alpha=0.6, repeat=repeat, length=8.0, concurrent=64, **options)


def test_sessions_raise_lru_hits_and_leave_popularity_alone():
    bursty = ids_of(opened(session(0.6)), 80)
    plain = ids_of(opened(session(0.0)), 80)
    cache = 400
    assert lru_hits(bursty)[cache] > lru_hits(plain)[cache] + 0.2 * len(plain)
    hot = opened(session(0.6)).hottest(0, 400)
    assert abs(np.isin(bursty, hot).mean() - np.isin(plain, hot).mean()) < 0.015


def test_sessions_are_under_way_when_a_run_begins():
    """As many repeats of the mini-batch before in the first one as in a later one."""
    trace = opened(session(0.6), lookups=(8,))

    def repeats(number):
        return np.isin(trace.minibatch(number).ids[0], trace.minibatch(number - 1).ids[0]).mean()

    assert repeats(0) == pytest.approx(repeats(20), abs=0.06)
    assert repeats(-3) == pytest.approx(repeats(20), abs=0.06)


def test_sessions_repeat_as_often_as_stated():
    trace = opened(session(0.5), rows=(10_000_000,), lookups=(1,), batch_size=64)
    before, now = trace.minibatch(9).ids[0], trace.minibatch(10).ids[0]
    same = [np.mean(trace.minibatch(b).ids[0] == trace.minibatch(b + 1).ids[0]) for b in range(200)]
    assert abs(np.mean(same) - 0.5 * (1 - 1 / 8)) < 0.03
    assert len(before) == len(now) == 64


def test_sessions_have_bags_of_any_size():
    trace = opened(session(0.5, pooling="poisson"))
    sizes = np.diff(trace.minibatch(3).offsets[0])
    assert sizes.min() == 0
    assert sizes.max() > 6


def test_a_curve_of_real_data_has_its_shares():
    curve = read_popularity("session_retailrocket_items")
    trace = opened(
        CurveTraceConfig(curve=curve.name), rows=(200_000,), lookups=(10,), batch_size=20_000
    )
    ids = trace.minibatch(0).ids[0]
    for x in FRACTIONS:
        share = np.isin(ids, trace.hottest(0, round(x * 200_000))).mean()
        assert abs(share - np.interp(x, curve.fraction, curve.share)) < 0.01


def test_a_histogram_gives_each_table_its_column(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("a,b\n9,1\n1,\n")
    trace = opened(HistogramTraceConfig(path=str(path)), rows=(4, 1), lookups=(4, 4))
    assert set(ids_of(trace, 3)) == set(trace.hottest(0, 2).tolist())
    assert abs((ids_of(trace, 3) == trace.hottest(0, 1)[0]).mean() - 0.9) < 0.03
    with pytest.raises(TraceError, match="counts 2 rows, the table has 1"):
        opened(HistogramTraceConfig(path=str(path), columns=("a",)), rows=(1,))
    with pytest.raises(TraceError, match="2 columns of counts for 3 tables"):
        opened(HistogramTraceConfig(path=str(path)), rows=(4, 4, 4), lookups=(1, 1, 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n3\n-1\n", "line 3: '-1' is not a count"),
        ("a\n1.5\n", "line 2: '1.5'"),
        ("a,b\n1\n", "line 2: 1 fields, expected 2"),
        ("a\n0\n0\n", "counts add to 0"),
        ("", "holds no counts"),
    ],
)
def test_bad_counts_are_named(tmp_path, text, message):
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=message):
        opened(HistogramTraceConfig(path=str(path)))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("session_retailrocket_items", None),
        ("session_tmall_items", 150_000),
        ("gowalla_train_items", 20_000),
        ("nycflights_tailnum", None),
        ("s3rec_yelp_items", 90_000),
    ],
)
def test_stack_has_the_popularity_and_lru_curves_of_the_real_data_within_two_points(name, rows):
    curve, distances = read_popularity(name), read_distances(name)
    rows = rows or curve.ids
    lap = round(curve.accesses * rows / curve.ids)
    trace = opened(StackTraceConfig(curve=name), rows=(rows,), lookups=(1,), batch_size=lap)
    assert isinstance(trace, StackTrace)
    ids = trace.minibatch(0).ids[0]
    if rows > curve.ids:  # a scaled trace has no beginning: count once the cache is warm
        hits = lru_hits(np.append(ids, trace.minibatch(1).ids[0])) - lru_hits(ids)[-1]
        first = lru_hits(ids)
        hits = hits + first[-1] - np.pad(first, (0, len(hits) - len(first)), mode="edge")
    else:
        hits = lru_hits(ids)
    sizes = FRACTIONS * rows
    rate = np.interp(sizes, np.arange(len(hits)), hits) / len(ids)
    assert np.abs(rate - distances.hit_rate(FRACTIONS)).max() < 0.02
    counts = np.sort(np.bincount(ids, minlength=rows))[::-1]
    share = np.interp(sizes, np.arange(rows + 1), np.append(0, np.cumsum(counts))) / len(ids)
    real = np.interp(FRACTIONS, np.append(0, curve.fraction), np.append(0, curve.share))
    assert np.abs(share - real).max() < 0.02
    hot = trace.hottest(0, round(0.02 * rows))
    assert abs(np.isin(ids, hot).mean() - real[0]) < 0.02
    assert max(trace.lru_errors) < 0.02


def test_stack_is_drawn_in_any_order_and_tables_differ():
    config = StackTraceConfig(curve="yoochoose100k_items")
    trace = opened(config, rows=(2933, 2933, 10_000), lookups=(3, 3, 3))
    later = trace.minibatch(5)
    again = opened(config, rows=(2933, 2933, 10_000), lookups=(3, 3, 3))
    for t in range(3):
        assert np.array_equal(later.ids[t], again.minibatch(5).ids[t])
        assert later.ids[t].max() < trace.rows[t]
    assert not np.array_equal(later.ids[0], later.ids[1])
    assert trace.fingerprint() == again.fingerprint()
    assert trace.has_time_order


def test_the_distances_of_a_shuffle_give_a_trace_without_order():
    config = StackTraceConfig(curve="movielens100k_items", order="shuffled")
    trace = opened(config, rows=(1682,), lookups=(10,), batch_size=10_000)
    assert not trace.has_time_order
    curve = lru_hits(trace.minibatch(0).ids[0]) / 100_000
    real = read_distances("movielens100k_items", "shuffled").hit_rate(FRACTIONS)
    assert np.abs(curve[np.round(FRACTIONS * 1682).astype(int)] - real).max() < 0.02


def test_a_curve_that_is_missed_is_refused_with_what_was_asked_and_reached():
    config = StackTraceConfig(curve="nycflights_flightno")
    with pytest.raises(
        TraceError, match=r"within 2 points .* misses it by \d\.\d points"
    ) as caught:
        opened(config, rows=(500,))
    enough = float(re.search(r"trace.tolerance: ([\d.]+)", str(caught.value))[1])
    taken = opened(config.model_copy(update={"tolerance": enough}), rows=(500,))
    assert enough - 0.001 <= max(taken.lru_errors) <= enough


def test_a_table_too_small_for_its_curve_is_refused():
    config = StackTraceConfig(curve="session_tmall_items")
    with pytest.raises(TraceError, match="tables of more rows hold it better"):
        opened(config, rows=(1000, 2), lookups=(4, 4))


def test_the_tolerance_changes_no_ids():
    configs = [StackTraceConfig(curve="movielens100k_items", tolerance=t) for t in (0.02, 0.5)]
    first, second = (opened(config, rows=(1000,)) for config in configs)
    assert first.fingerprint() == second.fingerprint()


def test_every_id_is_arranged_exactly_as_often_as_its_count():
    name = "movielens100k_items"
    target = Target.of(read_popularity(name), read_distances(name), 500)
    histogram = np.round(target.mass).astype(np.int64)
    sequence = arrange(target, histogram, 4)
    assert np.array_equal(np.bincount(sequence), target.counts)


def test_interleaved_hits_of_a_cycle_are_all_or_nothing():
    hits = interleaved_hits(np.tile(np.arange(10), 3))
    assert hits[9] < 1e-9
    assert abs(hits[10] - 30) < 1e-9


def test_unknown_curves_name_the_known_ones():
    with pytest.raises(TraceError, match="session_tmall_items"):
        opened(StackTraceConfig(curve="tmall"))
    with pytest.raises(TraceError, match="cannot be read"):
        opened(CurveTraceConfig(curve="x", path="missing.csv"))
