"""The pipeline on its machine, compiled: what `run_pipeline` does in SimPy, event for event.

A line of `simulator.engine.pipeline`, `submission` and `hardware.machine` that yields stands here
as a step of a process: each process remembers the step at which it goes on. Events are ordered as
SimPy orders them (time, processes that begin first, then who was scheduled first), and sums are
made in the same order, so that spans and use are those of SimPy to the last bit;
`tests/engine/test_clockwork.py` holds that. What it does not take (`UncompiledError`) is left to
SimPy.

`m` and `x` are the words of a run as integers and as floats (`simulator.engine.memory`).
"""

from __future__ import annotations

from simulator._compiled import compiled, inner_kernel
from simulator.engine.fluid import advance, divide_again, end_jobs, start_job, wait_behind
from simulator.engine.memory import (
    AFTER,
    AFTERWARDS,
    AHEAD,
    ALL_OF,
    ALONE,
    AT,
    AWAITED,
    BEFORE,
    BEFORE_FIRST,
    BLOCK,
    BLOCK_OP,
    BLOCKED,
    BUSY,
    COMPLETE,
    COUNT,
    DONE,
    END,
    END_OF_ORDER,
    ENDED,
    FINISH,
    FIRST_FETCHED,
    FIRST_WAIT,
    FIRST_WAITER,
    FOLLOWER,
    FREE,
    FREE_PS,
    FRESH,
    GROUP,
    HEAD,
    HOST,
    JOBS,
    KIND,
    LANE,
    LANE_SIZE,
    LANES,
    LAST,
    LAST_WAITER,
    LATENCY,
    LEFT,
    LOSSES,
    MAY_START,
    MORE,
    NEED,
    NOW,
    OCCURRED,
    ONE_PROGRAM,
    OP,
    OP_SIZE,
    ORDER,
    OVER,
    OVERFLOW,
    PARENT,
    PROCESS_SIZE,
    PS,
    QUEUE,
    QUEUE_SIZE,
    QUEUED,
    RANK,
    READINGS,
    RESOURCE_SIZE,
    RESOURCES,
    REST,
    SCHEDULED,
    SPAN,
    SPAN_AFTER,
    SPAN_END,
    SPAN_SIZE,
    SPAN_STAGE,
    SPAN_START,
    SPARE,
    STAGE,
    STAGE_SIZE,
    STAGES,
    START,
    STEP,
    SUBMIT,
    UNUSED,
    USED,
    WAIT,
    WAITER,
    WAKE,
    WAKE_RANK,
    WHAT,
    WHOM,
    WITHIN,
    Floats,
    Int64s,
)

__all__ = ["run_clockwork"]

_PIPE, _HOST, _SUBMIT, _GROUP, _LANE, _FETCH, _MORE = range(7)
"""Kinds of processes: the stages of one number, the program of a host thread, the submissions of a
stage, those by one of several host threads, a lane, what is fetched, what is submitted later."""
_RESUME, _FIRE, _ONE_OF_ALL, _REST = range(4)
"""What happens: a process goes on; an event occurs; one of several that a process waits for; the
later submissions of its operation are made."""
_URGENT, _NORMAL = 0, 1 << 62
_LAST_PS = float(1 << 62)
_NEVER = 1 << 62
"""No wake-up is planned."""


@compiled
def run_clockwork(m: Int64s, x: Floats) -> None:
    """Run all stages to their end; `OVERFLOW` is set where times do not fit 64 bits."""
    m[WAKE] = _NEVER
    if m[ONE_PROGRAM]:
        process = _spawn(m, _HOST, 0, 0, 0)
        m[process + WAIT] = m[ORDER]
    for number in range(m[COUNT]):
        _spawn(m, _PIPE, m[STAGES] + number * STAGE_SIZE, 0, 0)
    while not m[OVERFLOW] and (m[QUEUED] or m[WAKE] != _NEVER):
        if m[WAKE] != _NEVER and not _is_before_wake(m):
            m[NOW] = m[WAKE]
            _wake(m, x)
            continue
        what, whom = _pop(m)
        if what == _RESUME:
            _go_on(m, x, whom)
        elif what == _ONE_OF_ALL:
            _count_down(m, whom)
        elif what == _REST:
            waited = m[whom + REST] == 1
            m[whom + REST] = 2
            if waited:
                _go_on(m, x, whom)
        else:
            _occur(m, x, whom)


