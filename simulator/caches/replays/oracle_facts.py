"""What trainers are told of a mini-batch under Bagpipe's oracle, as flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import HIT, LOOKUP, MISS, UNIQUE, Flow
from simulator.caches.replays.oracle_slots import PoolSlots
from simulator.caches.replays.oracle_tables import TableUse
from simulator.caches.replays.samples import Divided, of_trainer

__all__ = ["ALONE", "FETCHED", "LATER", "LEAVING", "LISTED", "NOW", "ToldBatch"]

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FETCHED = "fetched"
"""Of a trainer: rows that it fetches in the clean-up told with a mini-batch."""
LEAVING = "leaving"
"""Of a trainer: rows that it evicts and writes back in that clean-up."""
NOW = "now"
"""Rows whose gradients are summed before the next mini-batch, which uses them too."""
LATER = "later"
"""Rows whose gradients are summed while the next mini-batch runs."""
ALONE = "alone"
"""Of a trainer: rows that one of its samples looks up, and nobody else within the look-ahead."""
LISTED = "listed"
"""Rows of all lists that trainers get with a mini-batch: fetched, kept, now, later, alone."""
_LISTS = (UNIQUE, HIT, MISS, NOW, LATER, LISTED)


@dataclass(slots=True)
class ToldBatch:
    """Turns what was read of the tables in a mini-batch into flows; `starts`: the first row of each
    table; `offsets`: of its samples, where its lookups are to be told."""

    trainers: int
    uses: Sequence[TableUse]
    starts: Sequence[int]
    offsets: Sequence[Int64s] | None

    def flows(self, slots: PoolSlots) -> dict[str, tuple[Flow, ...]]:
        """By name, a shard a table; `slots`: those of all rows."""
        flows, own = self._counted(), np.empty(0, np.int64)
        divided = Divided.of_tables([use.shared for use in self.uses], self.starts, self.offsets)
        asked = self.uses[0].asked
        if asked.lookups:
            own = slots.of([use.shared.rows for use in self.uses])
        if asked.lists:
            for name, rows in self._chosen().items():
                flows[name] = divided.kept(flows[name], rows, own)
        flows[LOOKUP] = divided.lookups(own)
        for trainer in range(self.trainers):
            each = divided.of(trainer, own, flows[LOOKUP])
            flows |= {of_trainer(trainer, name): mine for name, mine in each.items()}
        return flows

    def _counted(self) -> dict[str, tuple[Flow, ...]]:
        """How many rows are in the lists, and of how many lookups."""
        lists = zip(*(use.lists.tolist() for use in self.uses), strict=True)
        flows = {
            name: tuple(Flow(lookups, rows) for lookups, rows in counts)
            for name, counts in zip(_LISTS, lists, strict=True)
        }
        alone = zip(*(use.counts[0, 1:].tolist() for use in self.uses), strict=True)
        for trainer, counts in enumerate(alone):
            flows[of_trainer(trainer, ALONE)] = tuple(Flow(count, count) for count in counts)
        return flows

    def _chosen(self) -> dict[str, Bools | slice]:
        """Which rows those are."""
        fetched, again, owners = (
            np.concatenate(arrays)
            for arrays in zip(
                *((use.read.fetched, use.read.again, use.shared.who) for use in self.uses),
                strict=True,
            )
        )
        chosen: dict[str, Bools | slice] = {
            UNIQUE: slice(None),
            HIT: ~fetched,
            MISS: fetched,
            NOW: again,
            LATER: ~again & (owners < 0),
        }
        for trainer in range(self.trainers):
            chosen[of_trainer(trainer, ALONE)] = owners == trainer
        return chosen
