"""What a command does, the same for every scheduler: gates it closes, slots, and lost time.

`o` is the offset of a channel in the state, `b` a bank of it, `i = o + b`, `t` the tick.

Lost time is charged inside the kernel, by mechanism: each burst that finds its data bus idle
charges the idle ticks to the gate that opened last for it; ticks that passed after that gate had
opened go to the command bus (it carried other commands first). A burst that waited for its own
activate passes on what that activate waited for, and so does an activate that waited for its
precharge. Gates: refresh; activate rate (tRRD, tFAW); bank-group spacing (tCCD); turnaround (tWTR,
read to write); row cycle (tRAS, tRTP, tWR, tRC); the request's own arrival, which is the queue's
depth if a full queue held it back and the offered load if not.
"""

from __future__ import annotations

from simulator.hardware.dram import clocks as k
from simulator.hardware.dram import state as m
from simulator.hardware.dram._inline import helper, inlined
from simulator.hardware.dram.state import Ints

__all__ = ["ACT", "PRE", "PREA", "RD", "REF", "WR"]

RD, WR, ACT, PRE, PREA, REF = range(6)


@helper
def record(s: Ints, t: int, o: int, command: int, bank: int, number: int) -> None:
    """Keep a command in the log, while there is room."""
    i = s[m.LOGGED]
    if i < s[m.LOG_SIZE]:
        at = s[m.LOG_AT] + i * m.LOG_WORDS
        s[at] = t
        s[at + 1] = s[o + m.INDEX]
        s[at + 2] = command
        s[at + 3] = bank
        s[at + 4] = number
        s[m.LOGGED] = i + 1


@inlined
def changed(s: Ints, o: int) -> None:
    """Note that the channel's next event must be found afresh."""
    if not s[o + m.DIRTY]:
        s[o + m.DIRTY] = 1
        s[s[m.CHANGED_AT] + s[m.N_CHANGED]] = o
        s[m.N_CHANGED] += 1


@inlined
def next_event(s: Ints) -> int:
    """Tick of the next event of any channel."""
    t: int = s[m.NEVER]
    for i in range(s[m.EVENTS_AT], s[m.EVENTS_AT] + s[k.CHANNELS]):
        t = min(t, s[i])
    return t


@inlined
def take_slot(s: Ints, o: int, row: int, column: int, kind: int, t: int, due: int) -> int:
    """A slot for a request accepted at `t` that was due at `due`."""
    slot: int = s[o + m.FREE_SLOT]
    s[o + m.FREE_SLOT] = s[slot + m.NEXT]
    s[slot + m.ROW] = row
    s[slot + m.COLUMN] = column
    s[slot + m.NUMBER] = s[m.SEQ]
    s[slot + m.ARRIVE] = t
    s[slot + m.KIND] = kind
    s[slot + m.TOUCHED] = 0
    s[slot + m.WAS_OFFERED] = 1 if due == t and due > 0 else 0
    s[slot + m.SAME] = s[slot + m.SAME_ARRIVED] = 0
    return slot


@inlined
def release_slot(s: Ints, o: int, slot: int) -> None:
    """Give a slot back."""
    s[slot + m.NEXT] = s[o + m.FREE_SLOT]
    s[o + m.FREE_SLOT] = slot


@inlined
def append(s: Ints, slot: int, head: int, tail: int) -> None:
    """Put `slot` at the end of the queue with these ends."""
    last = s[tail]
    s[slot + m.PREV] = last
    s[slot + m.NEXT] = 0
    s[tail] = slot
    if last:
        s[last + m.NEXT] = slot
    else:
        s[head] = slot


@inlined
def unlink(s: Ints, slot: int, head: int, tail: int) -> None:
    """Take `slot` out of the queue with these ends."""
    before, after = s[slot + m.PREV], s[slot + m.NEXT]
    if before:
        s[before + m.NEXT] = after
    else:
        s[head] = after
    if after:
        s[after + m.PREV] = before
    else:
        s[tail] = before


@inlined
def _absent(s: Ints, slot: int) -> int:
    """The cause of lost time while a request was not there: a full queue, or no demand."""
    return m.OFFERED if s[slot + m.WAS_OFFERED] else m.QUEUE


