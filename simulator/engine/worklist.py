"""All stages of a run in the words of compiled code (`memory`): what operations ask for, what waits
for what, and an idle machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from simulator.columns import Column, by_element
from simulator.engine import memory
from simulator.engine.known_words import KnownWords, OperationRecords
from simulator.engine.memory import Int64s
from simulator.engine.pipeline import Mode, Waits
from simulator.engine.run_order import RunOrder
from simulator.engine.run_room import Block, Room
from simulator.engine.run_words import CHUNK, Fixed, RunWords
from simulator.engine.submission import heads_of
from simulator.engine.together import ByGroup, InBlocks, blocks_of
from simulator.engine.word_tables import BY_BATCH, LOSS_RECORD, RESOURCE_RECORD, records_of
from simulator.hardware import filling
from simulator.hardware.demand import Demand, Resource, StageDemand

__all__ = ["UncompiledError", "words_of"]


class UncompiledError(Exception):
    """A run that compiled code does not take: SimPy does."""


def words_of(
    batches: Sequence[tuple[StageDemand, ...]] | InBlocks[StageDemand],
    mode: Mode,
    waits: Waits,
    resources: Mapping[str, Resource],
    chunk: int = CHUNK,
    before: KnownWords | None = None,
    more: int = 1,
) -> RunWords:
    """The memory of a run of priced stages on an idle machine; `chunk`: mini-batches whose words
    are written at a time; `before`: what is known of the run before, on that machine or another;
    `more`: see `Room.of`.

    Raises `UncompiledError` for times that are no whole picoseconds, and for resources that are not
    those of the machine.
    """
    if before is not None:
        before.begin(resources)
    blocks = (_block(each, resources, before) for each in blocks_of(batches))
    first = next(blocks)
    count = len(first.lists[0].rows["STAGES"])
    order = RunOrder(mode, len(batches), count, tuple(waits))
    fixed = _fixed(order, Room.of(first, len(batches), more), resources)
    return RunWords(chain((first,), blocks), fixed, chunk, before)


def _block(
    known: ByGroup[StageDemand], resources: Mapping[str, Resource], before: KnownWords | None
) -> Block:
    try:
        return Block(known.groups, [_Lists(resources, own, before) for own in known.stages])
    except KeyError as error:
        raise UncompiledError from error


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


def _fixed(order: RunOrder, room: Room, resources: Mapping[str, Resource]) -> Fixed:
    """What of a run is no mini-batch's own, and room for it."""
    points = [point for resource in resources.values() for point in resource.turnaround.points]
    stages = order.batches * order.count
    ops, lanes, turns = (room.records[name] for name in ("OPS", "LANES", "GROUPS"))
    events = 3 * (stages + ops)
    processes = 2 * (stages + ops) + lanes + turns + 8
    jobs = lanes + 1
    services, loaded = (jobs * most for most in room.of_operation)
    division, words_of_division = filling.room_for(jobs, services, loaded, len(resources))
    back, ahead, befores = order.reach()
    sizes = {
        "QUEUE": (events + processes) * memory.QUEUE_SIZE,
        "JOB": jobs * memory.JOB_SIZE,
        "DIVISION": words_of_division,
        "NAMED": len(resources),
        "ENDED": jobs,
        "SPANS": stages * memory.SPAN_SIZE,
        "READINGS": 2 * len(resources) * memory.RESOURCE_SIZE,
        "FRESH": processes * memory.PROCESS_SIZE,
        "WAITERS": (processes + order.batches * befores) * memory.WAITER_SIZE,
    }
    tables = {
        "RESOURCES": _resource_records(resources),
        "LOSSES": records_of(points, LOSS_RECORD),
    }
    return Fixed(order, tables, room, sizes, division, back, ahead, order.batches * befores)


def _resource_records(resources: Mapping[str, Resource]) -> Int64s:
    points, records = 0, []
    for resource in resources.values():
        records.append((0, resource.kind == "pool", points, 0, 0, *[0.0] * 5, 1.0, 0.0, 0.0, 0.0))
        points += len(resource.turnaround.points)
    return records_of([*records, (0, 0, points, 0, 0, *[0.0] * 9)], RESOURCE_RECORD)
