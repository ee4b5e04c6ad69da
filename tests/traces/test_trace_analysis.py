"""What is said of a trace, against closed forms and traces with a known answer."""

import numpy as np
import pytest

from simulator.config.trace import ZipfTraceConfig
from simulator.errors import OutputError, TraceError, UsageError
from simulator.traces import open_trace, read_ids
from simulator.traces.analysis import describe_ids, fit_zipf
from simulator.traces.curves import shipped
from simulator.traces.picture import plot_reports
from simulator.traces.reuse import lru_hits


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 1.3])
def test_the_fit_finds_the_exponent_of_exact_zipf_counts(alpha):
    weights = np.arange(1, 3001.0) ** -alpha
    counts = np.round(1e9 * weights / weights.sum()).astype(np.int64)
    assert abs(fit_zipf(counts) - alpha) < 2e-4


def test_a_zipf_trace_is_recognised_and_has_no_order_in_time():
    trace = open_trace(
        ZipfTraceConfig(alpha=1.1), rows=(2000,), lookups=(50,), batch_size=2000, seed=3
    )
    report = describe_ids(trace.minibatch(0).ids[0], "t")
    assert abs(report.zipf_alpha - 1.1) < 0.02
    assert report.zipf_ks_distance < 0.02
    assert not report.has_time_order


def test_a_cycle_has_order_and_all_its_reuses_at_one_distance():
    report = describe_ids(np.tile(np.arange(50), 40), "cycle")
    assert report.has_time_order
    assert (report.lookups, report.unique_ids, report.max_id) == (2000, 50, 49)
    assert report.unique_share == 0.025
    assert report.median_stack_distance == 50
    assert report.lru_hit_rate["0.5"] == 0.0
    assert report.miss_ratio_curve[-1] == (50, pytest.approx(0.025))
    assert report.hot_share["0.1"] == 0.1
    assert report.zipf_alpha < 1e-3


def test_the_real_trace_has_order_in_time():
    ids = read_ids(shipped("nycflights13_2013.npz"), column="tailnum")
    report = describe_ids(ids, "tailnum")
    assert report.has_time_order
    for fraction, rate in report.lru_hit_rate.items():
        size = max(1, round(float(fraction) * report.unique_ids))
        assert rate == lru_hits(ids)[size] / len(ids)
    shuffled = np.random.default_rng(0).permutation(ids)
    assert not describe_ids(shuffled, "tailnum").has_time_order


def test_one_id_and_no_id():
    report = describe_ids(np.zeros(5, np.int64), "one")
    assert (report.zipf_alpha, report.hot_share["0.5"], report.unique_ids) == (0.0, 1.0, 1)
    with pytest.raises(TraceError, match="no ids"):
        describe_ids(np.zeros(0, np.int64), "none")


def test_huge_ids_need_no_huge_memory():
    assert describe_ids(np.array([2**62, 5, 2**62]), "x").hot_share["0.5"] == pytest.approx(2 / 3)


def test_pictures(tmp_path):
    reports = [describe_ids(np.arange(9) % 4, f"t{t}") for t in range(10)]
    for name in ("a.png", "a.svg"):
        plot_reports(reports, tmp_path / name, "title")
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(UsageError, match="ends in"):
        plot_reports(reports, tmp_path / "a.what", "title")
    with pytest.raises(OutputError, match="cannot be written"):
        plot_reports(reports, tmp_path / "no" / "a.png", "title")
