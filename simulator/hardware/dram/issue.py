"""What a command does, the same for every scheduler: gates it closes, slots, and lost time.

`s` is the state, `c` a channel of it, `b` a bank of that, `t` the tick.

Lost time is charged inside the kernel, by mechanism: each burst that finds its data bus idle
charges the idle ticks to the gate that opened last for it; ticks that passed after that gate had
opened go to the command bus (it carried other commands first). A burst that waited for its own
activate passes on what that activate waited for, and so does an activate that waited for its
precharge. Gates: refresh; activate rate (tRRD, tFAW); bank-group spacing (tCCD); turnaround (tWTR,
read to write); row cycle (tRAS, tRTP, tWR, tRC); the request's own arrival, which is the queue's
depth if a full queue held it back and the offered load if not.
"""

from __future__ import annotations

from simulator.hardware.dram import state as m
from simulator.hardware.dram._inline import helper, inlined
from simulator.hardware.dram.state import Channel, LogEntry, Request, State
from simulator.hardware.dram.views import Ints

__all__ = ["ACT", "PRE", "PREA", "RD", "REF", "REFB", "WR"]

RD, WR, ACT, PRE, PREA, REF, REFB = range(7)
"""`REF` refreshes all banks of a unit, `REFB` one bank."""


@helper
def record(s: State, c: Channel, t: int, command: int, bank: int, number: int) -> None:
    """Keep a command in the log, while there is room."""
    if s.logged < s.log_size:
        entry = LogEntry(s, s.log_at + s.logged * m.ENTRY_WORDS)
        entry.tick = t
        entry.channel = c.index
        entry.command = command
        entry.bank = bank
        entry.number = number
        s.logged += 1


@inlined
def changed(s: State, c: Channel) -> None:
    """Note that the channel's next event must be found afresh."""
    if not c.dirty:
        c.dirty = 1
        s.words[s.changed_at + s.n_changed] = c.here
        s.n_changed += 1


@inlined
def set_event(s: State, c: Channel, t: int) -> None:
    """The channel's next event is at `t`."""
    c.event = t
    s.words[s.events_at + c.index] = t


@inlined
def next_event(s: State) -> int:
    """Tick of the next event of any channel."""
    t = s.never
    for i in range(s.events_at, s.events_at + s.shape.channels):
        t = min(t, s.words[i])
    return t


@helper
def idle(s: State) -> bool:
    """True if no channel has a request."""
    for index in range(s.shape.channels):
        c = Channel(s, m.FIRST_CHANNEL + index * s.stride)
        if c.waiting[0] + c.waiting[1] + c.under_way > 0:
            return False
    return True


@inlined
def take_slot(s: State, c: Channel, row: int, column: int, kind: int, t: int, due: int) -> int:
    """A slot for a request accepted at `t` that was due at `due`."""
    slot = c.free_slot
    request = Request(s, slot)
    c.free_slot = request.next
    request.row = row
    request.column = column
    request.number = s.counters.requests
    request.arrive = t
    request.kind = kind
    request.touched = 0
    request.was_offered = 1 if due == t and due > 0 else 0
    request.same = 0
    request.same_arrived = 0
    return slot


@inlined
def release_slot(s: State, c: Channel, slot: int) -> None:
    """Give a slot back."""
    Request(s, slot).next = c.free_slot
    c.free_slot = slot


@inlined
def queue_of(b: int, kind: int) -> int:
    """The number of a bank's queue of reads or of writes (`Channel.head`, `Channel.tail`)."""
    return b + m.MAX_BANKS * kind


@helper
def find(s: State, slot: int, row: int, column: int) -> int:
    """The first request from `slot` on in its queue that has this address, 0: none."""
    while slot:
        request = Request(s, slot)
        if request.row == row and request.column == column:
            return slot
        slot = request.next
    return 0


@inlined
def append(s: State, slot: int, head: Ints, tail: Ints, queue: int) -> None:
    """Put `slot` at the end of the queue with the ends `head[queue]` and `tail[queue]`."""
    request = Request(s, slot)
    last = tail[queue]
    request.prev = last
    request.next = 0
    tail[queue] = slot
    if last:
        Request(s, last).next = slot
    else:
        head[queue] = slot


@inlined
def unlink(s: State, slot: int, head: Ints, tail: Ints, queue: int) -> None:
    """Take `slot` out of the queue with the ends `head[queue]` and `tail[queue]`."""
    request = Request(s, slot)
    before, after = request.prev, request.next
    if before:
        Request(s, before).next = after
    else:
        head[queue] = after
    if after:
        Request(s, after).prev = before
    else:
        tail[queue] = before


