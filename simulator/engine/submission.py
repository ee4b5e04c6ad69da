"""What the host threads of GPUs submit when: kernels and copies start no earlier.

A host thread works through the stages that it is given: it submits the operations that a lane
begins with, lane by lane, then goes on where something blocks it (an operator on its own cores, a
wait for the GPU) only when that is done. What it submits is fetched by the GPU over the link,
behind the copies that are under way there. It runs ahead of the GPU until then: submissions of
later operations pass while the first ones run. Lanes of the CPU start after the submissions of
their stage, for it is the same thread that calls them.

Serial schedules are one such program from the first mini-batch to the last. In a pipeline each
stage is a program of its own, which begins when the stage may start; all of them share the thread,
first come, first served, kernel by kernel: an operation of many kernels (MLPs launched one by one)
does not keep a copy of another stage waiting until the last of them is submitted.
Ignored: priorities among them, and other processes of the host.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from simulator.hardware.demand import Demand, Spot, StageDemand
from simulator.hardware.machine import Machine

__all__ = ["StageSubmission", "heads_of"]

Steps = Generator[simpy.Event, Any, None]
Lane = Sequence[Demand]


@dataclass
class StageSubmission:
    """The submissions of one stage of one mini-batch, and its lanes as they run."""

    machine: Machine
    work: StageDemand
    ahead: simpy.Event
    """All operations that lanes begin with were submitted."""
    free: simpy.Event
    """The host thread is done with the stage and may submit the next one."""
    durable: simpy.Event | None = None
    """What its mini-batch writes for a check-point is durable; None: it writes nothing."""
    waited_ps: int = 0
    """That operations waited for that, those that wait at once counted once."""
    _may_start: dict[Spot, simpy.Event] = field(default_factory=dict)
    """By lane and place in it: the first kernel of the operation was submitted."""
    _complete: dict[Spot, simpy.Event] = field(default_factory=dict)
    """All of its kernels were."""
    _done: dict[Spot, simpy.Event] = field(default_factory=dict)
    """Of the operations that others wait for."""
    _blocked: int = 0
    """Lanes with something that blocks the host and is not done."""

    @classmethod
    def of(cls, machine: Machine, work: StageDemand) -> StageSubmission:
        """Nothing submitted yet."""
        env = machine.env
        stage = cls(machine, work, env.event(), env.event())
        stage._blocked = sum(any(d.blocks for d in lane) for lane in work.lanes)
        for key in heads_of(work):
            stage._may_start[key] = env.event()
            stage._complete[key] = env.event()
        for spots in work.waits.values():
            stage._done |= {spot: env.event() for spot in spots if spot not in stage._done}
        return stage

    def submit(self) -> Steps:
        """Each host thread works through what the lanes begin with."""
        by_host: dict[str, list[Spot]] = {}
        for number, place in heads_of(self.work):
            by_host.setdefault(self.work.lanes[number][place].host, []).append((number, place))
        env = self.machine.env
        if len(by_host) > 1:
            yield env.all_of([env.process(self._submit(keys)) for keys in by_host.values()])
        else:
            for keys in by_host.values():
                yield from self._submit(keys)
        self.ahead.succeed()
        if not self._blocked:
            self.free.succeed()

    def _submit(self, keys: Sequence[Spot]) -> Steps:
        """One host thread submits operations, one after the other."""
        for key in keys:
            demand = self.work.lanes[key[0]][key[1]]
            yield from self.machine.on_host(demand.host, demand.submit_ps)
            self._arrives(key, demand)
            yield from self._submit_more(demand)
            self._complete[key].succeed()

    def _submit_more(self, demand: Demand) -> Steps:
        """The other kernels of an operation, each in its turn."""
        left_ps, each_ps = demand.submit_more_ps, demand.submit_ps or demand.submit_more_ps
        while left_ps > 0:
            yield from self.machine.on_host(demand.host, min(each_ps, left_ps))
            left_ps -= each_ps

    def _arrives(self, key: Spot, demand: Demand) -> None:
        """What was submitted reaches its processor, while the host goes on."""
        if not demand.fetched:
            self._may_start[key].succeed()
            return

        def fetch() -> Steps:
            yield from self.machine.fetch(demand)
            self._may_start[key].succeed()

        self.machine.env.process(fetch())

    def run_lane(self, number: int) -> Steps:
        """The operations of a lane one after the other, each once it was submitted."""
        lane = self.work.lanes[number]
        last_block = max((k for k, demand in enumerate(lane) if demand.blocks), default=-1)
        for place, demand in enumerate(lane):
            yield from self._run(number, place, demand)
            if (number, place) in self._done:
                self._done[number, place].succeed()
            if place == last_block:
                self._blocked -= 1
                if not self._blocked:
                    self.free.succeed()

    def _run(self, number: int, place: int, demand: Demand) -> Steps:
        key, machine = (number, place), self.machine
        if key in self._may_start:
            yield from _passed(self._may_start[key])
            yield from self._others(key)
            yield from machine.execute(demand)
            yield from _passed(self._complete[key])
            return
        yield from _passed(self.ahead)
        yield from machine.on_host(demand.host, demand.submit_ps)
        yield from machine.fetch(demand)
        rest = machine.env.process(self._submit_more(demand))
        yield from self._others(key)
        yield from machine.execute(demand)
        yield from _passed(rest)
        yield from machine.on_host(demand.host, demand.host_ps)

    def _others(self, key: Spot) -> Steps:
        """Until what an operation waits for in other lanes is done, and what must be durable is."""
        for spot in self.work.waits.get(key, ()):
            yield from _passed(self._done[spot])
        demand = self.work.lanes[key[0]][key[1]]
        if demand.durable and self.durable is not None and not self.durable.processed:
            since = int(self.machine.env.now)
            yield self.durable
            self.waited_ps = max(self.waited_ps, int(self.machine.env.now) - since)


def heads_of(work: StageDemand) -> list[Spot]:
    """Lane and place of every operation before the first that blocks the host, in the order in
    which a host thread submits them."""
    keys = []
    for number, lane in enumerate(work.lanes):
        for place, demand in enumerate(lane):
            if demand.blocks:
                break
            keys.append((number, place))
    if work.in_turn:
        keys.sort(key=lambda key: (_turn(work, key), key[0]))
    return keys


def _turn(work: StageDemand, spot: Spot) -> int:
    """When one host thread for several processors gets to an operation: by its place, in a lane
    that waits for another one counted from there."""
    waits = work.waits.get((spot[0], 0), ())
    return spot[1] + max((place + 1 for _, place in waits), default=0)


def _passed(event: simpy.Event) -> Steps:
    """Until `event` has happened; nothing where it has."""
    if not event.processed:
        yield event
