"""What lanes of a stage wait for in each other (collectives, events of other streams) and for the
threads that run them.

Lanes run side by side. A collective begins when all of its group are there: each of those with one
name in a stage waits for what stands before every other one in its lane. So the rank with the most
work, not an assumption, says when it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from simulator.errors import InvariantError
from simulator.hardware.demand import Demand, Spot, StageDemand
from simulator.hardware.program import Exchange, Operation, Stage

__all__ = ["as_graphs", "by_workers", "in_one_process", "waits_of"]


def waits_of(stage: Stage) -> Mapping[Spot, tuple[Spot, ...]]:
    """Operation -> those of other lanes that end before it begins; operations that wait for none
    are left out.

    Raises `InvariantError` where an operation comes after one that is in no other lane.
    """
    waits: dict[Spot, tuple[Spot, ...]] = {}
    collectives: dict[str, dict[Spot, list[Spot]]] = {}
    for (lane, place), word in _spots(stage):
        before = [_named(stage, lane, word)] if word.after else []
        if before:
            waits[lane, place] = tuple(before)
        if isinstance(word, Exchange):
            arrived = before + [(lane, place - 1)] * (place > 0)
            collectives.setdefault(word.name, {})[lane, place] = arrived
    for members in collectives.values():
        for lane, place in members:
            others = [s for arrived in members.values() for s in arrived if s[0] != lane]
            if others:
                waits[lane, place] = tuple(dict.fromkeys(others))
    return waits


def _spots(stage: Stage) -> Iterator[tuple[Spot, Operation]]:
    for lane, words in enumerate(stage.lanes):
        for place, word in enumerate(words):
            yield (lane, place), word


def _named(stage: Stage, lane: int, word: Operation) -> Spot:
    """The operation in another lane that `word` comes after."""
    for spot, other in _spots(stage):
        if spot[0] != lane and (other.name, other.at) == (word.after, word.at):
            return spot
    raise InvariantError(
        f"stage {stage.name}: {word.name} comes after {word.after!r}, which no other lane of "
        f"{word.at} has"
    )


def by_workers(stages: Iterable[StageDemand], call_ps: int) -> tuple[StageDemand, ...]:
    """Stages of a pipeline whose operators on the CPU are handed to a thread of their own, once a
    lane: its first one begins `call_ps` later."""

    def called(lane: tuple[Demand, ...]) -> tuple[Demand, ...]:
        first = next((k for k, demand in enumerate(lane) if _on_cores(demand)), None)
        if first is None:
            return lane
        later = replace(lane[first], latency_ps=lane[first].latency_ps + call_ps)
        return (*lane[:first], later, *lane[first + 1 :])

    return tuple(replace(stage, lanes=tuple(map(called, stage.lanes))) for stage in stages)


def _on_cores(demand: Demand) -> bool:
    """Whether it runs on threads of a CPU: it blocks the one that calls it, and no GPU waits."""
    return demand.blocks and bool(demand.services) and not demand.host


def in_one_process(stages: Iterable[StageDemand]) -> tuple[StageDemand, ...]:
    """Stages of a mini-batch whose lanes of several processors one process of their host submits:
    the thread of the first processor of each host does so for all, operation by operation."""
    stages = tuple(stages)
    threads = dict.fromkeys(d.host for s in stages for lane in s.lanes for d in lane if d.host)
    first: dict[str, str] = {}
    for thread in sorted(threads, key=_natural):
        first.setdefault(_prefix(thread), thread)
    if len(first) == len(threads):
        return stages

    def submitted(demand: Demand) -> Demand:
        return replace(demand, host=first[_prefix(demand.host)]) if demand.host else demand

    return tuple(
        replace(
            stage, lanes=tuple(tuple(map(submitted, lane)) for lane in stage.lanes), in_turn=True
        )
        for stage in stages
    )


def as_graphs(stages: Iterable[StageDemand]) -> tuple[StageDemand, ...]:
    """Stages of a mini-batch whose submissions by a host thread, from one wait to the next, are one
    captured graph: its first operation is submitted, the others come with it."""
    captured: set[str] = set()

    def one(demand: Demand) -> Demand:
        if not demand.host:
            return demand
        if demand.blocks:
            captured.discard(demand.host)
            return demand
        if demand.host not in captured:
            captured.add(demand.host)
            return replace(demand, submit_more_ps=0)
        return replace(demand, submit_ps=0, submit_more_ps=0, fetched={})

    return tuple(
        replace(stage, lanes=tuple(tuple(map(one, lane)) for lane in stage.lanes))
        for stage in stages
    )


def _prefix(thread: str) -> str:
    """The host of a thread: `host3.` of `host3.gpu5.launch`, nothing where there is one host."""
    device = thread.rpartition(".")[0]
    return device.rpartition(".")[0]


def _natural(thread: str) -> tuple[int, str]:
    """`gpu2` before `gpu10`."""
    return len(thread), thread
