"""Replay per lookup in plain Python: what the compiled loops must equal.

A policy that caches every miss replays as its per-batch reference does with batches of one lookup
and the window (0, 0); the others are written out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from simulator.caches.plan.base import Window
from simulator.caches.reference.per_batch import REFERENCES, next_uses, reference_plan

__all__ = ["LOOKUP_REFERENCES", "reference_replay"]


def reference_replay(
    policy: str,
    ids: Sequence[int],
    capacity: int,
    *,
    seed: int = 0,
    hottest: Sequence[int] = (),
) -> list[bool]:
    """Replay per lookup: whether each of `ids` hits, for policies that cache every miss."""
    batches = [[row] for row in ids]
    plans = reference_plan(policy, batches, capacity, Window(0, 0), seed=seed, hottest=hottest)
    return [plan.lookup_hits == 1 for plan in plans]


def replay_static_hot(
    ids: Sequence[int], capacity: int, *, seed: int = 0, hottest: Sequence[int] = ()
) -> list[bool]:
    """A pinned set, loaded on first use; all other ids bypass it."""
    hot = set(hottest[:capacity])
    return [row in hot and row in ids[:position] for position, row in enumerate(ids)]


def replay_2q(ids: Sequence[int], capacity: int, **ignored: object) -> list[bool]:
    """`first`: in order of arrival; `main`: least recent first; `ghosts` left `first`."""
    first: list[int] = []
    main: list[int] = []
    ghosts: list[int] = []
    hits = []
    for row in ids:
        hits.append(row in first or row in main)
        if row in main:
            main.remove(row)
            main.append(row)
        if hits[-1]:
            continue
        known = row in ghosts
        if known:
            ghosts.remove(row)
        if len(first) + len(main) == capacity:
            if len(first) > int(capacity * 0.25) or not main:
                ghosts.append(first.pop(0))
                del ghosts[: max(0, len(ghosts) - int(capacity * 0.5))]
            else:
                main.pop(0)
        (main if known else first).append(row)
    return hits


class ReferenceARC:
    """The paper's T1, T2, B1, B2 (least recent first) and its target p."""

    def __init__(self, capacity: int) -> None:
        self.c = capacity
        self.t1: list[int] = []
        self.t2: list[int] = []
        self.b1: list[int] = []
        self.b2: list[int] = []
        self.p = 0.0

    def replace(self, in_b2: bool) -> None:
        size = len(self.t1)
        if (size and (size > self.p or (size == self.p and in_b2))) or not self.t2:
            self.b1.append(self.t1.pop(0))
        else:
            self.b2.append(self.t2.pop(0))

    def hit(self, row: int) -> bool:
        for resident in (self.t1, self.t2):
            if row in resident:
                resident.remove(row)
                self.t2.append(row)
                return True
        full = len(self.t1) + len(self.t2) == self.c
        if row in self.b1 or row in self.b2:
            self.return_ghost(row, full)
            return False
        if full and len(self.t1) + len(self.b1) == self.c:
            if self.b1:
                self.b1.pop(0)
                self.replace(False)
            else:
                self.t1.pop(0)
        elif full:
            if len(self.t1 + self.t2 + self.b1 + self.b2) >= 2 * self.c:
                self.b2.pop(0)
            self.replace(False)
        self.t1.append(row)
        return False

    def return_ghost(self, row: int, full: bool) -> None:
        in_b2 = row in self.b2
        if in_b2:
            self.p = max(self.p - max(len(self.b1) / len(self.b2), 1), 0)
        else:
            self.p = min(self.p + max(len(self.b2) / len(self.b1), 1), self.c)
        (self.b2 if in_b2 else self.b1).remove(row)
        if full:
            self.replace(in_b2)
        self.t2.append(row)


def replay_arc(ids: Sequence[int], capacity: int, **ignored: object) -> list[bool]:
    cache = ReferenceARC(capacity)
    return [cache.hit(row) for row in ids]


def replay_belady_bypass(ids: Sequence[int], capacity: int, **ignored: object) -> list[bool]:
    """Of the resident rows and the one that missed, the one used furthest ahead goes."""
    later = next_uses([[row] for row in ids])
    resident: dict[int, float] = {}
    hits = []
    for position, row in enumerate(ids):
        hits.append(row in resident)
        resident[row] = later[position][row]
        if resident[row] == float("inf") and not hits[-1]:
            del resident[row]
        elif len(resident) > capacity:
            del resident[max(resident, key=lambda other: resident[other])]
    return hits


def replay_lru_k(ids: Sequence[int], capacity: int, **ignored: object) -> list[bool]:
    """The victim has the oldest use but one (never: -1), then the oldest use."""
    uses: dict[int, list[int]] = {}
    resident: list[int] = []
    hits = []
    for time, row in enumerate(ids):
        hits.append(row in resident)
        if not hits[-1]:
            if len(resident) == capacity:
                resident.remove(min(resident, key=lambda other: ([-1, *uses[other]])[-2:]))
            resident.append(row)
        uses.setdefault(row, []).append(time)
    return hits


class ReferenceTinyLFU:
    """`window`, `probation`, `protected`: least recent first; `uses` of all ids."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.window_share = max(1, capacity // 100)
        self.main_share = capacity - self.window_share
        self.window: list[int] = []
        self.probation: list[int] = []
        self.protected: list[int] = []
        self.uses: Counter[int] = Counter()
        self.time = 0

    def hit(self, row: int) -> bool:
        if self.time and self.time % (10 * self.capacity) == 0:
            self.uses = Counter({other: uses // 2 for other, uses in self.uses.items()})
        self.time += 1
        self.uses[row] = min(self.uses[row] + 1, 15)
        for segment in (self.window, self.probation, self.protected):
            if row in segment:
                segment.remove(row)
                (self.window if segment is self.window else self.protected).append(row)
                if len(self.protected) > self.main_share * 4 // 5:
                    self.probation.append(self.protected.pop(0))
                return True
        self.window.append(row)
        if len(self.window) > self.window_share:
            self.admit(self.window.pop(0))
        return False

    def admit(self, candidate: int) -> None:
        if len(self.probation) + len(self.protected) < self.main_share:
            self.probation.append(candidate)
            return
        main = self.probation or self.protected
        if main and self.uses[candidate] > self.uses[main[0]]:
            main.pop(0)
            self.probation.append(candidate)


def replay_tinylfu(ids: Sequence[int], capacity: int, **ignored: object) -> list[bool]:
    cache = ReferenceTinyLFU(capacity)
    return [cache.hit(row) for row in ids]


LOOKUP_REFERENCES: dict[str, Callable[..., list[bool]]] = {
    **{name: partial(reference_replay, name) for name in REFERENCES},
    "static_hot": replay_static_hot,
    "2q": replay_2q,
    "arc": replay_arc,
    "belady_bypass": replay_belady_bypass,
    "lru_k": replay_lru_k,
    "tinylfu": replay_tinylfu,
}
"""Whether each lookup hits, by policy: f(ids, capacity, seed=, hottest=)."""