@inner_kernel
def _occur(m: Int64s, x: Floats, event: int) -> None:
    """All that wait for an event go on, in the order in which they came."""
    m[event + OCCURRED] = 1
    entry = m[event + FIRST_WAITER]
    while entry:
        if m[entry + ALL_OF]:
            _count_down(m, m[entry + WAITER])
        else:
            _go_on(m, x, m[entry + WAITER])
        following = m[entry + FOLLOWER]
        m[entry + FOLLOWER] = m[SPARE]
        m[SPARE] = entry
        entry = following


@inner_kernel
def _is_before_wake(m: Int64s) -> bool:
    """Whether the next event comes before the operations that end."""
    first = m[QUEUE]
    if not m[QUEUED] or m[first + PS] > m[WAKE]:
        return False
    return bool(m[first + PS] < m[WAKE] or m[first + RANK] < m[WAKE_RANK])


@inner_kernel
def _wake(m: Int64s, x: Floats) -> None:
    """Operations end; the others get new speeds."""
    advance(m, x)
    ended = end_jobs(m, x)
    for number in range(ended):
        _push(m, m[NOW], _NORMAL, _RESUME, m[m[ENDED] + number])
    _divide(m, x)


@inner_kernel
def _divide(m: Int64s, x: Floats) -> None:
    """New speeds, and the next wake-up in place of the planned one."""
    m[WAKE] = _NEVER
    if not m[JOBS]:
        return
    wait = divide_again(m, x)
    if not wait < _LAST_PS - m[NOW]:
        m[OVERFLOW] = 1
        return
    m[WAKE] = m[NOW] + max(0, int(wait))
    m[WAKE_RANK] = _NORMAL + m[SCHEDULED]
    m[SCHEDULED] += 1


# the queue of what happens: a binary heap


@inner_kernel
def _push(m: Int64s, ps: int, priority: int, what: int, whom: int) -> None:
    rank = priority + m[SCHEDULED]
    m[SCHEDULED] += 1
    first, place = m[QUEUE], m[QUEUED]
    m[QUEUED] += 1
    while place:
        above = (place - 1) >> 1
        other = first + above * QUEUE_SIZE
        if m[other + PS] < ps or (m[other + PS] == ps and m[other + RANK] < rank):
            break
        _copy(m, other, first + place * QUEUE_SIZE, QUEUE_SIZE)
        place = above
    entry = first + place * QUEUE_SIZE
    m[entry + PS], m[entry + RANK] = ps, rank
    m[entry + WHAT], m[entry + WHOM] = what, whom


@inner_kernel
def _pop(m: Int64s) -> tuple[int, int]:
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
        _copy(m, below, first + place * QUEUE_SIZE, QUEUE_SIZE)
        place = (below - first) // QUEUE_SIZE
    _copy(m, last, first + place * QUEUE_SIZE, QUEUE_SIZE)
    return what, whom


@inner_kernel
def _is_earlier(m: Int64s, entry: int, other: int) -> bool:
    if m[entry + PS] != m[other + PS]:
        return bool(m[entry + PS] < m[other + PS])
    return bool(m[entry + RANK] < m[other + RANK])


@inner_kernel
def _copy(m: Int64s, source: int, target: int, size: int) -> None:
    for word in range(size):
        m[target + word] = m[source + word]


@inner_kernel
def _after(m: Int64s, ps: int, process: int) -> None:
    """The process goes on in `ps`."""
    if float(m[NOW]) + float(ps) < _LAST_PS:
        _push(m, m[NOW] + ps, _NORMAL, _RESUME, process)
    else:
        m[OVERFLOW] = 1


@inner_kernel
def _wait_for(m: Int64s, event: int, process: int, all_of: int) -> None:
    """Behind those that wait for `event` already."""
    entry = m[SPARE]
    m[SPARE] = m[entry + FOLLOWER]
    m[entry + WAITER], m[entry + ALL_OF], m[entry + FOLLOWER] = process, all_of, 0
    if m[event + FIRST_WAITER]:
        m[m[event + LAST_WAITER] + FOLLOWER] = entry
    else:
        m[event + FIRST_WAITER] = entry
    m[event + LAST_WAITER] = entry


