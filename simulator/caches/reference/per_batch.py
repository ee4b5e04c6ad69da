"""Every policy once more in plain Python: slow, short, and what the compiled kernels must equal.

`reference_plan` plans batches the way the pipeline's description reads: the held set is written out
as a set of rows, state is dicts and lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from simulator._mix import GOLDEN, mixed
from simulator.caches.plan.base import Window
from simulator.caches.policies.random_victim import TRIES

__all__ = ["REFERENCES", "ReferencePlan", "distinct", "next_uses", "reference_plan"]


@dataclass
class ReferencePlan:
    """One batch: the fields of `PoolPlan` as lists."""

    lookups: int
    lookup_hits: int
    rows: list[int]
    slots: list[int]
    missed_rows: list[int]
    missed_slots: list[int]
    victim_rows: list[int]
    victim_slots: list[int]
    victim_dirty: list[bool]
    cold_misses: int
    resident_rows: int


@dataclass
class ReferencePool:
    """The slots: `rows[s]` is the row in slot s, None where it is free; `held` rows stay.

    `missed`: the rows that the planned batch needs.
    """

    rows: list[int | None]
    held: set[int] = field(default_factory=set)
    missed: list[int] = field(default_factory=list)

    def taken(self) -> list[int]:
        return [slot for slot, row in enumerate(self.rows) if row is not None]

    def free_to_go(self, slot: int) -> bool:
        row = self.rows[slot]
        return row is not None and row not in self.held


class ByKey:
    """Base: the victim is the slot whose row has the smallest `key`; `last` is its last use."""

    def __init__(self, capacity: int, seed: int = 0, hottest: Sequence[int] = ()) -> None:
        self.last: dict[int, int] = {}
        self.inserted: dict[int, int] = {}
        self.count: Counter[int] = Counter()
        self.next_use: dict[int, float] = {}
        self.rank = {row: rank for rank, row in enumerate(hottest[:capacity])}
        self.time = 0

    def key(self, row: int) -> tuple[float, ...]:
        raise NotImplementedError

    def used(self, row: int, slot: int, fetched: bool, next_use: float) -> None:
        self.time += 1
        if fetched:
            self.inserted[row] = self.time
            self.count[row] = 0
        self.count[row] += 1
        self.last[row] = self.time
        self.next_use[row] = next_use

    def victims(self, pool: ReferencePool, count: int) -> list[int]:
        slots = [slot for slot in pool.taken() if pool.free_to_go(slot)]
        return sorted(slots, key=lambda slot: self.key(pool.rows[slot] or 0))[:count]


class ReferenceLRU(ByKey):
    def key(self, row: int) -> tuple[float, ...]:
        return (self.last[row],)


class ReferenceFIFO(ByKey):
    def key(self, row: int) -> tuple[float, ...]:
        return (self.inserted[row],)


class ReferenceLFU(ByKey):
    def key(self, row: int) -> tuple[float, ...]:
        return (self.count[row], self.last[row])


class ReferenceBelady(ByKey):
    def key(self, row: int) -> tuple[float, ...]:
        return (-self.next_use[row], self.last[row])


class ReferenceStaticHot(ByKey):
    """Rows outside of the hot set in order of last use, then hot ones, the coldest rank first."""

    def key(self, row: int) -> tuple[float, ...]:
        return (0, self.last[row]) if row not in self.rank else (1, -self.rank[row])


class ReferenceRandom(ByKey):
    def __init__(self, capacity: int, seed: int = 0, hottest: Sequence[int] = ()) -> None:
        super().__init__(capacity, seed, hottest)
        self.state = seed

    def below(self, bound: int) -> int:
        self.state += int(GOLDEN)
        return ((mixed(self.state) >> 32) * bound) >> 32

    def victims(self, pool: ReferencePool, count: int) -> list[int]:
        chosen: list[int] = []
        tries = 0
        while len(chosen) < count and tries < TRIES:
            slot = self.below(len(pool.taken()))
            if pool.free_to_go(slot) and slot not in chosen:
                chosen.append(slot)
                tries = 0
            else:
                tries += 1
        left = [s for s in pool.taken() if pool.free_to_go(s) and s not in chosen]
        while len(chosen) < count:
            pick = self.below(len(left))
            chosen.append(left[pick])
            left[pick] = left[-1]
            left.pop()
        return chosen


class ReferenceClock(ByKey):
    """The hand goes round the slots; it passes held ones, and clears a set bit as it passes."""

    def __init__(self, capacity: int, seed: int = 0, hottest: Sequence[int] = ()) -> None:
        super().__init__(capacity, seed, hottest)
        self.bit = [False] * capacity
        self.hand = 0

    def used(self, row: int, slot: int, fetched: bool, next_use: float) -> None:
        self.bit[slot] = not fetched

    def victims(self, pool: ReferencePool, count: int) -> list[int]:
        chosen: list[int] = []
        while len(chosen) < count:
            slot, self.hand = self.hand, (self.hand + 1) % len(self.bit)
            if not pool.free_to_go(slot) or slot in chosen:
                continue
            if self.bit[slot]:
                self.bit[slot] = False
            else:
                chosen.append(slot)
        return chosen


class ReferenceSieve(ByKey):
    """`order`: slots from the oldest to the newest; `hand`: the slot to look at next, or None."""

    def __init__(self, capacity: int, seed: int = 0, hottest: Sequence[int] = ()) -> None:
        super().__init__(capacity, seed, hottest)
        self.order: list[int] = []
        self.mark: set[int] = set()
        self.hand: int | None = None

    def used(self, row: int, slot: int, fetched: bool, next_use: float) -> None:
        if fetched:
            self.order.append(slot)
        else:
            self.mark.add(slot)

    def victims(self, pool: ReferencePool, count: int) -> list[int]:
        chosen: list[int] = []
        while len(chosen) < count:
            at = 0 if self.hand is None else self.order.index(self.hand)
            slot = self.order[at]
            self.hand = self.order[at + 1] if at + 1 < len(self.order) else None
            if not pool.free_to_go(slot):
                continue
            if slot in self.mark:
                self.mark.remove(slot)
            else:
                self.order.remove(slot)
                chosen.append(slot)
        return chosen


class ReferenceS3FIFO(ByKey):
    """Queues of slots, the oldest first; `ghosts` are rows."""

    def __init__(self, capacity: int, seed: int = 0, hottest: Sequence[int] = ()) -> None:
        super().__init__(capacity, seed, hottest)
        self.small: list[int] = []
        self.main: list[int] = []
        self.hits: dict[int, int] = {}
        self.small_share = max(1, int(capacity * 0.1))
        self.main_share = capacity - self.small_share
        self.ghost_share = int(capacity * 0.9)
        self.ghosts: list[int] = []
        self.returning: set[int] = set()
        self.fresh = True

    def used(self, row: int, slot: int, fetched: bool, next_use: float) -> None:
        if not fetched:
            self.hits[slot] += 1
            return
        early = self.fresh and len(self.small) >= self.small_share
        (self.main if row in self.returning or early else self.small).append(slot)
        self.hits[slot] = 0

    def victims(self, pool: ReferencePool, count: int) -> list[int]:
        self.fresh = False
        self.returning = set(self.ghosts) & set(pool.missed)
        self.ghosts = [row for row in self.ghosts if row not in self.returning]
        return [self.victim(pool) for _ in range(count)]

    def victim(self, pool: ReferencePool) -> int:
        while True:
            small = [slot for slot in self.small if pool.free_to_go(slot)]
            main = [slot for slot in self.main if pool.free_to_go(slot)]
            if main and (len(self.main) > self.main_share or not small):
                slot = main[0]
                self.main.remove(slot)
                if self.hits[slot] == 0:
                    return slot
                self.hits[slot] = min(self.hits[slot], 3) - 1
                self.main.append(slot)
                continue
            for slot in small:
                self.small.remove(slot)
                if self.hits[slot] < 2:
                    self.ghosts = [*self.ghosts, pool.rows[slot] or 0]
                    self.ghosts = self.ghosts[max(0, len(self.ghosts) - self.ghost_share) :]
                    return slot
                self.hits[slot] = 0
                self.main.append(slot)


REFERENCES: dict[str, Callable[..., ByKey]] = {
    "lru": ReferenceLRU,
    "lfu": ReferenceLFU,
    "fifo": ReferenceFIFO,
    "random": ReferenceRandom,
    "clock": ReferenceClock,
    "belady": ReferenceBelady,
    "static_hot": ReferenceStaticHot,
    "sieve": ReferenceSieve,
    "s3fifo": ReferenceS3FIFO,
}


def distinct(batch: Sequence[int]) -> dict[int, int]:
    """The rows of a batch in order of first occurrence, and how often each is looked up."""
    return dict(Counter(batch))


def next_uses(batches: Sequence[Sequence[int]]) -> list[dict[int, float]]:
    """For each batch and each of its rows: the number of the next batch that looks it up."""
    uses: list[dict[int, float]] = []
    later: dict[int, float] = {}
    for number in range(len(batches) - 1, -1, -1):
        uses.append({row: later.get(row, float("inf")) for row in batches[number]})
        later.update(dict.fromkeys(batches[number], number))
    return uses[::-1]


class ReferencePlanner:
    """One pool and its policy; `preload`: the rows that are resident before the first batch."""

    def __init__(self, chooser: ByKey, capacity: int, preload: Sequence[int]) -> None:
        self.chooser = chooser
        self.pool = ReferencePool([None] * capacity)
        self.slot_of = {row: slot for slot, row in enumerate(preload)}
        for row in reversed(preload):
            self.pool.rows[self.slot_of[row]] = row
            chooser.used(row, self.slot_of[row], True, float("inf"))
        self.clean = set(preload)
        self.ever_resident = set(preload)

    def plan(self, batch: Sequence[int], held: set[int], later: dict[int, float]) -> ReferencePlan:
        """Plan `batch` while the rows `held` stay; `later`: the next use of each of its rows."""
        rows = list(dict.fromkeys(batch))
        missed = [row for row in rows if row not in self.slot_of]
        hits = sum(row in self.slot_of for row in batch)
        cold = sum(row not in self.ever_resident for row in missed)
        self.pool.held, self.pool.missed = held, missed
        victim_slots = self._choose(missed)
        victims = [self.pool.rows[slot] or 0 for slot in victim_slots]
        dirty = [row not in self.clean for row in victims]
        self._move(missed, victims, victim_slots)
        self.clean -= set(rows)
        self.ever_resident.update(rows)
        for row in rows:
            self.chooser.used(row, self.slot_of[row], row in missed, later[row])
        return ReferencePlan(
            lookups=len(batch),
            lookup_hits=hits,
            rows=rows,
            slots=[self.slot_of[row] for row in rows],
            missed_rows=missed,
            missed_slots=[self.slot_of[row] for row in missed],
            victim_rows=victims,
            victim_slots=victim_slots,
            victim_dirty=dirty,
            cold_misses=cold,
            resident_rows=len(self.slot_of),
        )

    def _choose(self, missed: Sequence[int]) -> list[int]:
        """Victims for the missed rows that find no free slot."""
        short = len(missed) - self.pool.rows.count(None)
        return self.chooser.victims(self.pool, short) if short > 0 else []

    def _move(self, missed: list[int], victims: list[int], victim_slots: list[int]) -> None:
        """Take the victims out and put the missed rows in: free slots first."""
        free = [slot for slot, row in enumerate(self.pool.rows) if row is None]
        for row in victims:
            del self.slot_of[row]
        for row, slot in zip(missed, (free + victim_slots)[: len(missed)], strict=True):
            self.pool.rows[slot] = row
            self.slot_of[row] = slot


def reference_plan(
    policy: str,
    batches: Sequence[Sequence[int]],
    capacity: int,
    window: Window,
    *,
    seed: int = 0,
    hottest: Sequence[int] = (),
    preload: Sequence[int] = (),
) -> list[ReferencePlan]:
    """Plan all `batches` (rows looked up, in order) in one pool."""
    planner = ReferencePlanner(REFERENCES[policy](capacity, seed, hottest), capacity, preload)
    plans = []
    for number, later in enumerate(next_uses(batches)):
        first, last = max(0, number - window.past), number + window.future
        held = {row for other in batches[first : last + 1] for row in other}
        plans.append(planner.plan(batches[number], held, later))
    return plans
