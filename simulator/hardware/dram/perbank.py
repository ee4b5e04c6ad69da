"""Controller with one command queue a bank, served round robin: an exact event-driven kernel.

Modelled: a read and a write queue in front of short command queues, one request moved a clock;
each bank offers, in the order of its queue, the first command that is ready; a row closes for the
head of the queue if no queued request hits it any more or it has served `row_hit_cap` bursts;
banks take turns; writes drain in batches; all-bank refresh as soon as the banks are closed, one
by one; read forwarding, write coalescing, optional merging of outstanding reads of one address;
one command a clock, with separate buses one column and one row command. Drives one
pseudo-channel and one rank. `reference.py` holds the same rules tick by tick.

A write whose address an older read still waits for does not move before it; reads move instead.
"""

from __future__ import annotations

from simulator._compiled import compiled
from simulator.hardware.dram import clocks as k
from simulator.hardware.dram import issue
from simulator.hardware.dram import state as m
from simulator.hardware.dram._inline import helper, inlined, raw
from simulator.hardware.dram.state import INF, Ints

__all__ = ["run"]

# A key: ticks from now << DT | banks until its turn << TURN | order in its queue << 2 | command.
DT, TURN = 43, 8
READ, WRITE, ACTIVATE, PRECHARGE, REFRESH = range(5)
ORDER = 3


@helper
def _depends(s: Ints, slot: int) -> bool:
    """True if an older read in the same command queue wants the address that `slot` writes."""
    other = s[slot + m.PREV]
    while other:
        if (
            s[other + m.KIND] == 0
            and s[other + m.ROW] == s[slot + m.ROW]
            and s[other + m.COLUMN] == s[slot + m.COLUMN]
        ):
            return True
        other = s[other + m.PREV]
    return False


@helper
def _set_keys(s: Ints, o: int, b: int) -> None:
    """The commands that bank `b` offers: precharge or activate, first read hit, first write hit."""
    i = o + b
    head = s[i + m.FIRST]
    row = s[i + m.OPEN_ROW]
    s[i + m.C_KEY] = s[i + m.W_KEY] = s[i + m.A_KEY] = s[i + m.P_KEY] = INF
    if row < 0:
        if head:
            s[i + m.A_KEY] = ACTIVATE
        return
    read = write = 0
    hits = 0
    slot = head
    while slot and not (read and write):
        if s[slot + m.ROW] == row:
            hits += 1
            if s[slot + m.KIND] == 0:
                if not read:
                    read = slot
                    s[i + m.C_KEY] = (hits << ORDER) | READ
            elif not write and not _depends(s, slot):
                write = slot
                s[i + m.W_KEY] = (hits << ORDER) | WRITE
        slot = s[slot + m.NEXT]
    s[i + m.HIT] = read
    s[i + m.MISS] = write
    if head and s[head + m.ROW] != row and (hits == 0 or s[i + m.SERVED] >= s[k.CAP]):
        s[i + m.P_KEY] = PRECHARGE


@inlined
def _plan_banks(s: Ints, o: int, now: int) -> int:
    """Least key of all that the banks offer: soonest, then next in turn, then in queue order."""
    best = INF
    start = o + s[o + m.RR] + 1
    last = s[m.N_BANKS] - 1
    read, write = max(now, s[o + m.RD_U]), max(now, s[o + m.WR_U])
    act, pre = max(now, s[o + m.ACT_U]), max(now, s[o + m.PRE_U])
    for i in range(o, o + s[m.N_BANKS]):
        turn = ((i - start) & last) << TURN
        best = min(best, ((max(s[i + m.RD_B], read) - now) << DT) + turn + s[i + m.C_KEY])
        best = min(best, ((max(s[i + m.WR_B], write) - now) << DT) + turn + s[i + m.W_KEY])
        best = min(best, ((max(s[i + m.ACT_B], act) - now) << DT) + turn + s[i + m.A_KEY])
        best = min(best, ((max(s[i + m.PRE_B], pre) - now) << DT) + turn + s[i + m.P_KEY])
    return best


@helper
def _plan_refresh(s: Ints, o: int, now: int) -> int:
    """Key of the next step of a refresh: the first open bank that may close, or the refresh."""
    best = INF
    for b in range(s[m.N_BANKS]):
        if s[o + b + m.OPEN_ROW] >= 0:
            t = max(now, max(s[o + b + m.PRE_B], s[o + m.PRE_U]))
            turn = (b - s[o + m.RR] - 1) & (s[m.N_BANKS] - 1)
            best = min(best, ((t - now) << DT) + (b << 16) + (turn << TURN) + PRECHARGE)
    if best == INF:
        best = ((max(now, s[o + m.REF_U]) - now) << DT) + REFRESH
    return best


