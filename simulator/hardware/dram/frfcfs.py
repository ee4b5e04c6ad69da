"""First-ready, first-come-first-served controller: an exact event-driven kernel.

Modelled: a read and a write queue a channel; among the commands that are timing-ready the one of
the oldest request issues (`frfcfs`), optionally never closing a row that an older request still
hits (`frfcfs-rowhit`); a request whose activate has issued leaves its queue and finishes first;
write drain between two thresholds; all-bank refresh with priority, unit after unit; read
forwarding from, and coalescing in, the write queue; one command bus, or separate row and column
buses shared by the pseudo-channels of a channel. The same rules, tick by tick and without any
cleverness, stand in `reference.py`; a property test holds the two together command by command.

Each bank offers at most three commands (oldest hit, activate, oldest miss), held as sortable
keys. The next command is the least of `(tick, class, age)` over the banks, one pass of a few
vector instructions, whatever the depth of the queues. No tick passes while nothing happens.
"""

from __future__ import annotations

from simulator._compiled import compiled
from simulator.hardware.dram import clocks as k
from simulator.hardware.dram import issue
from simulator.hardware.dram import state as m
from simulator.hardware.dram._inline import helper, inlined, raw
from simulator.hardware.dram.state import INF, Ints

__all__ = ["run"]

# A key: ticks from now << DT | class << CLASS | sequence number << AGE | bank << 2 | command.
# Class 0 are requests whose activate has issued.
DT, CLASS, AGE = 43, 42, 9
COLUMN, ACTIVATE, PRECHARGE, REFRESH = range(4)


@helper
def _set_keys(s: Ints, o: int, b: int) -> None:
    """The commands that bank `b` offers, as keys (without their time)."""
    i = o + b
    queued = (1 << CLASS) | (b << 2)
    column = activate = precharge = INF
    if s[i + m.OPEN_ROW] < 0:
        oldest = s[i + m.HEAD + m.MAX_BANKS * s[o + m.MODE]]
        if oldest:
            activate = queued | (s[oldest + m.NUMBER] << AGE) | ACTIVATE
    else:
        hit, miss, active = s[i + m.HIT], s[i + m.MISS], s[i + m.ACTIVE]
        if active and s[active + m.KIND] == s[o + m.MODE]:
            column = (s[active + m.NUMBER] << AGE) | (b << 2) | COLUMN
        elif hit:
            column = queued | (s[hit + m.NUMBER] << AGE) | COLUMN
        if miss and not active:
            protects = s[k.ROWHIT] and hit
            if not (protects and s[hit + m.ARRIVE] <= s[miss + m.ARRIVE]):
                precharge = queued | (s[miss + m.NUMBER] << AGE) | PRECHARGE
    s[i + m.C_KEY] = column
    s[i + m.A_KEY] = activate
    s[i + m.P_KEY] = precharge


@helper
def _rescan(s: Ints, o: int, b: int) -> None:
    """Find the oldest hit and the oldest miss of bank `b` afresh."""
    i = o + b
    hit = miss = 0
    row = s[i + m.OPEN_ROW]
    if row >= 0:
        slot = s[i + m.HEAD + m.MAX_BANKS * s[o + m.MODE]]
        while slot and not (hit and miss):
            if s[slot + m.ROW] == row:
                if not hit:
                    hit = slot
            elif not miss:
                miss = slot
            slot = s[slot + m.NEXT]
    s[i + m.HIT] = hit
    s[i + m.MISS] = miss
    _set_keys(s, o, b)


@helper
def _set_mode(s: Ints, o: int) -> bool:
    """Reads or writes, by the fill of the queues; True if that changed."""
    reads, writes = s[o + m.N_READ], s[o + m.N_WRITE]
    if s[o + m.MODE] == 0:
        if writes == 0 or (writes <= s[k.HIGH] and reads != 0):
            return False
        s[o + m.MODE] = 1
    else:
        if writes >= s[k.LOW] or reads == 0:
            return False
        s[o + m.MODE] = 0
    for b in range(s[m.N_BANKS]):
        _rescan(s, o, b)
    return True


