"""Host threads of a compiled run, and what they submit: `simulator.engine.submission`, step for
step."""

from __future__ import annotations

from simulator._compiled import inner_on_words
from simulator.engine.clockwork.queue import (
    FETCHING,
    GROUP_SUBMISSION,
    MORE_SUBMISSION,
    after,
    occurs,
    spawn,
    wait_for,
)
from simulator.engine.fluid import wait_behind
from simulator.engine.memory import (
    AHEAD,
    AT,
    BLOCKED,
    BUSY,
    COMPLETE,
    END,
    END_OF_ORDER,
    FIRST_FETCHED,
    FREE,
    FREE_PS,
    GROUP,
    HOST,
    KIND,
    LAST_PS,
    LEFT,
    MAY_START,
    MORE,
    NEED,
    NOW,
    OCCURRED,
    OP_SIZE,
    OVERFLOW,
    REACHED,
    REST,
    STAGE,
    STAGE_SIZE,
    STEP,
    SUBMIT,
    USED,
    WAIT,
    WITHIN,
    Floats,
    Int64s,
)

__all__ = [
    "fetch",
    "on_host",
    "submit_all",
    "submit_in_turn",
    "submit_more",
    "submit_stage",
    "was_on_host",
]


@inner_on_words
def on_host(m: Int64s, process: int, host: int, ps: int) -> None:
    """`ps` of a host thread, after all that it was given before."""
    begin = max(m[NOW], m[host + FREE_PS])
    if not float(begin) + float(ps) < LAST_PS:
        m[OVERFLOW] = 1
        return
    m[host + FREE_PS] = begin + ps
    after(m, begin + ps - m[NOW], process)


@inner_on_words
def was_on_host(m: Int64s, x: Floats, host: int, ps: int) -> None:
    x[host + BUSY] += ps
    m[host + USED] = 1


@inner_on_words
def fetch(m: Int64s, x: Floats, process: int) -> bool:
    """What was submitted reaches its processor, while the host goes on."""
    if m[process + STEP] == 0:
        m[process + STEP] = 1
        wait_ps = wait_behind(m, x, m[process + AT])
        if wait_ps:
            after(m, wait_ps, process)
            return False
    occurs(m, m[process + AT] + MAY_START)
    return True


@inner_on_words
def submit_all(m: Int64s, x: Floats, process: int) -> None:
    """One host thread submits stage after stage: `pipeline._Run.host_program`."""
    while m[process + WAIT] < m[END_OF_ORDER]:
        stage = m[process + STAGE] = m[m[process + WAIT]]
        m[REACHED] = max(m[REACHED], stage)
        if m[process + STEP] < 3:
            if not submit_stage(m, x, process):
                return
            m[process + STEP] = 3
            if not m[stage + FREE + OCCURRED]:
                wait_for(m, stage + FREE, process, 0)
                return
        m[process + STEP] = 0
        m[process + WAIT] += 1


@inner_on_words
def submit_stage(m: Int64s, x: Floats, process: int) -> bool:
    """What the lanes of a stage begin with, by each host thread: `StageSubmission.submit`."""
    stage = m[process + STAGE]
    first, last = m[stage + GROUP], m[stage + STAGE_SIZE + GROUP]
    if m[process + STEP] == 0:
        m[process + STEP] = 2
        if last - first > 1:
            m[process + NEED] = last - first
            for group in range(first, last):
                child = spawn(m, GROUP_SUBMISSION, stage, m[group], process)
                m[child + END] = m[group + 1]
            return False
        if last > first:
            m[process + STEP], m[process + WITHIN] = 1, 0
            m[process + AT], m[process + END] = m[first], m[last]
    if m[process + STEP] == 1:
        if not submit_in_turn(m, x, process):
            return False
        m[process + STEP] = 2
    occurs(m, stage + AHEAD)
    if not m[stage + BLOCKED]:
        occurs(m, stage + FREE)
    return True


@inner_on_words
def submit_in_turn(m: Int64s, x: Floats, process: int) -> bool:
    """Operations one after the other: `StageSubmission.submit_in_turn`."""
    while m[process + AT] < m[process + END]:
        op = m[m[process + AT]]
        if m[process + WITHIN] == 0:
            m[process + WITHIN] = 2
            if m[op + HOST] and m[op + SUBMIT]:
                m[process + WITHIN] = 1
                on_host(m, process, m[op + HOST], m[op + SUBMIT])
                return False
        if m[process + WITHIN] == 1:
            was_on_host(m, x, m[op + HOST], m[op + SUBMIT])
        if m[process + WITHIN] < 3:
            if m[op + FIRST_FETCHED] < m[op + OP_SIZE + FIRST_FETCHED]:
                spawn(m, FETCHING, m[process + STAGE], op, 0)
            else:
                occurs(m, op + MAY_START)
            m[process + WITHIN], m[process + LEFT], m[process + REST] = 3, m[op + MORE], 0
        if not submit_more(m, x, process, op):
            return False
        occurs(m, op + COMPLETE)
        m[process + AT], m[process + WITHIN] = m[process + AT] + 1, 0
    return True


@inner_on_words
def submit_more(m: Int64s, x: Floats, process: int, op: int) -> bool:
    """The other kernels of an operation, each in its turn; `REST`: whether one is under way."""
    if m[process + KIND] == MORE_SUBMISSION and m[process + WITHIN] == 0:
        m[process + WITHIN], m[process + LEFT] = 1, m[op + MORE]
    each = m[op + SUBMIT] if m[op + SUBMIT] else m[op + MORE]
    while m[process + LEFT] > 0:
        ps = min(each, m[process + LEFT])
        if m[op + HOST] and not m[process + REST]:
            m[process + REST] = 1
            on_host(m, process, m[op + HOST], ps)
            return False
        if m[op + HOST]:
            was_on_host(m, x, m[op + HOST], ps)
            m[process + REST] = 0
        m[process + LEFT] -= each
    return True