@inlined
def _set_drain(s: Ints, o: int) -> None:
    reads, writes = s[o + m.N_READ], s[o + m.N_WRITE]
    if s[o + m.DRAIN] == 0 and (writes >= s[k.WRITES] or (reads == 0 and writes >= s[k.BATCH])):
        s[o + m.DRAIN] = writes


@helper
def _mover(s: Ints, o: int, kind: int) -> int:
    """Bank of the oldest waiting request of this kind whose command queue has room, -1: none."""
    best = s[m.NEVER]
    bank = -1
    if s[o + m.N_READ + kind] == 0:
        return -1
    for b in range(s[m.N_BANKS]):
        slot = s[o + b + m.HEAD + m.MAX_BANKS * kind]
        if slot and s[o + b + m.LENGTH] < s[k.CQ] and s[slot + m.NUMBER] < best:
            best = s[slot + m.NUMBER]
            bank = b
    return bank


@helper
def _plan(s: Ints, o: int, t: int, final: bool) -> None:
    """Find the channel's next event, at `t` or later."""
    s[o + m.DIRTY] = 0
    s[o + m.NOW_COL] = max(s[o + m.NOW_COL], t)
    now = s[o + m.NOW_COL]
    refreshing = s[o + m.REF_UNIT] >= 0
    key = _plan_refresh(s, o, now) if refreshing else _plan_banks(s, o, now)
    event = s[m.NEVER] if key >= INF else now + (key >> DT)
    if s[o + m.REF_UNIT] < 0 and event >= s[o + m.NEXT_REF]:
        event = s[o + m.NEXT_REF]
        key = INF
    _set_drain(s, o)
    if final and s[o + m.DRAIN] == 0 and s[o + m.N_READ] == 0:
        s[o + m.DRAIN] = s[o + m.N_WRITE]
    s[o + m.KEY_COL] = key
    s[o + m.KEY_ROW] = event
    if _mover(s, o, 1 if s[o + m.DRAIN] else 0) >= 0:
        event = min(event, max(s[o + m.NEXT_MOVE], t))
    s[o + m.EV_T] = event
    s[s[m.EVENTS_AT] + s[o + m.INDEX]] = event


@helper
def _column(s: Ints, o: int, b: int, slot: int, t: int) -> None:
    """Issue the read or write of `slot` and retire it."""
    i = o + b
    s[m.HITS] += 1 if s[i + m.SERVED] else 0
    s[i + m.SERVED] += 1
    s[m.SHARED] += s[slot + m.SAME]
    issue.column(s, o, b, slot, t)
    issue.unlink(s, slot, i + m.FIRST, i + m.FINAL)
    issue.release_slot(s, o, slot)
    s[i + m.LENGTH] -= 1
    s[o + m.N_QUEUED] -= 1


@helper
def _command(s: Ints, o: int, key: int, t: int) -> None:
    """Issue the command of a key."""
    command = key & 7
    if command == REFRESH:
        issue.refresh(s, o, 0, t)
        s[o + m.REF_UNIT] = -1
        return
    b = (s[o + m.RR] + 1 + (key >> TURN)) & (s[m.N_BANKS] - 1)
    i = o + b
    if s[o + m.REF_UNIT] < 0:
        s[o + m.RR] = b
    if command == READ:
        _column(s, o, b, s[i + m.HIT], t)
    elif command == WRITE:
        _column(s, o, b, s[i + m.MISS], t)
    elif command == ACTIVATE:
        issue.activate(s, o, b, s[i + m.FIRST], t)
        s[i + m.SERVED] = 0
    else:
        issue.precharge(s, o, b, 0 if s[o + m.REF_UNIT] >= 0 else s[i + m.FIRST], t)
        s[i + m.SERVED] = 0
    _set_keys(s, o, b)


@helper
def _second(s: Ints, o: int, first: int, t: int) -> None:
    """With two buses, a second command in the same clock if it goes to the other bus."""
    key = _plan_banks(s, o, t)
    if key < INF and (key >> DT) == 0:
        if ((key & 7) <= WRITE) != ((first & 7) <= WRITE):
            _command(s, o, key, t)
        else:
            s[o + m.RR] = (s[o + m.RR] + 1 + (key >> TURN)) & (s[m.N_BANKS] - 1)


@helper
def _waits(s: Ints, i: int, row: int, column: int, kind: int) -> int:
    """A pending request of this kind and address in the bank at `i`, 0: none."""
    slot: int = s[i + m.HEAD + m.MAX_BANKS * kind]
    while slot:
        if s[slot + m.ROW] == row and s[slot + m.COLUMN] == column:
            return slot
        slot = s[slot + m.NEXT]
    slot = s[i + m.FIRST]
    while slot:
        if s[slot + m.ROW] == row and s[slot + m.COLUMN] == column and s[slot + m.KIND] == kind:
            return slot
        slot = s[slot + m.NEXT]
    return 0


