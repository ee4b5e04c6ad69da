"""Sums of rows that are looked up together: what is pooled stays, lookups are counted exactly."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.transform import GraceTransform, MerciTransform, extra_rows
from simulator.errors import TraceError
from simulator.traces import MiniBatch
from simulator.traces.base import Ids
from simulator.traces.transform import Clusters, Pairs, Sums, with_sums
from simulator.traces.transform import graph as graph_module
from simulator.traces.transform.grace import grace_clusters
from simulator.traces.transform.graph import Together
from simulator.traces.transform.merci import merci_clusters
from simulator.traces.transform.space import popular_rows

ROWS = 12
bags_of_rows = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=9), min_size=2, max_size=8)


@st.composite
def stored(draw: st.DrawFn) -> Sums:
    """Sums of some rows of a table."""
    rows = draw(st.permutations(range(ROWS)))
    if draw(st.booleans()):
        return Pairs(ROWS, tuple(rows[: draw(st.integers(0, ROWS))]))
    cuts = sorted(draw(st.sets(st.integers(0, ROWS), max_size=6)))
    return Clusters(ROWS, tuple(tuple(rows[a:b]) for a, b in pairwise(cuts)))


def flat(bags: list[list[int]]) -> tuple[Ids, Ids]:
    """(ids, edges) of bags."""
    ids = np.array([row for bag in bags for row in bag], np.int64)
    return ids, np.cumsum([0, *map(len, bags)]).astype(np.int64)


def batch_of(*tables: list[list[int]], features: int = 1) -> MiniBatch:
    ids, edges = zip(*map(flat, tables), strict=True)
    if features == 1:
        return MiniBatch(3, ids, edges)
    return MiniBatch(3, ids, tuple(own[::features] for own in edges), bags=edges)


def bags_in(batch: MiniBatch, table: int = 0) -> list[list[int]]:
    ids, edges = batch.ids[table].tolist(), batch.pooled[table].tolist()
    return [ids[a:b] for a, b in pairwise(edges)]


def together(bags: list[list[int]]) -> Together:
    return Together.of([flat(bags)], "log: table 'items'")


@given(bags_of_rows, stored())
def test_what_a_bag_sums_stays(bags: list[list[int]], sums: Sums) -> None:
    """Rows, and how often each: so also the sum of any integers in them."""
    after = bags_in(with_sums(batch_of(bags), [sums]))
    value = np.random.default_rng(1).integers(-(2**40), 2**40, ROWS).tolist()
    for before, now in zip(bags, after, strict=True):
        rows = [row for looked in now for row in sums.members(looked)]
        assert Counter(rows) == Counter(before)
        assert sum(value[row] for row in rows) == sum(value[row] for row in before)
        assert len(now) <= len(before)
        assert all(0 <= looked < ROWS + sums.used for looked in now)


@given(bags_of_rows, stored())
def test_features_are_pooled_apart(bags: list[list[int]], sums: Sums) -> None:
    bags = bags[: len(bags) // 2 * 2]
    batch = with_sums(batch_of(bags, features=2), [sums])
    assert bags_in(batch) == bags_in(with_sums(batch_of(bags), [sums]))
    assert batch.samples == len(bags) // 2
    assert batch.offsets[0].tolist() == batch.pooled[0][::2].tolist()


@given(bags_of_rows, stored())
def test_lookups_are_counted_exactly(bags: list[list[int]], sums: Sums) -> None:
    """A cluster costs as many as the row of it that occurs most; pairs, half of each round."""
    for before, now in zip(bags, bags_in(with_sums(batch_of(bags), [sums])), strict=True):
        count = Counter(before)
        if isinstance(sums, Clusters):
            inside = {row for cluster in sums.clusters for row in cluster}
            wanted = sum(max(count[row] for row in c) for c in sums.clusters if c)
        else:
            inside = set(sums.popular)
            rounds = [sum(count[row] > k for row in inside) for k in range(len(before))]
            wanted = sum((alive + 1) // 2 for alive in rounds)
        assert len(now) == wanted + sum(n for row, n in count.items() if row not in inside)


@given(stored())
def test_every_sum_is_stored_once(sums: Sums) -> None:
    kept = [frozenset(sums.members(ROWS + number)) for number in range(sums.used)]
    groups = sums.clusters if isinstance(sums, Clusters) else [sums.popular]
    most = ROWS if isinstance(sums, Clusters) else 2
    subsets = [
        frozenset(own)
        for group in groups
        for size in range(2, min(most, len(group)) + 1)
        for own in combinations(group, size)
    ]
    assert Counter(kept) == Counter(subsets)


def test_neighbours_by_rank_are_paired() -> None:
    """SPACE: first with second, third with fourth; who is left over, or not popular, stays."""
    sums = Pairs(9, (5, 3, 8, 1, 0))
    (bag,) = bags_in(with_sums(batch_of([[7, 0, 1, 3, 5, 8, 5]]), [sums]))
    members = [sums.members(row) for row in bag]
    assert members == [(7,), (0,), (8, 1), (5, 3), (5,)]


def test_other_tables_stay_as_they_are() -> None:
    batch = batch_of([[1, 2], [2]], [[4, 5], [5, 4, 4]])
    changed = with_sums(batch, [Clusters(9, ()), Clusters(9, ((4, 5),))])
    assert bags_in(changed, 0) == [[1, 2], [2]]
    assert bags_in(changed, 1) == [[9], [9, 4]]
    assert (changed.index, changed.lookups) == (3, 6)


@pytest.mark.parametrize(("size", "looked"), [(2, 3), (4, 6), (5, 10)])
def test_independent_rows_gain_what_chance_gives(size: int, looked: int) -> None:
    """(n / c) (1 - C(n - c, s) / C(n, s)) accesses of s distinct of n rows, by all such bags."""
    n = 20 if looked < 10 else 10
    every = [list(bag) for bag in combinations(range(n), looked)][:: 1 if n == 10 else 7]
    sums = Clusters(n, tuple(tuple(range(k, k + size)) for k in range(0, n, size)))
    mean = with_sums(batch_of(every), [sums]).lookups / len(every)
    expected = n / size * (1 - comb(n - size, looked) / comb(n, looked))
    assert mean == pytest.approx(expected, rel=0.01)


def plain_pairs(bags: list[list[int]]) -> Counter[tuple[int, int]]:
    return Counter(pair for bag in bags for pair in combinations(sorted(set(bag)), 2))


@given(bags_of_rows)
def test_pairs_are_counted_over_bags(bags: list[list[int]]) -> None:
    graph = together(bags)
    one, another, weights = graph.pairs()
    pairs = zip(graph.items[one].tolist(), graph.items[another].tolist(), strict=True)
    assert dict(zip(pairs, weights.tolist(), strict=True)) == plain_pairs(bags)
    count = Counter(row for bag in bags for row in set(bag))
    assert dict(zip(graph.items.tolist(), graph.counts.tolist(), strict=True)) == count


def plain_grace(bags: list[list[int]], extra: int, own: GraceTransform) -> list[tuple[int, ...]]:
    """GRACE by its description, with every sum written out."""
    ranked = sorted(plain_pairs(bags).items(), key=lambda each: (-each[1], each[0]))
    kept = dict(ranked[: int(np.ceil(own.edge_share * len(ranked)))])
    count = Counter(row for bag in bags for row in set(bag))
    strength = {r: n + sum(w for pair, w in kept.items() if r in pair) for r, n in count.items()}
    placed: set[int] = set()
    clusters = []
    for pivot in sorted(strength, key=lambda row: (-strength[row], row)):
        if pivot in placed or extra < 1:
            continue
        cluster, last = [pivot], 0.0
        while len(cluster) < own.max_length:
            best = (0.0, 0)
            for row in strength:
                near = (min(row, pivot), max(row, pivot)) in kept
                if row in placed or row in cluster or not near:
                    continue
                weights = [kept.get(p, 0) for p in combinations(sorted([*cluster, row]), 2)]
                low = sum(sorted(weights)[: len(cluster)])
                sums = sum(comb(len(cluster) + 1, k) for k in range(2, len(cluster) + 2))
                value = ((1 - own.alpha) * low + own.alpha * sum(weights)) / sums
                best = max(best, (value, -row))
            cost = 2 ** (len(cluster) + 1) - 2 - len(cluster)
            if best[0] == 0 or best[0] < own.decay * last or cost > extra:
                break
            cluster.append(-best[1])
            last = best[0]
        placed |= set(cluster)
        if len(cluster) > 1:
            extra -= 2 ** len(cluster) - 1 - len(cluster)
            clusters.append(tuple(cluster))
    return clusters


@given(
    bags_of_rows,
    st.integers(0, 40),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([0.2, 0.5, 1.0]),
    st.integers(1, 6),
)
def test_grace_grows_the_clusters_of_its_description(
    bags: list[list[int]], extra: int, decay: float, edge_share: float, most: int
) -> None:
    settings = GraceTransform(
        algorithm="grace", decay=decay, edge_share=edge_share, max_length=most, alpha=0.5
    )
    clusters = grace_clusters(together(bags), extra, settings)
    assert list(clusters) == plain_grace(bags, extra, settings)
    assert Clusters(ROWS, clusters).used <= extra


@given(bags_of_rows, st.integers(0, 40), st.integers(1, 3))
def test_merci_merges_while_memory_lasts(bags: list[list[int]], extra: int, min_count: int) -> None:
    """Disjoint clusters of rows that are frequent, within memory, none of which could be merged
    with another of its part any more."""
    settings = MerciTransform(algorithm="merci", min_count=min_count)
    clusters = merci_clusters(together(bags), extra, settings)
    left = extra - Clusters(ROWS, clusters).used
    assert left >= 0
    rows = [row for cluster in clusters for row in cluster]
    assert len(rows) == len(set(rows))
    count = Counter(row for bag in bags for row in set(bag))
    assert all(count[row] >= min_count for row in rows)
    alone = [(row,) for row, n in count.items() if n >= min_count and row not in rows]
    for a, b in combinations([*clusters, *alone], 2):
        touched = sum(bool({*bag} & {*a}) and bool({*bag} & {*b}) for bag in bags)
        assert not touched or (2 ** len(a) - 1) * (2 ** len(b) - 1) > left


def test_merci_takes_the_largest_benefit_over_memory_first() -> None:
    """(0, 1) are together in 5 bags, (2, 3) in 4; a third row to either costs three sums."""
    bags = [[0, 1]] * 5 + [[2, 3]] * 4 + [[0, 2]] * 3
    own = MerciTransform(algorithm="merci", min_count=1)
    assert merci_clusters(together(bags), 1, own) == ((0, 1),)
    assert {*map(frozenset, merci_clusters(together(bags), 10, own))} == {
        frozenset({0, 1}),
        frozenset({2, 3}),
    }
    assert [sorted(c) for c in merci_clusters(together(bags), 11, own)] == [[0, 1, 2, 3]]
    small = MerciTransform(algorithm="merci", min_count=1, part_size=2)
    assert [sorted(c) for c in merci_clusters(together(bags), 11, small)] == [[0, 1], [2, 3]]
    assert merci_clusters(together(bags), 11, own.model_copy(update={"min_count": 8})) == ()


@pytest.mark.parametrize(("extra", "rows"), [(0, 0), (1, 2), (2, 2), (3, 3), (5, 3), (6, 4)])
def test_space_pairs_as_many_rows_as_memory_holds(extra: int, rows: int) -> None:
    graph = together([[4], [4, 2], [2, 4], [9, 1], [1]])
    assert popular_rows(graph, extra) == (4, 1, 2, 9)[:rows]
    assert Pairs(ROWS, popular_rows(graph, extra)).used <= extra


def test_tables_of_one_lookup_get_no_rows() -> None:
    transform = GraceTransform(algorithm="grace", extra_rows=0.5)
    assert extra_rows((10, 11, 12), ((1,), (4,), (1, 1)), transform) == (0, 5, 0)
    assert extra_rows((10, 11), ((9,), (4,)), None) == (0, 0)


def test_more_pairs_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MOST_PAIRS", 2)
    with pytest.raises(TraceError, match=r"'items'.* 3 pairs of rows, 2 at most.*train_share"):
        together([[1, 2, 3]])