@inlined
def share(s: State, kind: int, t: int) -> None:
    """A read is answered from, or a write laid over, a write that still waits."""
    n = s.counters
    n.requests += 1
    n.shared[kind] += 1
    n.served[kind] += 1
    n.latency += 1 - kind
    n.last = max(n.last, t + 1)


@inlined
def _absent(request: Request) -> int:
    """The cause of lost time while a request was not there: a full queue, or no demand."""
    return m.OFFERED if request.was_offered else m.QUEUE


@helper
def charge(s: State, c: Channel, b: int, slot: int, t: int) -> None:
    """Charge the idle time of the data bus before this burst to the gate that opened last."""
    g, request = s.gates, Request(s, slot)
    u = b >> s.unit_shift
    bus = u & -s.shape.ranks
    group = b >> s.group_shift
    write = request.kind != 0
    start = t + (g.cwl if write else g.cl - g.bl)
    gap = start - c.bus_end[bus]
    c.bus_end[bus] = start + g.bl
    if gap <= 0:
        return
    opened = c.last_act[b] + (g.act_wr if write else g.act_rd)
    why, late = c.why_act[b], c.late_act[b]
    turn = c.turn_wr[u] if write else max(c.turn_rd[u], c.wr_g[group] + g.wr_l)
    if turn > opened:
        opened, why, late = turn, m.TURN, 0
    spaced = c.wr_g[group] + g.ww_l if write else c.rd_g[group] + g.rr_l
    spaced = max(spaced, c.wr_u[u] if write else c.rd_u[u])
    if spaced > opened:
        opened, why, late = spaced, m.GROUP, 0
    if request.arrive + 1 > opened:
        opened, why, late = request.arrive + 1, _absent(request), 0
    late = min(gap, late + t - opened)
    s.counters.lost[m.COMMAND] += late
    s.counters.lost[why] += gap - late


@inlined
def read_gates(s: State, c: Channel, b: int, t: int) -> None:
    """Close the gates that a read of bank `b` closes."""
    g, u, group = s.gates, b >> s.unit_shift, b >> s.group_shift
    c.rd_u[u] = max(c.rd_u[u], t + min(g.rr_s, g.rr_r))
    c.wr_u[u] = max(c.wr_u[u], t + g.rw)
    c.turn_wr[u] = t + g.rw
    c.rd_g[group] = t
    gate = t + g.rr_l
    first = group * s.shape.banks
    for i in range(first, first + s.shape.banks):
        c.rd_b[i] = max(c.rd_b[i], gate)
    c.pre_b[b] = max(c.pre_b[b], t + g.rd_pre)
    s.counters.last = max(s.counters.last, t + g.cl)


@inlined
def write_gates(s: State, c: Channel, b: int, t: int) -> None:
    """Close the gates that a write of bank `b` closes."""
    g, u, group = s.gates, b >> s.unit_shift, b >> s.group_shift
    c.wr_u[u] = max(c.wr_u[u], t + min(g.ww_s, g.ww_r))
    c.rd_u[u] = max(c.rd_u[u], t + g.wr_s)
    c.turn_rd[u] = t + g.wr_s
    c.wr_g[group] = t
    write_gate, read_gate = t + g.ww_l, t + g.wr_l
    first = group * s.shape.banks
    for i in range(first, first + s.shape.banks):
        c.wr_b[i] = max(c.wr_b[i], write_gate)
        c.rd_b[i] = max(c.rd_b[i], read_gate)
    c.pre_b[b] = max(c.pre_b[b], t + g.wr_pre)
    s.counters.last = max(s.counters.last, t + g.cwl + g.bl)


@helper
def other_stack_ids(s: State, c: Channel, b: int, write: bool, t: int) -> None:
    """Column spacing within a stack identifier and to the others of its unit."""
    g, n = s.gates, s.shape.stack_ids
    banks = s.unit_banks // n
    unit, own = b >> s.unit_shift, b // banks
    near, far = (g.ww_s, g.ww_r) if write else (g.rr_s, g.rr_r)
    gates = c.wr_b if write else c.rd_b
    for stack_id in range(unit * n, (unit + 1) * n):
        gate = t + (near if stack_id == own else far)
        for i in range(stack_id * banks, (stack_id + 1) * banks):
            gates[i] = max(gates[i], gate)


