"""How much more than its share the fullest node of a pool has to read: a published table of whole
rows that go round the nodes by their number, against what is counted of mini-batches.

The table's rows of Zipf are those of the continuous law (ids are its whole parts), of which the
hottest row gets .0616 of the lookups at 1.05; by Zipf's law itself, as our traces have it, .0858.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.caches.nodes import Homes
from simulator.caches.replays import Stream, run_replays
from simulator.caches.replays.nodes import NodesReplay
from simulator.config.trace import UniformTraceConfig, ZipfTraceConfig
from simulator.traces import MiniBatch, Trace, open_trace

ROWS, LOOKUPS = 10_000_000, 20
EVEN = {
    1: {8: 1.98, 16: 2.80, 32: 4.30, 64: 6.91, 256: 20.4},
    16: {8: 1.23, 16: 1.42, 32: 1.71, 64: 2.18, 256: 4.32},
    2048: {8: 1.02, 16: 1.03, 32: 1.06, 64: 1.09, 256: 1.23},
}
"""Uniform ids: largest over mean lookups by samples that are waited for, then by nodes."""
SKEWED = {
    0.6: {8: 1.02, 16: 1.03, 64: 1.10, 256: 1.27},
    0.9: {8: 1.10, 16: 1.21, 64: 2.04, 256: 5.4},
    1.05: {8: 1.34, 16: 1.79, 64: 4.65, 256: 16.2},
}
"""The same of one table of a default mini-batch, by the exponent of Zipf's law."""
TOUCHED = {8: 7.45, 16: 11.6, 32: 15.0, 64: 17.3}
"""Nodes that the 20 rows of one pooled vector lie in, each of which needs its gradient."""
TRIALS = {1: 4000, 16: 400, 2048: 24}


@dataclass(frozen=True)
class Continuous:
    """Whole parts of draws from the continuous power law, at a place in the table by a hash; every
    mini-batch has other places."""

    alpha: float
    rows = (ROWS,)
    past = 0
    batches = None
    has_time_order = False

    def minibatch(self, index: int) -> MiniBatch:
        rng, rest = np.random.default_rng(index), 1.0 - self.alpha
        shares = rng.random(2048 * LOOKUPS)
        ranks = (1.0 + shares * ((ROWS + 1.0) ** rest - 1.0)) ** (1.0 / rest)
        ids = (ranks.astype(np.uint64) + rng.integers(1 << 62, dtype=np.uint64)) % (1 << 62)
        for _ in range(2):
            ids = (ids ^ (ids >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        edges = np.arange(0, len(ids) + 1, LOOKUPS)
        return MiniBatch(index, ((ids % np.uint64(ROWS)).astype(np.int64),), (edges,))

    def hottest(self, table: int, count: int, share: float = 1.0) -> np.ndarray:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return str(self.alpha)


def drawn(alpha: float, samples: int, seed: int) -> Trace:
    kind = ZipfTraceConfig(alpha=alpha) if alpha else UniformTraceConfig()
    return open_trace(kind, rows=(ROWS,), lookups=(LOOKUPS,), batch_size=samples, seed=seed)


def over_mean(trace: Trace, nodes: int, batches: int, flow: str = LOOKUP) -> list[float]:
    """Largest over mean lookups (rows) of each mini-batch."""
    replay = NodesReplay(homes=(Homes(nodes, nodes, nodes),))
    found = []
    for facts in run_replays(Stream(trace, batches), [replay], threads=1)[replay].facts:
        spread = facts[flow].nodes
        assert spread is not None
        counts = spread.lookups if flow == LOOKUP else spread.rows
        found.append(max(counts) / float(np.mean(counts)))
    return found


@cache
def of_zipf(alpha: float, nodes: int, flow: str = LOOKUP) -> float:
    """Mean over tables, for where the hottest rows lie is a matter of luck."""
    tables = [over_mean(drawn(alpha, 2048, seed), nodes, 1, flow) for seed in range(24)]
    return float(np.mean(tables))


@pytest.mark.parametrize(("samples", "nodes"), [(s, n) for s in EVEN for n in EVEN[s]])
def test_of_even_rows_few_lookups_leave_nodes_idle(samples: int, nodes: int) -> None:
    found = np.mean(over_mean(drawn(0.0, samples, 0), nodes, TRIALS[samples]))
    assert found == pytest.approx(EVEN[samples][nodes], rel=0.03)


@pytest.mark.parametrize(("alpha", "nodes"), [(a, n) for a in SKEWED for n in SKEWED[a]])
def test_hot_rows_fill_the_node_that_they_lie_in(alpha: float, nodes: int) -> None:
    found = np.mean(over_mean(Continuous(alpha), nodes, 60))
    assert found == pytest.approx(SKEWED[alpha][nodes], rel=0.03)


@pytest.mark.parametrize("nodes", TOUCHED)
def test_whole_rows_need_a_gradient_in_every_node_that_a_vector_touches(nodes: int) -> None:
    replay = NodesReplay(homes=(Homes(nodes, nodes, nodes),))
    (facts,) = run_replays(Stream(drawn(0.0, 2048, 0), 1), [replay], threads=1)[replay].facts
    spread = facts[LOOKUP].nodes
    assert spread is not None
    assert spread.homes / spread.vectors == pytest.approx(TOUCHED[nodes], rel=0.005)


@pytest.mark.parametrize(("alpha", "nodes"), [(0.9, 256), (1.05, 64), (1.05, 256)])
def test_by_zipfs_law_itself_the_hottest_row_is_hotter(alpha: float, nodes: int) -> None:
    """Its node has it, and a share of what is left; more where two hot rows lie together."""
    hottest = 1.0 / np.sum(np.arange(1, ROWS + 1) ** -alpha)
    bound = nodes * hottest + (1.0 - hottest)
    assert bound > 1.1 * SKEWED[alpha][nodes]
    assert 0.97 * bound < of_zipf(alpha, nodes) < 1.15 * bound


@pytest.mark.parametrize(("nodes", "even"), [(16, 1.1), (256, 1.4)])
def test_distinct_rows_are_nearly_even(nodes: int, even: float) -> None:
    """The hottest row counts once where rows are read once (FAFNIR)."""
    assert of_zipf(1.05, nodes, UNIQUE) < even
    assert of_zipf(1.05, nodes) > 1.7 * even