@helper
def charge(s: Ints, o: int, b: int, slot: int, t: int) -> None:
    """Charge the idle time of the data bus before this burst to the gate that opened last."""
    unit = b >> s[m.UNIT_SHIFT]
    bus = o + unit & -s[k.RANKS]
    u = o + unit
    group = o + (b >> s[m.GROUP_SHIFT])
    write = s[slot + m.KIND] != 0
    start = t + (s[k.CWL] if write else s[k.CL] - s[k.BL])
    gap = start - s[bus + m.BUS_END]
    s[bus + m.BUS_END] = start + s[k.BL]
    if gap <= 0:
        return
    i = o + b
    opened = s[i + m.LAST_ACT] + (s[k.ACT_WR] if write else s[k.ACT_RD])
    why, late = s[i + m.WHY_ACT], s[i + m.LATE_ACT]
    turn = s[u + m.TURN_WR] if write else max(s[u + m.TURN_RD], s[group + m.WR_G] + s[k.WR_L])
    if turn > opened:
        opened, why, late = turn, m.TURN, 0
    spaced = s[group + m.WR_G] + s[k.WW_L] if write else s[group + m.RD_G] + s[k.RR_L]
    spaced = max(spaced, s[u + m.WR_U] if write else s[u + m.RD_U])
    if spaced > opened:
        opened, why, late = spaced, m.GROUP, 0
    if s[slot + m.ARRIVE] + 1 > opened:
        opened, why, late = s[slot + m.ARRIVE] + 1, _absent(s, slot), 0
    late = min(gap, late + t - opened)
    s[m.LOSS + m.COMMAND] += late
    s[m.LOSS + why] += gap - late


@inlined
def read_gates(s: Ints, o: int, b: int, t: int) -> None:
    """Close the gates that a read of bank `b` closes."""
    u = o + (b >> s[m.UNIT_SHIFT])
    group = b >> s[m.GROUP_SHIFT]
    first = o + group * s[k.BANKS]
    s[u + m.RD_U] = max(s[u + m.RD_U], t + min(s[k.RR_S], s[k.RR_R]))
    s[u + m.WR_U] = max(s[u + m.WR_U], t + s[k.RW])
    s[u + m.TURN_WR] = t + s[k.RW]
    s[o + group + m.RD_G] = t
    gate = t + s[k.RR_L]
    for j in range(first, first + s[k.BANKS]):
        s[j + m.RD_B] = max(s[j + m.RD_B], gate)
    s[o + b + m.PRE_B] = max(s[o + b + m.PRE_B], t + s[k.RD_PRE])
    s[m.LAST] = max(s[m.LAST], t + s[k.CL])


@inlined
def write_gates(s: Ints, o: int, b: int, t: int) -> None:
    """Close the gates that a write of bank `b` closes."""
    u = o + (b >> s[m.UNIT_SHIFT])
    group = b >> s[m.GROUP_SHIFT]
    first = o + group * s[k.BANKS]
    s[u + m.WR_U] = max(s[u + m.WR_U], t + min(s[k.WW_S], s[k.WW_R]))
    s[u + m.RD_U] = max(s[u + m.RD_U], t + s[k.WR_S])
    s[u + m.TURN_RD] = t + s[k.WR_S]
    s[o + group + m.WR_G] = t
    write_gate, read_gate = t + s[k.WW_L], t + s[k.WR_L]
    for j in range(first, first + s[k.BANKS]):
        s[j + m.WR_B] = max(s[j + m.WR_B], write_gate)
        s[j + m.RD_B] = max(s[j + m.RD_B], read_gate)
    s[o + b + m.PRE_B] = max(s[o + b + m.PRE_B], t + s[k.WR_PRE])
    s[m.LAST] = max(s[m.LAST], t + s[k.CWL] + s[k.BL])


@helper
def other_sids(s: Ints, o: int, b: int, write: bool, t: int) -> None:
    """Column spacing within a stack identifier and to the others of its unit."""
    banks = s[m.UNIT_BANKS] // s[k.SIDS]
    unit = b >> s[m.UNIT_SHIFT]
    own = b // banks
    near, far = (s[k.WW_S], s[k.WW_R]) if write else (s[k.RR_S], s[k.RR_R])
    field = m.WR_B if write else m.RD_B
    for sid in range(unit * s[k.SIDS], (unit + 1) * s[k.SIDS]):
        gate = t + (near if sid == own else far)
        for j in range(o + sid * banks, o + (sid + 1) * banks):
            s[j + field] = max(s[j + field], gate)


@helper
def other_ranks(s: Ints, o: int, b: int, write: bool, t: int) -> None:
    """The data bus changes hands between ranks."""
    unit = b >> s[m.UNIT_SHIFT]
    first = unit & -s[k.RANKS]
    for v in range(first, first + s[k.RANKS]):
        if v != unit:
            u = o + v
            s[u + m.RD_U] = max(s[u + m.RD_U], t + (s[k.WR_X] if write else s[k.RR_X]))
            s[u + m.WR_U] = max(s[u + m.WR_U], t + (s[k.WW_S] if write else s[k.RR_X]))


@helper
def column(s: Ints, o: int, b: int, slot: int, t: int) -> None:
    """All that the column command of `slot` does to gates and counters."""
    charge(s, o, b, slot, t)
    write = s[slot + m.KIND] != 0
    if write:
        write_gates(s, o, b, t)
        s[m.WRITE] += 1
    else:
        read_gates(s, o, b, t)
        reads = 1 + s[slot + m.SAME]
        s[m.READ] += reads
        s[m.LATENCY] += reads * (t + s[k.CL]) - s[slot + m.ARRIVE] - s[slot + m.SAME_ARRIVED]
    if s[k.SIDS] > 1:
        other_sids(s, o, b, write, t)
    if s[k.RANKS] > 1:
        other_ranks(s, o, b, write, t)
    record(s, t, o, WR if write else RD, b, s[slot + m.NUMBER])


