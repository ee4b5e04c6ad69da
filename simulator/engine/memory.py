"""The memory of a compiled run: records of 8-byte words in one array, at addresses.

The array is seen as int64 and as float64: `m[op + SUBMIT]`, `x[op + ALONE]`. A field that is an
address leads to another record, or to the first of several, up to that of the next record. One
array instead of dozens, for every array that a kernel takes is compiled into each call.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# The head, from address 0: what is run, where a run is, and where records begin.
(
    COUNT,  # stages of a mini-batch
    ONE_PROGRAM,  # whether one host thread submits all stages, ahead of them where it can
    BEFORE_FIRST,  # last stages of the mini-batches whose ends open and close the timed window
    LAST,
    NOW,  # picoseconds
    SCHEDULED,  # events so far: of two at a time the one that was scheduled first comes first
    QUEUED,
    UNUSED,  # a process that ended, or 0; behind it (`PARENT`) the next
    FRESH,  # where no process has been yet
    SPARE,  # an entry of one that waited, or 0; behind it (`FOLLOWER`) the next
    WAITERS,  # where no entry has been yet
    SPAN,  # where the next span goes
    WAKE,  # when the first operation ends, and its rank among events of that time
    WAKE_RANK,
    OVERFLOW,  # times are too long
    BEGUN,  # whether stages run already
    REACHED,  # the last stage that one has come to, or a host thread
    PAUSE,  # the stage from which on a run pauses, for what comes behind is not there yet
    JOBS,  # operations under way
    SINCE,  # of the last division, picoseconds
    STAGES,
    LANES,
    OPS,
    SERVICES,
    FETCHED,
    LOADED,
    WAITS,
    GROUPS,
    TURNS,
    BEFORES,
    ORDER,
    RESOURCES,
    LOSSES,
    QUEUE,
    JOB,
    DIVISION,
    NAMED,
    ENDED,
    SPANS,
    READINGS,
    END_OF_ORDER,
    HEAD_SIZE,
) = range(42)

# An event: whether it has occurred, and the first and the last of those that wait for it.
OCCURRED, FIRST_WAITER, LAST_WAITER, EVENT_SIZE = range(4)
# One that waits: a process, whether for more than this event, and the next.
WAITER, ALL_OF, FOLLOWER, WAITER_SIZE = range(4)
# A stage of a mini-batch. BLOCKED: lanes with something that blocks the host and is not done.
LANE, GROUP, BEFORE, BLOCKED, START, FINISH, AFTER = range(7)
AHEAD, FREE, OVER = (7 + EVENT_SIZE * k for k in range(3))
STAGE_SIZE = 7 + 3 * EVENT_SIZE
# A lane: its first operation, and the last one that blocks the host (0: none).
OP, BLOCK_OP, LANE_SIZE = range(3)
# An operation. HEAD: it comes before the first that blocks; AWAITED: others wait for it;
# AFTERWARDS: time of the host once it is done. FIRST_...: of its records, up to
# that of the next operation.
(
    HOST,
    HEAD,
    AWAITED,
    LATENCY,
    SUBMIT,
    MORE,
    AFTERWARDS,
    POOL,
    FIRST_SERVICE,
    FIRST_FETCHED,
    FIRST_LOADED,
    FIRST_WAIT,
    ALONE,
) = range(13)
MAY_START, COMPLETE, DONE = (13 + EVENT_SIZE * k for k in range(3))
OP_SIZE = 13 + 3 * EVENT_SIZE
# A service of an operation; once that runs, TIME: of reads and writes, ASKED: the share of the
# resource that it takes alone. A resource that a submission waits behind; one that others load.
RESOURCE, READ, WRITE, BYTES, ENERGY, WRITTEN, TIME, ASKED, SERVICE_SIZE = range(9)
BEHIND, BEHIND_PS, FETCHED_SIZE = range(3)
LOADS, SLACK, OWN, ITSELF, LOADED_SIZE = range(5)
# A resource. PLACE: its record in the present division, 0 where it is not in use.
# FREE_PS: when a host thread has done what it was given. BUSY to WRITE_USE: `ResourceUse`.
# REQUESTERS: of a pool, operations under way that share it.
(
    USED,
    IS_POOL,
    FIRST_LOSS,
    PLACE,
    FREE_PS,
    BUSY,
    BYTES_USE,
    ENERGY_USE,
    HELD_USE,
    WRITE_USE,
    SLOWDOWN,
    READS,
    WRITES,
    REQUESTERS,
    RESOURCE_SIZE,
) = range(15)
# A point of a turnaround. An event in the queue. An operation under way. A span.
SHARE, LOSS, LOSS_SIZE = range(3)
PS, RANK, WHAT, WHOM, QUEUE_SIZE = range(5)
JOB_OP, JOB_PROCESS, JOB_LEFT, JOB_SPEED, JOB_SIZE = range(5)
SPAN_STAGE, SPAN_START, SPAN_END, SPAN_AFTER, SPAN_SIZE = range(5)
# A process. STEP, WITHIN: where it goes on. AT, END: operations. NEED: events that are still to
# come. LEFT: kernels to be submitted later (ps). REST: how far that is.
(
    KIND,
    STEP,
    WITHIN,
    STAGE,
    AT,
    END,
    WAIT,
    NEED,
    PARENT,
    BLOCK,
    LEFT,
    REST,
    PROCESS_SIZE,
) = range(13)

URGENT, NORMAL = 0, 1 << 62
"""Added to the number of an event: of two at a time, those of processes that begin come first."""
LAST_PS = float(1 << 62)
"""Times from here on are too long for 64 bits."""
NEVER = 1 << 62
"""`WAKE` where no wake-up is planned."""