@helper
def _move(s: Ints, o: int, t: int) -> None:
    """Move one request into its bank's command queue."""
    _set_drain(s, o)
    kind = 1 if s[o + m.DRAIN] else 0
    b = _mover(s, o, kind)
    if b < 0:
        return
    i = o + b
    slot = s[i + m.HEAD + m.MAX_BANKS * kind]
    if kind:
        if _waits(s, i, s[slot + m.ROW], s[slot + m.COLUMN], 0):
            s[o + m.DRAIN] = 0
            kind = 0
            b = _mover(s, o, 0)
            if b < 0:
                return
            i = o + b
            slot = s[i + m.HEAD]
        else:
            s[o + m.DRAIN] -= 1
    issue.unlink(s, slot, i + m.HEAD + m.MAX_BANKS * kind, i + m.TAIL + m.MAX_BANKS * kind)
    s[o + m.N_READ + kind] -= 1
    issue.append(s, slot, i + m.FIRST, i + m.FINAL)
    s[i + m.LENGTH] += 1
    s[o + m.N_QUEUED] += 1
    s[o + m.NEXT_MOVE] = t + 1
    _set_keys(s, o, b)


@inlined
def _step(s: Ints, o: int, t: int) -> None:
    """All that happens in the channel at tick `t`."""
    issue.changed(s, o)
    key, at = s[o + m.KEY_COL], s[o + m.KEY_ROW]
    if at == t and key == INF:
        s[o + m.REF_UNIT] = 0
        s[o + m.NEXT_REF] += s[k.REFI]
        key = _plan_refresh(s, o, t)
        at = t + (key >> DT)
    if at == t:
        refreshing = s[o + m.REF_UNIT] >= 0
        _command(s, o, key, t)
        if s[k.DUAL] and not refreshing:
            _second(s, o, key, t)
        s[o + m.NOW_COL] = t + 1
    _move(s, o, t)
    s[o + m.NOW_COL] = max(s[o + m.NOW_COL], t + 1)


@inlined
def _accept(s: Ints, o: int, b: int, row: int, column: int, kind: int, t: int, due: int) -> bool:
    """Take a request into its queue; False if the queue is full."""
    i = o + b
    if s[o + m.N_READ + kind] >= s[k.READS + kind]:
        return False
    s[m.SEQ] += 1
    if s[m.ANY_WRITE] and _waits(s, i, row, column, 1):
        s[m.SHARED + kind] += 1
        s[m.READ + kind] += 1
        s[m.LATENCY] += 1 - kind
        s[m.LAST] = max(s[m.LAST], t + 1)
        return True
    if kind == 0 and s[k.MERGE]:
        same = _waits(s, i, row, column, 0)
        if same:
            s[same + m.SAME] += 1
            s[same + m.SAME_ARRIVED] += t
            return True
    if kind:
        s[m.ANY_WRITE] = 1
    s[m.SEQ] -= 1
    slot = issue.take_slot(s, o, row, column, kind, t, due)
    s[m.SEQ] += 1
    queue = m.MAX_BANKS * kind
    issue.append(s, slot, i + m.HEAD + queue, i + m.TAIL + queue)
    s[o + m.N_READ + kind] += 1
    issue.changed(s, o)
    return True


@helper
def _idle(s: Ints) -> bool:
    for c in range(s[k.CHANNELS]):
        o = m.HEADER + c * s[m.STRIDE]
        if s[o + m.N_READ] + s[o + m.N_WRITE] + s[o + m.N_QUEUED] > 0:
            return False
    return True


@compiled
def run(state: Ints, stream: Ints, n: int, interval: float, start: int, final: bool) -> int:
    """Serve a chunk of the stream from tick `start`; as `frfcfs.run`."""
    s = raw(state)
    at = 0
    t = start
    while True:
        upcoming = s[m.NEVER]
        while at < n:
            due = int(s[m.SEQ] * interval)
            o = m.HEADER + stream[0, at] * s[m.STRIDE]
            kind = stream[4, at]
            if due > t:
                if s[o + m.N_READ + kind] < s[k.READS + kind]:
                    upcoming = due
                break
            if not _accept(s, o, stream[1, at], stream[2, at], stream[3, at], kind, t, due):
                break
            at += 1
        if at == n and not final:
            return t
        last = final and at == n
        if last and not s[m.LAST_SEEN]:
            s[m.LAST_SEEN] = 1
            for c in range(s[k.CHANNELS]):
                issue.changed(s, m.HEADER + c * s[m.STRIDE])
        for i in range(s[m.N_CHANGED]):
            _plan(s, s[s[m.CHANGED_AT] + i], t, last)
        s[m.N_CHANGED] = 0
        event = issue.next_event(s)
        if upcoming <= event:
            t = upcoming
            continue
        if last and _idle(s):
            return t
        t = event
        for c in range(s[k.CHANNELS]):
            if s[s[m.EVENTS_AT] + c] == t:
                _step(s, m.HEADER + c * s[m.STRIDE], t)
        t += 1
