"""What happens next in a compiled run: a binary heap of what is scheduled, those that wait for
events, and processes that begin.

Of two at a time the one that was scheduled first comes first, behind processes that begin.
"""

from __future__ import annotations

from simulator._compiled import inner_on_words
from simulator.engine.memory import (
    ALL_OF,
    AT,
    FIRST_WAITER,
    FOLLOWER,
    FRESH,
    KIND,
    LAST_PS,
    LAST_WAITER,
    NEED,
    NORMAL,
    NOW,
    OVERFLOW,
    PARENT,
    PROCESS_SIZE,
    PS,
    QUEUE,
    QUEUE_SIZE,
    QUEUED,
    RANK,
    SCHEDULED,
    SPARE,
    STAGE,
    UNUSED,
    URGENT,
    WAITER,
    WAITER_SIZE,
    WAITERS,
    WHAT,
    WHOM,
    Int64s,
)

__all__ = [
    "FETCHING",
    "FIRE",
    "GROUP_SUBMISSION",
    "HOST_PROGRAM",
    "LANE_RUN",
    "MORE_SUBMISSION",
    "ONE_OF_ALL",
    "PIPE",
    "REST_SUBMITTED",
    "RESUME",
    "SUBMISSION",
    "after",
    "copy_words",
    "count_down",
    "occurs",
    "pop",
    "push",
    "spawn",
    "wait_for",
]

PIPE, HOST_PROGRAM, SUBMISSION, GROUP_SUBMISSION, LANE_RUN, FETCHING, MORE_SUBMISSION = range(7)
"""Kinds of processes: the stages of one number, the program of a host thread, the submissions of a
stage, those by one of several host threads, a lane, what is fetched, what is submitted later."""
RESUME, FIRE, ONE_OF_ALL, REST_SUBMITTED = range(4)
"""What happens: a process goes on; an event occurs; one of several that a process waits for; the
later submissions of its operation are made."""


@inner_on_words
def push(m: Int64s, ps: int, priority: int, what: int, whom: int) -> None:
    rank = priority + m[SCHEDULED]
    m[SCHEDULED] += 1
    first, place = m[QUEUE], m[QUEUED]
    m[QUEUED] += 1
    while place:
        above = (place - 1) >> 1
        other = first + above * QUEUE_SIZE
        if m[other + PS] < ps or (m[other + PS] == ps and m[other + RANK] < rank):
            break
        copy_words(m, other, first + place * QUEUE_SIZE, QUEUE_SIZE)
        place = above
    entry = first + place * QUEUE_SIZE
    m[entry + PS], m[entry + RANK] = ps, rank
    m[entry + WHAT], m[entry + WHOM] = what, whom


@inner_on_words
def pop(m: Int64s) -> tuple[int, int]:
    first = m[QUEUE]
    m[NOW] = m[first + PS]
    what, whom = m[first + WHAT], m[first + WHOM]
    m[QUEUED] -= 1
    count, place = m[QUEUED], 0
    last = first + count * QUEUE_SIZE
    while 2 * place + 1 < count:
        below = first + (2 * place + 1) * QUEUE_SIZE
        if 2 * place + 2 < count and _is_earlier(m, below + QUEUE_SIZE, below):
            below += QUEUE_SIZE
        if _is_earlier(m, last, below):
            break
        copy_words(m, below, first + place * QUEUE_SIZE, QUEUE_SIZE)
        place = (below - first) // QUEUE_SIZE
    copy_words(m, last, first + place * QUEUE_SIZE, QUEUE_SIZE)
    return what, whom


@inner_on_words
def _is_earlier(m: Int64s, entry: int, other: int) -> bool:
    if m[entry + PS] != m[other + PS]:
        return bool(m[entry + PS] < m[other + PS])
    return bool(m[entry + RANK] < m[other + RANK])


@inner_on_words
def copy_words(m: Int64s, source: int, target: int, size: int) -> None:
    for word in range(size):
        m[target + word] = m[source + word]


@inner_on_words
def after(m: Int64s, ps: int, process: int) -> None:
    """The process goes on in `ps`."""
    if float(m[NOW]) + float(ps) < LAST_PS:
        push(m, m[NOW] + ps, NORMAL, RESUME, process)
    else:
        m[OVERFLOW] = 1


@inner_on_words
def wait_for(m: Int64s, event: int, process: int, all_of: int) -> None:
    """Behind those that wait for `event` already."""
    entry = m[SPARE]
    if entry:
        m[SPARE] = m[entry + FOLLOWER]
    else:
        entry = m[WAITERS]
        m[WAITERS] += WAITER_SIZE
    m[entry + WAITER], m[entry + ALL_OF], m[entry + FOLLOWER] = process, all_of, 0
    if m[event + FIRST_WAITER]:
        m[m[event + LAST_WAITER] + FOLLOWER] = entry
    else:
        m[event + FIRST_WAITER] = entry
    m[event + LAST_WAITER] = entry


@inner_on_words
def occurs(m: Int64s, event: int) -> None:
    """An event occurs now, after all that was scheduled for now before."""
    push(m, m[NOW], NORMAL, FIRE, event)


@inner_on_words
def count_down(m: Int64s, process: int) -> None:
    """One of the events that a process waits for has occurred."""
    m[process + NEED] -= 1
    if not m[process + NEED]:
        push(m, m[NOW], NORMAL, RESUME, process)


@inner_on_words
def spawn(m: Int64s, kind: int, stage: int, at: int, parent: int) -> int:
    """A process that begins before anything else happens."""
    process = m[UNUSED]
    if process:
        m[UNUSED] = m[process + PARENT]
    else:
        process = m[FRESH]
        m[FRESH] += PROCESS_SIZE
    for word in range(PROCESS_SIZE):
        m[process + word] = 0
    m[process + KIND], m[process + STAGE], m[process + AT] = kind, stage, at
    m[process + PARENT] = parent
    push(m, m[NOW], URGENT, RESUME, process)
    return int(process)