@inner_kernel
def _occurs(m: Int64s, event: int) -> None:
    """An event occurs now, after all that was scheduled for now before."""
    _push(m, m[NOW], _NORMAL, _FIRE, event)


@inner_kernel
def _count_down(m: Int64s, process: int) -> None:
    """One of the events that a process waits for has occurred."""
    m[process + NEED] -= 1
    if not m[process + NEED]:
        _push(m, m[NOW], _NORMAL, _RESUME, process)


# processes


@inner_kernel
def _spawn(m: Int64s, kind: int, stage: int, at: int, parent: int) -> int:
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
    _push(m, m[NOW], _URGENT, _RESUME, process)
    return int(process)


@inner_kernel
def _go_on(m: Int64s, x: Floats, process: int) -> None:
    kind, over, tells = m[process + KIND], False, -1
    if kind == _PIPE:
        _pipe(m, x, process)
    elif kind == _LANE:
        over, tells = _lane(m, x, process), _ONE_OF_ALL
    elif kind == _MORE:
        over, tells = _submit_more(m, x, process, m[process + AT]), _REST
    elif kind == _FETCH:
        over = _fetch(m, x, process)
    elif kind == _SUBMIT:
        over = _submissions(m, x, process)
    elif kind == _GROUP:
        over, tells = _submit(m, x, process), _ONE_OF_ALL
    else:
        _host_program(m, x, process)
    if over:
        if tells >= 0:
            _push(m, m[NOW], _NORMAL, tells, m[process + PARENT])
        m[process + PARENT] = m[UNUSED]
        m[UNUSED] = process


@inner_kernel
def _pipe(m: Int64s, x: Floats, process: int) -> None:
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
                _spawn(m, _SUBMIT, stage, 0, 0)
            first, last = m[stage + LANE], m[stage + STAGE_SIZE + LANE]
            if last - first != LANE_SIZE:
                _start_lanes(m, process, stage)
                return
            m[process + STEP], m[process + WITHIN] = 2, 0
            m[process + AT], m[process + END] = m[first + OP], m[last + OP]
            m[process + BLOCK] = m[first + BLOCK_OP]
        if m[process + STEP] == 2 and not _lane(m, x, process):
            return
        _end(m, x, stage)
        m[process + STEP], m[process + STAGE] = 0, stage + m[COUNT] * STAGE_SIZE


@inner_kernel
def _wait_for_stages(m: Int64s, process: int, stage: int) -> None:
    """Until all stages before it are done."""
    begin, end = m[stage + BEFORE], m[stage + STAGE_SIZE + BEFORE]
    m[process + NEED] = end - begin
    for entry in range(begin, end):
        over = m[entry] + OVER
        if m[over + OCCURRED]:
            m[process + NEED] -= 1
        else:
            _wait_for(m, over, process, 1)
    if not m[process + NEED]:
        _push(m, m[NOW], _NORMAL, _RESUME, process)


@inner_kernel
def _start(m: Int64s, stage: int) -> None:
    """Note when a stage starts, and what ended last before it."""
    after = 0
    for entry in range(m[stage + BEFORE], m[stage + STAGE_SIZE + BEFORE]):
        other = m[entry]
        later = not after or m[other + FINISH] > m[after + FINISH]
        if later or (m[other + FINISH] == m[after + FINISH] and other > after):
            after = other
    m[stage + START], m[stage + AFTER] = m[NOW], after


@inner_kernel
def _start_lanes(m: Int64s, process: int, stage: int) -> None:
    """Lanes side by side; the stage goes on when all of them are done."""
    first, last = m[stage + LANE], m[stage + STAGE_SIZE + LANE]
    m[process + STEP], m[process + NEED] = 3, (last - first) // LANE_SIZE
    for lane in range(first, last, LANE_SIZE):
        child = _spawn(m, _LANE, stage, m[lane + OP], process)
        m[child + END], m[child + BLOCK] = m[lane + LANE_SIZE + OP], m[lane + BLOCK_OP]
    if first == last:
        _push(m, m[NOW], _NORMAL, _RESUME, process)


