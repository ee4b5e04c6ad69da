"""Priced stages run on their machine: in compiled code where it takes them, else in SimPy.

Both give the same to the last bit (`simulator.engine.clockwork`). A run that is checked is SimPy's,
which looks at every division of resources, and so is one with stages beside the others
(`Schedule.beside`). Where nobody has compiled that code yet, SimPy goes on until it has taken as
long as compiling does, in this run and those before it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import simpy

from simulator._compiled import done_without, pays
from simulator.engine import memory
from simulator.engine.clockwork import run_clockwork
from simulator.engine.invariants import check_order, check_utilization
from simulator.engine.known_words import KnownWords
from simulator.engine.measure import Meter, Metered
from simulator.engine.memory import Floats, Int64s
from simulator.engine.pipeline import (
    ALONE,
    Beside,
    Mode,
    Span,
    Waits,
    require_retired,
    run_pipeline,
)
from simulator.engine.run_room import FullError
from simulator.engine.run_spans import RunSpans
from simulator.engine.run_words import CHUNK, RunWords
from simulator.engine.together import InBlocks
from simulator.engine.worklist import UncompiledError, words_of
from simulator.hardware.demand import Resource, ResourceUse, StageDemand
from simulator.hardware.machine import Machine

__all__ = ["run_compiled", "run_in_simpy", "run_stages"]

Batches = Sequence[tuple[StageDemand, ...]] | InBlocks[StageDemand]
Ran = tuple[Sequence[Span], Metered]
_COMPILING_S = 10.0
"""About what compiling `run_clockwork` takes."""


def run_stages(
    resources: Mapping[str, Resource],
    batches: Batches,
    mode: Mode,
    waits: Waits,
    window: tuple[int, int],
    *,
    beside: Beside = ALONE,
    check: bool = False,
    before: KnownWords | None = None,
) -> Ran:
    """Spans by end time, and what went through the resources; `window`: first and last timed
    mini-batch; `before`: what is known of the run before of the same replay.

    Raises `InvariantError` where a mini-batch never retires, and with `check` where the order of
    stages or the use of resources is not what it must be.
    """
    fits = len(batches) > 0 and not (check or beside.count)
    if fits and pays(run_clockwork, _COMPILING_S):
        try:
            return run_compiled(resources, batches, mode, waits, window, before=before)
        except UncompiledError:
            fits = False
    begin = time.perf_counter()
    ran = run_in_simpy(resources, batches, mode, waits, window, beside=beside, check=check)
    if fits:
        done_without(run_clockwork, time.perf_counter() - begin)
    return ran


def run_in_simpy(
    resources: Mapping[str, Resource],
    batches: Batches,
    mode: Mode,
    waits: Waits,
    window: tuple[int, int],
    *,
    beside: Beside = ALONE,
    check: bool = False,
) -> Ran:
    """`run_stages`, in any case in SimPy, which takes all mini-batches in one piece."""
    clock = Machine(simpy.Environment(), resources, check=check)
    meter = Meter(*window, machine=clock)
    waited = meter.waited_ps
    works = batches.whole() if isinstance(batches, InBlocks) else batches
    spans = run_pipeline(
        clock, works, mode, waits=waits, beside=beside, watch=meter.watch, waited=waited
    )
    if check:
        check_order(spans, mode, waits, beside=beside)
        check_utilization(clock.use, int(clock.env.now))
    return spans, meter


def run_compiled(
    resources: Mapping[str, Resource],
    batches: Batches,
    mode: Mode,
    waits: Waits,
    window: tuple[int, int],
    *,
    chunk: int = CHUNK,
    before: KnownWords | None = None,
) -> Ran:
    """`run_stages`, in compiled code; `chunk`: mini-batches whose words are written at a time.

    Raises `UncompiledError` for what only SimPy does.
    """
    more = 1
    while True:
        try:
            run_words = words_of(batches, mode, waits, resources, chunk, before, more)
            return _run(run_words, resources, len(batches), window)
        except FullError:
            more *= 2


def _run(
    run_words: RunWords, resources: Mapping[str, Resource], batches: int, window: tuple[int, int]
) -> Ran:
    m, x = run_words.m, run_words.x
    stages, count = int(m[memory.STAGES]), int(m[memory.COUNT])
    ends = (window[0] * count - 1, (window[1] + 1) * count - 1)
    m[memory.BEFORE_FIRST], m[memory.LAST] = (stages + end * memory.STAGE_SIZE for end in ends)
    spans, going = RunSpans(count), True
    while going:
        try:
            run_clockwork(m, x)
        except ZeroDivisionError as error:
            raise UncompiledError from error
        spans.extend(run_words.spans())
        going = run_words.go_on()
    if m[memory.OVERFLOW]:
        raise UncompiledError
    require_retired(spans.ends_ps() >= 0, batches)
    opened, closed = (_reading(m, x, resources, number) for number in (0, 1))
    return spans, Metered(*window, opened, closed)


def _reading(
    m: Int64s, x: Floats, resources: Mapping[str, Resource], number: int
) -> dict[str, ResourceUse]:
    """Use of the resources that were used at all, when the window opened (0) or closed (1)."""
    size = len(resources) * memory.RESOURCE_SIZE
    begin = int(m[memory.READINGS]) + number * size
    shape = (len(resources), memory.RESOURCE_SIZE)
    used = m[begin : begin + size].reshape(shape)[:, memory.USED]
    fields = slice(memory.BUSY, memory.WRITE_USE + 1)
    rows = x[begin : begin + size].reshape(shape)[:, fields].tolist()
    return {
        name: ResourceUse(*row)
        for name, row, any_use in zip(resources, rows, used.tolist(), strict=True)
        if any_use
    }
