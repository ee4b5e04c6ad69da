"""MERCI's clusters (ASPLOS 2021): merged within parts by benefit over memory, as its code does it.

Its parts are those of a hypergraph partitioner (PaToH). Here they are grown one row at a time, by
how often a row is looked up together with those of the part; ties go to what comes first. Parts of
Mt-KaHyPar instead leave 0.1 % fewer lookups of the flights of `docs/traces.md`, and take a hundred
times as long.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from simulator.config.transform import MerciTransform
from simulator.traces.base import Ids
from simulator.traces.transform.graph import Together

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["merci_clusters"]

_Best = tuple[float, int, int]
"""(benefit over memory, one cluster, another) of a part."""


def merci_clusters(
    together: Together, extra: int, settings: MerciTransform
) -> tuple[tuple[int, ...], ...]:
    """Clusters of rows whose sums take `extra` rows at most.

    Of all parts the two clusters are merged that have the largest benefit (training bags that touch
    both) over the memory that it takes, as long as any fit.
    """
    often = np.flatnonzero(together.counts >= settings.min_count)
    together = Together(together.items[often], together.touched[:, often])
    parts = [_Part(together.touched, own) for own in _parts(together, settings.part_size)]
    heap = [(-best[0], number) for number, part in enumerate(parts) if (best := part.best(extra))]
    heapq.heapify(heap)
    left = extra
    while heap:
        ratio, number = heapq.heappop(heap)
        part = parts[number]
        best = part.best(left)
        if best is not None and -best[0] == ratio:
            left -= part.merge(best[1], best[2])
            best = part.best(left)
        if best is not None:
            heapq.heappush(heap, (-best[0], number))
    clusters = (cluster for part in parts for cluster in part.clusters if len(cluster) > 1)
    return tuple(tuple(together.items[cluster].tolist()) for cluster in clusters)


def _parts(together: Together, size: int) -> list[list[int]]:
    """Items in parts of `size` at most: from the most frequent of those left, the one that is
    looked up most with the part joins, as long as there is any."""
    edges: list[dict[int, int]] = [{} for _ in together.items]
    for a, b, weight in zip(*(each.tolist() for each in together.pairs()), strict=True):
        edges[a][b] = edges[b][a] = weight
    free = set(range(len(edges)))
    parts = []
    for first in np.argsort(-together.counts, kind="stable").tolist():
        if first not in free:
            continue
        part, pull = list[int](), {first: 0}
        while pull and len(part) < size:
            joins = min(pull, key=lambda item: (-pull[item], item))
            del pull[joins]
            free.remove(joins)
            part.append(joins)
            for item, weight in edges[joins].items():
                if item in free:
                    pull[item] = pull.get(item, 0) + weight
        if len(part) > 1:
            parts.append(part)
    return parts


@dataclass
class _Part:
    """The clusters of a part: at first every item of `own` for itself.

    `touched`: shape (bags, all items).
    """

    touched: sparse.csc_matrix
    own: list[int]
    clusters: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        part = self.touched[:, self.own].tocsr()
        busy = np.flatnonzero(np.diff(part.indptr) > 1)
        self._bags: npt.NDArray[np.bool_] = part[busy].toarray() > 0
        self.clusters = [[item] for item in self.own]
        self._benefit: Ids = (part.T @ part).toarray()

    def best(self, left: int) -> _Best | None:
        """The merge of the largest benefit over memory among those that take `left` rows at most;
        None where none is of use."""
        power = 2.0 ** np.array([len(cluster) for cluster in self.clusters])
        cost = (power[:, None] - 1) * (power[None, :] - 1)
        usable = np.triu((cost <= left) & (self._benefit > 0), k=1)
        if not usable.any():
            return None
        ratio = np.where(usable, self._benefit / cost, 0.0)
        one, another = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        return float(ratio[one, another]), int(one), int(another)

    def merge(self, one: int, another: int) -> int:
        """Merge two clusters; returns the rows that it takes."""
        a, b = len(self.clusters[one]), len(self.clusters[another])
        self.clusters[one] += self.clusters.pop(another)
        self._bags[:, one] |= self._bags[:, another]
        self._bags = np.delete(self._bags, another, axis=1)
        shared = self._bags[self._bags[:, one]].sum(axis=0)
        self._benefit = np.delete(np.delete(self._benefit, another, axis=0), another, axis=1)
        self._benefit[one, :] = self._benefit[:, one] = shared
        return int((2**a - 1) * (2**b - 1))
