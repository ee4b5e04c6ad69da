"""Operations that share resources, compiled: what `hardware.machine.Machine` does, sum for sum.

`m` and `x` are the words of a run as integers and as floats (`simulator.engine.memory`).
"""

from __future__ import annotations

import numpy as np

from simulator._compiled import inner_on_words
from simulator.engine.memory import (
    ALONE,
    ASKED,
    BEHIND,
    BEHIND_PS,
    BUSY,
    BYTES,
    BYTES_USE,
    DIVISION,
    ENDED,
    ENERGY,
    ENERGY_USE,
    FETCHED_SIZE,
    FIRST_FETCHED,
    FIRST_LOADED,
    FIRST_LOSS,
    FIRST_SERVICE,
    HELD_USE,
    IS_POOL,
    ITSELF,
    JOB,
    JOB_LEFT,
    JOB_OP,
    JOB_PROCESS,
    JOB_SIZE,
    JOB_SPEED,
    JOBS,
    LAST_PS,
    LOADED_SIZE,
    LOADS,
    LOSS,
    LOSS_SIZE,
    NAMED,
    NEVER,
    NORMAL,
    NOW,
    OP_SIZE,
    OVERFLOW,
    OWN,
    PLACE,
    POOL,
    READ,
    READS,
    REQUESTERS,
    RESOURCE,
    RESOURCE_SIZE,
    SCHEDULED,
    SERVICE_SIZE,
    SHARE,
    SINCE,
    SLACK,
    SLOWDOWN,
    TIME,
    USED,
    WAKE,
    WAKE_RANK,
    WRITE,
    WRITE_USE,
    WRITES,
    WRITTEN,
    Floats,
    Int64s,
)
from simulator.hardware import filling
from simulator.hardware.filling import settle
from simulator.hardware.machine import DONE_PS

__all__ = ["advance", "divide", "end_jobs", "start_job", "wait_behind"]


@inner_on_words
def start_job(m: Int64s, x: Floats, op: int, process: int) -> None:
    """An operation runs from now on, for `process`; speeds are those of before."""
    for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
        m[m[service + RESOURCE] + USED] = 1
        x[service + TIME] = x[service + READ] + x[service + WRITE]
        x[service + ASKED] = x[service + TIME] / x[op + ALONE]
    advance(m, x)
    job = m[JOB] + m[JOBS] * JOB_SIZE
    m[JOBS] += 1
    m[job + JOB_OP], m[job + JOB_PROCESS] = op, process
    x[job + JOB_LEFT] = x[op + ALONE]


@inner_on_words
def advance(m: Int64s, x: Floats) -> None:
    """Account for what happened since the last division."""
    elapsed = m[NOW] - m[SINCE]
    m[SINCE] = m[NOW]
    if not elapsed:
        return
    end = m[JOB] + m[JOBS] * JOB_SIZE
    for job in range(m[JOB], end, JOB_SIZE):
        op = m[job + JOB_OP]
        done_ps = min(x[job + JOB_SPEED] * elapsed, x[job + JOB_LEFT])
        x[job + JOB_LEFT] -= done_ps
        share = done_ps / x[op + ALONE]
        for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
            resource = m[service + RESOURCE]
            x[resource + BUSY] += share * x[service + TIME] * x[resource + SLOWDOWN]
            x[resource + BYTES_USE] += share * x[service + BYTES]
            x[resource + ENERGY_USE] += share * x[service + ENERGY]
            x[resource + WRITE_USE] += share * x[service + WRITTEN]
    _hold(m, x, elapsed)


@inner_on_words
def _hold(m: Int64s, x: Floats, elapsed: int) -> None:
    """Threads of pools are held at whatever speed their operations run."""
    end = m[JOB] + m[JOBS] * JOB_SIZE
    for last in (False, True):
        for job in range(m[JOB], end, JOB_SIZE):
            op = m[job + JOB_OP]
            first, behind = m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE]
            for service in range(first, behind, SERVICE_SIZE):
                resource = m[service + RESOURCE]
                if not x[service + TIME] or not m[resource + IS_POOL]:
                    continue
                if not last:
                    x[resource + READS] += x[service + ASKED]
                elif x[resource + READS]:
                    x[resource + HELD_USE] += elapsed * min(1.0, x[resource + READS])
                    x[resource + READS] = 0.0


