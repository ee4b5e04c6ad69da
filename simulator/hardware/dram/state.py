"""State that both controller kernels share: one flat array of words, and what lies where in it.

A kernel keeps its whole state between the chunks of a stream. First comes a `State`, then one
`Channel` after the other with the slots of its queued `Request`s, then lists of channels and the
log of commands. A channel or a slot is named by the position of its first word in the array; 0 is
none. A bank's number in its channel is
`((unit * stack_ids + stack_id) * bank_groups + bank_group) * banks_per_group + bank`.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from simulator.errors import ConfigError
from simulator.hardware.dram.clocks import Gates, Shape
from simulator.hardware.dram.views import Ints, View

__all__ = [
    "BIG",
    "INF",
    "LOSSES",
    "MAX_BANKS",
    "Channel",
    "Counters",
    "LogEntry",
    "Request",
    "State",
    "new_state",
]

INF = 1 << 62  # the key of "no candidate"
BIG = 1 << 60  # the time of "never"
MAX_BANKS = 64  # of a channel: all its pseudo-channels, ranks and stack identifiers
MAX_UNITS = 8

REFRESH, ACTIVATE, GROUP, TURN, CYCLE, QUEUE, OFFERED, COMMAND = range(8)
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
"""Causes of lost data-bus time, by the numbers above."""

Pair = Annotated[Ints, 2]
"""Of reads, then of writes: indexed by the kind of a request."""
Units = Annotated[Ints, MAX_UNITS]
Banks = Annotated[Ints, MAX_BANKS]
Queues = Annotated[Ints, 2 * MAX_BANKS]
"""Of the read queues of all banks, then of the write queues."""


class Counters(View):
    """What has happened so far."""

    requests: int  # accepted
    served: Pair
    shared: Pair  # served without a burst of their own
    hits: int
    activates: int
    precharges: int
    refreshes: int
    latency: int  # sum over reads, ticks
    last: int  # tick at which the last data ended
    lost: Annotated[Ints, len(LOSSES)]  # ticks by cause


class State(View):
    """What the channels of a kernel share."""

    gates: Gates
    shape: Shape
    counters: Counters
    stride: int  # words from one channel to the next
    n_banks: int  # banks of a channel
    unit_banks: int  # banks of a unit
    unit_shift: int  # log2 of the banks of a unit,
    group_shift: int  # of a bank group
    depth: Pair  # requests that the queues of a channel hold
    kinds: int  # 1: reads have been accepted, 2: writes, 3: both
    ended: int  # the stream has ended: the last writes are drained
    never: int  # BIG, as a value: numba would compile all anew for the literal
    events_at: int  # where the ticks of the channels' next events lie, side by side
    changed_at: int  # where the channels that changed since lie
    n_changed: int
    log_at: int
    log_size: int  # entries that fit into the log
    logged: int


class Channel(View):
    """One channel. Gates hold the first tick at which they let a command pass."""

    here: int  # the channel's position in the array
    index: int
    now_col: int  # first tick at which a column command may issue
    now_row: int  # first tick at which a row command may issue
    waiting: Pair  # requests in the read and in the write queues
    under_way: int  # requests beyond them: activates have issued, or in a command queue
    mode: int  # the kind that is served
    next_refresh: int
    refresh_unit: int  # unit whose refresh is under way, -1: none
    turns: int  # refreshes of single banks that have fallen due
    n_due: int  # banks whose refresh is due
    event: int  # tick of the next event
    column_key: int  # its commands
    row_key: int
    key: int  # per-bank: its command,
    key_tick: int  # and that command's tick
    dirty: int  # state changed since the next event was found
    free_slot: int  # first of the unused slots
    turn: int  # bank served last (round robin)
    drain: int  # writes left to drain
    next_move: int  # first tick at which a request may move to a command queue
    # Units (pseudo-channels x ranks).
    rd_u: Units
    wr_u: Units
    act_u: Units
    pre_u: Units
    ref_u: Units
    turn_rd: Units  # when the last write lets reads go on
    turn_wr: Units
    refb_u: Units  # first tick of a refresh of one bank
    bus_end: Units  # when the data bus becomes free
    last_four: Annotated[Ints, 4 * MAX_UNITS]  # activates, of each unit
    # Bank groups: their last commands.
    rd_g: Banks
    wr_g: Banks
    act_g: Banks
    # Banks: what decides the next command lies together.
    rd_b: Banks  # first tick of a read, as far as bank and bank group say
    wr_b: Banks
    act_b: Banks
    pre_b: Banks
    rd_key: Banks  # keys of the commands that the bank offers (frfcfs: of any column command)
    act_key: Banks
    pre_key: Banks
    wr_key: Banks
    open_row: Banks  # -1: none
    hit: Banks  # oldest request that hits the open row (per-bank: read that may issue)
    miss: Banks  # oldest that does not
    write_hit: Banks  # per-bank: oldest write that may issue
    active: Banks  # request whose activate is under way
    active_banks: Banks  # banks with such a request, in no order
    due: Banks  # 1: its refresh is due, and it takes no queued request
    due_banks: Banks  # banks whose refresh is due, in no order
    ref_end: Banks  # end of the last refresh
    last_act: Banks
    last_pre: Banks
    why_act: Banks  # the cause that opened last for the last activate
    why_pre: Banks
    late_act: Banks  # ticks from the opening of its last gate to the activate
    head: Queues
    tail: Queues
    first: Banks  # command queues
    final: Banks
    length: Banks
    served: Banks  # bursts since the activate


class Request(View):
    """A slot of a queue."""

    row: int
    column: int
    number: int  # in the order of acceptance
    arrive: int
    kind: int  # 0: read, 1: write
    touched: int  # an activate or precharge was issued for it: not a row hit
    was_offered: int  # arrived when it was offered: no full queue held it back
    next: int
    prev: int
    same: int  # further reads of this address, served with it
    same_arrived: int  # sum of the ticks at which they were accepted


class LogEntry(View):
    """A command that was issued."""

    tick: int
    channel: int
    command: int
    bank: int  # or unit
    number: int  # of the request, -1: none


FIRST_CHANNEL = State.size  # position of channel 0; the others follow every `stride` words
ENTRY_WORDS = LogEntry.size


def new_state(gates: Gates, shape: Shape, log: int = 0) -> State:
    """The state of idle channels with closed banks; the first `log` commands are recorded.

    Raises `ConfigError` for channels of more banks or units than there is room for.
    """
    channels, units = shape.channels, shape.units
    banks = units * shape.stack_ids * shape.groups * shape.banks
    if banks > MAX_BANKS or units > MAX_UNITS:
        raise ConfigError(
            f"a channel of {banks} banks in {units} ranks and pseudo-channels: at most "
            f"{MAX_BANKS} banks in {MAX_UNITS} are simulated"
        )
    slots = shape.reads + shape.writes + banks * max(1, shape.command_queue)
    stride = Channel.size + Request.size * slots
    events_at = FIRST_CHANNEL + channels * stride
    changed_at = events_at + channels
    log_at = changed_at + channels
    s = State(np.zeros(log_at + ENTRY_WORDS * log, dtype=np.int64), 0)
    s.gates.fill(gates)
    s.shape.fill(shape)
    s.stride, s.n_banks, s.unit_banks = stride, banks, banks // units
    s.unit_shift = (banks // units).bit_length() - 1
    s.group_shift = shape.banks.bit_length() - 1
    s.depth[:] = shape.reads, shape.writes
    s.never = BIG
    s.events_at, s.changed_at, s.n_changed = events_at, changed_at, channels
    s.log_at, s.log_size = log_at, log
    for index in range(channels):
        here = FIRST_CHANNEL + index * stride
        s.words[changed_at + index] = here
        first = gates.refi // banks if shape.by_bank else gates.refi
        _make_idle(Channel(s, here), here, index, first)
        _free_slots(s, here, slots)
    return s


def _make_idle(c: Channel, here: int, index: int, refresh: int) -> None:
    c.here, c.index = here, index
    c.now_col = c.now_row = 1
    c.next_refresh = refresh
    c.refresh_unit = -1
    c.dirty = 1
    c.event = BIG
    c.open_row[:] = -1
    for gate in (c.turn_rd, c.turn_wr, c.ref_end, c.last_four, c.rd_g, c.wr_g, c.act_g):
        gate[:] = -BIG
    for tick in (c.last_act, c.last_pre):
        tick[:] = -BIG
    for key in (c.rd_key, c.act_key, c.pre_key, c.wr_key):
        key[:] = INF


def _free_slots(s: State, here: int, slots: int) -> None:
    """Chain the unused slots behind the channel at `here`."""
    positions = here + Channel.size + Request.size * np.arange(slots)
    Channel(s, here).free_slot = int(positions[0])
    s.words[positions[:-1] + Request.fields["next"].at] = positions[1:]
