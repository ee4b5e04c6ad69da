"""First-ready, first-come-first-served controller: an exact event-driven kernel.

Modelled: a read and a write queue a channel; among the commands that are timing-ready the one of
the oldest request issues (`frfcfs`), optionally never closing a row that an older request still
hits (`frfcfs-rowhit`); a request whose activate has issued leaves its queue and finishes first;
write drain between two thresholds; refresh with priority, of all banks or bank by bank
(`refresh.py`); read forwarding from, and coalescing in, the write queue; one command bus, or
separate row and column buses shared by the pseudo-channels of a channel. The same rules, tick by
tick and without any cleverness, stand in `reference.py`; a property test holds the two together
command by command.

Each bank offers at most three commands (oldest hit, activate, oldest miss), held as sortable
keys. The next command is the least of `(tick, class, age)` over the banks, one pass of a few
vector instructions, whatever the depth of the queues. No tick passes while nothing happens.
"""

from __future__ import annotations

from simulator._compiled import compiled
from simulator.hardware.dram import issue, refresh
from simulator.hardware.dram._inline import helper, inlined
from simulator.hardware.dram.keys import ACTIVATE, AGE, CLASS, COLUMN, DT, PRECHARGE
from simulator.hardware.dram.state import FIRST_CHANNEL, INF, Channel, Request, State
from simulator.hardware.dram.views import Ints

__all__ = ["run"]


@helper
def _set_keys(s: State, c: Channel, b: int) -> None:
    """The commands that bank `b` offers, as keys (without their time)."""
    queued = (1 << CLASS) | (b << 2)
    column = activate = precharge = INF
    if c.due[b]:
        slot = c.active[b]
        if slot and Request(s, slot).kind == c.mode:
            column = (Request(s, slot).number << AGE) | (b << 2) | COLUMN
    elif c.open_row[b] < 0:
        oldest = c.head[issue.queue_of(b, c.mode)]
        if oldest:
            activate = queued | (Request(s, oldest).number << AGE) | ACTIVATE
    else:
        hit, miss, active = c.hit[b], c.miss[b], c.active[b]
        if active and Request(s, active).kind == c.mode:
            column = (Request(s, active).number << AGE) | (b << 2) | COLUMN
        elif hit:
            column = queued | (Request(s, hit).number << AGE) | COLUMN
        if miss and not active:
            protects = s.shape.protect_hits and hit
            if not (protects and Request(s, hit).arrive <= Request(s, miss).arrive):
                precharge = queued | (Request(s, miss).number << AGE) | PRECHARGE
    c.rd_key[b] = column
    c.act_key[b] = activate
    c.pre_key[b] = precharge


@helper
def _rescan(s: State, c: Channel, b: int) -> None:
    """Find the oldest hit and the oldest miss of bank `b` afresh."""
    hit = miss = 0
    row = c.open_row[b]
    if row >= 0:
        slot = c.head[issue.queue_of(b, c.mode)]
        while slot and not (hit and miss):
            request = Request(s, slot)
            if request.row == row:
                if not hit:
                    hit = slot
            elif not miss:
                miss = slot
            slot = request.next
    c.hit[b] = hit
    c.miss[b] = miss
    _set_keys(s, c, b)


@helper
def _set_mode(s: State, c: Channel) -> bool:
    """Reads or writes, by the fill of the queues; True if that changed."""
    reads, writes = c.waiting[0], c.waiting[1]
    if c.mode == 0:
        if writes == 0 or (writes <= s.shape.drain_above and reads != 0):
            return False
        c.mode = 1
    else:
        if writes >= s.shape.drain_until or reads == 0:
            return False
        c.mode = 0
    for b in range(s.n_banks):
        _rescan(s, c, b)
    return True


@helper
def _plan_active(s: State, c: Channel, now: int) -> int:
    """Least key of the column commands of requests whose activate has issued.

    Only needed while those of queued requests must wait, or where reads and writes mix: else the
    bank's own key stands for its active request.
    """
    best = INF
    for i in range(c.under_way):
        b = c.active_banks[i]
        u = b >> s.unit_shift
        request = Request(s, c.active[b])
        t = max(c.wr_b[b], c.wr_u[u]) if request.kind else max(c.rd_b[b], c.rd_u[u])
        t = max(t, now) | s.shape.edge
        best = min(best, ((t - now) << DT) + (request.number << AGE) + (b << 2))
    return best


@inlined
def _least(
    s: State, c: Channel, unit: int, gates: Ints, gate: int, now_col: int, now_row: int
) -> tuple[int, int]:
    """Least keys of the column and of the row commands of a unit's banks.

    `gates` are the first ticks of the wanted column command, bank by bank, `gate` is the unit's.
    The loop becomes a few vector instructions.
    """
    column = row = INF
    edge = s.shape.edge
    gate = max(gate, now_col)
    act = max(c.act_u[unit], now_row)
    pre = max(c.pre_u[unit], now_row)
    first = unit * s.unit_banks
    for b in range(first, first + s.unit_banks):
        t = max(gates[b], gate) | edge
        column = min(column, ((t - now_col) << DT) + c.rd_key[b])
        t = max(c.act_b[b], act) | edge
        row = min(row, ((t - now_row) << DT) + c.act_key[b])
        t = max(c.pre_b[b], pre)
        row = min(row, ((t - now_row) << DT) + c.pre_key[b])
    return column, row