@inner_on_words
def end_jobs(m: Int64s, x: Floats) -> int:
    """Take away the operations that are done; how many, their processes from `ENDED` on."""
    ended, left = 0, m[JOB]
    for job in range(m[JOB], m[JOB] + m[JOBS] * JOB_SIZE, JOB_SIZE):
        if x[job + JOB_LEFT] <= DONE_PS * max(1.0, x[job + JOB_SPEED]):
            m[m[ENDED] + ended] = m[job + JOB_PROCESS]
            ended += 1
            continue
        for word in range(JOB_SIZE):
            m[left + word] = m[job + word]
        left += JOB_SIZE
    m[JOBS] -= ended
    return ended


@inner_on_words
def wait_behind(m: Int64s, x: Floats, op: int) -> int:
    """Picoseconds that the read of what was submitted waits behind copies: `Machine.fetch`."""
    advance(m, x)
    total, end = 0.0, m[JOB] + m[JOBS] * JOB_SIZE
    for entry in range(m[op + FIRST_FETCHED], m[op + OP_SIZE + FIRST_FETCHED], FETCHED_SIZE):
        load, left_ps = 0.0, 0.0
        for job in range(m[JOB], end, JOB_SIZE):
            own = m[job + JOB_OP]
            first, behind = m[own + FIRST_SERVICE], m[own + OP_SIZE + FIRST_SERVICE]
            for service in range(first, behind, SERVICE_SIZE):
                if m[service + RESOURCE] == m[entry + BEHIND] and x[service + TIME]:
                    share = x[job + JOB_SPEED] * x[service + ASKED]
                    load += share
                    if share:
                        left_ps = max(left_ps, x[job + JOB_LEFT] / x[job + JOB_SPEED])
        total += min(load * x[m[entry + BEHIND] + SLOWDOWN] * x[entry + BEHIND_PS], left_ps)
    return int(np.rint(total))


@inner_on_words
def divide(m: Int64s, x: Floats) -> None:
    """New speeds, and the next wake-up in place of the planned one."""
    m[WAKE] = NEVER
    if not m[JOBS]:
        return
    wait = _speeds(m, x)
    if not wait < LAST_PS - m[NOW]:
        m[OVERFLOW] = 1
        return
    m[WAKE] = m[NOW] + max(0, int(wait))
    m[WAKE_RANK] = NORMAL + m[SCHEDULED]
    m[SCHEDULED] += 1


@inner_on_words
def _speeds(m: Int64s, x: Floats) -> float:
    """Give every operation its speed; picoseconds until the first one ends."""
    division = m[DIVISION]
    _name_resources(m, x, division)
    job, use, bound = (
        m[division + filling.JOB],
        m[division + filling.USE],
        m[division + filling.BOUND],
    )
    m[division + filling.JOBS] = m[JOBS]
    end = m[JOB] + m[JOBS] * JOB_SIZE
    for running in range(m[JOB], end, JOB_SIZE):
        op = m[running + JOB_OP]
        pool = m[op + POOL]
        m[job + filling.POOL], x[job + filling.WEIGHT] = 0, 1.0
        if pool:
            m[job + filling.POOL] = m[pool + PLACE]
            x[job + filling.WEIGHT] = 1.0 / x[pool + REQUESTERS]
        m[job + filling.FIRST_USE], m[job + filling.FIRST_BOUND] = use, bound
        use, bound = _uses(m, x, op, x[job + filling.WEIGHT], use), _bounds(m, x, op, bound)
        m[job + filling.END_OF_USES], m[job + filling.END_OF_BOUNDS] = use, bound
        job += filling.JOB_SIZE
    settle(m, x, division)
    first, job = np.inf, m[division + filling.JOB]
    for running in range(m[JOB], end, JOB_SIZE):
        x[running + JOB_SPEED] = x[job + filling.SPEED]
        first = min(first, x[running + JOB_LEFT] / x[running + JOB_SPEED])
        job += filling.JOB_SIZE
    for number in range(m[division + filling.RESOURCES]):
        m[m[m[NAMED] + number] + PLACE] = 0
    return float(np.ceil(first - DONE_PS))


