"""How many lookups and rows of several mini-batches move, over all shards: of those that tell
counts alone at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import BatchFacts
from simulator.caches.flows import Counted
from simulator.caches.run_facts import BLOCK

__all__ = ["in_pieces", "totals_of"]


def in_pieces(batches: Iterable[BatchFacts]) -> Iterator[list[BatchFacts]]:
    """`batches`, a block of them at a time."""
    source = iter(batches)
    while piece := list(islice(source, BLOCK)):
        yield piece


def totals_of(batches: Sequence[BatchFacts], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Lookups and rows of the flows of these `names`: int64, shape (mini-batches, names, 2).

    Raises `InvariantError` where a mini-batch tells none of a name.
    """
    counted = [facts.flows for facts in batches if isinstance(facts.flows, Counted)]
    told = counted[0].names if len(counted) == len(batches) > 0 else ()
    alike = len({(each.names, each.counts.shape) for each in counted}) == 1
    if alike and set(names) <= set(told):
        chosen = [told.index(name) for name in names]
        stacked = np.stack([each.counts[chosen] for each in counted], dtype=np.int64)
        totals: npt.NDArray[np.int64] = stacked.sum(axis=2)
        return totals
    counts = [[facts.sums(name) for name in names] for facts in batches]
    return np.array(counts, np.int64).reshape(len(batches), len(names), 2)