@inner_kernel
def _end(m: Int64s, x: Floats, stage: int) -> None:
    """A stage is done; use is read where the timed window opens and closes."""
    m[stage + FINISH] = m[NOW]
    span = m[SPAN]
    m[SPAN] += SPAN_SIZE
    m[span + SPAN_STAGE], m[span + SPAN_AFTER] = stage, m[stage + AFTER]
    m[span + SPAN_START], m[span + SPAN_END] = m[stage + START], m[NOW]
    _occurs(m, stage + OVER)
    size = m[LOSSES] - RESOURCE_SIZE - m[RESOURCES]
    if stage == m[BEFORE_FIRST]:
        advance(m, x)
        _copy(m, m[RESOURCES], m[READINGS], size)
    if stage == m[LAST]:
        advance(m, x)
        _copy(m, m[RESOURCES], m[READINGS] + size, size)


@inner_kernel
def _lane(m: Int64s, x: Floats, process: int) -> bool:
    """The operations of a lane: `StageSubmission.run_lane`; whether it has come to its end."""
    while m[process + AT] < m[process + END]:
        op, step = m[process + AT], m[process + WITHIN]
        if step == 0:  # until its first kernel was submitted, or all that lanes begin with
            event = op + MAY_START if m[op + HEAD] else m[process + STAGE] + AHEAD
            m[process + WAIT], m[process + WITHIN] = m[op + FIRST_WAIT], 4 if m[op + HEAD] else 1
            if not m[event + OCCURRED]:
                _wait_for(m, event, process, 0)
                return False
        elif step == 1:
            m[process + WITHIN] = 2
            if m[op + HOST] and m[op + SUBMIT]:
                _on_host(m, process, m[op + HOST], m[op + SUBMIT])
                return False
            m[process + WITHIN] = 3
        elif step == 2:
            _was_on_host(m, x, m[op + HOST], m[op + SUBMIT])
            m[process + WITHIN] = 3
        elif step == 3:
            wait_ps = wait_behind(m, x, op)
            m[process + WITHIN] = 5
            if wait_ps:
                _after(m, wait_ps, process)
                return False
        elif step == 5:
            m[process + REST], m[process + WITHIN] = 0, 4
            _spawn(m, _MORE, m[process + STAGE], op, process)
        elif step == 4:  # what it waits for in other lanes
            if m[process + WAIT] < m[op + OP_SIZE + FIRST_WAIT]:
                event = m[m[process + WAIT]] + DONE
                m[process + WAIT] += 1
                if not m[event + OCCURRED]:
                    _wait_for(m, event, process, 0)
                    return False
            else:
                m[process + WITHIN] = 6
                if m[op + LATENCY]:
                    _after(m, m[op + LATENCY], process)
                    return False
        elif step == 6:
            m[process + WITHIN] = 7
            if x[op + ALONE] > 0.0:
                start_job(m, x, op, process)
                _divide(m, x)
                return False
        elif step == 7:  # until all of its kernels were submitted
            m[process + WITHIN] = 10 if m[op + HEAD] else 8
            if m[op + HEAD]:
                if not m[op + COMPLETE + OCCURRED]:
                    _wait_for(m, op + COMPLETE, process, 0)
                    return False
            elif m[process + REST] != 2:
                m[process + REST] = 1
                return False
        elif step == 8:
            m[process + WITHIN] = 10
            if m[op + HOST] and m[op + AFTERWARDS]:
                m[process + WITHIN] = 9
                _on_host(m, process, m[op + HOST], m[op + AFTERWARDS])
                return False
        elif step == 9:
            _was_on_host(m, x, m[op + HOST], m[op + AFTERWARDS])
            m[process + WITHIN] = 10
        else:
            _done(m, process, op)
            m[process + AT], m[process + WITHIN] = op + OP_SIZE, 0
    return True


@inner_kernel
def _done(m: Int64s, process: int, op: int) -> None:
    """Others may go on: those that wait for an operation, and the host where nothing blocks it."""
    stage = m[process + STAGE]
    if m[op + AWAITED]:
        _occurs(m, op + DONE)
    if op == m[process + BLOCK]:
        m[stage + BLOCKED] -= 1
        if not m[stage + BLOCKED]:
            _occurs(m, stage + FREE)


@inner_kernel
def _on_host(m: Int64s, process: int, host: int, ps: int) -> None:
    """`ps` of a host thread, after all that it was given before."""
    begin = max(m[NOW], m[host + FREE_PS])
    if not float(begin) + float(ps) < _LAST_PS:
        m[OVERFLOW] = 1
        return
    m[host + FREE_PS] = begin + ps
    _after(m, begin + ps - m[NOW], process)


