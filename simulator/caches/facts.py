"""What one mini-batch does to caches and tiers: exact, without time, shard by shard.

A *flow* is a set of rows that moves together: the lookups of a mini-batch, its unique rows, those
that hit, that are missed, that are evicted. A *shard* is what is looked up on its own: a table, or
all tables in one pool. Facts hold a flow of each name for each shard, so that conservation can be
checked shard by shard, a batch can be split by table or by sample, and the misses of one tier can
be the lookups of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simulator.caches.flows import LOOKUP, Counted, Flow, interleaved, total
from simulator.caches.ranges import Ranges
from simulator.errors import InvariantError

__all__ = [
    "AS_FILLED",
    "BYPASS",
    "COLD",
    "HELD",
    "HIT",
    "LOOKUP",
    "MISS",
    "UNIQUE",
    "VICTIM",
    "WRITE_BACK",
]
__all__ += ["BatchFacts", "Flow", "Start", "check_all"]

Int64s = npt.NDArray[np.int64]

UNIQUE = "unique"
"""Its distinct rows, each once, in an order that the replay says."""
HIT = "hit"
"""Lookups and rows that the cache (or the upper tier) serves."""
MISS = "miss"
"""Those that it does not: fetched by a planned cache, served below by a static one."""
VICTIM = "victim"
"""Rows that leave the cache."""
WRITE_BACK = "write_back"
"""Victims that were trained since they were fetched."""
COLD = "cold"
"""Missed rows that were never resident before."""
HELD = "held"
"""Missed rows that the same cache without a window would have kept; absent where not counted."""
BYPASS = "bypass"
"""Rows that are read and trained where they lie, for the cache had no slot for them."""
AS_FILLED = "as_filled"
"""Rows that were put into the cache before the first mini-batch and not looked up since; absent
where none were, or where those are what the cache would hold anyway."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a cache came to what it held before the first mini-batch.

    `kind`: `empty`; `hot`, filled with the hottest rows; `sampled`, its steady state drawn from a
    closed form (of lookups in `batches` mini-batches, where counts of them matter); `planned`,
    reached by `batches` mini-batches of the past.
    """

    kind: str
    batches: int = 0


class _Nothing(dict[str, tuple[Flow, ...]]):
    """Flows of any name, all empty."""

    def __missing__(self, name: str) -> tuple[Flow, ...]:
        return (Flow(),)

    def __contains__(self, name: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """The flows of one mini-batch, by name, one a shard."""

    index: int
    samples: int
    flows: Mapping[str, tuple[Flow, ...]] = field(default_factory=dict)
    start: Start | None = None
    """Of the replay that it belongs to; None where nothing is cached by use."""
    pooled: bool = False
    """All shards share one pool of slots: a victim of one makes room for a miss of another."""
    popular: int | None = None
    """Samples whose rows are all hot; None where the replay tells hot rows from no others."""
    by_sample: bool = field(default=False, compare=False)
    """Lookups over all shards are in the order of `in_sample_order`."""
    _totals: dict[str, Flow] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Flows over all shards that were asked for: row numbers are joined once."""

    @classmethod
    def of_nothing(cls, samples: int, *but: str) -> BatchFacts:
        """A mini-batch without lookups, whatever flows a replay tells; those called `but` have a
        row."""
        return cls(0, samples, _Nothing(dict.fromkeys(but, (Flow(1, 1),))))

    def __getitem__(self, name: str) -> Flow:
        """The flow called `name` over all shards.

        Raises `InvariantError` where the replay has none of that name.
        """
        self._require(name)
        if isinstance(self.flows, Counted):
            return self.flows.total(name)
        if name not in self._totals:
            self._totals[name] = total(self.flows[name])
        return self._totals[name]

    def sums(self, name: str) -> tuple[int, int]:
        """Lookups and rows of the flow called `name` over all shards; raises as `[name]` does."""
        self._require(name)
        flows = self.flows[name]
        return sum(flow.lookups for flow in flows), sum(flow.rows for flow in flows)

    def _require(self, name: str) -> None:
        if name not in self.flows:
            raise InvariantError(
                f"mini-batch {self.index}: the replay tells no {name!r} flows, only "
                f"{', '.join(self.flows)}"
            )

    def __contains__(self, name: str) -> bool:
        return name in self.flows

    @property
    def keeps_rows(self) -> bool:
        """Whether row numbers are there."""
        return not isinstance(self.flows, Counted) and any(
            f.ids is not None or f.slots is not None for f in self.flows.get(LOOKUP, ())
        )

    @property
    def says_which(self) -> bool:
        """Whether any flow tells more than counts."""
        return not isinstance(self.flows, Counted) and any(
            array is not None
            for flows in self.flows.values()
            for flow in flows
            for array in (flow.ids, flow.slots, flow.offsets, flow.homes)
        )

    @property
    def shards(self) -> int:
        """Shards that the replay looked up on their own."""
        return len(self.flows.get(LOOKUP, ()))

    def in_sample_order(self) -> BatchFacts:
        """The same, lookups of all shards one sample after the other: what a kernel that is fused
        over tables looks up, and in which order.

        By their relative place within each shard, which is exact where all samples have as many.
        """
        ordered = replace(self, by_sample=True)
        for name, flows in self.flows.items():
            if name.endswith(LOOKUP):
                ordered._totals[name] = interleaved(flows)
        return ordered

    def without_rows(self) -> BatchFacts:
        """The same counts without row numbers."""
        return self._without_rows(lambda name: True)

    def with_lookups_alone(self) -> BatchFacts:
        """The same counts, with row numbers in flows of lookups alone."""
        return self._without_rows(lambda name: not name.endswith(LOOKUP))

    def _without_rows(self, bare: Callable[[str], bool]) -> BatchFacts:
        """The same counts without row numbers in flows whose names are to be `bare`."""
        if isinstance(self.flows, _Nothing) or not self.says_which:
            return self
        flows = {
            name: tuple(replace(f, ids=None, slots=None, offsets=None, homes=None) for f in flows)
            if bare(name)
            else flows
            for name, flows in self.flows.items()
        }
        return replace(self, flows=flows)

    def renumbered(self, rows_of: Callable[[int, Int64s], Int64s]) -> BatchFacts:
        """The same with other row numbers, where any are told: `rows_of(shard, ids)`."""
        if isinstance(self.flows, Counted):
            return self
        flows = {
            name: tuple(
                flow if flow.ids is None else replace(flow, ids=rows_of(shard, flow.ids))
                for shard, flow in enumerate(each)
            )
            for name, each in self.flows.items()
        }
        return replace(self, flows=flows)

    def packed(self) -> BatchFacts:
        """The same in less memory, where nothing but counts is told."""
        counted = None if isinstance(self.flows, _Nothing) else Counted.of(self.flows)
        return self if counted is None else replace(self, flows=counted)

    def with_bags(self, longest: Sequence[int]) -> BatchFacts:
        """The same, every flow of lookups with the longest bag of its tables.

        `longest`: of each table. A shard that is no table gets that of all tables, and so do the
        lookups of one tier: at most as many of a bag are served there.
        """
        bags = list(longest) if self.shards == len(longest) else [max(longest)] * self.shards
        if isinstance(self.flows, Counted):
            return replace(self, flows=self.flows.with_bags(bags))
        flows = {
            name: tuple(replace(f, longest=bag) for f, bag in zip(shards, bags, strict=True))
            if name.endswith(LOOKUP)
            else shards
            for name, shards in self.flows.items()
        }
        return replace(self, flows=flows)

    def with_hottest(self, hottest: Sequence[int]) -> BatchFacts:
        """The same, every flow with the lookups of the row that is looked up most, as far as it has
        as many; but those that a cache does not serve, for it keeps the hottest rows.

        `hottest`: of each table. A shard that is no table gets those of all tables.
        """
        alone = self.shards == len(hottest)
        most = [(count,) for count in hottest] if alone else [tuple(hottest)] * self.shards
        flows = {
            name: tuple(
                replace(flow, hottest=tuple(min(count, flow.lookups) for count in counts))
                for flow, counts in zip(shards, most, strict=True)
            )
            if not name.endswith((MISS, COLD, BYPASS))
            else shards
            for name, shards in self.flows.items()
        }
        return replace(self, flows=flows)

    def with_ranges(self, ranges: Sequence[Ranges]) -> BatchFacts:
        """The same, distinct rows with how their lookups fall on ranges of rows.

        `ranges`: of each table. A shard that is no table gets none.
        """
        if self.shards != len(ranges) or UNIQUE not in self.flows:
            return self
        pairs = zip(self.flows[UNIQUE], ranges, strict=True)
        dealt = tuple(replace(flow, ranges=own) for flow, own in pairs)
        return replace(self, flows={**self.flows, UNIQUE: dealt})

    def of_shards(self, shards: Sequence[int]) -> BatchFacts:
        """What happens in some of the shards."""
        if isinstance(self.flows, _Nothing):
            return self
        flows: Mapping[str, tuple[Flow, ...]]
        if isinstance(self.flows, Counted):
            flows = self.flows.of_shards(shards)
        else:
            flows = {name: tuple(each[k] for k in shards) for name, each in self.flows.items()}
        return replace(self, flows=flows)

    def of_tables(self, tables: Sequence[int]) -> BatchFacts:
        """What happens to some tables, a shard each, lookups in the order that these are in."""
        own = self.of_shards(tables)
        return own.in_sample_order() if self.by_sample else own

    def of_samples(self, first: int, last: int) -> BatchFacts:
        """Lookups, unique rows, hits and misses of samples `first` to `last` - 1 alone.

        Raises `InvariantError` where the replay kept no samples. What leaves the cache belongs to
        no sample and is left out.
        """
        flows: dict[str, list[Flow]] = {LOOKUP: [], UNIQUE: [], HIT: [], MISS: []}
        for shard, lookup in enumerate(self.flows[LOOKUP]):
            if lookup.ids is None or lookup.offsets is None:
                raise InvariantError(f"mini-batch {self.index}: its samples were not kept")
            begin, end = int(lookup.offsets[first]), int(lookup.offsets[last])
            ids = lookup.ids[begin:end]
            rows, times = np.unique(ids, return_counts=True)
            missed = self.flows[MISS][shard].ids if MISS in self.flows else None
            gone = np.zeros(len(rows), np.bool_) if missed is None else np.isin(rows, missed)
            offsets = lookup.offsets[first : last + 1] - begin
            flows[LOOKUP].append(Flow(len(ids), len(rows), ids, offsets=offsets))
            flows[UNIQUE].append(Flow(len(ids), len(rows), rows))
            flows[HIT].append(Flow(int(times[~gone].sum()), int((~gone).sum()), rows[~gone]))
            flows[MISS].append(Flow(int(times[gone].sum()), int(gone.sum()), rows[gone]))
        kept = {name: tuple(f) for name, f in flows.items() if name in self.flows}
        return BatchFacts(self.index, last - first, kept)

    def check(self) -> None:
        """Conservation, shard by shard: what goes in is hits and misses, victims make room.

        Raises `InvariantError` naming mini-batch, shard and rule.
        """
        for name in (LOOKUP, UNIQUE):  # every replay tells these
            self._require(name)
        counted = self.flows
        if not isinstance(counted, Counted) or not _all_hold(self._rules(counted.by_shard)):
            for shard in range(self.shards):
                self._check_shard(shard)
        if self.pooled and VICTIM in self.flows and self[VICTIM].rows > self[MISS].rows:
            raise InvariantError(
                f"mini-batch {self.index}: {self[VICTIM].rows} victims for {self[MISS].rows} misses"
            )

    def _check_shard(self, shard: int) -> None:
        def flow(name: str) -> Flow:
            return self.flows[name][shard]

        for rule, holds in self._rules(flow):
            if not holds:
                counts = {n: (f[shard].lookups, f[shard].rows) for n, f in self.flows.items()}
                raise InvariantError(
                    f"mini-batch {self.index}, shard {shard}: {rule} does not hold "
                    f"(lookups, rows: {counts})"
                )

    def _rules(self, flow_of: Callable[[str], Flow]) -> list[tuple[str, bool]]:
        """What must hold of the flows that `flow_of` has by name."""

        def flow(name: str) -> Flow:
            return flow_of(name) if name in self.flows else Flow()

        lookup, unique, hit, miss = flow(LOOKUP), flow(UNIQUE), flow(HIT), flow(MISS)
        rules = [("unique rows <= lookups", unique.rows <= lookup.lookups)]
        for name in self.flows:
            own = flow(name)
            count = own.lookups if name.endswith(LOOKUP) else own.rows
            rules += [(f"{name} = those of all tiers", sum(own.tiers) == count)] * bool(own.tiers)
        if HIT in self.flows:
            rules += [
                ("lookups = hits + misses", hit.lookups + miss.lookups == lookup.lookups),
                ("unique rows = hits + misses", hit.rows + miss.rows == unique.rows),
                ("unique hits <= lookup hits", hit.rows <= hit.lookups),
                ("missed rows <= missed lookups", miss.rows <= miss.lookups),
                ("cold misses <= misses", flow(COLD).rows <= miss.rows),
                ("held misses <= misses", flow(HELD).rows <= miss.rows),
                ("victims <= misses", self.pooled or flow(VICTIM).rows <= miss.rows),
                ("write-backs <= victims", flow(WRITE_BACK).rows <= flow(VICTIM).rows),
            ]
        return rules


def check_all(batches: Sequence[BatchFacts]) -> None:
    """`BatchFacts.check` of all `batches`: of those with the same counts at once."""
    flows = [facts.flows for facts in batches if not facts.pooled]
    counted = [each for each in flows if isinstance(each, Counted)]
    names = counted[0].names if counted else ()
    others = batches
    if {LOOKUP, UNIQUE} <= set(names) and all(each.names == names for each in counted):
        whole = Counted(names, np.concatenate([each.counts for each in counted], axis=1))
        if _all_hold(BatchFacts(0, 0, whole)._rules(whole.by_shard)):
            others = [b for b in batches if b.pooled or not isinstance(b.flows, Counted)]
    for facts in others:
        facts.check()


def _all_hold(rules: Sequence[tuple[str, bool]]) -> bool:
    """Whether they do, in every shard."""
    return all(np.all(holds) for _, holds in rules)