@helper
def _plan_active(s: Ints, o: int, now: int) -> int:
    """Least key of the column commands of requests whose activate has issued.

    Only needed while those of queued requests must wait, or where reads and writes mix: else the
    bank's own key stands for its active request.
    """
    best = INF
    for j in range(s[o + m.N_ACTIVE]):
        b = s[o + m.ALIST + j]
        slot = s[o + b + m.ACTIVE]
        u = o + (b >> s[m.UNIT_SHIFT])
        if s[slot + m.KIND]:
            t = max(s[o + b + m.WR_B], s[u + m.WR_U])
        else:
            t = max(s[o + b + m.RD_B], s[u + m.RD_U])
        t = max(t, now) | s[k.EDGE]
        best = min(best, ((t - now) << DT) + (s[slot + m.NUMBER] << AGE) + (b << 2))
    return best


@inlined
def _least(
    s: Ints, o: int, unit: int, field: int, gate: int, now_col: int, now_row: int
) -> tuple[int, int]:
    """Least keys of the column and of the row commands of a unit's banks.

    `field` is where its banks keep the first tick of the wanted column command, `gate` the unit's
    own first tick of it. The loop becomes a few vector instructions.
    """
    column = row = INF
    edge = s[k.EDGE]
    gate = max(gate, now_col)
    act = max(s[o + unit + m.ACT_U], now_row)
    pre = max(s[o + unit + m.PRE_U], now_row)
    first = o + unit * s[m.UNIT_BANKS]
    for i in range(first, first + s[m.UNIT_BANKS]):
        t = max(s[i + field], gate) | edge
        column = min(column, ((t - now_col) << DT) + s[i + m.C_KEY])
        t = max(s[i + m.ACT_B], act) | edge
        row = min(row, ((t - now_row) << DT) + s[i + m.A_KEY])
        t = max(s[i + m.PRE_B], pre)
        row = min(row, ((t - now_row) << DT) + s[i + m.P_KEY])
    return column, row


@inlined
def _plan_queued(s: Ints, o: int, now_col: int, now_row: int) -> tuple[int, int]:
    """Least keys of the column and of the row commands of queued requests."""
    column = row = INF
    for unit in range(s[k.UNITS]):
        if s[o + m.MODE]:
            keys = _least(s, o, unit, m.WR_B, s[o + unit + m.WR_U], now_col, now_row)
        else:
            keys = _least(s, o, unit, m.RD_B, s[o + unit + m.RD_U], now_col, now_row)
        column, row = min(column, keys[0]), min(row, keys[1])
    return column, row


@helper
def _any_open(s: Ints, o: int, unit: int) -> bool:
    first = o + unit * s[m.UNIT_BANKS]
    n_open = 0
    for i in range(first, first + s[m.UNIT_BANKS]):
        n_open += s[i + m.OPEN_ROW] >= 0
    return n_open > 0


@helper
def _plan_refresh(s: Ints, o: int, now: int) -> int:
    """Key of the next step of the refresh under way: close all banks, then refresh."""
    unit = s[o + m.REF_UNIT]
    for j in range(s[o + m.N_ACTIVE]):
        if s[o + m.ALIST + j] >> s[m.UNIT_SHIFT] == unit:
            return INF
    if _any_open(s, o, unit):
        t: int = max(now, s[o + unit + m.PRE_U])
        first = o + unit * s[m.UNIT_BANKS]
        for i in range(first, first + s[m.UNIT_BANKS]):
            t = max(t, s[i + m.PRE_B])
    else:
        t = max(now, s[o + unit + m.REF_U]) | s[k.EDGE]
    return ((t - now) << DT) + (1 << CLASS) + REFRESH


@helper
def _plan(s: Ints, o: int) -> None:
    """Find the channel's next event."""
    s[o + m.DIRTY] = 0
    now_col, now_row = s[o + m.NOW_COL], s[o + m.NOW_ROW]
    if s[o + m.REF_UNIT] >= 0:
        column = _plan_active(s, o, now_col)
        row = _plan_refresh(s, o, now_row)
    else:
        column, row = _plan_queued(s, o, now_col, now_row)
        if s[m.KINDS] == 3:
            column = min(column, _plan_active(s, o, now_col))
        if (s[k.DUAL] or (column >> CLASS) != 0) and _set_mode(s, o):
            column, row = _plan_queued(s, o, now_col, now_row)
            column = min(column, _plan_active(s, o, now_col))
    t = s[m.NEVER]
    if column < INF:
        t = now_col + (column >> DT)
    if row < INF:
        t = min(t, now_row + (row >> DT))
    if s[o + m.REF_UNIT] < 0 and t >= s[o + m.NEXT_REF]:
        t = s[o + m.NEXT_REF]
        column = row = INF
    s[o + m.KEY_COL] = column
    s[o + m.KEY_ROW] = row
    s[o + m.EV_T] = t
    s[s[m.EVENTS_AT] + s[o + m.INDEX]] = t


