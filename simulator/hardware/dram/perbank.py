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
from simulator.hardware.dram import issue, refresh
from simulator.hardware.dram._inline import helper, inlined
from simulator.hardware.dram.state import FIRST_CHANNEL, INF, Channel, Request, State
from simulator.hardware.dram.views import Ints

__all__ = ["run"]

# A key: ticks from now << DT | banks until its turn << TURN | order in its queue << 2 | command.
DT, TURN = 43, 8
READ, WRITE, ACTIVATE, PRECHARGE, REFRESH = range(5)
ORDER = 3


@helper
def _depends(s: State, slot: int) -> bool:
    """True if an older read in the same command queue wants the address that `slot` writes."""
    request = Request(s, slot)
    older = request.prev
    while older:
        other = Request(s, older)
        if other.kind == 0 and other.row == request.row and other.column == request.column:
            return True
        older = other.prev
    return False


@helper
def _set_keys(s: State, c: Channel, b: int) -> None:
    """The commands that bank `b` offers: precharge or activate, first read hit, first write hit."""
    head = c.first[b]
    row = c.open_row[b]
    c.rd_key[b] = c.wr_key[b] = c.act_key[b] = c.pre_key[b] = INF
    if row < 0:
        if head:
            c.act_key[b] = ACTIVATE
        return
    read = write = 0
    hits = 0
    slot = head
    while slot and not (read and write):
        request = Request(s, slot)
        if request.row == row:
            hits += 1
            if request.kind == 0:
                if not read:
                    read = slot
                    c.rd_key[b] = (hits << ORDER) | READ
            elif not write and not _depends(s, slot):
                write = slot
                c.wr_key[b] = (hits << ORDER) | WRITE
        slot = request.next
    c.hit[b] = read
    c.write_hit[b] = write
    spent = c.served[b] >= s.shape.row_hit_cap
    if head and Request(s, head).row != row and (hits == 0 or spent):
        c.pre_key[b] = PRECHARGE


@inlined
def _plan_banks(s: State, c: Channel, now: int) -> int:
    """Least key of all that the banks offer: soonest, then next in turn, then in queue order."""
    best = INF
    start = c.turn + 1
    last = s.n_banks - 1
    read, write = max(now, c.rd_u[0]), max(now, c.wr_u[0])
    act, pre = max(now, c.act_u[0]), max(now, c.pre_u[0])
    for b in range(s.n_banks):
        turn = ((b - start) & last) << TURN
        best = min(best, ((max(c.rd_b[b], read) - now) << DT) + turn + c.rd_key[b])
        best = min(best, ((max(c.wr_b[b], write) - now) << DT) + turn + c.wr_key[b])
        best = min(best, ((max(c.act_b[b], act) - now) << DT) + turn + c.act_key[b])
        best = min(best, ((max(c.pre_b[b], pre) - now) << DT) + turn + c.pre_key[b])
    return best


@helper
def _plan_refresh(s: State, c: Channel, now: int) -> int:
    """Key of the next step of a refresh: the first open bank that may close, or the refresh."""
    best = INF
    for b in range(s.n_banks):
        if c.open_row[b] >= 0:
            t = max(now, max(c.pre_b[b], c.pre_u[0]))
            turn = (b - c.turn - 1) & (s.n_banks - 1)
            best = min(best, ((t - now) << DT) + (b << 16) + (turn << TURN) + PRECHARGE)
    if best == INF:
        best = ((max(now, c.ref_u[0]) - now) << DT) + REFRESH
    return best


@inlined
def _set_drain(s: State, c: Channel) -> None:
    reads, writes = c.waiting[0], c.waiting[1]
    batch = reads == 0 and writes >= s.shape.write_batch
    if c.drain == 0 and (writes >= s.shape.writes or batch):
        c.drain = writes


@helper
def _mover(s: State, c: Channel, kind: int) -> int:
    """Bank of the oldest waiting request of this kind whose command queue has room, -1: none."""
    best = s.never
    bank = -1
    if c.waiting[kind] == 0:
        return -1
    for b in range(s.n_banks):
        slot = c.head[issue.queue_of(b, kind)]
        room = c.length[b] < s.shape.command_queue
        if slot and room and Request(s, slot).number < best:
            best = Request(s, slot).number
            bank = b
    return bank


@helper
def _plan(s: State, c: Channel, t: int, final: bool) -> None:
    """Find the channel's next event, at `t` or later."""
    c.dirty = 0
    c.now_col = max(c.now_col, t)
    now = c.now_col
    key = _plan_refresh(s, c, now) if c.refresh_unit >= 0 else _plan_banks(s, c, now)
    event = s.never if key >= INF else now + (key >> DT)
    if c.refresh_unit < 0 and event >= c.next_refresh:
        event = c.next_refresh
        key = INF
    _set_drain(s, c)
    if final and c.drain == 0 and c.waiting[0] == 0:
        c.drain = c.waiting[1]
    c.key = key
    c.key_tick = event
    if _mover(s, c, 1 if c.drain else 0) >= 0:
        event = min(event, max(c.next_move, t))
    issue.set_event(s, c, event)


@helper
def _column(s: State, c: Channel, b: int, slot: int, t: int) -> None:
    """Issue the read or write of `slot` and retire it."""
    n = s.counters
    n.hits += 1 if c.served[b] else 0
    c.served[b] += 1
    n.shared[0] += Request(s, slot).same
    issue.column(s, c, b, slot, t)
    issue.unlink(s, slot, c.first, c.final, b)
    issue.release_slot(s, c, slot)
    c.length[b] -= 1
    c.under_way -= 1


