"""State that both controller kernels share: one flat int64 array, and what lies where in it.

One array, because a compiled function takes one array for nothing and fifty for a price, and
because a kernel then keeps its whole state between the chunks of a stream. Names below are
offsets: `s[BL]` is a gate, `s[o + N_READ]` belongs to the channel at offset `o`,
`s[o + b + RD_B]` to its bank `b`, `s[slot + ROW]` to a request. A bank's number in its channel is
`((unit * stack_ids + stack_id) * bank_groups + bank_group) * banks_per_group + bank`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.hardware.devices.dram import MAX_BANKS, MAX_UNITS
from simulator.hardware.dram.clocks import (
    BANKS,
    CHANNELS,
    CQ,
    GATES,
    GROUPS,
    READS,
    REFI,
    SIDS,
    UNITS,
    WRITES,
)

__all__ = ["BIG", "INF", "LOSSES", "MAX_BANKS", "new_state"]

Ints = npt.NDArray[np.int64]

INF = 1 << 62  # the key of "no candidate"
BIG = 1 << 60  # the time of "never"

# The head of the array: gates and shape (see clocks.py), then counters.
STATS = 64
SEQ = STATS  # requests accepted
READ = STATS + 1
WRITE = STATS + 2
HITS = STATS + 3
ACTS = STATS + 4
PRES = STATS + 5
REFS = STATS + 6
LATENCY = STATS + 7  # sum over reads, ticks
LAST = STATS + 9  # tick at which the last data ended
LOGGED = STATS + 10
LOG_AT = STATS + 11  # where the log starts
LOG_SIZE = STATS + 12  # commands it holds
STRIDE = STATS + 13  # from one channel to the next
N_BANKS = STATS + 14  # banks of a channel
UNIT_BANKS = STATS + 15  # banks of a unit
ANY_WRITE = STATS + 25  # a write has been accepted
UNIT_SHIFT = STATS + 28  # log2 of the banks of a unit, of a bank group
GROUP_SHIFT = STATS + 29
KINDS = STATS + 30  # 1: reads have been accepted, 2: writes, 3: both
NEVER = STATS + 31  # BIG, as a value: numba would compile all anew for the literal
EVENTS_AT = STATS + 32  # where the ticks of the channels' next events lie, side by side
CHANGED_AT = STATS + 33  # where the channels that changed since lie
N_CHANGED = STATS + 34
LAST_SEEN = STATS + 35  # the stream has ended: the last writes are drained
SHARED = STATS + 26  # reads served without a burst of their own; then writes
LOSS = STATS + 16  # first of the lost ticks by cause
REFRESH, ACTIVATE, GROUP, TURN, CYCLE, QUEUE, OFFERED, COMMAND = range(8)
HEADER = 128
LOG_WORDS = 5  # tick, channel, command, bank, sequence number

LOSSES = (
    "refresh",
    "activate rate",
    "bank-group spacing",
    "read/write turnaround",
    "bank conflicts (row cycle)",
    "queue depth",
    "offered load",
    "command bus",
)

# A channel: its own integers,
NOW_COL = 0  # first tick at which a column command may issue
NOW_ROW = 1  # first tick at which a row command may issue
N_READ = 2  # requests in the read queue
N_WRITE = 3
MODE = 4  # 1: writes are served
NEXT_REF = 5
REF_UNIT = 6  # unit whose refresh is under way, -1: none
EV_T = 7  # tick of the next event
KEY_COL = 8
KEY_ROW = 9
N_ACTIVE = 10
FREE_SLOT = 11  # first of the unused slots
DIRTY = 12  # state changed since the next event was found
RR = 13  # bank served last (round robin)
DRAIN = 14  # writes left to drain
NEXT_MOVE = 15  # first tick at which a request may move to a command queue
N_QUEUED = 16  # requests in command queues
INDEX = 17  # number of the channel
# its units (pseudo-channels x ranks),
RD_U = 32  # first tick of a read, as far as the unit says
WR_U = RD_U + MAX_UNITS
ACT_U = WR_U + MAX_UNITS
PRE_U = ACT_U + MAX_UNITS
REF_U = PRE_U + MAX_UNITS
TURN_RD = REF_U + MAX_UNITS  # when the last write lets reads go on
TURN_WR = TURN_RD + MAX_UNITS
REF_END = TURN_WR + MAX_UNITS
BUS_END = REF_END + MAX_UNITS  # when the data bus becomes free
FAW_U = BUS_END + MAX_UNITS  # the last four activates
# its bank groups,
RD_G = FAW_U + 4 * MAX_UNITS  # last read
WR_G = RD_G + MAX_BANKS
ACT_G = WR_G + MAX_BANKS
# its banks (the six that decide the next command lie together),
RD_B = ACT_G + MAX_BANKS  # first tick of a read, as far as bank and bank group say
WR_B = RD_B + MAX_BANKS
ACT_B = WR_B + MAX_BANKS
PRE_B = ACT_B + MAX_BANKS
C_KEY = PRE_B + MAX_BANKS  # keys of the commands that the bank offers
A_KEY = C_KEY + MAX_BANKS
P_KEY = A_KEY + MAX_BANKS
W_KEY = P_KEY + MAX_BANKS
OPEN_ROW = W_KEY + MAX_BANKS
HIT = OPEN_ROW + MAX_BANKS  # oldest request that hits the open row, 0: none
MISS = HIT + MAX_BANKS  # oldest that does not
ACTIVE = MISS + MAX_BANKS  # request whose activate is under way, 0: none
ALIST = ACTIVE + MAX_BANKS  # banks with such a request
LAST_ACT = ALIST + MAX_BANKS
LAST_PRE = LAST_ACT + MAX_BANKS
WHY_ACT = LAST_PRE + MAX_BANKS
WHY_PRE = WHY_ACT + MAX_BANKS
LATE_ACT = WHY_PRE + MAX_BANKS  # ticks from the opening of its last gate to the activate
HEAD = LATE_ACT + MAX_BANKS  # queues of reads, then of writes
TAIL = HEAD + 2 * MAX_BANKS
FIRST = TAIL + 2 * MAX_BANKS  # command queues
FINAL = FIRST + MAX_BANKS
LENGTH = FINAL + MAX_BANKS
SERVED = LENGTH + MAX_BANKS  # bursts since the activate
SLOTS = SERVED + MAX_BANKS
# and its slots.
ROW = 0
COLUMN = 1
NUMBER = 2  # sequence number
ARRIVE = 3
KIND = 4  # 0: read, 1: write
TOUCHED = 5  # an activate or precharge was issued for it: not a row hit
WAS_OFFERED = 6  # arrived when it was offered: no full queue held it back
NEXT = 7
PREV = 8
SAME = 9  # further reads of this address, served with it
SAME_ARRIVED = 10  # sum of the ticks at which they were accepted
SLOT_WORDS = 11

_PAST = (LAST_ACT, LAST_PRE)


def new_state(gates: Ints, shape: Ints, log: int = 0) -> Ints:
    """The state of idle channels with closed banks; the first `log` commands are recorded."""
    channels, units = int(shape[CHANNELS - GATES]), int(shape[UNITS - GATES])
    banks = units * int(shape[SIDS - GATES] * shape[GROUPS - GATES] * shape[BANKS - GATES])
    queues = int(shape[READS - GATES] + shape[WRITES - GATES])
    pool = queues + banks * int(max(1, shape[CQ - GATES]))
    stride = SLOTS + SLOT_WORDS * pool
    end = HEADER + channels * stride
    s = np.zeros(end + 2 * channels + LOG_WORDS * log, dtype=np.int64)
    s[:GATES] = gates
    s[GATES : GATES + len(shape)] = shape
    s[STRIDE], s[N_BANKS], s[UNIT_BANKS] = stride, banks, banks // units
    s[UNIT_SHIFT] = (banks // units).bit_length() - 1
    s[GROUP_SHIFT] = int(shape[BANKS - GATES]).bit_length() - 1
    s[NEVER] = BIG
    s[EVENTS_AT], s[CHANGED_AT], s[N_CHANGED] = end, end + channels, channels
    s[LOG_AT], s[LOG_SIZE] = end + 2 * channels, log
    for c in range(channels):
        o = HEADER + c * stride
        s[end + channels + c] = o
        _idle_channel(s[o : o + stride], o, int(gates[REFI]), pool)
        s[o + INDEX] = c
    return s


def _idle_channel(channel: Ints, offset: int, refi: int, pool: int) -> None:
    channel[NOW_COL] = channel[NOW_ROW] = 1
    channel[NEXT_REF] = refi
    channel[REF_UNIT] = -1
    channel[DIRTY] = 1
    channel[EV_T] = BIG
    channel[TURN_RD:BUS_END] = -BIG
    channel[FAW_U:RD_B] = -BIG
    channel[C_KEY:OPEN_ROW] = INF
    channel[OPEN_ROW:HIT] = -1
    for field in _PAST:
        channel[field : field + MAX_BANKS] = -BIG
    slots = np.arange(pool) * SLOT_WORDS + SLOTS
    channel[FREE_SLOT] = offset + SLOTS
    channel[slots[:-1] + NEXT] = offset + slots[1:]