@helper
def _column(s: Ints, o: int, key: int, t: int) -> None:
    """Issue a read or write and retire its request."""
    b = (key >> 2) & 127
    i = o + b
    if (key >> CLASS) & 1:
        slot = s[i + m.HIT]
        kind = m.MAX_BANKS * s[slot + m.KIND]
        after = s[slot + m.NEXT]
        issue.unlink(s, slot, i + m.HEAD + kind, i + m.TAIL + kind)
        s[o + m.N_READ + s[slot + m.KIND]] -= 1
        while after and s[after + m.ROW] != s[i + m.OPEN_ROW]:
            after = s[after + m.NEXT]
        s[i + m.HIT] = after
    else:
        slot = s[i + m.ACTIVE]
        s[i + m.ACTIVE] = 0
        last = s[o + m.N_ACTIVE] - 1
        s[o + m.N_ACTIVE] = last
        j = o + m.ALIST
        while s[j] != b:
            j += 1
        s[j] = s[o + m.ALIST + last]
    issue.column(s, o, b, slot, t)
    s[m.HITS] += 1 - s[slot + m.TOUCHED]
    issue.release_slot(s, o, slot)
    s[o + m.NOW_COL] = t + s[k.LEN_COL]
    _set_keys(s, o, b)


@inlined
def _activate(s: Ints, o: int, b: int, t: int) -> None:
    """Open the row of the oldest request of bank `b`, which becomes active."""
    i = o + b
    slot = s[i + m.HEAD + m.MAX_BANKS * s[o + m.MODE]]
    kind = m.MAX_BANKS * s[slot + m.KIND]
    issue.activate(s, o, b, slot, t)
    s[slot + m.TOUCHED] = 1
    issue.unlink(s, slot, i + m.HEAD + kind, i + m.TAIL + kind)
    s[o + m.N_READ + s[slot + m.KIND]] -= 1
    s[i + m.ACTIVE] = slot
    s[o + m.ALIST + s[o + m.N_ACTIVE]] = b
    s[o + m.N_ACTIVE] += 1
    s[o + m.NOW_ROW] = t + s[k.LEN_ACT]
    _rescan(s, o, b)


@inlined
def _precharge(s: Ints, o: int, b: int, t: int) -> None:
    """Close the row of bank `b` for its oldest miss."""
    i = o + b
    slot = s[i + m.MISS]
    issue.precharge(s, o, b, slot, t)
    s[slot + m.TOUCHED] = 1
    s[i + m.HIT] = s[i + m.MISS] = 0
    s[o + m.NOW_ROW] = t + s[k.LEN_PRE]
    _set_keys(s, o, b)


@helper
def _refresh(s: Ints, o: int, t: int) -> None:
    """Close all banks of the unit under refresh, or refresh it and go on to the next unit."""
    unit = s[o + m.REF_UNIT]
    s[o + m.NOW_ROW] = t + s[k.LEN_PRE]
    if _any_open(s, o, unit):
        issue.precharge_all(s, o, unit, t)
        return
    issue.refresh(s, o, unit, t)
    s[o + m.REF_UNIT] = unit + 1 if unit + 1 < s[k.UNITS] else -1
    for b in range(unit * s[m.UNIT_BANKS], (unit + 1) * s[m.UNIT_BANKS]):
        s[o + b + m.HIT] = s[o + b + m.MISS] = 0
        _set_keys(s, o, b)


@helper
def _row_command(s: Ints, o: int, key: int, t: int) -> None:
    command, b = key & 3, (key >> 2) & 127
    if command == ACTIVATE:
        _activate(s, o, b, t)
    elif command == PRECHARGE:
        _precharge(s, o, b, t)
    else:
        _refresh(s, o, t)


@helper
def _start_refresh(s: Ints, o: int, t: int) -> None:
    s[o + m.REF_UNIT] = 0
    s[o + m.NEXT_REF] += s[k.REFI]
    s[o + m.NOW_COL] = max(s[o + m.NOW_COL], t)
    s[o + m.NOW_ROW] = max(s[o + m.NOW_ROW], t)
    _plan(s, o)


