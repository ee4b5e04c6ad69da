"""A compiled run from its begin to its end: whatever comes first happens."""

from __future__ import annotations

from simulator._compiled import inner_on_words, on_words
from simulator.engine.clockwork.hosts import (
    fetch,
    submit_all,
    submit_in_turn,
    submit_more,
    submit_stage,
)
from simulator.engine.clockwork.lanes import run_lane
from simulator.engine.clockwork.queue import (
    FETCHING,
    GROUP_SUBMISSION,
    HOST_PROGRAM,
    LANE_RUN,
    MORE_SUBMISSION,
    ONE_OF_ALL,
    PIPE,
    REST_SUBMITTED,
    RESUME,
    SUBMISSION,
    count_down,
    pop,
    push,
    spawn,
)
from simulator.engine.clockwork.stages import stages_of_a_number
from simulator.engine.fluid import advance, divide, end_jobs
from simulator.engine.memory import (
    ALL_OF,
    AT,
    BEGUN,
    COUNT,
    ENDED,
    FIRST_WAITER,
    FOLLOWER,
    KIND,
    NEVER,
    NORMAL,
    NOW,
    OCCURRED,
    ONE_PROGRAM,
    ORDER,
    OVERFLOW,
    PARENT,
    PAUSE,
    PS,
    QUEUE,
    QUEUED,
    RANK,
    REACHED,
    REST,
    SPARE,
    STAGE_SIZE,
    STAGES,
    UNUSED,
    WAIT,
    WAITER,
    WAKE,
    WAKE_RANK,
    Floats,
    Int64s,
)

__all__ = ["run_clockwork"]


@on_words
def run_clockwork(m: Int64s, x: Floats) -> None:
    """Run stages to their end, or until one comes to `PAUSE`: called again it goes on from there;
    `OVERFLOW` is set where times do not fit 64 bits."""
    if not m[BEGUN]:
        _begin(m)
    while not m[OVERFLOW] and m[REACHED] < m[PAUSE] and (m[QUEUED] or m[WAKE] != NEVER):
        if m[WAKE] != NEVER and not _is_before_wake(m):
            m[NOW] = m[WAKE]
            _wake(m, x)
            continue
        what, whom = pop(m)
        if what == RESUME:
            _go_on(m, x, whom)
        elif what == ONE_OF_ALL:
            count_down(m, whom)
        elif what == REST_SUBMITTED:
            waited = m[whom + REST] == 1
            m[whom + REST] = 2
            if waited:
                _go_on(m, x, whom)
        else:
            _occur(m, x, whom)


@inner_on_words
def _begin(m: Int64s) -> None:
    """The stages of each number start to wait for those before them."""
    m[BEGUN], m[WAKE] = 1, NEVER
    if m[ONE_PROGRAM]:
        process = spawn(m, HOST_PROGRAM, 0, 0, 0)
        m[process + WAIT] = m[ORDER]
    for number in range(m[COUNT]):
        spawn(m, PIPE, m[STAGES] + number * STAGE_SIZE, 0, 0)


@inner_on_words
def _occur(m: Int64s, x: Floats, event: int) -> None:
    """All that wait for an event go on, in the order in which they came."""
    m[event + OCCURRED] = 1
    entry = m[event + FIRST_WAITER]
    while entry:
        if m[entry + ALL_OF]:
            count_down(m, m[entry + WAITER])
        else:
            _go_on(m, x, m[entry + WAITER])
        following = m[entry + FOLLOWER]
        m[entry + FOLLOWER] = m[SPARE]
        m[SPARE] = entry
        entry = following


@inner_on_words
def _is_before_wake(m: Int64s) -> bool:
    """Whether the next event comes before the operations that end."""
    first = m[QUEUE]
    if not m[QUEUED] or m[first + PS] > m[WAKE]:
        return False
    return bool(m[first + PS] < m[WAKE] or m[first + RANK] < m[WAKE_RANK])


@inner_on_words
def _wake(m: Int64s, x: Floats) -> None:
    """Operations end; the others get new speeds."""
    advance(m, x)
    ended = end_jobs(m, x)
    for number in range(ended):
        push(m, m[NOW], NORMAL, RESUME, m[m[ENDED] + number])
    divide(m, x)


@inner_on_words
def _go_on(m: Int64s, x: Floats, process: int) -> None:
    kind, over, tells = m[process + KIND], False, -1
    if kind == PIPE:
        stages_of_a_number(m, x, process)
    elif kind == LANE_RUN:
        over, tells = run_lane(m, x, process), ONE_OF_ALL
    elif kind == MORE_SUBMISSION:
        over, tells = submit_more(m, x, process, m[process + AT]), REST_SUBMITTED
    elif kind == FETCHING:
        over = fetch(m, x, process)
    elif kind == SUBMISSION:
        over = submit_stage(m, x, process)
    elif kind == GROUP_SUBMISSION:
        over, tells = submit_in_turn(m, x, process), ONE_OF_ALL
    else:
        submit_all(m, x, process)
    if over:
        if tells >= 0:
            push(m, m[NOW], NORMAL, tells, m[process + PARENT])
        m[process + PARENT] = m[UNUSED]
        m[UNUSED] = process
