"""GRACE's clusters (ASPLOS 2023): grown one row at a time over the graph of rows that bags look up
together, as the code of its artifact does it.

Not fixed there and chosen here: ties go to the lower row; a pair that is not kept weighs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.config.transform import GraceTransform
from simulator.traces.transform.graph import Together

__all__ = ["grace_clusters"]

_Edges = list[dict[int, int]]


def grace_clusters(
    together: Together, extra: int, settings: GraceTransform
) -> tuple[tuple[int, ...], ...]:
    """Clusters of rows whose sums take `extra` rows at most, in the order of their making.

    Pivots are taken by the weight of their edges, their own frequency among it; a pivot's
    neighbours join by score.
    """
    edges = _heaviest(together, settings.edge_share)
    weight = [
        int(own) + sum(each.values()) for own, each in zip(together.counts, edges, strict=True)
    ]
    free, left = set(range(len(edges))), extra
    clusters = []
    for pivot in sorted(free, key=lambda item: (-weight[item], item)):
        if left < 1:
            break
        if pivot not in free:
            continue
        cluster = _Growing(pivot, edges, free, settings).grown(left)
        free.difference_update(cluster)
        if len(cluster) > 1:
            left -= 2 ** len(cluster) - 1 - len(cluster)
            clusters.append(tuple(int(together.items[item]) for item in cluster))
    return tuple(clusters)


def _heaviest(together: Together, share: float) -> _Edges:
    """The neighbours of every item over the heaviest `share` of the edges, with their weights."""
    one, another, weights = together.pairs()
    order = np.argsort(-weights, kind="stable")[: int(np.ceil(share * len(weights)))]
    edges: _Edges = [{} for _ in together.items]
    for a, b, w in zip(
        one[order].tolist(), another[order].tolist(), weights[order].tolist(), strict=True
    ):
        edges[a][b] = edges[b][a] = w
    return edges


@dataclass
class _Growing:
    """A cluster under way from `pivot`; `free`: items that are in none."""

    pivot: int
    edges: _Edges
    free: set[int]
    settings: GraceTransform

    def grown(self, left: int) -> list[int]:
        """The items of the cluster; its sums take `left` rows at most."""
        cluster, inner, last = [self.pivot], list[int](), 0.0
        outer = {v: [w] for v, w in self.edges[self.pivot].items() if v in self.free}
        while outer and len(cluster) < self.settings.max_length:
            left -= 2 ** len(cluster) - 1
            scores = {v: self._score(inner + own, len(cluster)) for v, own in outer.items()}
            best = min(scores, key=lambda v: (-scores[v], v))
            if left < 0 or scores[best] < self.settings.decay * last:
                break
            cluster.append(best)
            inner += outer.pop(best)
            last = scores[best]
            for v, own in outer.items():
                own.append(self.edges[best].get(v, 0))
        return cluster

    def _score(self, pairs: list[int], size: int) -> float:
        """Of a cluster of `size` items with one more, for each sum that it would store; `pairs`:
        weights of all its pairs."""
        upper, lower = sum(pairs), sum(sorted(pairs)[:size])
        alpha = self.settings.alpha
        sums = int(2 ** (size + 1)) - 1 - (size + 1)
        return ((1 - alpha) * lower + alpha * upper) / sums
