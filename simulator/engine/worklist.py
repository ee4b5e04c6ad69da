"""All stages of a run in the words of compiled code (`memory`): what operations ask for, what waits
for what, and an idle machine."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from simulator.columns import Column, by_element
from simulator.engine import memory
from simulator.engine.known_words import KnownWords, OperationRecords
from simulator.engine.memory import Int64s
from simulator.engine.pipeline import ONE_PROGRAM, Mode, Waits, conditions, submitted
from simulator.engine.run_words import CHUNK, Fixed, RunWords, starts_of
from simulator.engine.submission import heads_of
from simulator.engine.together import Groups, by_group
from simulator.engine.word_tables import BY_BATCH, LOSS_RECORD, RESOURCE_RECORD, records_of
from simulator.hardware import filling
from simulator.hardware.demand import Demand, Resource, StageDemand

__all__ = ["UncompiledError", "words_of"]


class UncompiledError(Exception):
    """A run that compiled code does not take: SimPy does."""


def words_of(
    batches: Sequence[tuple[StageDemand, ...]],
    mode: Mode,
    waits: Waits,
    resources: Mapping[str, Resource],
    chunk: int = CHUNK,
    before: KnownWords | None = None,
) -> RunWords:
    """The memory of a run of priced stages on an idle machine; `chunk`: mini-batches whose words
    are written at a time; `before`: what is known of the run before, on that machine or another.

    Raises `UncompiledError` for times that are no whole picoseconds, and for resources that are not
    those of the machine.
    """
    known = by_group(batches)
    if before is not None:
        before.begin(resources)
    try:
        lists = [_Lists(resources, stages, before) for stages in known.stages]
    except KeyError as error:
        raise UncompiledError from error
    count = len(known.stages[0])
    fixed = _fixed(known.groups, lists, count, mode, tuple(waits))
    return RunWords(known.groups, lists, fixed, chunk, before)


class _Lists:
    """Records of a mini-batch, or with columns of a group of them, table by table. Those that they
    name are counted from 0 within it; `_words` makes addresses."""

    def __init__(
        self,
        resources: Mapping[str, Resource],
        stages: Iterable[StageDemand],
        before: KnownWords | None = None,
    ) -> None:
        self.resources = resources
        self._before = before
        self._number = {name: k for k, name in enumerate(resources)}
        self.rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in BY_BATCH}
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
        rows, known = self.rows, self._before
        own = self._records(demand) if known is None else known.records(demand, self._records)
        host, *times = own.begin
        firsts = [len(rows[name]) for name in ("SERVICES", "FETCHED", "LOADED", "WAITS")]
        rows["OPS"].append((host, head, awaited, *times, own.pool, *firsts, own.alone_ps))
        rows["SERVICES"] += own.services
        rows["FETCHED"] += own.fetched
        rows["LOADED"] += own.loaded

    def _records(self, demand: Demand) -> OperationRecords:
        """Those of an operation, wherever it stands."""
        number, services = self._number, demand.services
        times = (demand.latency_ps, demand.submit_ps, demand.submit_more_ps, demand.host_ps)
        if not all(map(_is_whole, times)):
            raise UncompiledError
        pools = (number[name] for name in services if self.resources[name].one_requester)
        alone_ps = demand.alone_ps(self.resources)
        host = number[demand.host] if demand.host else -1
        loaded = []
        for name, slack in demand.loaded.items():
            own = _share(services[name].ps, alone_ps) if name in services else 0.0
            loaded.append((number[name], slack, own, 1.0 - 1.0 / demand.alike.get(name, 1)))
        return OperationRecords(
            begin=(host, *times),
            pool=next(pools, -1),
            alone_ps=alone_ps,
            services=[
                (number[name], s.read_ps, s.write_ps, s.bytes, s.energy_pj, s.written)
                for name, s in services.items()
            ],
            fetched=[(number[name], ps) for name, ps in demand.fetched.items()],
            loaded=loaded,
        )


def _is_whole(ps: Any) -> bool:
    return ps.values.dtype == np.int64 if isinstance(ps, Column) else isinstance(ps, int)


@by_element
def _share(ps: float, alone_ps: float) -> float:
    return ps / alone_ps if alone_ps > 0 else 0.0


def _fixed(groups: Groups, lists: Sequence[_Lists], count: int, mode: Mode, waits: Waits) -> Fixed:
    """What of a run is no mini-batch's own, and room for it."""
    batches, resources = sum(map(len, groups)), lists[0].resources
    begin, before, back, ahead = _conditions(mode, batches, count, waits)
    order: Iterable[int] = ()
    if mode in ONE_PROGRAM:
        order = (b * count + s for b, s in submitted(mode, batches, range(count)))
    points = [point for resource in resources.values() for point in resource.turnaround.points]
    starts = starts_of(groups, lists)
    ops, lanes, turns = (int(starts[name][-1]) for name in ("OPS", "LANES", "GROUPS"))
    stages = batches * count
    events = 3 * (stages + ops)
    processes = 2 * (stages + ops) + lanes + turns + 8
    jobs = lanes + 1
    division, words_of_division = _division_of(lists, jobs, len(resources))
    room = {
        "QUEUE": (events + processes) * memory.QUEUE_SIZE,
        "JOB": jobs * memory.JOB_SIZE,
        "DIVISION": words_of_division,
        "NAMED": len(resources),
        "ENDED": jobs,
        "SPANS": stages * memory.SPAN_SIZE,
        "READINGS": 2 * len(resources) * memory.RESOURCE_SIZE,
        "FRESH": processes * memory.PROCESS_SIZE,
        "WAITERS": (processes + len(before)) * memory.WAITER_SIZE,
    }
    tables = {
        "BEFORES": before.reshape(-1, 1),
        "ORDER": np.fromiter(order, np.int64).reshape(-1, 1),
        "RESOURCES": _resource_records(resources),
        "LOSSES": records_of(points, LOSS_RECORD),
    }
    return Fixed(tables, room, division, count, mode in ONE_PROGRAM, begin, back, ahead)


