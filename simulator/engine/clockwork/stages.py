"""Stages of a compiled run: they wait for others, start their lanes and end, as those of
`simulator.engine.pipeline`."""

from __future__ import annotations

from simulator._compiled import inner_on_words
from simulator.engine.clockwork.lanes import run_lane
from simulator.engine.clockwork.queue import (
    LANE_RUN,
    RESUME,
    SUBMISSION,
    copy_words,
    occurs,
    push,
    spawn,
    wait_for,
)
from simulator.engine.fluid import advance
from simulator.engine.memory import (
    AFTER,
    AT,
    BEFORE,
    BEFORE_FIRST,
    BLOCK,
    BLOCK_OP,
    COUNT,
    END,
    FINISH,
    LANE,
    LANE_SIZE,
    LANES,
    LAST,
    LOSSES,
    NEED,
    NORMAL,
    NOW,
    OCCURRED,
    ONE_PROGRAM,
    OP,
    OVER,
    REACHED,
    READINGS,
    RESOURCE_SIZE,
    RESOURCES,
    SPAN,
    SPAN_AFTER,
    SPAN_END,
    SPAN_SIZE,
    SPAN_STAGE,
    SPAN_START,
    STAGE,
    STAGE_SIZE,
    START,
    STEP,
    WITHIN,
    Floats,
    Int64s,
)

__all__ = ["stages_of_a_number"]


@inner_on_words
def stages_of_a_number(m: Int64s, x: Floats, process: int) -> None:
    """The stage of one number, mini-batch after mini-batch: `pipeline._Run.stage`."""
    while m[process + STAGE] < m[LANES] - STAGE_SIZE:
        stage = m[process + STAGE]
        if m[process + STEP] == 0:
            m[process + STEP] = 1
            if m[stage + BEFORE] < m[stage + STAGE_SIZE + BEFORE]:
                _wait_for_stages(m, process, stage)
                return
        if m[process + STEP] == 1:
            _start(m, stage)
            if not m[ONE_PROGRAM]:
                spawn(m, SUBMISSION, stage, 0, 0)
            first, last = m[stage + LANE], m[stage + STAGE_SIZE + LANE]
            if last - first != LANE_SIZE:
                _start_lanes(m, process, stage)
                return
            m[process + STEP], m[process + WITHIN] = 2, 0
            m[process + AT], m[process + END] = m[first + OP], m[last + OP]
            m[process + BLOCK] = m[first + BLOCK_OP]
        if m[process + STEP] == 2 and not run_lane(m, x, process):
            return
        _end(m, x, stage)
        stage += m[COUNT] * STAGE_SIZE
        m[process + STEP], m[process + STAGE] = 0, stage
        m[REACHED] = max(m[REACHED], stage)


@inner_on_words
def _wait_for_stages(m: Int64s, process: int, stage: int) -> None:
    """Until all stages before it are done."""
    begin, end = m[stage + BEFORE], m[stage + STAGE_SIZE + BEFORE]
    m[process + NEED] = end - begin
    for entry in range(begin, end):
        over = m[entry] + OVER
        if m[over + OCCURRED]:
            m[process + NEED] -= 1
        else:
            wait_for(m, over, process, 1)
    if not m[process + NEED]:
        push(m, m[NOW], NORMAL, RESUME, process)


@inner_on_words
def _start(m: Int64s, stage: int) -> None:
    """Note when a stage starts, and what ended last before it."""
    after = 0
    for entry in range(m[stage + BEFORE], m[stage + STAGE_SIZE + BEFORE]):
        other = m[entry]
        later = not after or m[other + FINISH] > m[after + FINISH]
        if later or (m[other + FINISH] == m[after + FINISH] and other > after):
            after = other
    m[stage + START], m[stage + AFTER] = m[NOW], after


@inner_on_words
def _start_lanes(m: Int64s, process: int, stage: int) -> None:
    """Lanes side by side; the stage goes on when all of them are done."""
    first, last = m[stage + LANE], m[stage + STAGE_SIZE + LANE]
    m[process + STEP], m[process + NEED] = 3, (last - first) // LANE_SIZE
    for lane in range(first, last, LANE_SIZE):
        child = spawn(m, LANE_RUN, stage, m[lane + OP], process)
        m[child + END], m[child + BLOCK] = m[lane + LANE_SIZE + OP], m[lane + BLOCK_OP]
    if first == last:
        push(m, m[NOW], NORMAL, RESUME, process)


@inner_on_words
def _end(m: Int64s, x: Floats, stage: int) -> None:
    """A stage is done; use is read where the timed window opens and closes."""
    m[stage + FINISH] = m[NOW]
    span = m[SPAN]
    m[SPAN] += SPAN_SIZE
    m[span + SPAN_STAGE], m[span + SPAN_AFTER] = stage, m[stage + AFTER]
    m[span + SPAN_START], m[span + SPAN_END] = m[stage + START], m[NOW]
    occurs(m, stage + OVER)
    size = m[LOSSES] - RESOURCE_SIZE - m[RESOURCES]
    if stage == m[BEFORE_FIRST]:
        advance(m, x)
        copy_words(m, m[RESOURCES], m[READINGS], size)
    if stage == m[LAST]:
        advance(m, x)
        copy_words(m, m[RESOURCES], m[READINGS] + size, size)