@inlined
def _step(s: Ints, o: int, t: int) -> None:
    """All commands of the channel at tick `t`."""
    if s[o + m.KEY_COL] == INF and s[o + m.KEY_ROW] == INF:
        _start_refresh(s, o, t)
        if s[o + m.EV_T] != t:
            return
    issue.changed(s, o)
    column, row = s[o + m.KEY_COL], s[o + m.KEY_ROW]
    if not s[k.DUAL]:
        if column < row:
            _column(s, o, column, t)
            s[o + m.NOW_ROW] = s[o + m.NOW_COL]
        else:
            _row_command(s, o, row, t)
            s[o + m.NOW_COL] = s[o + m.NOW_ROW]
        return
    if column < INF and s[o + m.NOW_COL] + (column >> DT) == t:
        _column(s, o, column, t)
        s[o + m.NOW_ROW] = max(s[o + m.NOW_ROW], t)
        if s[o + m.REF_UNIT] >= 0:
            row = _plan_refresh(s, o, s[o + m.NOW_ROW])
        else:
            _set_mode(s, o)
            row = _plan_queued(s, o, t + 1, s[o + m.NOW_ROW])[1]
    if row < INF and s[o + m.NOW_ROW] + (row >> DT) == t:
        _row_command(s, o, row, t)
    s[o + m.NOW_ROW] = max(s[o + m.NOW_ROW], t + 1)
    s[o + m.NOW_COL] = max(s[o + m.NOW_COL], t + 1)


@helper
def _buffered(s: Ints, i: int, row: int, column: int) -> bool:
    """True if the write queue of the bank at `i` holds this address."""
    slot = s[i + m.HEAD + m.MAX_BANKS]
    while slot:
        if s[slot + m.ROW] == row and s[slot + m.COLUMN] == column:
            return True
        slot = s[slot + m.NEXT]
    return False


@inlined
def _accept(s: Ints, o: int, b: int, row: int, column: int, kind: int, t: int, due: int) -> bool:
    """Take a request into its queue; False if the queue is full."""
    i = o + b
    if s[o + m.N_WRITE] > 0 and _buffered(s, i, row, column):
        s[m.SHARED + kind] += 1
        s[m.READ + kind] += 1
        s[m.LATENCY] += 1 - kind
        s[m.LAST] = max(s[m.LAST], t + 1)
        s[m.SEQ] += 1
        return True
    if s[o + m.N_READ + kind] >= s[k.READS + kind]:
        return False
    slot = issue.take_slot(s, o, row, column, kind, t, due)
    queue = m.MAX_BANKS * kind
    issue.append(s, slot, i + m.HEAD + queue, i + m.TAIL + queue)
    s[o + m.N_READ + kind] += 1
    s[o + m.NOW_COL] = max(s[o + m.NOW_COL], t + 1)
    s[o + m.NOW_ROW] = max(s[o + m.NOW_ROW], t + 1)
    issue.changed(s, o)
    s[m.SEQ] += 1
    s[m.KINDS] |= 1 + kind
    if kind == s[o + m.MODE]:
        if row == s[i + m.OPEN_ROW]:
            if not s[i + m.HIT]:
                s[i + m.HIT] = slot
                _set_keys(s, o, b)
        elif s[i + m.OPEN_ROW] < 0 or not s[i + m.MISS]:
            s[i + m.MISS] = slot
            _set_keys(s, o, b)
    return True


@helper
def _idle(s: Ints) -> bool:
    for c in range(s[k.CHANNELS]):
        o = m.HEADER + c * s[m.STRIDE]
        if s[o + m.N_READ] + s[o + m.N_WRITE] + s[o + m.N_ACTIVE] > 0:
            return False
    return True


@compiled
def run(state: Ints, stream: Ints, n: int, interval: float, start: int, final: bool) -> int:
    """Serve a chunk of the stream from tick `start`; returns the tick at which it paused.

    `stream` is int64[5, >= n] (channel, bank, row, column, write). Requests are offered in order,
    the one with number `i` in the whole stream not before tick `i * interval`; one that its queue
    refuses holds back all that follow. Unless `final`, returns when the whole chunk is accepted,
    else when all is served.
    """
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
                upcoming = due
                break
            if not _accept(s, o, stream[1, at], stream[2, at], stream[3, at], kind, t, due):
                break
            at += 1
        if at == n and not final:
            return t
        for i in range(s[m.N_CHANGED]):
            _plan(s, s[s[m.CHANGED_AT] + i])
        s[m.N_CHANGED] = 0
        event = issue.next_event(s)
        if upcoming < event:
            t = upcoming
            continue
        if at == n and _idle(s):
            return t
        t = event
        for c in range(s[k.CHANNELS]):
            if s[s[m.EVENTS_AT] + c] == t:
                _step(s, m.HEADER + c * s[m.STRIDE], t)
