"""What a policy must keep when it names victims, checked before compiled code relies on it.

Kernels write to the slots of victims without bounds checks: a victim too few would make them write
past the slots, a doubled or held one would give a wrong plan without a word. Errors of a policy
from outside name its file and line.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simulator._plugin_files import short_name
from simulator._plugins import explained, place_of
from simulator.caches.plan.base import Numbers
from simulator.caches.plan.words import FIRST_STAMP
from simulator.caches.policies.base import BUILT_IN, BatchUse, Policy, PolicySetup, Pool
from simulator.errors import PolicyError

__all__ = ["CheckedPolicy", "checked_victims"]

Int64s = npt.NDArray[np.int64]


class CheckedPolicy(Policy):
    """A policy whose every answer is held to the contract of `Policy`.

    `name`: as the experiment names it. Raises `PolicyError` where an answer breaks the contract,
    `PluginError` where code from outside fails, with the mini-batch in the pool, file and line.
    """

    def __init__(self, setup: PolicySetup, *, name: str, kind: type[Policy]) -> None:
        self._title, self._kind = f"policy {short_name(name)}", kind
        self._compiled = name in BUILT_IN
        with explained(self._title, "cannot be built", kind):
            self._policy = kind(setup)

    def preload(self, pool: Pool, keys: Numbers) -> None:
        keys = keys if self._compiled else keys.astype(np.int64)
        with explained(self._title, "fails in preload", self._kind):
            self._policy.preload(pool, keys)

    def used(self, pool: Pool, use: BatchUse) -> None:
        if not self._compiled:
            self._widen(pool)
            keys, slots, missed = (a.astype(np.int64) for a in (use.keys, use.slots, use.missed))
            use = replace(use, keys=keys, slots=slots, missed=missed)
        with explained(self._title, f"fails in used, mini-batch {use.number}", self._kind):
            self._policy.used(pool, use)

    def victims(self, pool: Pool, count: int) -> Int64s:
        batch = pool.stamp - FIRST_STAMP
        if not self._compiled:
            self._widen(pool)
        with explained(self._title, f"fails in victims, mini-batch {batch}", self._kind):
            victims = self._policy.victims(pool, count)
        try:
            return checked_victims(victims, pool, count, policy=self._title, batch=batch)
        except PolicyError as error:
            raise PolicyError(f"{error} ({place_of(self._kind.victims)})") from None

    @staticmethod
    def _widen(pool: Pool) -> None:
        """Arithmetic of others may need more than 32 bits."""
        pool.keys, pool.missed = pool.keys.astype(np.int64), pool.missed.astype(np.int64)


def checked_victims(victims: object, pool: Pool, count: int, *, policy: str, batch: int) -> Int64s:
    """A copy of `victims`: int64, shape (count,), different taken slots that are not held.

    `PolicyError` with the name of the policy, the number of the mini-batch in its pool and the
    broken rule where `victims` is anything else. It is a copy, so that a policy may go on writing
    to an array of its own.
    """
    broken = _broken_rule(victims, pool, count)
    if broken is not None:
        raise PolicyError(f"{policy}, mini-batch {batch}: {broken}")
    return np.array(victims, dtype=np.int64)


def _broken_rule(victims: object, pool: Pool, count: int) -> str | None:
    """The first rule of the contract that `victims` break, in words; None where they keep all."""
    if not isinstance(victims, np.ndarray):
        kind = type(victims).__name__
        return f"victims must be an int64 array of shape ({count},), not a {kind}"
    if victims.dtype != np.int64 or victims.ndim != 1:
        return (
            f"victims must be an int64 array of shape ({count},), not an array of {victims.dtype} "
            f"of shape {victims.shape}"
        )
    if len(victims) != count:
        named, needed = ("", "s")[len(victims) != 1], ("is", "are")[count != 1]
        return f"it named {len(victims)} victim{named}, but {count} {needed} needed"
    return _bad_slot(victims, pool)


def _bad_slot(victims: Int64s, pool: Pool) -> str | None:
    """The first of `victims` that may not be evicted, and why."""
    outside = victims[(victims < 0) | (victims >= pool.capacity)]
    if len(outside):
        return f"it named slot {outside[0]}, but the pool has slots 0..{pool.capacity - 1}"
    free = victims[victims >= pool.used]
    if len(free):
        return f"it named slot {free[0]}, which is free: slots 0..{pool.used - 1} are taken"
    ordered = np.sort(victims)
    doubled = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(doubled):
        return f"it named slot {doubled[0]} twice"
    held = victims[pool.held(victims)]
    if len(held):
        (row,) = pool.rows_of(pool.slot_key[held[:1]].astype(np.int64))
        return f"it named slot {held[0]}, whose row {row} the window holds"
    return None