@inner_kernel
def _was_on_host(m: Int64s, x: Floats, host: int, ps: int) -> None:
    x[host + BUSY] += ps
    m[host + USED] = 1


@inner_kernel
def _fetch(m: Int64s, x: Floats, process: int) -> bool:
    """What was submitted reaches its processor, while the host goes on."""
    if m[process + STEP] == 0:
        m[process + STEP] = 1
        wait_ps = wait_behind(m, x, m[process + AT])
        if wait_ps:
            _after(m, wait_ps, process)
            return False
    _occurs(m, m[process + AT] + MAY_START)
    return True


@inner_kernel
def _host_program(m: Int64s, x: Floats, process: int) -> None:
    """One host thread submits stage after stage: `pipeline._Run.host_program`."""
    while m[process + WAIT] < m[END_OF_ORDER]:
        stage = m[process + STAGE] = m[m[process + WAIT]]
        if m[process + STEP] < 3:
            if not _submissions(m, x, process):
                return
            m[process + STEP] = 3
            if not m[stage + FREE + OCCURRED]:
                _wait_for(m, stage + FREE, process, 0)
                return
        m[process + STEP] = 0
        m[process + WAIT] += 1


@inner_kernel
def _submissions(m: Int64s, x: Floats, process: int) -> bool:
    """What the lanes of a stage begin with, by each host thread: `StageSubmission.submit`."""
    stage = m[process + STAGE]
    first, last = m[stage + GROUP], m[stage + STAGE_SIZE + GROUP]
    if m[process + STEP] == 0:
        m[process + STEP] = 2
        if last - first > 1:
            m[process + NEED] = last - first
            for group in range(first, last):
                child = _spawn(m, _GROUP, stage, m[group], process)
                m[child + END] = m[group + 1]
            return False
        if last > first:
            m[process + STEP], m[process + WITHIN] = 1, 0
            m[process + AT], m[process + END] = m[first], m[last]
    if m[process + STEP] == 1:
        if not _submit(m, x, process):
            return False
        m[process + STEP] = 2
    _occurs(m, stage + AHEAD)
    if not m[stage + BLOCKED]:
        _occurs(m, stage + FREE)
    return True


@inner_kernel
def _submit(m: Int64s, x: Floats, process: int) -> bool:
    """Operations one after the other: `StageSubmission._submit`."""
    while m[process + AT] < m[process + END]:
        op = m[m[process + AT]]
        if m[process + WITHIN] == 0:
            m[process + WITHIN] = 2
            if m[op + HOST] and m[op + SUBMIT]:
                m[process + WITHIN] = 1
                _on_host(m, process, m[op + HOST], m[op + SUBMIT])
                return False
        if m[process + WITHIN] == 1:
            _was_on_host(m, x, m[op + HOST], m[op + SUBMIT])
        if m[process + WITHIN] < 3:
            if m[op + FIRST_FETCHED] < m[op + OP_SIZE + FIRST_FETCHED]:
                _spawn(m, _FETCH, m[process + STAGE], op, 0)
            else:
                _occurs(m, op + MAY_START)
            m[process + WITHIN], m[process + LEFT], m[process + REST] = 3, m[op + MORE], 0
        if not _submit_more(m, x, process, op):
            return False
        _occurs(m, op + COMPLETE)
        m[process + AT], m[process + WITHIN] = m[process + AT] + 1, 0
    return True


@inner_kernel
def _submit_more(m: Int64s, x: Floats, process: int, op: int) -> bool:
    """The other kernels of an operation, each in its turn; `REST`: whether one is under way."""
    if m[process + KIND] == _MORE and m[process + WITHIN] == 0:
        m[process + WITHIN], m[process + LEFT] = 1, m[op + MORE]
    each = m[op + SUBMIT] if m[op + SUBMIT] else m[op + MORE]
    while m[process + LEFT] > 0:
        ps = min(each, m[process + LEFT])
        if m[op + HOST] and not m[process + REST]:
            m[process + REST] = 1
            _on_host(m, process, m[op + HOST], ps)
            return False
        if m[op + HOST]:
            _was_on_host(m, x, m[op + HOST], ps)
            m[process + REST] = 0
        m[process + LEFT] -= each
    return True
