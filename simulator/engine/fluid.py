"""Operations that share resources, compiled: what `hardware.machine.Machine` does, sum for sum.

`m` and `x` are the words of a run as integers and as floats (`simulator.engine.memory`).
"""

from __future__ import annotations

import numpy as np

from simulator._compiled import inner_kernel
from simulator.engine.memory import (
    ALONE,
    BEHIND,
    BEHIND_PS,
    BUSY,
    BYTES,
    BYTES_USE,
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
    LOADED_SIZE,
    LOADS,
    LOSS,
    LOSS_SIZE,
    NAMED,
    NOW,
    NUMBER,
    OP_SIZE,
    OWN,
    POOL,
    READ,
    READS,
    RESOURCE,
    RESOURCE_SIZE,
    SERVICE_SIZE,
    SHARE,
    SINCE,
    SLACK,
    SLOWDOWN,
    USED,
    WRITE,
    WRITE_USE,
    WRITES,
    WRITTEN,
    Floats,
    Int64s,
)
from simulator.hardware.division import settle
from simulator.hardware.machine import DONE_PS

__all__ = ["advance", "divide_again", "end_jobs", "start_job", "wait_behind"]


@inner_kernel
def start_job(m: Int64s, x: Floats, op: int, process: int) -> None:
    """An operation runs from now on, for `process`; speeds are those of before."""
    for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
        m[m[service + RESOURCE] + USED] = 1
    advance(m, x)
    job = m[JOB] + m[JOBS] * JOB_SIZE
    m[JOBS] += 1
    m[job + JOB_OP], m[job + JOB_PROCESS] = op, process
    x[job + JOB_LEFT] = x[op + ALONE]


@inner_kernel
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
            resource, ps = m[service + RESOURCE], x[service + READ] + x[service + WRITE]
            x[resource + BUSY] += share * ps * x[resource + SLOWDOWN]
            x[resource + BYTES_USE] += share * x[service + BYTES]
            x[resource + ENERGY_USE] += share * x[service + ENERGY]
            x[resource + WRITE_USE] += share * x[service + WRITTEN]
    _hold(m, x, elapsed)


@inner_kernel
def _hold(m: Int64s, x: Floats, elapsed: int) -> None:
    """Threads of pools are held at whatever speed their operations run."""
    end = m[JOB] + m[JOBS] * JOB_SIZE
    for last in (False, True):
        for job in range(m[JOB], end, JOB_SIZE):
            op = m[job + JOB_OP]
            first, behind = m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE]
            for service in range(first, behind, SERVICE_SIZE):
                resource, ps = m[service + RESOURCE], x[service + READ] + x[service + WRITE]
                if not ps or not m[resource + IS_POOL]:
                    continue
                if not last:
                    x[resource + READS] += ps / x[op + ALONE]
                elif x[resource + READS]:
                    x[resource + HELD_USE] += elapsed * min(1.0, x[resource + READS])
                    x[resource + READS] = 0.0


@inner_kernel
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


@inner_kernel
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
                ps = x[service + READ] + x[service + WRITE]
                if m[service + RESOURCE] == m[entry + BEHIND] and ps:
                    share = x[job + JOB_SPEED] * (ps / x[own + ALONE])
                    load += share
                    if share:
                        left_ps = max(left_ps, x[job + JOB_LEFT] / x[job + JOB_SPEED])
        total += min(load * x[m[entry + BEHIND] + SLOWDOWN] * x[entry + BEHIND_PS], left_ps)
    return int(np.rint(total))


@inner_kernel
def divide_again(m: Int64s, x: Floats) -> float:
    """Give every operation its speed; picoseconds until the first one ends."""
    count, uses, bound = m[JOBS], 0, 0
    for job in range(count):
        op = m[m[JOB] + job * JOB_SIZE + JOB_OP]
        uses += m[op + OP_SIZE + FIRST_SERVICE] - m[op + FIRST_SERVICE]
        bound += m[op + OP_SIZE + FIRST_LOADED] - m[op + FIRST_LOADED]
    slow = _slowdowns(m, x)
    pool, weight = np.full(count, -1, np.int64), np.ones(count)
    requesters = np.zeros(len(slow), np.int64)
    for job in range(count):
        shared = m[m[m[JOB] + job * JOB_SIZE + JOB_OP] + POOL]
        if shared:
            pool[job] = m[shared + NUMBER]
            requesters[pool[job]] += 1
    start, bounds = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    resource, owner = np.empty(uses, np.int64), np.empty(uses, np.int64)
    need, asked = np.empty(uses), np.empty(uses)
    place, slack = np.empty(bound, np.int64), np.empty(bound)
    own, itself = np.empty(bound), np.empty(bound)
    uses = bound = 0
    for job in range(count):
        op = m[m[JOB] + job * JOB_SIZE + JOB_OP]
        alone_ps = x[op + ALONE]
        if pool[job] >= 0:
            weight[job] = 1.0 / requesters[pool[job]]
        for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
            ps = x[service + READ] + x[service + WRITE]
            if ps:
                number = m[m[service + RESOURCE] + NUMBER]
                resource[uses], owner[uses] = number, job
                asked[uses] = ps / alone_ps
                need[uses] = weight[job] * ps * slow[number] / alone_ps
                uses += 1
        for entry in range(m[op + FIRST_LOADED], m[op + OP_SIZE + FIRST_LOADED], LOADED_SIZE):
            place[bound] = m[m[entry + LOADS] + NUMBER]
            slack[bound], own[bound] = x[entry + SLACK], x[entry + OWN]
            itself[bound] = x[entry + ITSELF]
            bound += 1
        start[job + 1], bounds[job + 1] = uses, bound
    limit, speed, room = np.ones(count), np.zeros(count), np.ones(len(slow))
    settle(
        (start, resource[:uses], need[:uses], asked[:uses], owner[:uses]),
        (weight, pool),
        (bounds, place[:bound], slack[:bound], own[:bound], itself[:bound]),
        slow,
        limit,
        speed,
        room,
    )
    first = np.inf
    for job in range(count):
        where = m[JOB] + job * JOB_SIZE
        x[where + JOB_SPEED] = speed[job]
        first = min(first, x[where + JOB_LEFT] / speed[job])
    for number in range(len(slow)):
        m[m[m[NAMED] + number] + NUMBER] = -1
    return float(np.ceil(first - DONE_PS))


@inner_kernel
def _slowdowns(m: Int64s, x: Floats) -> Floats:
    """Number the resources in use; the turnaround factor of each under the present mix."""
    known = 0
    for job in range(m[JOB], m[JOB] + m[JOBS] * JOB_SIZE, JOB_SIZE):
        op = m[job + JOB_OP]
        alone_ps = x[op + ALONE]
        for service in range(m[op + FIRST_SERVICE], m[op + OP_SIZE + FIRST_SERVICE], SERVICE_SIZE):
            resource = m[service + RESOURCE]
            if m[resource + NUMBER] < 0:
                m[resource + NUMBER], m[m[NAMED] + known] = known, resource
                known += 1
            x[resource + READS] += x[service + READ] / alone_ps
            x[resource + WRITES] += x[service + WRITE] / alone_ps
    slow = np.empty(known)
    for number in range(known):
        resource = m[m[NAMED] + number]
        slow[number] = x[resource + SLOWDOWN] = _factor(m, x, resource)
        x[resource + READS] = x[resource + WRITES] = 0.0
    return slow


@inner_kernel
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
