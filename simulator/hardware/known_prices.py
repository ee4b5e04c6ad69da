"""Prices that points of a sweep have in common: of an operation on devices that are alike.

A processor prices an operation from the operation, the software, itself and the paths to memories
that it asks for (`Reach`); a device follows from its class, name, part, setup and members. So a
price stands for all operations with the same contents, on processors that are alike, under equal
software, whose paths lead to memories and over links that are alike. Whoever changes the latency of
the CPU's memory has the GPU's kernels at the prices of the point before.

Copies and collectives are priced anew each time: they see the whole machine. So are operations with
rows, whose prices may depend on what the memories replayed before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from simulator.columns import Column
from simulator.config.memo import by_identity
from simulator.config.operators import OperatorProfile
from simulator.hardware.demand import Demand
from simulator.hardware.devices.base import Device, Path, Processor, Reach
from simulator.hardware.program import Operation, Stage

__all__ = ["KnownPrices", "content_of"]

_BYTES = 1 << 24
"""Of all that is kept, about."""
_COLUMNS = 40
"""Of an operation and its price, about, with a word of each mini-batch."""
_FEWEST = 64
"""Operations of the larger programs: where fewer are kept, none is found again."""
_PROGRAMS = 16
"""Programs that are kept: of the groups of mini-batches of a few systems."""
_ALIKE = 8
"""Devices of one name, and softwares, that others are compared with."""

Program = tuple[Stage, ...]
Reached = tuple[tuple[str, Hashable], ...]
"""Memories that a price was asked of, by name, and what the path to each was."""


class KnownPrices:
    """Prices of the points of one replay, by content; `batches`: mini-batches of it."""

    def __init__(self, batches: int) -> None:
        most = _BYTES // (8 * _COLUMNS * max(1, batches))
        self._most = most if most >= _FEWEST else 0
        self._kept: OrderedDict[Hashable, tuple[Reached, Demand]] = OrderedDict()
        self._fetched: OrderedDict[int, tuple[Demand, Demand]] = OrderedDict()
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._contents = _Contents(2 * most)
        self._numbers = _Numbers()

    def price(
        self, processor: Processor, word: Operation, software: OperatorProfile, reach: Reach
    ) -> Demand:
        """`processor.price`, or what that was for the same before."""
        content = self._contents.of(word) if self._most else None
        if content is None:
            return processor.price(word, software, reach)
        key = (self._numbers.of(processor), self._numbers.of(software), content)
        known = self._kept.get(key)
        if known is not None and all(self._of(reach(name)) == path for name, path in known[0]):
            self._kept.move_to_end(key)
            return known[1]
        reached: dict[str, Hashable] = {}

        def noted(memory: str) -> Path:
            path = reach(memory)
            reached[memory] = self._of(path)
            return path

        demand = processor.price(word, software, noted)
        self._kept[key] = (tuple(reached.items()), demand)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return demand

    def alike(self, stages: Program) -> Program | None:
        """The first of the programs with the contents of `stages`; None where they cannot be
        compared."""
        if not self._most:
            return None
        content = _compared(stages)
        if content is None:
            return None
        known = self._programs.setdefault(content, stages)
        self._programs.move_to_end(content)
        if len(self._programs) > _PROGRAMS:
            self._programs.popitem(last=False)
        return known

    def number_of(self, thing: Device | OperatorProfile) -> int:
        """That of a device or a software: those that are alike have one."""
        return self._numbers.of(thing)

    def fetched(self, demand: Demand, wait: Mapping[str, int]) -> Demand:
        """A price with what its submission waits behind: one object for one price."""
        known = self._fetched.get(id(demand))
        if known is None or known[0] is not demand or known[1].fetched != wait:
            known = self._fetched[id(demand)] = (demand, replace(demand, fetched=wait))
            if len(self._fetched) > self._most:
                self._fetched.popitem(last=False)
        return known[1]

    def _of(self, path: Path) -> Hashable:
        """All that a path tells, in numbers of devices. Without hops its memory is the processor's
        own."""
        of = self._numbers.of
        hops = tuple((of(hop.link), hop.source, hop.target) for hop in path.hops)
        return (path.memory.place, path.home and of(path.home), hops)


def _compared(thing: Any) -> Hashable | None:
    """`content_of`; None of what cannot be compared."""
    try:
        return content_of(thing)
    except TypeError:
        return None


class _Contents:
    """Contents of operations by number, equal ones by one; those of the same object are looked at
    once. `most` objects are kept, those that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most, self._next = most, 0
        self._known: OrderedDict[int, tuple[Operation, int | None]] = OrderedDict()
        self._numbers: OrderedDict[Hashable, int] = OrderedDict()

    def of(self, word: Operation) -> int | None:
        """None where its contents cannot be compared."""
        known = self._known.get(id(word))
        if known is None or known[0] is not word:
            known = self._known[id(word)] = (word, self._number(word))
        self._known.move_to_end(id(word))
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return known[1]

    def _number(self, word: Operation) -> int | None:
        content = _compared(word)
        if content is None:
            return None
        if content not in self._numbers:
            self._next += 1
            self._numbers[content] = self._next
        self._numbers.move_to_end(content)
        if len(self._numbers) > self._most:
            self._numbers.popitem(last=False)
        return self._numbers[content]


class _Numbers:
    """Devices and softwares by number: those that are alike have one."""

    def __init__(self) -> None:
        self._known: dict[Hashable, list[tuple[Any, int]]] = {}
        self._next = 0
        self.of = by_identity(self._of)

    def _of(self, thing: Device | OperatorProfile) -> int:
        if isinstance(thing, Device):
            named: Hashable = (type(thing), thing.name)
            content: Any = (thing.part, thing.setup, thing.members)
        else:
            named, content = type(thing), thing
        known = self._known.setdefault(named, [])
        for other, number in known:
            if other == content:
                return number
        self._next += 1
        known.append((content, self._next))
        del known[:-_ALIKE]
        return self._next


_FIELDS: dict[type, tuple[str, ...]] = {}


def content_of(value: Any) -> Hashable:
    """What `value` is made of: equal for values that no code tells apart, numbers of other types
    and signs of zero included. Raises `TypeError` for arrays and whatever else it does not know."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return (bool, value)
    if kind is float:
        return (float, value.hex())
    if kind is Column:
        values = value.values
        if values.dtype.hasobject:
            return (Column, *map(content_of, values.tolist()))
        return (Column, values.dtype.str, values.tobytes(), value.bound)
    if kind is tuple:
        return (tuple, *map(content_of, value))
    if kind is dict:
        return (dict, *(content_of(part) for pair in value.items() for part in pair))
    if kind not in _FIELDS:
        if not is_dataclass(kind):
            raise TypeError(f"{kind.__name__} has contents that are not known")
        _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return (kind, *(content_of(getattr(value, name)) for name in _FIELDS[kind]))