@inlined
def _plan_queued(s: State, c: Channel, now_col: int, now_row: int) -> tuple[int, int]:
    """Least keys of the column and of the row commands of queued requests."""
    column = row = INF
    for unit in range(s.shape.units):
        if c.mode:
            keys = _least(s, c, unit, c.wr_b, c.wr_u[unit], now_col, now_row)
        else:
            keys = _least(s, c, unit, c.rd_b, c.rd_u[unit], now_col, now_row)
        column, row = min(column, keys[0]), min(row, keys[1])
    return column, row


@inlined
def _plan_rows(s: State, c: Channel, now_col: int, now_row: int) -> tuple[int, int]:
    """As `_plan_queued`, with the refreshes of single banks that are due."""
    column, row = _plan_queued(s, c, now_col, now_row)
    if c.n_due:
        row = min(row, refresh.plan_due(s, c, now_row))
    return column, row


@helper
def _plan(s: State, c: Channel) -> None:
    """Find the channel's next event."""
    c.dirty = 0
    now_col, now_row = c.now_col, c.now_row
    if c.refresh_unit >= 0:
        column = _plan_active(s, c, now_col)
        row = refresh.plan_refresh(s, c, now_row)
    else:
        column, row = _plan_rows(s, c, now_col, now_row)
        if s.kinds == 3:
            column = min(column, _plan_active(s, c, now_col))
        if (s.shape.dual_bus or (column >> CLASS) != 0) and _set_mode(s, c):
            column, row = _plan_rows(s, c, now_col, now_row)
            column = min(column, _plan_active(s, c, now_col))
    t = s.never
    if column < INF:
        t = now_col + (column >> DT)
    if row < INF:
        t = min(t, now_row + (row >> DT))
    if c.refresh_unit < 0 and t >= c.next_refresh:
        t = c.next_refresh
        column = row = INF
    c.column_key = column
    c.row_key = row
    issue.set_event(s, c, t)


@inlined
def _take_hit(s: State, c: Channel, b: int) -> int:
    """Take the oldest hit of bank `b` out of its queue and find the next."""
    slot: int = c.hit[b]
    request = Request(s, slot)
    after = request.next
    issue.unlink(s, slot, c.head, c.tail, issue.queue_of(b, request.kind))
    c.waiting[request.kind] -= 1
    while after and Request(s, after).row != c.open_row[b]:
        after = Request(s, after).next
    c.hit[b] = after
    return slot


@inlined
def _take_active(c: Channel, b: int) -> int:
    """The request of bank `b` whose activate has issued is active no more."""
    slot: int = c.active[b]
    c.active[b] = 0
    c.under_way -= 1
    i = 0
    while c.active_banks[i] != b:
        i += 1
    c.active_banks[i] = c.active_banks[c.under_way]
    return slot


@helper
def _column(s: State, c: Channel, key: int, t: int) -> None:
    """Issue a read or write and retire its request."""
    b = (key >> 2) & 127
    slot = _take_hit(s, c, b) if (key >> CLASS) & 1 else _take_active(c, b)
    issue.column(s, c, b, slot, t)
    s.counters.hits += 1 - Request(s, slot).touched
    issue.release_slot(s, c, slot)
    c.now_col = t + s.gates.len_col
    _set_keys(s, c, b)


@inlined
def _activate(s: State, c: Channel, b: int, t: int) -> None:
    """Open the row of the oldest request of bank `b`, which becomes active."""
    slot = c.head[issue.queue_of(b, c.mode)]
    request = Request(s, slot)
    issue.activate(s, c, b, slot, t)
    request.touched = 1
    issue.unlink(s, slot, c.head, c.tail, issue.queue_of(b, request.kind))
    c.waiting[request.kind] -= 1
    c.active[b] = slot
    c.active_banks[c.under_way] = b
    c.under_way += 1
    c.now_row = t + s.gates.len_act
    _rescan(s, c, b)


@inlined
def _precharge(s: State, c: Channel, b: int, t: int) -> None:
    """Close the row of bank `b` for its oldest miss, or for its refresh."""
    slot = 0 if c.due[b] else c.miss[b]
    issue.precharge(s, c, b, slot, t)
    if slot:
        Request(s, slot).touched = 1
    c.hit[b] = c.miss[b] = 0
    c.now_row = t + s.gates.len_pre
    _set_keys(s, c, b)


