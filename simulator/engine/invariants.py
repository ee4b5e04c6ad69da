"""Checks of a whole run, with `run.check`: see docs/invariants.md, which numbers them.

A failure is a bug of the simulator (or of a plug-in), never of the user.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from simulator.engine.pipeline import ALONE, Beside, Mode, Span, StageTime, Waits
from simulator.errors import InvariantError
from simulator.hardware.demand import ResourceUse, StageDemand
from simulator.hardware.program import Move, Stage

__all__ = [
    "check_bytes",
    "check_energy",
    "check_order",
    "check_stage_names",
    "check_stage_times",
    "check_utilization",
]

_ROUNDING = 1e-9


def check_stage_names(names: Sequence[str], stages: Sequence[Stage]) -> None:
    """A program has the stages that its schedule announces, in that order."""
    given = tuple(stage.name for stage in stages)
    if given != tuple(names):
        raise InvariantError(f"stages {given} are not those of the schedule: {tuple(names)}")


def check_bytes(stages: Sequence[Stage], demands: Sequence[StageDemand]) -> None:
    """Bytes that leave a memory are those that every link carries and that arrive."""
    for stage, priced in zip(stages, demands, strict=True):
        for lane, costs in zip(stage.lanes, priced.lanes, strict=True):
            for word, demand in zip(lane, costs, strict=True):
                if not isinstance(word, Move) or word.what.memory == word.into:
                    continue
                moved = {name: s.bytes for name, s in demand.services.items() if s.bytes}
                ends = (moved.get(word.what.memory, 0), moved.get(word.into, 0))
                if set(ends) != {word.bytes} or set(moved.values()) - {word.bytes}:
                    raise InvariantError(
                        f"{word.name} moves {word.bytes:,} bytes from {word.what.memory} to "
                        f"{word.into}, but its resources say {moved}"
                    )


def check_order(
    spans: Sequence[Span], mode: Mode, waits: Waits = (), *, beside: Beside = ALONE
) -> None:
    """Stages of a mini-batch follow each other, and so do the mini-batches of a stage; serial
    mini-batches do not overlap (but for stages `beside` them); what a schedule waits for (`waits`)
    is done."""
    by_key = {(span.batch, span.stage): span for span in spans}
    last = max((span.stage for span in spans), default=0)
    for (batch, stage), span in by_key.items():
        before = [by_key.get((batch - 1, stage))]
        if stage > beside.count or (stage == beside.count and beside.fed):
            before.insert(0, by_key.get((batch, stage - 1)))
        if mode == "serial" and stage == beside.count:
            before.append(by_key.get((batch - 1, last)))
        before += [by_key.get((batch + n, other)) for own, other, n in waits if own == stage]
        for earlier in before:
            if earlier is not None and earlier.end_ps > span.start_ps:
                raise InvariantError(
                    f"stage {stage} of mini-batch {batch} starts at {span.start_ps} ps, before "
                    f"stage {earlier.stage} of mini-batch {earlier.batch} ends at {earlier.end_ps}"
                )
        if span.end_ps < span.start_ps:
            raise InvariantError(f"stage {stage} of mini-batch {batch} ends before it starts")


def check_stage_times(times: Mapping[int, StageTime], elapsed_ps: int) -> None:
    """Every moment is waited for in one stage that runs then; no stage runs longer than it is."""
    for stage, time in times.items():
        if not 0 <= time.exposed_ps <= time.busy_ps <= elapsed_ps:
            raise InvariantError(
                f"stage {stage} is exposed for {time.exposed_ps} and busy for {time.busy_ps} of "
                f"{elapsed_ps} ps"
            )
    exposed = sum(time.exposed_ps for time in times.values())
    if exposed != elapsed_ps:
        raise InvariantError(f"stages are exposed for {exposed} ps, {elapsed_ps} ps passed")


def check_energy(device: str, joules: Mapping[str, float]) -> Mapping[str, float]:
    """`joules` of the resources of a device: finite and not negative."""
    for resource, value in joules.items():
        if not (math.isfinite(value) and value >= 0.0):
            raise InvariantError(f"{device} takes {value} J on {resource}")
    return joules


def check_utilization(use: Mapping[str, ResourceUse], elapsed_ps: int) -> None:
    """No resource is busy for longer than the time that passes."""
    for name, used in use.items():
        if used.busy_ps > elapsed_ps * (1.0 + _ROUNDING) + 1.0:
            raise InvariantError(f"{name} was busy for {used.busy_ps} of {elapsed_ps} ps")
