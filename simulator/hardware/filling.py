"""Progressive filling, compiled: speeds of operations that share resources, and the limits that
loaded memories set them (see `simulator.hardware.division`).

A division lies in an array of 8-byte words, seen as integers (`m`) and as floats (`x`): records at
addresses, so that a run keeps one room for all of its divisions. Sums are in the order of the
operations, so that results do not depend on how it is done.

Left out, where a division is not `WHOLE`: resources that would have room with every operation at
full speed, and bounds that would not hold anyone up there. No speed changes by that; what is left
of such a resource is not known then.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator._compiled import inner_on_words, on_words
from simulator.hardware.demand import loaded_latency

__all__ = ["FULL", "room_for", "settle"]

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

# A division, from its address on: operations and resources, how many and where the first one is;
# then where uses and bounds may lie, and lists of operations and of resources.
(
    WHOLE,
    JOBS,
    RESOURCES,
    JOB,
    USE,
    BOUND,
    RESOURCE,
    RISING,
    TIGHT,
    TIGHT_END,
    HEAD_SIZE,
) = range(11)
# An operation: its pool of requests (a resource, or 0), its uses and its bounds; SHARED: what the
# operations of its pool ask for in all, at least 1.
(
    POOL,
    WEIGHT,
    FIRST_USE,
    END_OF_USES,
    FIRST_BOUND,
    END_OF_BOUNDS,
    LIMIT,
    SPEED,
    MOVE,
    SHARED,
    HELD,
    JOB_SIZE,
) = range(12)
# A use: the share of the resource that a step of speed needs, and the share that it asks for alone.
USED, NEED, ASKED, USER, NEXT, USE_SIZE = range(6)
# A bound: the resource (0: not in use), how many times as fast its requests let the operation go,
# the share that it asks for there, the part of that which loads itself.
LOADED, SLACK, OWN, ITSELF, BOUND_SIZE = range(5)
# A resource: its turnaround, what is left, the load of those that rise and of all.
SLOW, ROOM, LOAD, WHOLE_LOAD, MOST, FIRST_USER, LAST_USER, RESOURCE_SIZE = range(8)

_ROUNDS = 8
"""Times that loads and latencies are set against each other, at most."""
_SETTLED = 1e-3
"""Move of a speed below which they agree."""
FULL = 1e-12
"""Speed below its limit at which an operation is there."""
_ROUNDING = 1e-9
"""More than sums of a division are rounded by."""
_latency = on_words(loaded_latency)


def room_for(jobs: int, uses: int, bounds: int, resources: int) -> tuple[dict[int, int], int]:
    """Where the parts of a division begin, for so many at most: the word of its head that leads
    there -> the address, counted from that of the head; and words in all."""
    sizes = {
        JOB: jobs * JOB_SIZE,
        USE: uses * USE_SIZE,
        BOUND: bounds * BOUND_SIZE,
        RESOURCE: resources * RESOURCE_SIZE,
        RISING: jobs,
        TIGHT: resources,
    }
    starts, end = {}, HEAD_SIZE
    for word, size in sizes.items():
        starts[word], end = end, end + size
    return starts, end


@on_words
def settle(m: Int64s, x: Floats, division: int) -> None:
    """Limits and speeds that agree with each other.

    Told are the counts of the head; of operations `POOL` to `END_OF_BOUNDS`; of uses `USED`, `NEED`
    and `ASKED`; all of bounds; `SLOW` of resources. Found are `LIMIT` and `SPEED`, and `ROOM` of
    a `WHOLE` division.
    """
    _meet(m, x, division)
    _find_tight(m, x, division)
    first = m[division + JOB]
    end = first + m[division + JOBS] * JOB_SIZE
    bound = False
    for job in range(first, end, JOB_SIZE):
        bound = _keep_bounds(m, x, division, job) or bound
    _fill(m, x, division)
    if not bound:
        return
    for number in range(_ROUNDS):
        most = 0.0
        for job in range(first, end, JOB_SIZE):
            if m[job + FIRST_BOUND] < m[job + END_OF_BOUNDS]:
                x[job + MOVE] = (_allowed(m, x, job) - x[job + LIMIT]) / (number + 1)
                most = max(most, abs(x[job + MOVE]))
        if most < _SETTLED:
            break
        for job in range(first, end, JOB_SIZE):
            if m[job + FIRST_BOUND] < m[job + END_OF_BOUNDS]:
                x[job + LIMIT] += x[job + MOVE]
        _fill(m, x, division)


@inner_on_words
def _meet(m: Int64s, x: Floats, division: int) -> None:
    """The users of each resource, in the order of operations, and what they load it with."""
    resource = m[division + RESOURCE]
    for _ in range(m[division + RESOURCES]):
        x[resource + WHOLE_LOAD] = x[resource + MOST] = 0.0
        m[resource + FIRST_USER] = 0
        resource += RESOURCE_SIZE
    job = m[division + JOB]
    for _ in range(m[division + JOBS]):
        weight = x[job + WEIGHT]
        x[job + LIMIT] = x[job + SPEED] = 1.0
        for use in range(m[job + FIRST_USE], m[job + END_OF_USES], USE_SIZE):
            resource, need = m[use + USED], x[use + NEED]
            m[use + USER], m[use + NEXT] = job, 0
            if m[resource + FIRST_USER]:
                m[m[resource + LAST_USER] + NEXT] = use
            else:
                m[resource + FIRST_USER] = use
            m[resource + LAST_USER] = use
            x[resource + WHOLE_LOAD] += need
            x[resource + MOST] += need / weight
        job += JOB_SIZE


@inner_on_words
def _find_tight(m: Int64s, x: Floats, division: int) -> None:
    """The resources that may be full, in their order."""
    whole, resource, end = m[division + WHOLE], m[division + RESOURCE], m[division + TIGHT]
    for _ in range(m[division + RESOURCES]):
        if whole or not x[resource + MOST] <= 1.0 - _ROUNDING:
            m[end] = resource
            end += 1
        resource += RESOURCE_SIZE
    m[division + TIGHT_END] = end


@inner_on_words
def _keep_bounds(m: Int64s, x: Floats, division: int, job: int) -> bool:
    """Leave out the bounds of an operation that hold it up at no speeds; whether any is left."""
    left = m[job + FIRST_BOUND]
    for bound in range(left, m[job + END_OF_BOUNDS], BOUND_SIZE):
        load = _load(m, x, job, bound) * (1.0 + _ROUNDING)
        if m[division + WHOLE] or not x[bound + SLACK] / _latency(load) >= 1.0:
            for word in range(BOUND_SIZE):
                m[left + word] = m[bound + word]
            left += BOUND_SIZE
    m[job + END_OF_BOUNDS] = left
    if left == m[job + FIRST_BOUND]:
        return False
    shared, pool = 1.0, m[job + POOL]
    if pool:
        total, use = 0.0, m[pool + FIRST_USER]
        while use:
            total += x[use + ASKED]
            use = m[use + NEXT]
        shared = max(1.0, total)
    x[job + SHARED] = shared
    return True


@inner_on_words
def _load(m: Int64s, x: Floats, job: int, bound: int) -> float:
    """Load of a bound's resource at present speeds."""
    resource, pool = m[bound + LOADED], m[job + POOL]
    others, slow = 0.0, 1.0
    if resource:
        slow, use = x[resource + SLOW], m[resource + FIRST_USER]
        while use:
            user = m[use + USER]
            if user != job and (not pool or m[user + POOL] != pool):
                others += x[user + SPEED] * x[use + ASKED]
            use = m[use + NEXT]
    return float((others + x[job + SPEED] * x[bound + OWN] * x[bound + ITSELF]) * slow)


