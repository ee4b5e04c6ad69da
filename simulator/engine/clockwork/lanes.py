"""Operations of lanes in a compiled run, one after the other: `StageSubmission.run_lane`, step for
step."""

from __future__ import annotations

from simulator._compiled import inner_on_words
from simulator.engine.clockwork.hosts import on_host, was_on_host
from simulator.engine.clockwork.queue import MORE_SUBMISSION, after, occurs, spawn, wait_for
from simulator.engine.fluid import divide, start_job, wait_behind
from simulator.engine.memory import (
    AFTERWARDS,
    AHEAD,
    ALONE,
    AT,
    AWAITED,
    BLOCK,
    BLOCKED,
    COMPLETE,
    DONE,
    END,
    FIRST_WAIT,
    FREE,
    HEAD,
    HOST,
    LATENCY,
    MAY_START,
    OCCURRED,
    OP_SIZE,
    REST,
    STAGE,
    SUBMIT,
    WAIT,
    WITHIN,
    Floats,
    Int64s,
)

__all__ = ["run_lane"]


@inner_on_words
def run_lane(m: Int64s, x: Floats, process: int) -> bool:
    """The operations of a lane: `StageSubmission.run_lane`; whether it has come to its end."""
    while m[process + AT] < m[process + END]:
        op, step = m[process + AT], m[process + WITHIN]
        if step == 0:  # until its first kernel was submitted, or all that lanes begin with
            event = op + MAY_START if m[op + HEAD] else m[process + STAGE] + AHEAD
            m[process + WAIT], m[process + WITHIN] = m[op + FIRST_WAIT], 4 if m[op + HEAD] else 1
            if not m[event + OCCURRED]:
                wait_for(m, event, process, 0)
                return False
        elif step == 1:
            m[process + WITHIN] = 2
            if m[op + HOST] and m[op + SUBMIT]:
                on_host(m, process, m[op + HOST], m[op + SUBMIT])
                return False
            m[process + WITHIN] = 3
        elif step == 2:
            was_on_host(m, x, m[op + HOST], m[op + SUBMIT])
            m[process + WITHIN] = 3
        elif step == 3:
            wait_ps = wait_behind(m, x, op)
            m[process + WITHIN] = 5
            if wait_ps:
                after(m, wait_ps, process)
                return False
        elif step == 5:
            m[process + REST], m[process + WITHIN] = 0, 4
            spawn(m, MORE_SUBMISSION, m[process + STAGE], op, process)
        elif step == 4:  # what it waits for in other lanes
            if m[process + WAIT] < m[op + OP_SIZE + FIRST_WAIT]:
                event = m[m[process + WAIT]] + DONE
                m[process + WAIT] += 1
                if not m[event + OCCURRED]:
                    wait_for(m, event, process, 0)
                    return False
            else:
                m[process + WITHIN] = 6
                if m[op + LATENCY]:
                    after(m, m[op + LATENCY], process)
                    return False
        elif step == 6:
            m[process + WITHIN] = 7
            if x[op + ALONE] > 0.0:
                start_job(m, x, op, process)
                divide(m, x)
                return False
        elif step == 7:  # until all of its kernels were submitted
            m[process + WITHIN] = 10 if m[op + HEAD] else 8
            if m[op + HEAD]:
                if not m[op + COMPLETE + OCCURRED]:
                    wait_for(m, op + COMPLETE, process, 0)
                    return False
            elif m[process + REST] != 2:
                m[process + REST] = 1
                return False
        elif step == 8:
            m[process + WITHIN] = 10
            if m[op + HOST] and m[op + AFTERWARDS]:
                m[process + WITHIN] = 9
                on_host(m, process, m[op + HOST], m[op + AFTERWARDS])
                return False
        elif step == 9:
            was_on_host(m, x, m[op + HOST], m[op + AFTERWARDS])
            m[process + WITHIN] = 10
        else:
            _done(m, process, op)
            m[process + AT], m[process + WITHIN] = op + OP_SIZE, 0
    return True


@inner_on_words
def _done(m: Int64s, process: int, op: int) -> None:
    """Others may go on: those that wait for an operation, and the host where nothing blocks it."""
    stage = m[process + STAGE]
    if m[op + AWAITED]:
        occurs(m, op + DONE)
    if op == m[process + BLOCK]:
        m[stage + BLOCKED] -= 1
        if not m[stage + BLOCKED]:
            occurs(m, stage + FREE)