@helper
def _command(s: State, c: Channel, key: int, t: int) -> None:
    """Issue the command of a key."""
    command = key & 7
    if command == REFRESH:
        refresh.refresh_unit(s, c, 0, t)
        c.refresh_unit = -1
        return
    b = (c.turn + 1 + (key >> TURN)) & (s.n_banks - 1)
    if c.refresh_unit < 0:
        c.turn = b
    if command == READ:
        _column(s, c, b, c.hit[b], t)
    elif command == WRITE:
        _column(s, c, b, c.write_hit[b], t)
    elif command == ACTIVATE:
        issue.activate(s, c, b, c.first[b], t)
        c.served[b] = 0
    else:
        issue.precharge(s, c, b, 0 if c.refresh_unit >= 0 else c.first[b], t)
        c.served[b] = 0
    _set_keys(s, c, b)


@helper
def _second(s: State, c: Channel, first: int, t: int) -> None:
    """With two buses, a second command in the same clock if it goes to the other bus."""
    key = _plan_banks(s, c, t)
    if key < INF and (key >> DT) == 0:
        if ((key & 7) <= WRITE) != ((first & 7) <= WRITE):
            _command(s, c, key, t)
        else:
            c.turn = (c.turn + 1 + (key >> TURN)) & (s.n_banks - 1)


@helper
def _pending(s: State, c: Channel, b: int, row: int, column: int, kind: int) -> int:
    """A pending request of this kind and address in bank `b`, 0: none."""
    slot = issue.find(s, c.head[issue.queue_of(b, kind)], row, column)
    if slot:
        return slot
    slot = issue.find(s, c.first[b], row, column)
    while slot and Request(s, slot).kind != kind:
        slot = issue.find(s, Request(s, slot).next, row, column)
    return slot


@helper
def _move(s: State, c: Channel, t: int) -> None:
    """Move one request into its bank's command queue."""
    _set_drain(s, c)
    kind = 1 if c.drain else 0
    b = _mover(s, c, kind)
    if b < 0:
        return
    if kind:
        request = Request(s, c.head[issue.queue_of(b, 1)])
        if _pending(s, c, b, request.row, request.column, 0):
            c.drain = 0
            kind = 0
            b = _mover(s, c, 0)
            if b < 0:
                return
        else:
            c.drain -= 1
    slot = c.head[issue.queue_of(b, kind)]
    issue.unlink(s, slot, c.head, c.tail, issue.queue_of(b, kind))
    c.waiting[kind] -= 1
    issue.append(s, slot, c.first, c.final, b)
    c.length[b] += 1
    c.under_way += 1
    c.next_move = t + 1
    _set_keys(s, c, b)


@inlined
def _step(s: State, c: Channel, t: int) -> None:
    """All that happens in the channel at tick `t`."""
    issue.changed(s, c)
    key, tick = c.key, c.key_tick
    if tick == t and key == INF:
        c.refresh_unit = 0
        c.next_refresh += s.gates.refi
        key = _plan_refresh(s, c, t)
        tick = t + (key >> DT)
    if tick == t:
        refreshing = c.refresh_unit >= 0
        _command(s, c, key, t)
        if s.shape.dual_bus and not refreshing:
            _second(s, c, key, t)
        c.now_col = t + 1
    _move(s, c, t)
    c.now_col = max(c.now_col, t + 1)


@inlined
def _accept(
    s: State, c: Channel, b: int, row: int, column: int, kind: int, t: int, due: int
) -> bool:
    """Take a request into its queue; False if the queue is full."""
    n = s.counters
    if c.waiting[kind] >= s.depth[kind]:
        return False
    if s.kinds & 2 and _pending(s, c, b, row, column, 1):
        issue.share(s, kind, t)
        return True
    if kind == 0 and s.shape.merge_reads:
        slot = _pending(s, c, b, row, column, 0)
        if slot:
            same = Request(s, slot)
            same.same += 1
            same.same_arrived += t
            n.requests += 1
            return True
    slot = issue.take_slot(s, c, row, column, kind, t, due)
    issue.append(s, slot, c.head, c.tail, issue.queue_of(b, kind))
    c.waiting[kind] += 1
    issue.changed(s, c)
    n.requests += 1
    s.kinds |= 1 + kind
    return True


@helper
def _end_stream(s: State) -> None:
    """No more requests come: whatever writes are left drain."""
    s.ended = 1
    for i in range(s.shape.channels):
        issue.changed(s, Channel(s, FIRST_CHANNEL + i * s.stride))


@compiled
def run(words: Ints, stream: Ints, n: int, interval: float, start: int, final: bool) -> int:
    """Serve a chunk of the stream from tick `start`; as `frfcfs.run`.

    Other than there, requests of a tick are accepted before its commands issue, and the end of the
    stream is an event of its own: the last writes drain.
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
                if c.waiting[kind] < s.depth[kind]:
                    upcoming = due
                break
            if not _accept(s, c, stream[1, at], stream[2, at], stream[3, at], kind, t, due):
                break
            at += 1
        if at == n and not final:
            return t
        last = final and at == n
        if last and not s.ended:
            _end_stream(s)
        for i in range(s.n_changed):
            _plan(s, Channel(s, s.words[s.changed_at + i]), t, last)
        s.n_changed = 0
        event = issue.next_event(s)
        if upcoming <= event:
            t = upcoming
            continue
        if last and issue.idle(s):
            return t
        t = event
        for i in range(s.shape.channels):
            if s.words[s.events_at + i] == t:
                _step(s, Channel(s, FIRST_CHANNEL + i * s.stride), t)
        t += 1
