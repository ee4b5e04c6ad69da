"""Refresh of all banks of a unit together, or of single banks while the others go on.

All banks: every tREFI each unit (rank or pseudo-channel) closes its banks and is refreshed for
tRFC, one unit after the other. Single banks: the banks of a channel fall due one after the other,
evenly spread over tREFI; one that is due takes no queued request until it is closed and refreshed
(tRFCpb). The refresh of a bank waits as an activate does for tRRD, tRC and tRP, and holds activates
and refreshes of other banks of its unit back for tRREFD.

Approximated: banks have fixed turns; a controller may take an idle one first, or put a refresh off.
Ignored: refreshes do not count in the four-activate window.
"""

from __future__ import annotations

from simulator.hardware.dram import issue
from simulator.hardware.dram._inline import helper, inlined
from simulator.hardware.dram.keys import CLASS, DT, DUE, PRECHARGE, REFRESH
from simulator.hardware.dram.state import INF, Channel, State

__all__ = [
    "any_open",
    "fall_due",
    "plan_due",
    "plan_refresh",
    "precharge_all",
    "refresh_bank",
    "refresh_unit",
]


@helper
def precharge_all(s: State, c: Channel, unit: int, t: int) -> None:
    """Close every bank of a unit with one command."""
    g = s.gates
    first = unit * s.unit_banks
    for i in range(first, first + s.unit_banks):
        if c.open_row[i] >= 0:
            c.open_row[i] = -1
            s.counters.precharges += 1
    c.ref_u[unit] = max(c.ref_u[unit], t + g.pre_ref)
    c.act_u[unit] = max(c.act_u[unit], t + g.pre_act)
    c.pre_u[unit] = max(c.pre_u[unit], t + g.pre_pre)
    issue.record(s, c, t, issue.PREA, unit, -1)


@helper
def refresh_unit(s: State, c: Channel, unit: int, t: int) -> None:
    """Refresh a unit, all of whose banks are closed."""
    end = t + s.gates.ref_act
    c.act_u[unit] = max(c.act_u[unit], end)
    c.ref_u[unit] = max(c.ref_u[unit], end)
    first = unit * s.unit_banks
    for i in range(first, first + s.unit_banks):
        c.ref_end[i] = end
    s.counters.refreshes += 1
    issue.record(s, c, t, issue.REF, unit, -1)


@helper
def fall_due(s: State, c: Channel) -> int:
    """The next bank whose refresh is due: unit after unit, then bank after bank; -1: it waits yet.

    Refresh number n of the channel (from 0) falls due at tick (n + 1) * tREFI / banks.
    """
    units = s.shape.units
    b = c.turns % units * s.unit_banks + c.turns // units % s.unit_banks
    c.turns += 1
    c.next_refresh = (c.turns + 1) * s.gates.refi // s.n_banks
    if c.due[b]:
        return -1
    c.due[b] = 1
    c.due_banks[c.n_due] = b
    c.n_due += 1
    return b


@inlined
def refresh_gate(s: State, c: Channel, b: int) -> int:
    """First tick at which bank `b`, closed, may be refreshed alone."""
    g = s.gates
    # Gates of an activate count from its last clock: a refresh is shorter.
    t: int = max(c.act_b[b] + g.len_act - g.len_pre, c.refb_u[b >> s.unit_shift])
    return t


@helper
def refresh_bank(s: State, c: Channel, b: int, t: int) -> None:
    """Refresh bank `b`, which is closed; others of its unit go on."""
    g, u = s.gates, b >> s.unit_shift
    c.act_b[b] = max(c.act_b[b], t + g.refb_act)
    c.act_u[u] = max(c.act_u[u], t + g.refb_act_s)
    c.refb_u[u] = max(c.refb_u[u], t + g.refb_refb_s)
    c.ref_end[b] = t + g.refb_act
    c.due[b] = 0
    i = 0
    while c.due_banks[i] != b:
        i += 1
    c.n_due -= 1
    c.due_banks[i] = c.due_banks[c.n_due]
    s.counters.refreshes += 1
    issue.record(s, c, t, issue.REFB, b, -1)


@helper
def any_open(s: State, c: Channel, unit: int) -> bool:
    first = unit * s.unit_banks
    n_open = 0
    for b in range(first, first + s.unit_banks):
        n_open += c.open_row[b] >= 0
    return n_open > 0


@helper
def plan_refresh(s: State, c: Channel, now: int) -> int:
    """Key of the next step of the refresh under way: close all banks, then refresh."""
    unit = c.refresh_unit
    for i in range(c.under_way):
        if c.active_banks[i] >> s.unit_shift == unit:
            return INF
    if any_open(s, c, unit):
        t: int = max(now, c.pre_u[unit])
        first = unit * s.unit_banks
        for b in range(first, first + s.unit_banks):
            t = max(t, c.pre_b[b])
    else:
        t = max(now, c.ref_u[unit]) | s.shape.edge
    return ((t - now) << DT) + (1 << CLASS) + REFRESH


@helper
def plan_due(s: State, c: Channel, now: int) -> int:
    """Least key of the row commands of banks whose refresh is due: close the bank, refresh it."""
    best = INF
    for i in range(c.n_due):
        b = c.due_banks[i]
        if c.active[b]:
            continue
        if c.open_row[b] >= 0:
            t = max(now, max(c.pre_b[b], c.pre_u[b >> s.unit_shift]))
            command = PRECHARGE
        else:
            t = max(now, refresh_gate(s, c, b)) | s.shape.edge
            command = REFRESH
        best = min(best, ((t - now) << DT) + DUE + (b << 2) + command)
    return best
