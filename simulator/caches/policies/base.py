"""What a replacement policy is to a pool, and where policies are found by name.

A policy from outside of this package is a class with the hooks of `Policy`, in a file that is
referred to (`./mine.py:MostRecent`) or announced as an entry point of the group
`scratchpipe.policies` (name = name of the policy, value = `module:Class`):

    class MostRecent(Policy):
        name = "mru"

        def __init__(self, setup): self.order = []
        def used(self, pool, use): ...            # all rows of the batch are in their slots
        def victims(self, pool, count): ...       # `count` different slots, none of them held

`pool.held(slots)` says which slots the window protects. What `victims` returns is checked before
compiled code relies on it (`policies.contract`; `PolicyError`). Built-in policies call compiled
kernels in their hooks; plain Python is as correct, only slower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from simulator._plugin_files import from_file
from simulator._plugins import Contract, load_plugin, plugins
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.words import FIRST_STAMP, WIDE, Words
from simulator.caches.policies.hold import Hold
from simulator.errors import InvariantError, UsageError

__all__ = [
    "GROUP",
    "LOOKUP_ONLY",
    "BatchUse",
    "CompiledPolicy",
    "Policies",
    "Policy",
    "PolicySetup",
    "Pool",
    "policy_class",
    "policy_names",
]

Int64s = npt.NDArray[np.int64]

GROUP = "scratchpipe.policies"
NEVER = np.iinfo(np.int64).max
"""Next use of a row that no later batch looks up."""

BUILT_IN = {
    "lru": "lru:LRU",
    "lfu": "lfu:LFU",
    "fifo": "fifo:FIFO",
    "random": "random_victim:RandomVictim",
    "clock": "clock:Clock",
    "belady": "belady:Belady",
    "static_hot": "static_hot:StaticHot",
    "sieve": "sieve:Sieve",
    "s3fifo": "s3fifo:S3FIFO",
}

LOOKUP_ONLY = ("2q", "arc", "belady_bypass", "lru_k", "tinylfu")
"""Policies that replay per lookup only: they may bypass, or are not defined under a window."""


@dataclass(slots=True)
class Pool:
    """The slots of one pool and the state words of its keys, as a policy sees them.

    A key is a row where the Hit-Map is dense, and an entry of the Hit-Map where it is hashed; it
    means the same row for as long as that row is resident.
    """

    words: Words
    slot_key: npt.NDArray[np.int32]
    """Shape (capacity,): the key in each slot; undefined where the slot is free."""
    shift: int = WIDE
    """Where the stamp begins in `words`."""
    used: int = 0
    """Slots 0 .. used - 1 are taken. A slot once taken stays taken."""
    stamp: int = FIRST_STAMP
    """Stamp of the batch that is planned."""
    horizon: int = FIRST_STAMP
    """Rows whose stamp is at least this are held."""
    keys: Numbers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Unique keys of the planned batch, in order of first occurrence."""
    missed: Numbers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Positions in `keys` of those that are not resident, ascending."""
    rows_of: Callable[[Numbers], Numbers] = lambda keys: keys
    """Rows of keys."""

    @property
    def capacity(self) -> int:
        return len(self.slot_key)

    @property
    def missed_keys(self) -> Numbers:
        """Keys that the planned batch misses, in order of first occurrence."""
        return self.keys[self.missed]

    @property
    def hold(self) -> Hold:
        """What kernels need to tell which slots are held."""
        return Hold(self.words, self.slot_key, self.horizon << self.shift)

    def held(self, slots: Int64s) -> npt.NDArray[np.bool_]:
        """Which of `slots` (taken ones) the window protects; shape (len(slots),)."""
        stamps = self.words[self.slot_key[slots]] >> self.shift
        return np.asarray(stamps >= self.horizon)


@dataclass(frozen=True, slots=True)
class PolicySetup:
    """What a policy is made from."""

    capacity: int
    seed: int = 0
    """Of this pool alone: no two pools share one."""
    hottest: Int64s | None = None
    """Keys by profile, hottest first (only policies with `needs_profile` get them)."""
    rows: int = 0
    """Rows that the pool caches."""


@dataclass(frozen=True, slots=True)
class BatchUse:
    """The unique keys of a planned batch in order of first occurrence, each in its slot by now.

    int64 for policies from outside, int32 for compiled ones.
    """

    keys: Numbers
    slots: Numbers
    missed: Numbers
    """Positions in `keys` that were fetched for this batch, ascending."""
    next_use: Int64s | None = None
    """Pool batch number of each key's next use after this batch, or `NEVER`.

    Only for policies with `needs_future`."""
    number: int = field(default=0)
    """Number of the batch in this pool, from 0."""


class Policy(ABC):
    """The hooks of a replacement policy, called once a mini-batch."""

    name: ClassVar[str]
    needs_future: ClassVar[bool] = False
    needs_profile: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, setup: PolicySetup) -> None: ...

    def preload(self, pool: Pool, keys: Numbers) -> None:
        """`keys` are put into slots 0, 1, ... before the first batch, the most valued first.

        As if they had been used once each, in reverse: the last of them is the least recent.
        """
        positions = np.arange(len(keys), dtype=keys.dtype)
        self.used(pool, BatchUse(keys[::-1].copy(), positions[::-1].copy(), positions))

    @abstractmethod
    def victims(self, pool: Pool, count: int) -> Int64s:
        """`count` different taken slots that are not held, in order of eviction; int64, (count,).

        Called when all slots are taken or will be by this batch, after its ids are known and
        before `used`; the pool makes sure that enough slots are not held.
        """

    @abstractmethod
    def used(self, pool: Pool, use: BatchUse) -> None:
        """The batch is planned: hits are touched, fetched keys are in the slots of the victims."""


class CompiledPolicy(Policy):
    """A policy whose kernel fills an array with victims."""

    def victims(self, pool: Pool, count: int) -> Int64s:
        chosen = np.empty(count, dtype=np.int64)
        got = self.choose(pool, chosen)
        if got < count:
            raise InvariantError(f"{self.name}: {count} victims needed, only {got} rows not held")
        return chosen

    @abstractmethod
    def choose(self, pool: Pool, chosen: Int64s) -> int:
        """Fill `chosen` with victims as `victims` does; return how many there were."""


_CONTRACT = Contract(Policy, "caches.Policy")


@cache
def _outside() -> dict[str, EntryPoint]:
    return plugins(GROUP)


def policy_names() -> tuple[str, ...]:
    """All known policies, built-in ones first."""
    return (*BUILT_IN, *sorted(set(_outside()) - set(BUILT_IN)))


def policy_class(name: str) -> type[Policy]:
    """The policy called `name`, or of a file (`./mine.py:Mine`); `UsageError` names the known ones
    where there is none."""
    source = from_file(name)
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        built_in: type[Policy] = getattr(
            import_module(f"simulator.caches.policies.{module}"), attribute
        )
        return built_in
    if source is not None or name in _outside():
        return load_plugin(source or _outside()[name], _CONTRACT)
    if name in LOOKUP_ONLY:
        raise UsageError(f"policy {name} replays per lookup only, not per batch")
    raise UsageError(f"no policy {name!r}; known: {', '.join(policy_names())}")


class Policies(Mapping[str, type[Policy]]):
    """All policies by name; one from outside is loaded when it is asked for. Has those of files
    by reference."""

    def __getitem__(self, name: str) -> type[Policy]:
        return policy_class(name)

    def __contains__(self, name: object) -> bool:
        return name in policy_names() or (isinstance(name, str) and from_file(name) is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(policy_names())

    def __len__(self) -> int:
        return len(policy_names())
