"""How often rows are looked up together: counted over bags, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.errors import TraceError
from simulator.traces.base import Ids

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["MOST_PAIRS", "Together"]

MOST_PAIRS = 10**8
"""Pairs of rows in training bags: about 2 GB of counts."""


@dataclass(frozen=True)
class Together:
    """The bags of a training part, a row of `touched` each.

    `items`: int64, the rows that some bag looks up, sorted; `touched`: shape (bags, items), 1 where
    a bag looks an item up, however often.
    """

    items: Ids
    touched: sparse.csc_matrix

    @classmethod
    def of(cls, bags: Iterable[tuple[Ids, Ids]], where: str) -> Together:
        """From (ids, edges of bags) of mini-batches. Raises `TraceError` where there are more than
        `MOST_PAIRS` pairs; `where` names the table."""
        from scipy import sparse  # slow to import, and only sums of rows need it

        owners, looked, first = [], [], 0
        for ids, edges in bags:
            owner = first + np.repeat(np.arange(len(edges) - 1), np.diff(edges))
            order = np.lexsort((ids, owner))
            owner, ids = owner[order], ids[order]
            new = np.ones(len(ids), bool)
            new[1:] = (np.diff(owner) != 0) | (np.diff(ids) != 0)
            owners.append(owner[new])
            looked.append(ids[new])
            first += len(edges) - 1
        owner = np.concatenate([np.empty(0, np.int64), *owners])
        sizes = np.bincount(owner)
        pairs = int((sizes * (sizes - 1) // 2).sum())
        if pairs > MOST_PAIRS:
            raise TraceError(
                f"{where}: bags of the training part look up {pairs:,} pairs of rows, "
                f"{MOST_PAIRS:,} at most: lower trace.transform.train_share"
            )
        items, number = np.unique(
            np.concatenate([np.empty(0, np.int64), *looked]), return_inverse=True
        )
        ones = np.ones(len(owner), np.int64)
        return cls(items, sparse.csc_matrix((ones, (owner, number)), (first, len(items))))

    @property
    def counts(self) -> Ids:
        """Bags that look each item up, shape (items,)."""
        counts: Ids = np.diff(self.touched.indptr).astype(np.int64)
        return counts

    def pairs(self) -> tuple[Ids, Ids, Ids]:
        """(one, another, bags that look both up) of all pairs of items with any, one < another, in
        order: numbers of items, int64."""
        from scipy import sparse

        both = sparse.triu(self.touched.T @ self.touched, k=1).tocsr()
        both.sort_indices()
        both = both.tocoo()
        return both.row.astype(np.int64), both.col.astype(np.int64), both.data.astype(np.int64)