@helper
def activate(s: Ints, o: int, b: int, slot: int, t: int) -> None:
    """All that the activate for `slot` does to gates and counters."""
    u = o + (b >> s[m.UNIT_SHIFT])
    i = o + b
    group = b >> s[m.GROUP_SHIFT]
    opened, why = s[u + m.REF_END], m.REFRESH
    rate = max(s[u + m.ACT_U], s[o + group + m.ACT_G] + s[k.RRD_L])
    if rate > opened:
        opened, why = rate, m.ACTIVATE
    if s[i + m.LAST_PRE] + s[k.PRE_ACT] > opened:
        opened, why = s[i + m.LAST_PRE] + s[k.PRE_ACT], s[i + m.WHY_PRE]
    if s[i + m.LAST_ACT] + s[k.ACT_ACT] > opened:
        opened, why = s[i + m.LAST_ACT] + s[k.ACT_ACT], m.CYCLE
    if s[slot + m.ARRIVE] + 1 > opened:
        opened, why = s[slot + m.ARRIVE] + 1, _absent(s, slot)
    s[i + m.WHY_ACT] = why
    s[i + m.LATE_ACT] = t - opened
    s[i + m.OPEN_ROW] = s[slot + m.ROW]
    s[i + m.LAST_ACT] = t
    s[o + group + m.ACT_G] = t
    f = o + m.FAW_U + 4 * (b >> s[m.UNIT_SHIFT])
    s[u + m.ACT_U] = max(s[u + m.ACT_U], max(t + s[k.RRD_S], s[f + 1] + s[k.FAW]))
    s[f], s[f + 1], s[f + 2], s[f + 3] = s[f + 1], s[f + 2], s[f + 3], t
    first = o + group * s[k.BANKS]
    gate = t + s[k.RRD_L]
    for j in range(first, first + s[k.BANKS]):
        s[j + m.ACT_B] = max(s[j + m.ACT_B], gate)
    s[i + m.ACT_B] = max(s[i + m.ACT_B], t + s[k.ACT_ACT])
    s[i + m.RD_B] = max(s[i + m.RD_B], t + s[k.ACT_RD])
    s[i + m.WR_B] = max(s[i + m.WR_B], t + s[k.ACT_WR])
    s[i + m.PRE_B] = max(s[i + m.PRE_B], t + s[k.ACT_PRE])
    s[u + m.REF_U] = max(s[u + m.REF_U], t + s[k.ACT_REF])
    s[m.ACTS] += 1
    record(s, t, o, ACT, b, s[slot + m.NUMBER])


@helper
def precharge(s: Ints, o: int, b: int, slot: int, t: int) -> None:
    """All that the precharge of bank `b` does; `slot` is the request it serves, 0: a refresh."""
    u = o + (b >> s[m.UNIT_SHIFT])
    i = o + b
    came_late = slot and s[slot + m.ARRIVE] + 1 > s[i + m.PRE_B]
    s[i + m.WHY_PRE] = _absent(s, slot) if came_late else m.CYCLE
    s[i + m.LAST_PRE] = t
    s[i + m.OPEN_ROW] = -1
    s[i + m.ACT_B] = max(s[i + m.ACT_B], t + s[k.PRE_ACT])
    s[u + m.PRE_U] = max(s[u + m.PRE_U], t + s[k.PRE_PRE])
    s[u + m.REF_U] = max(s[u + m.REF_U], t + s[k.PRE_REF])
    s[m.PRES] += 1
    record(s, t, o, PRE, b, s[slot + m.NUMBER] if slot else -1)


@helper
def precharge_all(s: Ints, o: int, unit: int, t: int) -> None:
    """Close every bank of a unit with one command."""
    first = o + unit * s[m.UNIT_BANKS]
    for i in range(first, first + s[m.UNIT_BANKS]):
        if s[i + m.OPEN_ROW] >= 0:
            s[i + m.OPEN_ROW] = -1
            s[m.PRES] += 1
    u = o + unit
    s[u + m.REF_U] = max(s[u + m.REF_U], t + s[k.PRE_REF])
    s[u + m.ACT_U] = max(s[u + m.ACT_U], t + s[k.PRE_ACT])
    s[u + m.PRE_U] = max(s[u + m.PRE_U], t + s[k.PRE_PRE])
    record(s, t, o, PREA, unit, -1)


@helper
def refresh(s: Ints, o: int, unit: int, t: int) -> None:
    """Refresh a unit, all of whose banks are closed."""
    u = o + unit
    s[u + m.ACT_U] = max(s[u + m.ACT_U], t + s[k.REF_ACT])
    s[u + m.REF_U] = max(s[u + m.REF_U], t + s[k.REF_ACT])
    s[u + m.REF_END] = t + s[k.REF_ACT]
    s[m.REFS] += 1
    record(s, t, o, REF, unit, -1)
