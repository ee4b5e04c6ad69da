"""What mini-batches do at nodes of a near-memory pool, in plain Python: dictionaries and lists."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence

from simulator.caches.nodes import Homes, NodeCache, Spread

__all__ = ["PlainNodes"]


class PlainNodes:
    """Counts mini-batches one after the other; a cache is an ordered dictionary a home."""

    def __init__(
        self, rows: Sequence[int], homes: Sequence[Homes], cache: NodeCache | None, samples: int
    ) -> None:
        self.starts = [sum(rows[:table]) for table in range(len(rows))]
        self.homes, self.cache, self.samples = homes, cache, samples
        self.held: dict[int, OrderedDict[int, None]] = {}

    def of_batch(self, tables: Sequence[Sequence[Sequence[int]]]) -> list[Spread]:
        """`tables`: of each the rows that every sample looks up."""
        if self.cache is not None and not self.cache.stays:
            self.held.clear()
        return [self._of_table(table, bags) for table, bags in enumerate(tables)]

    def _of_table(self, table: int, bags: Sequence[Sequence[int]]) -> Spread:
        at = self.homes[table]
        numbered = [[row + self.starts[table] for row in bag] for bag in bags]

        def home(row: int) -> int:
            return row % at.count if at.table is None else at.table

        looked_up = [row for bag in numbered for row in bag]
        lookups = Counter(map(home, looked_up))
        parts = [
            {row for bag in numbered[k : k + self.samples] for row in bag}
            for k in range(0, len(bags), self.samples or len(bags) + 1)
        ]
        asked = Counter(home(row) for part in parts for row in part) if self.samples else lookups
        hits = Counter[int]()
        times = Counter(looked_up)
        for row in looked_up if self.cache is not None else ():
            hits[home(row)] += self._hit(home(row), row, times[row])
        pairs = [
            sum(len({home(row) % places for row in bag}) for bag in numbered)
            for places in (at.count, at.modules, at.channels)
        ]

        def told(counts: Counter[int]) -> tuple[int, ...]:
            return tuple(counts[k] for k in range(at.count))

        rows = Counter(map(home, set(looked_up)))
        read = Counter({k: asked[k] - hits[k] for k in range(at.count)})
        return Spread(told(lookups), told(rows), told(asked), told(read), len(bags), *pairs)

    def _hit(self, home: int, row: int, times: int) -> bool:
        """Whether the cache of a home holds a row that its mini-batch looks up so often."""
        assert self.cache is not None, "there are caches"
        if times < self.cache.hot:
            return False
        held = self.held.setdefault(home, OrderedDict())
        hit = row in held
        held[row] = None
        held.move_to_end(row)
        if len(held) > self.cache.rows:
            held.popitem(last=False)
        return hit
