"""All stages of a run in the words of compiled code (`memory`): what operations ask for, what waits
for what, and an idle machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.engine import memory
from simulator.engine.memory import Floats, Int64s
from simulator.engine.pipeline import ONE_PROGRAM, Mode, Waits, conditions, submitted
from simulator.engine.submission import heads_of
from simulator.hardware.demand import Demand, Resource, StageDemand

__all__ = ["UncompiledError", "words_of"]

_INT, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def _record(integers: int, floats: int, events: int = 0) -> np.dtype[Any]:
    """Integers, then floats, then events that nobody waits for yet."""
    kinds = [_INT] * integers + [_FLOAT] * floats + [_INT] * memory.EVENT_SIZE * events
    return np.dtype([(f"word{k}", kind) for k, kind in enumerate(kinds)])


_STAGE, _LANE, _OP = _record(7, 0, 3), _record(2, 0), _record(12, 1, 3)
_SERVICE, _FETCHED, _LOADED = _record(1, 5), _record(1, 1), _record(1, 3)
_RESOURCE, _LOSS = _record(5, 8), _record(0, 2)
_NO_EVENT = (0, 0, 0)


class UncompiledError(Exception):
    """A run that compiled code does not take: SimPy does."""


def words_of(
    batches: Sequence[tuple[StageDemand, ...]],
    mode: Mode,
    waits: Waits,
    resources: Mapping[str, Resource],
) -> tuple[Int64s, Floats]:
    """The memory of a run of priced stages on an idle machine: as integers, and as floats.

    Raises `UncompiledError` for times that are no whole picoseconds, and for resources that are not
    those of the machine.
    """
    lists = _Lists(resources)
    try:
        for stages in batches:
            for stage in stages:
                lists.add(stage)
    except KeyError as error:
        raise UncompiledError from error
    return lists.words(len(batches), len(batches[0]), mode, tuple(waits))


class _Lists:
    """Records as they come. Those that they name are counted from 0; `words` makes addresses."""

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self._resources = resources
        self._number = {name: k for k, name in enumerate(resources)}
        self._stages: list[tuple[int, ...]] = []
        self._lanes: list[tuple[int, int]] = []
        self._ops: list[tuple[Any, ...]] = []
        self._services: list[tuple[Any, ...]] = []
        self._fetched: list[tuple[Any, ...]] = []
        self._loaded: list[tuple[Any, ...]] = []
        self._waits: list[int] = []
        self._groups: list[int] = []
        self._turns: list[int] = []

    def add(self, stage: StageDemand) -> None:
        """Put a stage behind the others."""
        first = [len(self._ops)]
        for lane in stage.lanes:
            first.append(first[-1] + len(lane))
        heads = heads_of(stage)
        ahead = set(heads)
        awaited = {spot for spots in stage.waits.values() for spot in spots}
        blocked = sum(any(demand.blocks for demand in lane) for lane in stage.lanes)
        self._stages.append((len(self._lanes), len(self._groups), blocked))
        by_host: dict[str, list[int]] = {}
        for lane_number, place in heads:
            host = stage.lanes[lane_number][place].host
            by_host.setdefault(host, []).append(first[lane_number] + place)
        for turns in by_host.values():
            self._groups.append(len(self._turns))
            self._turns += turns
        for number, lane in enumerate(stage.lanes):
            blocks = [place for place, demand in enumerate(lane) if demand.blocks]
            self._lanes.append((first[number], first[number] + blocks[-1] if blocks else -1))
            for place, demand in enumerate(lane):
                spot = (number, place)
                self._add_operation(demand, spot in ahead, spot in awaited)
                self._waits += [first[k] + p for k, p in stage.waits.get(spot, ())]

    def _add_operation(self, demand: Demand, head: bool, awaited: bool) -> None:
        number, services = self._number, demand.services
        times = (demand.latency_ps, demand.submit_ps, demand.submit_more_ps, demand.host_ps)
        if not all(isinstance(ps, int) for ps in times):
            raise UncompiledError
        pools = (number[name] for name in services if self._resources[name].one_requester)
        alone_ps = demand.alone_ps(self._resources)
        host = number[demand.host] if demand.host else -1
        self._ops.append((host, head, awaited, *times, next(pools, -1), *self._firsts(), alone_ps))
        self._services += [
            (number[name], s.read_ps, s.write_ps, s.bytes, s.energy_pj, s.written)
            for name, s in services.items()
        ]
        self._fetched += [(number[name], ps) for name, ps in demand.fetched.items()]
        for name, slack in demand.loaded.items():
            own = services[name].ps / alone_ps if name in services and alone_ps > 0 else 0.0
            self._loaded.append((number[name], slack, own, 1.0 - 1.0 / demand.alike.get(name, 1)))

    def words(self, batches: int, count: int, mode: Mode, waits: Waits) -> tuple[Int64s, Floats]:
        """All that was added, and room for a run of it."""
        first, before = _conditions(mode, batches, count, waits)
        order = [b * count + s for b, s in submitted(mode, batches, range(count))]
        tables = {
            "STAGES": self._stage_records(first, len(before)),
            "LANES": _records([*self._lanes, (len(self._ops), -1)], _LANE),
            "OPS": self._op_records(),
            "SERVICES": _records(self._services, _SERVICE),
            "FETCHED": _records(self._fetched, _FETCHED),
            "LOADED": _records(self._loaded, _LOADED),
            "WAITS": _numbers(self._waits),
            "GROUPS": _numbers([*self._groups, len(self._turns)]),
            "TURNS": _numbers(self._turns),
            "BEFORES": before.reshape(-1, 1).copy(),
            "ORDER": _numbers(order if mode in ONE_PROGRAM else ()),
            "RESOURCES": self._resource_records(),
            "LOSSES": _records(
                [point for r in self._resources.values() for point in r.turnaround.points], _LOSS
            ),
        }
        stages, ops, resources = batches * count, len(self._ops), len(self._resources)
        events = 3 * (stages + ops)
        processes = 2 * (stages + ops) + len(self._lanes) + len(self._groups) + 8
        waiters = processes + len(before)
        jobs = len(self._lanes) + 1
        room = {
            "QUEUE": (events + processes) * memory.QUEUE_SIZE,
            "JOB": jobs * memory.JOB_SIZE,
            "NAMED": resources,
            "ENDED": jobs,
            "SPANS": stages * memory.SPAN_SIZE,
            "READINGS": 2 * resources * memory.RESOURCE_SIZE,
            "FRESH": processes * memory.PROCESS_SIZE,
            "SPARE": waiters * memory.WAITER_SIZE,
        }
        return _laid_out(tables, room, count, mode in ONE_PROGRAM)

    def _stage_records(self, first: Sequence[int], conditions: int) -> Int64s:
        stages = [
            (lane, group, start, blocked, 0, 0, 0, *_NO_EVENT * 3)
            for (lane, group, blocked), start in zip(self._stages, first, strict=True)
        ]
        end = (len(self._lanes), len(self._groups), conditions, 0, 0, 0, 0, *_NO_EVENT * 3)
        return _records([*stages, end], _STAGE)

    def _firsts(self) -> tuple[int, int, int, int]:
        """Where the records of the next operation begin."""
        return len(self._services), len(self._fetched), len(self._loaded), len(self._waits)

    def _op_records(self) -> Int64s:
        ops = [*self._ops, (-1, 0, 0, 0, 0, 0, 0, -1, *self._firsts(), 0.0)]
        return _records([(*op, *_NO_EVENT * 3) for op in ops], _OP)

    def _resource_records(self) -> Int64s:
        points, records = 0, []
        for resource in self._resources.values():
            records.append((0, resource.kind == "pool", points, -1, 0, *[0.0] * 5, 1.0, 0.0, 0.0))
            points += len(resource.turnaround.points)
        return _records([*records, (0, 0, points, -1, 0, *[0.0] * 8)], _RESOURCE)


_ADDRESSES = {
    "STAGES": {memory.LANE: "LANES", memory.GROUP: "GROUPS", memory.BEFORE: "BEFORES"},
    "LANES": {memory.OP: "OPS", memory.BLOCK_OP: "OPS"},
    "OPS": {
        memory.HOST: "RESOURCES",
        memory.POOL: "RESOURCES",
        memory.FIRST_SERVICE: "SERVICES",
        memory.FIRST_FETCHED: "FETCHED",
        memory.FIRST_LOADED: "LOADED",
        memory.FIRST_WAIT: "WAITS",
    },
    "SERVICES": {memory.RESOURCE: "RESOURCES"},
    "FETCHED": {memory.BEHIND: "RESOURCES"},
    "LOADED": {memory.LOADS: "RESOURCES"},
    "WAITS": {0: "OPS"},
    "GROUPS": {0: "TURNS"},
    "TURNS": {0: "OPS"},
    "BEFORES": {0: "STAGES"},
    "ORDER": {0: "STAGES"},
    "RESOURCES": {memory.FIRST_LOSS: "LOSSES"},
}
"""Words of records that name others."""


def _laid_out(
    tables: Mapping[str, Int64s], room: Mapping[str, int], count: int, one_program: bool
) -> tuple[Int64s, Floats]:
    """Tables one after the other behind the head, their numbers made addresses, then free room."""
    base, end = {}, memory.HEAD_SIZE
    for name, table in tables.items():
        base[name], end = end, end + table.size
    for name, size in room.items():
        base[name], end = end, end + size
    m = np.empty(end, np.int64)
    m[: memory.HEAD_SIZE] = 0
    for name, address in base.items():
        m[getattr(memory, name)] = address
    m[memory.COUNT], m[memory.ONE_PROGRAM] = count, one_program
    m[memory.SPAN] = base["SPANS"]
    m[memory.END_OF_ORDER] = base["RESOURCES"]
    m[base["READINGS"] : base["FRESH"]] = 0
    for name, table in tables.items():
        for word, other in _ADDRESSES.get(name, {}).items():
            size, numbers = tables[other].shape[1], table[:, word]
            table[:, word] = np.where(numbers < 0, 0, base[other] + numbers * size)
        m[base[name] : base[name] + table.size] = table.ravel()
    spare = m[base["SPARE"] :].reshape(-1, memory.WAITER_SIZE)
    following = base["SPARE"] + memory.WAITER_SIZE * np.arange(1, len(spare) + 1)
    spare[:, memory.FOLLOWER] = following
    return m, m.view(np.float64)


def _records(rows: Sequence[tuple[Any, ...]], record: np.dtype[Any]) -> Int64s:
    """Rows as words: int64, shape (rows, words)."""
    return np.array(rows, record).view(np.int64).reshape(len(rows), record.itemsize // 8)


def _numbers(values: Iterable[int]) -> Int64s:
    return np.array([*values], np.int64).reshape(-1, 1)


@lru_cache(maxsize=16)
def _conditions(
    mode: Mode, batches: int, count: int, waits: Waits
) -> tuple[tuple[int, ...], npt.NDArray[np.int64]]:
    """For each stage of each mini-batch the first of the stages that it waits for, and those."""
    first: list[int] = []
    before: list[int] = []
    for batch in range(batches):
        for stage in range(count):
            first.append(len(before))
            keys = conditions(mode, count, batch, stage, waits)
            before += [b * count + s for b, s in keys if b < batches]
    return tuple(first), np.array(before, np.int64)
