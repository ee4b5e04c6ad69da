"""All stages of a run in the words of compiled code (`memory`): what operations ask for, what waits
for what, and an idle machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.columns import Column, by_element
from simulator.engine import memory
from simulator.engine.memory import Floats, Int64s
from simulator.engine.pipeline import ONE_PROGRAM, Mode, Waits, conditions, submitted
from simulator.engine.submission import heads_of
from simulator.engine.together import Groups, by_group
from simulator.hardware import filling
from simulator.hardware.demand import Demand, Resource, StageDemand

__all__ = ["UncompiledError", "words_of"]

_INT, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def _record(integers: int, floats: int, events: int = 0) -> np.dtype[Any]:
    """Integers, then floats, then events that nobody waits for yet."""
    kinds = [_INT] * integers + [_FLOAT] * floats + [_INT] * memory.EVENT_SIZE * events
    return np.dtype([(f"word{k}", kind) for k, kind in enumerate(kinds)])


_STAGE, _LANE, _OP = _record(7, 0, 3), _record(2, 0), _record(12, 1, 3)
_SERVICE, _FETCHED, _LOADED = _record(1, 7), _record(1, 1), _record(1, 3)
_RESOURCE, _LOSS = _record(5, 9), _record(0, 2)
_NUMBER = _record(1, 0)
_BY_BATCH = {
    "STAGES": _STAGE,
    "LANES": _LANE,
    "OPS": _OP,
    "SERVICES": _SERVICE,
    "FETCHED": _FETCHED,
    "LOADED": _LOADED,
    "WAITS": _NUMBER,
    "GROUPS": _NUMBER,
    "TURNS": _NUMBER,
}
"""Tables of records that mini-batches have of their own."""


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
    known = by_group(batches)
    try:
        lists = [_Lists(resources, stages) for stages in known.stages]
    except KeyError as error:
        raise UncompiledError from error
    count = len(known.stages[0])
    return _words(known.groups, lists, (len(known), count), mode, tuple(waits))


class _Lists:
    """Records of a mini-batch, or with columns of a group of them, table by table. Those that they
    name are counted from 0 within it; `_words` makes addresses."""

    def __init__(self, resources: Mapping[str, Resource], stages: Iterable[StageDemand]) -> None:
        self.resources = resources
        self._number = {name: k for k, name in enumerate(resources)}
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _BY_BATCH}
        for stage in stages:
            self._add(stage)

    def _add(self, stage: StageDemand) -> None:
        """Put a stage behind the others."""
        rows = self.rows
        first = [len(rows["OPS"])]
        for lane in stage.lanes:
            first.append(first[-1] + len(lane))
        heads = heads_of(stage)
        ahead = set(heads)
        awaited = {spot for spots in stage.waits.values() for spot in spots}
        blocked = sum(any(demand.blocks for demand in lane) for lane in stage.lanes)
        rows["STAGES"].append((len(rows["LANES"]), len(rows["GROUPS"]), 0, blocked, 0, 0, 0))
        by_host: dict[str, list[int]] = {}
        for lane_number, place in heads:
            host = stage.lanes[lane_number][place].host
            by_host.setdefault(host, []).append(first[lane_number] + place)
        for turns in by_host.values():
            rows["GROUPS"].append((len(rows["TURNS"]),))
            rows["TURNS"] += [(turn,) for turn in turns]
        for number, lane in enumerate(stage.lanes):
            blocks = [place for place, demand in enumerate(lane) if demand.blocks]
            rows["LANES"].append((first[number], first[number] + blocks[-1] if blocks else -1))
            for place, demand in enumerate(lane):
                spot = (number, place)
                self._add_operation(demand, spot in ahead, spot in awaited)
                rows["WAITS"] += [(first[k] + p,) for k, p in stage.waits.get(spot, ())]

    def _add_operation(self, demand: Demand, head: bool, awaited: bool) -> None:
        number, services, rows = self._number, demand.services, self.rows
        times = (demand.latency_ps, demand.submit_ps, demand.submit_more_ps, demand.host_ps)
        if not all(map(_is_whole, times)):
            raise UncompiledError
        pools = (number[name] for name in services if self.resources[name].one_requester)
        alone_ps = demand.alone_ps(self.resources)
        host = number[demand.host] if demand.host else -1
        firsts = [len(rows[name]) for name in ("SERVICES", "FETCHED", "LOADED", "WAITS")]
        rows["OPS"].append((host, head, awaited, *times, next(pools, -1), *firsts, alone_ps))
        rows["SERVICES"] += [
            (number[name], s.read_ps, s.write_ps, s.bytes, s.energy_pj, s.written)
            for name, s in services.items()
        ]
        rows["FETCHED"] += [(number[name], ps) for name, ps in demand.fetched.items()]
        for name, slack in demand.loaded.items():
            own = _share(services[name].ps, alone_ps) if name in services else 0.0
            rows["LOADED"].append((number[name], slack, own, 1.0 - 1.0 / demand.alike.get(name, 1)))


def _is_whole(ps: Any) -> bool:
    return ps.values.dtype == np.int64 if isinstance(ps, Column) else isinstance(ps, int)


@by_element
def _share(ps: float, alone_ps: float) -> float:
    return ps / alone_ps if alone_ps > 0 else 0.0


def _words(
    groups: Groups, lists: Sequence[_Lists], size: tuple[int, int], mode: Mode, waits: Waits
) -> tuple[Int64s, Floats]:
    """All records, and room for a run; `size`: mini-batches, and stages of each."""
    batches, count = size
    resources = lists[0].resources
    first, before = _conditions(mode, batches, count, waits)
    order = [b * count + s for b, s in submitted(mode, batches, range(count))]
    tables = _of_batches(groups, lists)
    stages, ops, lanes, turns = (len(tables[name]) - 1 for name in _ENDED)
    tables["STAGES"][:-1, memory.BEFORE] = first
    _end(tables)
    tables |= {
        "BEFORES": before.reshape(-1, 1).copy(),
        "ORDER": _numbers(order if mode in ONE_PROGRAM else ()),
        "RESOURCES": _resource_records(resources),
        "LOSSES": _records([p for r in resources.values() for p in r.turnaround.points], _LOSS),
    }
    tables["STAGES"][-1, memory.BEFORE] = len(before)
    events = 3 * (stages + ops)
    processes = 2 * (stages + ops) + lanes + turns + 8
    waiters = processes + len(before)
    jobs = lanes + 1
    starts, size_of_division = _division_of(jobs, tables["OPS"], len(resources))
    room = {
        "QUEUE": (events + processes) * memory.QUEUE_SIZE,
        "JOB": jobs * memory.JOB_SIZE,
        "DIVISION": size_of_division,
        "NAMED": len(resources),
        "ENDED": jobs,
        "SPANS": stages * memory.SPAN_SIZE,
        "READINGS": 2 * len(resources) * memory.RESOURCE_SIZE,
        "FRESH": processes * memory.PROCESS_SIZE,
        "WAITERS": waiters * memory.WAITER_SIZE,
    }
    m, x = _laid_out(tables, room, count, mode in ONE_PROGRAM)
    division = int(m[memory.DIVISION])
    m[division + filling.WHOLE] = 0
    for word, start in starts.items():
        m[division + word] = division + start
    return m, x


def _division_of(jobs: int, ops: Int64s, resources: int) -> tuple[dict[int, int], int]:
    """Where the parts of a division of resources begin, and its words, for up to `jobs` operations
    at once."""
    firsts = ops[:, [memory.FIRST_SERVICE, memory.FIRST_LOADED]]
    services, loaded = (jobs * int(most) for most in np.diff(firsts, axis=0).max(0, initial=0))
    return filling.room_for(jobs, services, loaded, resources)


def _of_batches(groups: Groups, lists: Sequence[_Lists]) -> dict[str, Int64s]:
    """The records of all mini-batches, one after the other, and of some tables one more; those that
    they name counted over all of them."""
    batches = sum(map(len, groups))
    starts: dict[str, Int64s] = {}
    for name in _BY_BATCH:
        sizes = np.zeros(batches + 1, np.int64)
        for group, own in zip(groups, lists, strict=True):
            sizes[group + 1] = len(own.rows[name])
        starts[name] = np.cumsum(sizes)
    tables = {}
    for name, record in _BY_BATCH.items():
        count = int(starts[name][-1])
        table = np.zeros((count + (name in _ENDED), record.itemsize // 8), np.int64)
        for group, own in zip(groups, lists, strict=True):
            rows = own.rows[name]
            if not rows:
                continue
            places = starts[name][group]
            shape = (len(group), len(rows), table.shape[1])
            alone = len(groups) == 1
            records = table[:count].reshape(shape) if alone else np.empty(shape, np.int64)
            _fill(records, rows, record)
            for word, other in _ADDRESSES.get(name, {}).items():
                if other in _BY_BATCH:
                    named = records[:, :, word]
                    named += np.where(named < 0, 0, starts[other][group][:, None])
            if not alone:
                table[places[:, None] + np.arange(len(rows))] = records
        tables[name] = table
    return tables


def _fill(words: Int64s, rows: Sequence[tuple[Any, ...]], record: np.dtype[Any]) -> None:
    """Put rows of each of several mini-batches into `words`: int64, shape (mini-batches, rows,
    words)."""
    kinds = [kind for kind, *_ in (record.fields or {}).values()]
    spare = (0,) * (len(kinds) - len(rows[0]))
    plain = [
        (*(0 if isinstance(value, Column) else value for value in row), *spare) for row in rows
    ]
    words[:] = _records(plain, record)
    for number, row in enumerate(rows):
        for word, value in enumerate(row):
            if isinstance(value, Column):
                values = np.ascontiguousarray(value.values, kinds[word])
                words[:, number, word] = values.view(np.int64)


_ENDED = ("STAGES", "OPS", "LANES", "GROUPS")
"""Tables with a record behind the last: where what comes after it would begin."""


def _end(tables: Mapping[str, Int64s]) -> None:
    """Fill in the records behind the last."""
    sizes = {name: len(table) - (name in _ENDED) for name, table in tables.items()}
    for name in _ENDED:
        for word, other in _ADDRESSES[name].items():
            tables[name][-1, word] = sizes.get(other, -1)
    tables["LANES"][-1, memory.BLOCK_OP] = -1


def _resource_records(resources: Mapping[str, Resource]) -> Int64s:
    points, records = 0, []
    for resource in resources.values():
        records.append((0, resource.kind == "pool", points, 0, 0, *[0.0] * 5, 1.0, 0.0, 0.0, 0.0))
        points += len(resource.turnaround.points)
    return _records([*records, (0, 0, points, 0, 0, *[0.0] * 9)], _RESOURCE)


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
    tables: dict[str, Int64s], room: Mapping[str, int], count: int, one_program: bool
) -> tuple[Int64s, Floats]:
    """Tables one after the other behind the head, their numbers made addresses, then free room;
    `tables` are taken away, for all of them may take much memory."""
    base, end = {}, memory.HEAD_SIZE
    width = {name: table.shape[1] for name, table in tables.items()}
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
    for name in list(tables):
        table = tables.pop(name)
        for word, other in _ADDRESSES.get(name, {}).items():
            numbers = table[:, word]
            table[:, word] = np.where(numbers < 0, 0, base[other] + numbers * width[other])
        m[base[name] : base[name] + table.size] = table.ravel()
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
