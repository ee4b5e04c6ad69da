"""What mini-batches do at nodes of a near-memory pool, in plain Python: dictionaries and lists."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from simulator.caches.nodes import CopiedSums, Homes, NodeCache, Spread

__all__ = ["PlainNodes"]


class PlainNodes:
    """Counts mini-batches one after the other; a cache is an ordered dictionary a home."""

    def __init__(
        self,
        rows: Sequence[int],
        homes: Sequence[Homes],
        cache: NodeCache | None,
        samples: int,
        copied: frozenset[int] = frozenset(),
        regions: Mapping[int, int] | None = None,
    ) -> None:
        self.starts = [sum(rows[:table]) for table in range(len(rows))]
        self.homes, self.cache, self.samples = homes, cache, samples
        self.held: dict[int, OrderedDict[int, None]] = {}
        self.copied = copied
        """Rows that every home has, numbered over all tables."""
        self.loads = Counter[int]()
        self.regions = regions
        """The region of each row, numbered over all tables; None: there is one."""

    def of_batch(self, tables: Sequence[Sequence[Sequence[int]]]) -> list[Spread]:
        """`tables`: of each the rows that every sample looks up."""
        if self.cache is not None and not self.cache.stays:
            self.held.clear()
        self.loads.clear()
        return [self._of_table(table, bags) for table, bags in enumerate(tables)]

    def _of_table(self, table: int, bags: Sequence[Sequence[int]]) -> Spread:
        at = self.homes[table]
        numbered = [[row + self.starts[table] for row in bag] for bag in bags]

        def home(row: int) -> int:
            if at.table is not None:
                return at.table
            own = 0 if self.regions is None else self.regions[row]
            widths = at.widths or (at.count,)
            if at.channel is None:
                return sum(widths[:own]) + row % widths[own]
            channels = at.channels
            return sum(widths[:own]) + at.channel + channels * (row % (widths[own] // channels))

        looked_up = [row for bag in numbered for row in bag]
        places = self._dealt(looked_up, home, at.count)
        lookups = Counter(places)
        parts = [
            {row for bag in numbered[k : k + self.samples] for row in bag}
            for k in range(0, len(bags), self.samples or len(bags) + 1)
        ]
        asked = Counter(home(row) for part in parts for row in part) if self.samples else lookups
        hits = Counter[int]()
        times = Counter(looked_up)
        for row in looked_up if self.cache is not None else ():
            hits[home(row)] += self._hit(home(row), row, times[row])
        ends = [sum(map(len, numbered[:k])) for k in range(len(numbered) + 1)]
        bags_at = [places[a:b] for a, b in pairwise(ends)]
        homes, modules, channels = (
            sum(len({place % count for place in bag}) for bag in bags_at)
            for count in (at.count, at.modules, at.channels)
        )
        inner = sum(len({place for place in bag if place >= at.outer}) for bag in bags_at)
        sums = {(r, at_) for r, at_ in zip(looked_up, places, strict=True) if r in self.copied}
        copied = {row for row, _ in sums}

        def told(counts: Counter[int]) -> tuple[int, ...]:
            return tuple(counts[k] for k in range(at.count))

        rows = Counter(map(home, set(looked_up) - copied))
        rows.update({k: len(copied) for k in range(at.count)})
        read = Counter({k: asked[k] - hits[k] for k in range(at.count)})
        told_sums = CopiedSums(
            len(copied), len(sums), len({(row, place % at.modules) for row, place in sums})
        )
        return Spread(
            told(lookups), told(rows), told(asked), told(read), len(bags),
            homes, modules, channels, inner, told_sums,
        )  # fmt: skip

    def _dealt(self, rows: Sequence[int], home: Callable[[int], int], homes: int) -> list[int]:
        """The home of each lookup: its row's, or of a copied row that with the least load."""
        self.loads.update(home(row) for row in rows if row not in self.copied)
        rank = sorted(range(homes), key=lambda k: (self.loads[k], k))
        places = []
        for row in rows:
            place = home(row)
            if row in self.copied:
                place = min(rank, key=lambda k: self.loads[k])
                self.loads[place] += 1
            places.append(place)
        return places

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
