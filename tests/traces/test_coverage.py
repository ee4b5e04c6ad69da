"""How many lookups the hottest rows take: against counts of the mini-batches themselves."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.config.trace import UniformTraceConfig, ZipfTraceConfig
from simulator.traces import Trace, open_trace
from simulator.traces.coverage import (
    COUNTED,
    coverages,
    even_coverage,
    profile_batches,
    rows_counted,
)


def trace(alpha: float = 0.9) -> Trace:
    config = ZipfTraceConfig(kind="zipf", alpha=alpha)
    return open_trace(config, rows=(5000, 700), lookups=(3, 1), batch_size=512, seed=1)


@pytest.mark.parametrize("most", [5000, 700, 40, 1, 0])
def test_it_is_what_a_count_of_the_same_mini_batches_gives(most: int) -> None:
    drawn = trace()
    batches = list(profile_batches(drawn, COUNTED))
    assert [batch.index for batch in batches] == list(range(-COUNTED, 0))
    for table, covered in enumerate(coverages(drawn, (most, most))):
        rows = drawn.rows[table]
        assert (covered.rows[0], covered.rows[-1]) == (0, rows)
        assert (covered.share[0], covered.share[-1]) == (0.0, 1.0)
        ids = np.concatenate([batch.ids[table] for batch in batches])
        for count in covered.rows[:-1].tolist():
            assert count <= most or count == rows
            hot = np.isin(ids, drawn.hottest(table, count)).mean()
            assert covered.of(count) == pytest.approx(hot)


def test_rows_that_are_alike_take_their_share() -> None:
    drawn = open_trace(
        UniformTraceConfig(kind="uniform"), rows=(4000,), lookups=(20,), batch_size=512, seed=0
    )
    (covered,) = coverages(drawn, (4000,))
    even = even_coverage(4000)
    for rows in (100, 1000, 3000):
        assert covered.of(rows) == pytest.approx(even.of(rows), abs=0.01) == rows / 4000


def test_hotter_traces_are_covered_by_fewer_rows() -> None:
    shares = [coverages(trace(alpha), (100, 100))[0].of(100) for alpha in (0.2, 0.8, 1.2)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.6


def test_rows_that_are_looked_up_often_enough_are_counted() -> None:
    drawn = trace()
    batches = list(profile_batches(drawn, 5))
    for least in (1, 3, 7.5, 10**6):
        for table, counted in enumerate(rows_counted(drawn, 5, least)):
            ids = np.concatenate([batch.ids[table] for batch in batches])
            assert counted == (np.bincount(ids) >= least).sum()
