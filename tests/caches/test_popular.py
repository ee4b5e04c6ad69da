"""Samples with nothing but hot rows: found, packed and divided as plain Python does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, BatchFacts
from simulator.caches.reference.popular import Sample, hot_rows, packed
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.hot_rows import HotRows
from simulator.caches.replays.popular import (
    POPULAR,
    TO_COLD,
    TO_HOT,
    DividedReplay,
    PackedReplay,
    PopularReplay,
)
from simulator.caches.replays.static import HIT_LOOKUP, MISS_LOOKUP
from simulator.config.trace import ZipfTraceConfig
from simulator.errors import ConfigError
from simulator.traces import MiniBatch, Trace, open_trace

Floats = npt.NDArray[np.float32]
ROWS = (7, 5)


@dataclass(frozen=True)
class Given:
    """A trace of given samples, `size` to a mini-batch."""

    samples: list[Sample]
    size: int
    rows: tuple[int, ...] = ROWS
    past = 0
    has_time_order = False

    @property
    def batches(self) -> int:
        return len(self.samples) // self.size

    def minibatch(self, index: int) -> MiniBatch:
        own = self.samples[index * self.size : (index + 1) * self.size]
        tables = range(len(self.rows))
        ids = tuple(
            np.array([row for sample in own for row in sample[t]], np.int64) for t in tables
        )
        edges = tuple(np.cumsum([0, *(len(sample[t]) for sample in own)]) for t in tables)
        return MiniBatch(index, ids, edges)

    def hottest(self, table: int, count: int, share: float = 1.0) -> np.ndarray:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return ""


def facts_of(trace: Trace, replay: PopularReplay) -> list[BatchFacts]:
    batches = trace.batches or 0
    return run_replays(Stream(trace, batches), [replay], threads=1)[replay].facts


def bags(rows: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(0, rows - 1), max_size=3).map(tuple)


samples = st.lists(st.tuples(*map(bags, ROWS)), min_size=2, max_size=60)


def looked_up(batch: BatchFacts) -> list[Sample]:
    """The samples of a mini-batch, out of its facts."""
    tables = []
    for start, flow in zip((0, ROWS[0]), batch.flows[LOOKUP], strict=True):
        assert flow.ids is not None
        assert flow.offsets is not None
        edges = zip(flow.offsets[:-1], flow.offsets[1:], strict=True)
        tables.append([tuple((flow.ids[a:b] - start).tolist()) for a, b in edges])
    return list(zip(*tables, strict=True))


@settings(max_examples=200, deadline=None)
@given(samples, st.integers(1, 4), st.integers(1, 5), st.integers(0, 12 * 8))
def test_packing_equals_the_reference(
    drawn: list[Sample], size: int, length: int, budget: int
) -> None:
    trace = Given(drawn, size)
    hot = HotRows(budget, (8, 8), 1.0)
    replay = PackedReplay(hot, range(100), length)
    if not trace.batches:
        return
    if trace.batches < length:
        with pytest.raises(ConfigError, match="round_batches of fae packs"):
            facts_of(trace, replay)
        return
    facts = facts_of(trace, replay)
    whole = drawn[: trace.batches * size]
    wanted = hot_rows(whole, ROWS, budget // 8)
    assert [set(rows.tolist()) for rows in hot.of(trace)] == wanted
    expected = packed(whole, wanted, size, length)
    assert [looked_up(batch) for batch in facts] == [batch for _, batch in expected]
    kinds = [kind for kind, _ in expected]
    for batch, is_hot, before in zip(facts, kinds, [kinds[0], *kinds], strict=False):
        batch.check()
        served = batch[HIT] if is_hot else batch[MISS]
        assert (served.lookups, served.rows) == (batch[LOOKUP].lookups, batch[UNIQUE].rows)
        held = sum(map(len, wanted))
        assert batch[TO_HOT].rows == held * (is_hot and not before)
        assert batch[TO_COLD].rows == held * (before and not is_hot)
    assert sorted(sample for batch in facts for sample in looked_up(batch)) == sorted(whole)


@settings(max_examples=100, deadline=None)
@given(samples, st.integers(1, 6), st.integers(0, 12 * 8))
def test_dividing_equals_the_reference(drawn: list[Sample], size: int, budget: int) -> None:
    trace = Given(drawn, size)
    if not trace.batches:
        return
    replay = DividedReplay(HotRows(budget, (8, 8), 1.0), range(100))
    hot = hot_rows(drawn[: trace.batches * size], ROWS, budget // 8)
    for batch in facts_of(trace, replay):
        batch.check()
        own = drawn[batch.index * size : (batch.index + 1) * size]
        popular = [all(set(bag) <= h for bag, h in zip(s, hot, strict=True)) for s in own]
        assert batch.popular == sum(popular)
        for table, rows in enumerate(hot):
            start = (0, ROWS[0])[table]
            theirs = [r for s, p in zip(own, popular, strict=True) if p for r in s[table]]
            others = [r for s, p in zip(own, popular, strict=True) if not p for r in s[table]]
            parts = {
                POPULAR: theirs,
                HIT_LOOKUP: [row for row in others if row in rows],
                MISS_LOOKUP: [row for row in others if row not in rows],
            }
            for name, wanted in parts.items():
                flow = batch.flows[name][table]
                assert flow.ids is not None
                assert (flow.ids - start).tolist() == wanted
                assert flow.lookups == len(wanted)
            distinct = {row for s in own for row in s[table]}
            assert batch.flows[HIT][table].rows == len(distinct & rows)
            assert batch.flows[MISS][table].rows == len(distinct - rows)


def test_slots_are_those_of_the_rows_that_are_resident() -> None:
    trace = zipf(lookups=2)
    hot = HotRows(512 * 300, (512, 512), 0.05)
    batch = DividedReplay(hot, (0,)), PackedReplay(hot, (0, 1, 2, 3, 4), 5)
    for replay in batch:
        resident = replay.resident(trace)
        assert len(resident) == 300
        facts = run_replays(Stream(trace, 5), [replay], threads=1)[replay].facts
        flows = [f for b in facts for f in (b[HIT], b[TO_HOT] if TO_HOT in b else b[POPULAR])]
        seen = 0
        for flow in flows:
            if flow.ids is not None and flow.slots is not None and len(flow.ids):
                assert resident[flow.slots].tolist() == flow.ids.tolist()
                seen += 1
        assert seen


def zipf(lookups: int, alpha: float = 1.3, batch: int = 2048, tables: int = 2) -> Trace:
    config = ZipfTraceConfig(kind="zipf", alpha=alpha)
    return open_trace(
        config, rows=(1000,) * tables, lookups=(lookups,) * tables, batch_size=batch, seed=5
    )


def stepped(batches: Sequence[Sequence[Sample]], rate: float) -> Floats:
    """Rows of both tables, in 32-bit floats, after SGD on a squared error: mini-batches one at a
    time, gradients of one summed; a sample's target follows from its rows."""
    rows = [np.sin(np.arange(count, dtype=np.float32)) for count in ROWS]
    for batch in batches:
        changes = [np.zeros_like(table) for table in rows]
        for sample in batch:
            pooled = sum(table[list(bag)].sum() for table, bag in zip(rows, sample, strict=True))
            error = np.float32(pooled - np.cos(sum(map(sum, sample))))
            for change, bag in zip(changes, sample, strict=True):
                np.subtract.at(change, list(bag), np.float32(rate) * error)
        rows = [table + change for table, change in zip(rows, changes, strict=True)]
    return np.concatenate(rows)


