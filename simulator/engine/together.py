"""Mini-batches that are priced together: their facts, programs and demands with a `Column` in place
of each number, and one mini-batch of them taken out again.

Columns compute as plain numbers do, so that a system's `stages` and the prices of devices, written
for one mini-batch, give those of all. Where mini-batches go different ways (`UndecidedError`) they
are divided, and what does not work with columns at all is done one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from simulator.caches.facts import LOOKUP, BatchFacts, Flow
from simulator.caches.flows import Counted
from simulator.caches.ranges import Ranges
from simulator.columns import Column, UndecidedError, column_of
from simulator.hardware.demand import Service

__all__ = ["ByGroup", "Group", "Groups", "InBlocks", "blocks_of", "by_group", "divided"]
__all__ += ["each_group", "facts_of", "one_by_one", "taken"]

Group = npt.NDArray[np.int64]
"""Places of mini-batches in a run, rising."""
Groups = tuple[Group, ...]
T = TypeVar("T")
MOST_GROUPS = 8
"""Into which few mini-batches are divided before they are priced one by one."""


def one_by_one(places: Sequence[int]) -> Groups:
    """Each mini-batch for itself."""
    return tuple(np.array([place], np.int64) for place in places)


def _most(count: int) -> int:
    """Groups into which so many mini-batches are divided before they are priced one by one: each
    division computes those before again, so that the root of their number costs as many."""
    return max(MOST_GROUPS, math.isqrt(count))


def divided(groups: Groups, compute: Callable[[Groups], T]) -> tuple[Groups, T]:
    """What `compute` gives for `groups`, divided as often as mini-batches of one are undecided.

    Raises what `compute` raises for mini-batches one by one.
    """
    while True:
        try:
            with np.errstate(all="ignore"):
                return groups, compute(groups)
        except _SplitError as split:
            few = len(split.groups) <= _most(sum(map(len, groups)))
            groups = split.groups if few else _singles(groups)
        except Exception:
            if all(len(group) == 1 for group in groups):
                raise
            groups = _singles(groups)


def _singles(groups: Groups) -> Groups:
    return one_by_one(sorted(int(place) for group in groups for place in group))


class _SplitError(Exception):
    """`groups` are to be tried in place of those before."""

    def __init__(self, groups: Groups) -> None:
        super().__init__("mini-batches are to be divided")
        self.groups = groups


def each_group(groups: Groups, compute: Callable[[int, Group], T]) -> list[T]:
    """`compute` of the number and the places of each group; within `divided`, which divides one
    that is undecided."""
    results = []
    for number, group in enumerate(groups):
        try:
            results.append(compute(number, group))
        except UndecidedError as error:
            parts = (group[error.side], group[~error.side])
            raise _SplitError((*groups[:number], *parts, *groups[number + 1 :])) from error
    return results


def facts_of(batches: Sequence[BatchFacts]) -> BatchFacts:
    """The facts of several mini-batches in columns; those of one as they are.

    Raises `TypeError` where they are not alike or tell more than counts.
    """
    first = batches[0]
    if len(batches) == 1:
        return first
    if any(list(facts.flows) != list(first.flows) for facts in batches):
        raise TypeError("mini-batches with different flows")
    if any(
        (f.samples, f.pooled, f.by_sample) != (first.samples, first.pooled, first.by_sample)
        for f in batches
    ):
        raise TypeError("mini-batches of different kinds")
    flows = _of_counts(batches) or {
        name: tuple(map(_flow_of, zip(*(facts.flows[name] for facts in batches), strict=True)))
        for name in first.flows
    }
    index, popular = (_joined([getattr(f, name) for f in batches]) for name in ("index", "popular"))
    return replace(first, index=index, popular=popular, flows=flows)


def _of_counts(batches: Sequence[BatchFacts]) -> dict[str, tuple[Flow, ...]] | None:
    """What `_flow_of` makes of their flows, from arrays of counts; None where some tell more, or
    have other shards or bags."""
    counted = [facts.packed().flows for facts in batches]
    told = [each for each in counted if isinstance(each, Counted)]
    kinds = {(each.counts.shape, len(each.bags)) for each in told}
    if len(told) < len(batches) or len(kinds) > 1:
        return None
    names, counts = told[0].names, np.stack([each.counts for each in told], axis=-1, dtype=np.int64)
    bags = list(map(column_of, zip(*(each.bags for each in told), strict=True)))

    def flow(name: str, shard: int, lookups: Group, rows: Group) -> Flow:
        longest = bags[shard] if bags and name.endswith(LOOKUP) else None
        return Flow(column_of(lookups), column_of(rows), longest=longest)

    return {
        name: tuple(flow(name, shard, *own) for shard, own in enumerate(of_name))
        for name, of_name in zip(names, counts, strict=True)
    }


def _flow_of(flows: Sequence[Flow]) -> Flow:
    for flow in flows:
        told = (flow.ids, flow.slots, flow.offsets, flow.homes, flow.nodes)
        if any(array is not None for array in told):
            raise TypeError("a flow that tells more than counts")
    counts: dict[str, Any] = {
        name: _joined([getattr(flow, name) for flow in flows])
        for name in ("lookups", "rows", "longest", "chunks")
    }
    lists: dict[str, Any] = {
        name: tuple(map(_joined, zip(*(getattr(f, name) for f in flows), strict=True)))
        for name in ("hottest", "tiers")
    }
    return Flow(**counts, **lists, ranges=_ranges_of([flow.ranges for flow in flows]))


def _ranges_of(told: Sequence[Ranges | None]) -> Ranges | None:
    """Those of several mini-batches, which all tell them or none does."""
    if all(each is None for each in told):
        return None
    known = [each for each in told if each is not None]
    if len(known) != len(told) or len({each.among for each in known}) > 1:
        raise TypeError("ranges that some mini-batches lack")
    counts = zip(*(each.lookups for each in known), strict=True)
    return Ranges(known[0].among, tuple(map(_joined, counts)))


def _joined(values: Sequence[Any]) -> Any:
    """A value of each mini-batch as one."""
    if all(value is None for value in values):
        return None
    if any(not isinstance(value, int | float) for value in values):
        raise TypeError("a number that some mini-batches lack")
    return column_of(values)


class ByGroup(Sequence[tuple[T, ...]]):
    """The stages of every mini-batch, kept group by group: `stages` of each, with columns."""

    def __init__(self, groups: Groups, stages: Sequence[tuple[T, ...]]) -> None:
        self.groups, self.stages = groups, stages
        self._at = {
            int(place): (number, within)
            for number, group in enumerate(groups)
            for within, place in enumerate(group)
        }

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, place: int) -> tuple[T, ...]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[T, ...]]: ...
    def __getitem__(self, place: int | slice) -> tuple[T, ...] | list[tuple[T, ...]]:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        number, within = self._at[range(len(self))[place]]
        stages = self.stages[number]
        return stages if len(self.groups[number]) == 1 else taken(stages, within)

    def kept(self, place: int) -> tuple[T, ...]:
        """The stages of the group of a mini-batch, with columns."""
        return self.stages[self._at[place][0]]

    def of_group(self) -> Iterator[tuple[Group, tuple[T, ...]]]:
        """Each group, and its stages."""
        return zip(self.groups, self.stages, strict=True)


def by_group(batches: Sequence[tuple[T, ...]]) -> ByGroup[T]:
    """`batches` as they are, where each is for itself."""
    if isinstance(batches, ByGroup):
        return batches
    return ByGroup(one_by_one(range(len(batches))), batches)


@dataclass(frozen=True)
class InBlocks(Generic[T]):
    """The stages of `count` mini-batches, some at a time: `make` begins to give those of the first
    ones, each time anew."""

    count: int
    make: Callable[[], Iterator[ByGroup[T]]]

    def __len__(self) -> int:
        return self.count

    def whole(self) -> ByGroup[T]:
        """Those of all mini-batches, in one piece."""
        groups: list[Group] = []
        stages: list[tuple[T, ...]] = []
        first = 0
        for block in self.make():
            groups += (first + group for group in block.groups)
            stages += block.stages
            first += len(block)
        return ByGroup(tuple(groups), stages)


def blocks_of(batches: Sequence[tuple[T, ...]] | InBlocks[T]) -> Iterator[ByGroup[T]]:
    """`batches` some at a time, or in one piece."""
    return batches.make() if isinstance(batches, InBlocks) else iter((by_group(batches),))


_PLAIN = frozenset((str, int, float, bool, type(None)))
_NAMES: dict[type, tuple[str, ...]] = {}


def _names(kind: Any) -> tuple[str, ...]:
    """Fields that objects of a data class are made with."""
    if kind not in _NAMES:
        _NAMES[kind] = tuple(each.name for each in fields(kind) if each.init)
    return _NAMES[kind]


def taken(value: Any, within: int) -> Any:
    """`value`, whose numbers are columns, as that of one mini-batch."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Column):
        return value.at(within)
    if isinstance(value, Service):
        parts = (value.read_ps, value.write_ps, value.bytes, value.energy_pj, value.written)
        return Service(*(taken(part, within) for part in parts))
    if isinstance(value, tuple):
        return tuple(taken(part, within) for part in value)
    if isinstance(value, Mapping):
        return {key: taken(part, within) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        return kind(**{name: taken(getattr(value, name), within) for name in _names(kind)})
    return value