@inner_on_words
def _uses(m: Int64s, x: Floats, op: int, weight: float, use: int) -> int:
    """Put what an operation uses at `use`; the end of it."""
    for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
        if x[service + TIME]:
            resource = m[service + RESOURCE]
            slow, need = x[resource + SLOWDOWN], x[service + ASKED]
            if weight != 1.0 or slow != 1.0:
                need = weight * x[service + TIME] * slow / x[op + ALONE]
            m[use + filling.USED] = m[resource + PLACE]
            x[use + filling.NEED], x[use + filling.ASKED] = need, x[service + ASKED]
            use += filling.USE_SIZE
    return use


@inner_on_words
def _bounds(m: Int64s, x: Floats, op: int, bound: int) -> int:
    """Put the memories whose load holds an operation up at `bound`; the end of it."""
    for entry in range(m[op + FIRST_LOADED], m[op + OP_SIZE + FIRST_LOADED], LOADED_SIZE):
        m[bound + filling.LOADED] = m[m[entry + LOADS] + PLACE]
        x[bound + filling.SLACK], x[bound + filling.OWN] = x[entry + SLACK], x[entry + OWN]
        x[bound + filling.ITSELF] = x[entry + ITSELF]
        bound += filling.BOUND_SIZE
    return bound


@inner_on_words
def _name_resources(m: Int64s, x: Floats, division: int) -> None:
    """Give the resources in use their places, and the turnaround factor of each under the present
    mix."""
    first, known = m[division + filling.RESOURCE], 0
    for job in range(m[JOB], m[JOB] + m[JOBS] * JOB_SIZE, JOB_SIZE):
        op = m[job + JOB_OP]
        alone_ps = x[op + ALONE]
        for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
            resource = m[service + RESOURCE]
            if not m[resource + PLACE]:
                m[resource + PLACE] = first + known * filling.RESOURCE_SIZE
                m[m[NAMED] + known] = resource
                x[resource + REQUESTERS] = 0.0
                known += 1
            if m[resource + FIRST_LOSS] < m[resource + RESOURCE_SIZE + FIRST_LOSS]:
                x[resource + READS] += x[service + READ] / alone_ps
                x[resource + WRITES] += x[service + WRITE] / alone_ps
        if m[op + POOL]:
            x[m[op + POOL] + REQUESTERS] += 1.0
    m[division + filling.RESOURCES] = known
    for number in range(known):
        resource = m[m[NAMED] + number]
        x[resource + SLOWDOWN] = x[m[resource + PLACE] + filling.SLOW] = _factor(m, x, resource)
        x[resource + READS] = x[resource + WRITES] = 0.0


@inner_on_words
def _factor(m: Int64s, x: Floats, resource: int) -> float:
    """`Turnaround.factor` of a resource."""
    read, write = x[resource + READS], x[resource + WRITES]
    begin, end = m[resource + FIRST_LOSS], m[resource + RESOURCE_SIZE + FIRST_LOSS]
    if begin == end or read <= 0.0 or write <= 0.0:
        return 1.0
    writes = write / (read + write)
    left, low, right, high = 0.0, 0.0, 1.0, 0.0
    for point in range(begin, end, LOSS_SIZE):
        if writes <= x[point + SHARE]:
            right, high = x[point + SHARE], x[point + LOSS]
            break
        left, low = x[point + SHARE], x[point + LOSS]
    way = (writes - left) / (right - left)
    return float(1.0 + low * (1.0 - way) + high * way)