@helper
def other_ranks(s: State, c: Channel, b: int, write: bool, t: int) -> None:
    """The data bus changes hands between ranks."""
    g, unit = s.gates, b >> s.unit_shift
    first = unit & -s.shape.ranks
    for u in range(first, first + s.shape.ranks):
        if u != unit:
            c.rd_u[u] = max(c.rd_u[u], t + (g.wr_x if write else g.rr_x))
            c.wr_u[u] = max(c.wr_u[u], t + (g.ww_s if write else g.rr_x))


@helper
def column(s: State, c: Channel, b: int, slot: int, t: int) -> None:
    """All that the column command of `slot` does to gates and counters."""
    charge(s, c, b, slot, t)
    n, request = s.counters, Request(s, slot)
    write = request.kind != 0
    if write:
        write_gates(s, c, b, t)
        n.served[1] += 1
    else:
        read_gates(s, c, b, t)
        reads = 1 + request.same
        n.served[0] += reads
        n.latency += reads * (t + s.gates.cl) - request.arrive - request.same_arrived
    if s.shape.stack_ids > 1:
        other_stack_ids(s, c, b, write, t)
    if s.shape.ranks > 1:
        other_ranks(s, c, b, write, t)
    record(s, c, t, WR if write else RD, b, request.number)


@inlined
def _charge_activate(s: State, c: Channel, b: int, request: Request, t: int) -> None:
    """Note for the burst to come what this activate waited for."""
    g, u, group = s.gates, b >> s.unit_shift, b >> s.group_shift
    opened, why = c.ref_end[b], m.REFRESH
    rate = max(c.act_u[u], c.act_g[group] + g.rrd_l)
    if rate > opened:
        opened, why = rate, m.ACTIVATE
    if c.last_pre[b] + g.pre_act > opened:
        opened, why = c.last_pre[b] + g.pre_act, c.why_pre[b]
    if c.last_act[b] + g.act_act > opened:
        opened, why = c.last_act[b] + g.act_act, m.CYCLE
    if request.arrive + 1 > opened:
        opened, why = request.arrive + 1, _absent(request)
    c.why_act[b] = why
    c.late_act[b] = t - opened


@helper
def activate(s: State, c: Channel, b: int, slot: int, t: int) -> None:
    """All that the activate for `slot` does to gates and counters."""
    g, u, group = s.gates, b >> s.unit_shift, b >> s.group_shift
    request = Request(s, slot)
    _charge_activate(s, c, b, request, t)
    c.open_row[b] = request.row
    c.last_act[b] = t
    c.act_g[group] = t
    four, f = c.last_four, 4 * u
    c.act_u[u] = max(c.act_u[u], max(t + g.rrd_s, four[f + 1] + g.faw))
    four[f], four[f + 1], four[f + 2], four[f + 3] = four[f + 1], four[f + 2], four[f + 3], t
    gate = t + g.rrd_l
    first = group * s.shape.banks
    for i in range(first, first + s.shape.banks):
        c.act_b[i] = max(c.act_b[i], gate)
    c.act_b[b] = max(c.act_b[b], t + g.act_act)
    c.rd_b[b] = max(c.rd_b[b], t + g.act_rd)
    c.wr_b[b] = max(c.wr_b[b], t + g.act_wr)
    c.pre_b[b] = max(c.pre_b[b], t + g.act_pre)
    c.ref_u[u] = max(c.ref_u[u], t + g.act_ref)
    c.refb_u[u] = max(c.refb_u[u], t + g.act_refb_s)
    s.counters.activates += 1
    record(s, c, t, ACT, b, request.number)


@helper
def precharge(s: State, c: Channel, b: int, slot: int, t: int) -> None:
    """All that the precharge of bank `b` does; `slot` is the request it serves, 0: a refresh."""
    g, u, request = s.gates, b >> s.unit_shift, Request(s, slot)
    came_late = slot and request.arrive + 1 > c.pre_b[b]
    c.why_pre[b] = _absent(request) if came_late else m.CYCLE
    c.last_pre[b] = t
    c.open_row[b] = -1
    c.act_b[b] = max(c.act_b[b], t + g.pre_act)
    c.pre_u[u] = max(c.pre_u[u], t + g.pre_pre)
    c.ref_u[u] = max(c.ref_u[u], t + g.pre_ref)
    s.counters.precharges += 1
    record(s, c, t, PRE, b, request.number if slot else -1)
