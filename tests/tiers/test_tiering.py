"""Which tier a row lies in: by hash and by heat, against plain Python."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiered import points

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.caches.replays import Stream, run_replays
from simulator.caches.tiers import Tiering, hashed
from simulator.engine.prepare import open_for
from simulator.engine.sharing import build, job_of
from simulator.errors import InvariantError
from simulator.systems.tiers import rows_of_tiers
from simulator.traces import Trace

SHARES = {"dram": 0.5, "cxl": 0.3, "pmem": 0.2}


def opened(**tables: object) -> tuple[Tiering, Trace]:
    (point,) = points("hybrid", tables={"tier": SHARES, **tables})
    system, _ = build(point)
    assert system.replay.tiers is not None
    return system.replay.tiers, open_for(point, 1)


@given(st.integers(1, 5000))
def test_the_hash_names_every_row_once(count: int) -> None:
    assert sorted(hashed(count).tolist()) == list(range(count))


def test_the_hash_spreads_neighbours() -> None:
    """Of any hundred rows side by side 60 of the first 60 %, one or two more or less."""
    near = hashed(100_000) < 60_000
    sums = np.convolve(near, np.ones(100), "valid")
    assert 58 <= sums.min() <= sums.max() <= 62


@pytest.mark.parametrize("order", ["hottest", "hash"])
def test_every_tier_gets_its_rows_of_every_table(order: str) -> None:
    tiering, trace = opened(order=order)
    homes = tiering.homes(trace).tier
    for table, start in enumerate(accumulate([0, *trace.rows[:-1]])):
        own = homes[start : start + trace.rows[table]]
        assert np.bincount(own).tolist() == [50_000, 30_000, 20_000] == list(tiering.rows[table])


def test_the_first_tier_has_the_hottest_rows_and_the_next_those_after_them() -> None:
    tiering, trace = opened()
    homes = tiering.homes(trace).tier
    ranked = trace.hottest(0, 100_000)
    assert np.all(homes[ranked[:50_000]] == 0)
    assert np.all(homes[ranked[50_000:80_000]] == 1)
    assert np.all(homes[ranked[80_000:]] == 2)


@pytest.mark.parametrize("name", ["hybrid", "static_cache", "straw_man", "scratchpipe"])
def test_flows_count_their_rows_by_tier(name: str) -> None:
    """Against the row numbers of the same replay without tiers."""
    (point,) = points(name, tables={"tier": SHARES})
    (plain,) = points(name, run={"memory_fidelity": "exact"})
    trace = open_for(point, 1)
    replays = [build(each)[0].replay for each in (point, plain)]
    facts = [run_replays(Stream(trace, 4), [r], threads=1)[r].facts for r in replays]
    assert replays[0].tiers is not None
    homes = replays[0].tiers.homes(trace).tier
    counted = 0
    for tiered, kept in zip(*facts, strict=True):
        tiered.check()
        for flow in kept.flows:
            for own, rows in zip(tiered.flows[flow], kept.flows[flow], strict=True):
                assert (own.lookups, own.rows) == (rows.lookups, rows.rows)
                if rows.ids is not None:
                    expected = [homes[row] for row in rows.ids.tolist()]
                    assert list(own.tiers) == [expected.count(tier) for tier in range(3)]
                    counted += 1
    assert counted > 0


def test_rows_that_no_tier_has_are_an_error() -> None:
    facts = BatchFacts(3, 1, {LOOKUP: (Flow(5, 2, tiers=(3, 1)),), "unique": (Flow(5, 2),)})
    with pytest.raises(InvariantError, match="mini-batch 3, shard 0: lookup = those of all tiers"):
        facts.check()


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(1, 99))
def test_shares_of_rows_add_up(rows: list[int], near: int) -> None:
    (point,) = points("hybrid", model={"tables": len(rows), "rows_per_table": rows})
    tables = point.tables.model_copy(update={"tier": {"dram": near / 100, "cxl": 1 - near / 100}})
    job = job_of(point.model_copy(update={"tables": tables}))
    for count, own in zip(rows, rows_of_tiers(job), strict=True):
        assert sum(own) == count
        assert min(own) >= 0
        assert own[0] == pytest.approx(near / 100 * count, abs=0.5 + 1e-6)


def test_whole_tables_go_where_their_middle_falls() -> None:
    """Four tables, hottest first by lookups a row: 1 (4 lookups), 3 (2), then 0 and 2 (1)."""
    model = {"lookups_per_table": [1, 4, 1, 2]}
    (point,) = points("hybrid", model=model, tables={"tier": SHARES, "by": "table"})
    tiering = build(point)[0].replay.tiers
    assert tiering is not None
    tiers = [own.index(100_000) for own in tiering.rows]
    assert tiers == [1, 0, 2, 0]