@inner_on_words
def _allowed(m: Int64s, x: Floats, job: int) -> float:
    """Speed that the outstanding requests of an operation allow beside the present others."""
    fastest = 1.0
    for bound in range(m[job + FIRST_BOUND], m[job + END_OF_BOUNDS], BOUND_SIZE):
        fastest = min(fastest, x[bound + SLACK] / _latency(_load(m, x, job, bound)))
    if fastest == 1.0:
        return fastest
    return float(fastest / x[job + SHARED])  # it has its share of the requests of the pool


@inner_on_words
def _fill(m: Int64s, x: Floats, division: int) -> None:
    """Progressive filling."""
    first, tight, end = m[division + RISING], m[division + TIGHT], m[division + TIGHT_END]
    rising, job = m[division + JOBS], m[division + JOB]
    for number in range(rising):
        m[first + number], x[job + SPEED], m[job + HELD] = job, 0.0, 0
        job += JOB_SIZE
    for at in range(tight, end):
        resource = m[at]
        x[resource + ROOM], x[resource + LOAD] = 1.0, x[resource + WHOLE_LOAD]
    while rising:
        step = _step(m, x, first, rising, tight, end)
        left = 0
        for at in range(first, first + rising):
            job = m[at]
            x[job + SPEED] += step * x[job + WEIGHT]
            if m[job + HELD] or x[job + SPEED] >= x[job + LIMIT] - FULL:
                m[job + HELD] = 1
            else:
                m[first + left] = job
                left += 1
        rising = left
        if rising:
            _load_again(m, x, tight, end)


@inner_on_words
def _step(m: Int64s, x: Floats, first: int, rising: int, tight: int, end: int) -> float:
    """How far those that rise get until one is at its limit or a resource is full, whose users are
    held then; takes that off the room."""
    step, full = np.inf, 0
    for at in range(first, first + rising):
        job = m[at]
        step = min(step, (x[job + LIMIT] - x[job + SPEED]) / x[job + WEIGHT])
    for at in range(tight, end):
        resource = m[at]
        load = x[resource + LOAD]
        if load > 0.0 and x[resource + ROOM] / load < step:
            step, full = x[resource + ROOM] / load, resource
    for at in range(tight, end):
        resource = m[at]
        x[resource + ROOM] = max(0.0, x[resource + ROOM] - step * x[resource + LOAD])
    if full:
        use = m[full + FIRST_USER]
        while use:
            m[m[use + USER] + HELD] = 1
            use = m[use + NEXT]
    return float(step)


@inner_on_words
def _load_again(m: Int64s, x: Floats, tight: int, end: int) -> None:
    """What those that still rise load resources with."""
    for at in range(tight, end):
        load, use = 0.0, m[m[at] + FIRST_USER]
        while use:
            if not m[m[use + USER] + HELD]:
                load += x[use + NEED]
            use = m[use + NEXT]
        x[m[at] + LOAD] = load