def test_packed_samples_train_what_those_in_order_do_to_first_order_of_the_rate() -> None:
    """FAE reorders samples: its tables are those of serial SGD up to the square of the rate, off by
    at most a tenth of all change at a rate of 0.002 and by half of that at half of it."""
    drawn = np.random.default_rng(0)
    every = [tuple(tuple(drawn.integers(0, n, 2).tolist()) for n in ROWS) for _ in range(64)]
    replay = PackedReplay(HotRows(9 * 8, (8, 8), 1.0), range(100), 4)
    reordered = [looked_up(batch) for batch in facts_of(Given(every, 4), replay)]
    serial = [every[k : k + 4] for k in range(0, len(every), 4)]
    assert reordered != serial
    off = []
    for rate in (0.002, 0.001):
        one, other = stepped(reordered, rate), stepped(serial, rate)
        off.append(np.abs(one - other).max() / np.abs(other - stepped([], rate)).max())
    assert 0 < off[0] < 0.1
    assert off[1] == pytest.approx(off[0] / 2, rel=0.25)


@pytest.mark.parametrize(("tables", "lookups"), [(2, 1), (2, 4), (8, 3), (26, 1)])
@pytest.mark.parametrize("rows", [0.2, 0.6])
def test_popular_samples_are_h_to_the_lookups_where_these_are_independent(
    tables: int, lookups: int, rows: float
) -> None:
    """f = h^(T L), table by table the product of h_t^L, within four standard errors."""
    trace = zipf(lookups, tables=tables, batch=1024)
    budget = int(1000 * tables * rows) * 512
    replay = DividedReplay(HotRows(budget, (512,) * tables, 0.05))
    facts = run_replays(Stream(trace, 30), [replay], threads=1)[replay].facts
    count = 30 * 1024
    f = sum(batch.popular or 0 for batch in facts) / count
    shares = [
        sum(b.flows[HIT][t].lookups for b in facts) / (count * lookups) for t in range(tables)
    ]
    expected = float(np.prod(shares)) ** lookups
    assert f == pytest.approx(expected, abs=4 * np.sqrt(max(expected, 1e-4) / count))
    packed_replay = PackedReplay(replay.hot, (), 10)
    packs = run_replays(Stream(trace, 30), [packed_replay], threads=1)[packed_replay].facts
    assert sum(batch.popular or 0 for batch in packs) == f * count
    assert sum(not b[MISS].lookups for b in packs) == int(f * 30)


def test_a_budget_for_all_rows_holds_all_and_none_holds_none() -> None:
    trace = zipf(1)
    assert [len(r) for r in HotRows(512 * 2000, (512, 512), 0.05).of(trace)] == [1000, 1000]
    assert [len(r) for r in HotRows(100, (512, 512), 0.05).of(trace)] == [0, 0]
    wide = HotRows(512 * 3, (512, 64), 0.05)
    sizes = [len(rows) for rows in wide.of(trace)]
    assert sizes[0] * 512 + sizes[1] * 64 <= wide.budget


def test_a_sample_of_a_file_is_drawn_and_that_of_a_generator_is_its_past() -> None:
    hot = HotRows(512, (8, 8), 0.05, seed=1)
    assert hot.counted(zipf(1)) == range(-20, 0)
    many = Given([((0,), (1,))] * 100, 1)
    numbers = hot.counted(many)
    assert len(numbers) == 5
    assert 0 <= min(numbers) < max(numbers) < 100
    assert list(numbers) == list(HotRows(512, (8, 8), 0.05, seed=1).counted(many))