def _division_of(lists: Sequence[_Lists], jobs: int, resources: int) -> tuple[dict[int, int], int]:
    """Where the parts of a division of resources begin, and its words, for up to `jobs` operations
    at once."""
    most = []
    for word, name in ((memory.FIRST_SERVICE, "SERVICES"), (memory.FIRST_LOADED, "LOADED")):
        ends = ([*(op[word] for op in own.rows["OPS"]), len(own.rows[name])] for own in lists)
        most.append(jobs * max(int(np.diff(each).max(initial=0)) for each in ends))
    services, loaded = most
    return filling.room_for(jobs, services, loaded, resources)


def _resource_records(resources: Mapping[str, Resource]) -> Int64s:
    points, records = 0, []
    for resource in resources.values():
        records.append((0, resource.kind == "pool", points, 0, 0, *[0.0] * 5, 1.0, 0.0, 0.0, 0.0))
        points += len(resource.turnaround.points)
    return records_of([*records, (0, 0, points, 0, 0, *[0.0] * 9)], RESOURCE_RECORD)


@lru_cache(maxsize=16)
def _conditions(
    mode: Mode, batches: int, count: int, waits: Waits
) -> tuple[Int64s, Int64s, int, int]:
    """For each stage of each mini-batch the first of the stages that it waits for (and the number
    of all), and those; how many mini-batches back, and ahead, these are at most."""
    first, before = array("q"), array("q")
    for batch in range(batches):
        for stage in range(count):
            first.append(len(before))
            keys = conditions(mode, count, batch, stage, waits)
            before.extend(b * count + s for b, s in keys if b < batches)
    first.append(len(before))
    begin, stages = np.array(first, np.int64), np.array(before, np.int64)
    own = np.repeat(np.arange(batches * count) // count, np.diff(begin))
    apart = stages // count - own
    return begin, stages, -int(apart.min(initial=0)), int(apart.max(initial=0))