@helper
def _refresh(s: State, c: Channel, t: int) -> None:
    """Close all banks of the unit under refresh, or refresh it and go on to the next unit."""
    unit = c.refresh_unit
    c.now_row = t + s.gates.len_pre
    if refresh.any_open(s, c, unit):
        refresh.precharge_all(s, c, unit, t)
        return
    refresh.refresh_unit(s, c, unit, t)
    c.refresh_unit = unit + 1 if unit + 1 < s.shape.units else -1
    for b in range(unit * s.unit_banks, (unit + 1) * s.unit_banks):
        c.hit[b] = c.miss[b] = 0
        _set_keys(s, c, b)


@helper
def _row_command(s: State, c: Channel, key: int, t: int) -> None:
    command, b = key & 3, (key >> 2) & 127
    if command == ACTIVATE:
        _activate(s, c, b, t)
    elif command == PRECHARGE:
        _precharge(s, c, b, t)
    elif s.shape.by_bank:
        refresh.refresh_bank(s, c, b, t)
        c.now_row = t + s.gates.len_pre
        _set_keys(s, c, b)
    else:
        _refresh(s, c, t)


@helper
def _start_refresh(s: State, c: Channel, t: int) -> None:
    if s.shape.by_bank:
        b = refresh.fall_due(s, c)
        if b >= 0:
            _set_keys(s, c, b)
    else:
        c.refresh_unit = 0
        c.next_refresh += s.gates.refi
    c.now_col = max(c.now_col, t)
    c.now_row = max(c.now_row, t)
    _plan(s, c)


@inlined
def _step(s: State, c: Channel, t: int) -> None:
    """All commands of the channel at tick `t`."""
    if c.column_key == INF and c.row_key == INF:
        _start_refresh(s, c, t)
        if c.event != t:
            return
    issue.changed(s, c)
    column, row = c.column_key, c.row_key
    if not s.shape.dual_bus:
        if column < row:
            _column(s, c, column, t)
            c.now_row = c.now_col
        else:
            _row_command(s, c, row, t)
            c.now_col = c.now_row
        return
    if column < INF and c.now_col + (column >> DT) == t:
        _column(s, c, column, t)
        c.now_row = max(c.now_row, t)
        if c.refresh_unit >= 0:
            row = refresh.plan_refresh(s, c, c.now_row)
        else:
            _set_mode(s, c)
            row = _plan_rows(s, c, t + 1, c.now_row)[1]
    if row < INF and c.now_row + (row >> DT) == t:
        _row_command(s, c, row, t)
    c.now_row = max(c.now_row, t + 1)
    c.now_col = max(c.now_col, t + 1)


@inlined
def _accept(
    s: State, c: Channel, b: int, row: int, column: int, kind: int, t: int, due: int
) -> bool:
    """Take a request into its queue; False if the queue is full."""
    if c.waiting[1] > 0 and issue.find(s, c.head[issue.queue_of(b, 1)], row, column):
        issue.share(s, kind, t)
        return True
    if c.waiting[kind] >= s.depth[kind]:
        return False
    slot = issue.take_slot(s, c, row, column, kind, t, due)
    issue.append(s, slot, c.head, c.tail, issue.queue_of(b, kind))
    c.waiting[kind] += 1
    c.now_col = max(c.now_col, t + 1)
    c.now_row = max(c.now_row, t + 1)
    issue.changed(s, c)
    s.counters.requests += 1
    s.kinds |= 1 + kind
    if kind == c.mode:
        if row == c.open_row[b]:
            if not c.hit[b]:
                c.hit[b] = slot
                _set_keys(s, c, b)
        elif c.open_row[b] < 0 or not c.miss[b]:
            c.miss[b] = slot
            _set_keys(s, c, b)
    return True


@compiled
def run(words: Ints, stream: Ints, n: int, interval: float, start: int, final: bool) -> int:
    """Serve a chunk of the stream from tick `start`; returns the tick at which it paused.

    `words` are those of a `State`. `stream` is int64[5, >= n] (channel, bank, row, column, write).
    Requests are offered in order, the one with number `i` in the whole stream not before tick
    `i * interval`; one that its queue refuses holds back all that follow. Unless `final`, returns
    when the whole chunk is accepted, else when all is served.
    """
    s = State(words, 0)
    at = 0
    t = start
    while True:
        upcoming = s.never
        while at < n:
            due = int(s.counters.requests * interval)
            c = Channel(s, FIRST_CHANNEL + stream[0, at] * s.stride)
            kind = stream[4, at]
            if due > t:
                upcoming = due
                break
            if not _accept(s, c, stream[1, at], stream[2, at], stream[3, at], kind, t, due):
                break
            at += 1
        if at == n and not final:
            return t
        for i in range(s.n_changed):
            _plan(s, Channel(s, s.words[s.changed_at + i]))
        s.n_changed = 0
        event = issue.next_event(s)
        if upcoming < event:
            t = upcoming
            continue
        if at == n and issue.idle(s):
            return t
        t = event
        for i in range(s.shape.channels):
            if s.words[s.events_at + i] == t:
                _step(s, Channel(s, FIRST_CHANNEL + i * s.stride), t)
