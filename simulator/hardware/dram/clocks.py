"""Data-sheet timing turned into gates: how many ticks after one command another may follow.

A tick is one clock of the command clock, or half a clock where commands may use the falling edge
(HBM3). JEDEC counts from the last clock of a command; the scheduler places a command at its first
clock. So a gate between commands of different length shifts by the difference of their lengths.

Modelled: the gates below, per bank, bank group, stack identifier, rank and pseudo-channel.
Ignored: power-down and self-refresh, on-die termination, read-to-read preamble differences,
temperature-dependent refresh.
"""

from __future__ import annotations

import numpy as np

from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram.views import View
from simulator.units import PS_PER_S

__all__ = ["Gates", "Shape", "gates", "shape", "tick_ps", "ticks_to_ps"]


class Gates(View):
    """Ticks from the first clock of one command to the first clock of another."""

    bl: int  # ticks of one burst on the data bus
    cl: int  # read command to the end of its data
    cwl: int  # write command to the start of its data
    rr_s: int  # read to read, other bank group
    rr_l: int  # read to read, same bank group
    rr_r: int  # read to read, other stack identifier
    ww_s: int
    ww_l: int
    ww_r: int
    rw: int  # read to write, same rank
    wr_s: int  # write to read, other bank group
    wr_l: int  # write to read, same bank group
    rr_x: int  # read to read or write, other rank
    wr_x: int  # write to read, other rank
    rd_pre: int
    wr_pre: int
    act_rd: int
    act_wr: int
    act_pre: int
    act_act: int  # same bank (tRC)
    rrd_s: int
    rrd_l: int
    faw: int
    pre_act: int
    pre_pre: int
    pre_ref: int
    act_ref: int
    ref_act: int
    refi: int
    # Refresh of one bank; `_s`: other bank of the unit.
    refb_act: int
    refb_act_s: int
    refb_refb: int
    refb_refb_s: int
    act_refb: int
    act_refb_l: int  # other bank of the bank group
    act_refb_s: int
    pre_refb: int
    len_act: int  # ticks that a command occupies its bus
    len_pre: int
    len_col: int


class Shape(View):
    """Counts and switches of a memory and its controller."""

    channels: int
    units: int  # pseudo-channels x ranks of a channel: own activate gates, own refresh
    ranks: int
    stack_ids: int
    groups: int  # bank groups of a stack identifier
    banks: int  # of one bank group
    dual_bus: int  # separate row and column command buses
    edge: int  # 1: activates and column commands only at odd ticks
    reads: int  # depth of the read queue
    writes: int
    drain_above: int  # more writes than this: drain
    drain_until: int  # fewer writes than this: stop
    protect_hits: int  # keep rows open that an older request hits
    merge_reads: int
    command_queue: int
    write_batch: int
    row_hit_cap: int
    by_bank: int  # banks are refreshed one by one


def _ticks_per_clock(config: Dram) -> int:
    return 2 if config.half_clock_commands else 1


def ticks_to_ps(config: Dram, ticks: int) -> int:
    """`ticks` in picoseconds, rounded to the nearest."""
    hertz = config.clock * _ticks_per_clock(config)
    return (ticks * PS_PER_S + hertz // 2) // hertz


def tick_ps(config: Dram) -> float:
    """Picoseconds of one tick."""
    return PS_PER_S / (config.clock * _ticks_per_clock(config))


def _lengths(config: Dram) -> tuple[int, int, int]:
    """Ticks of activate, precharge and column commands on their bus."""
    per_clock = _ticks_per_clock(config)
    if not config.controller.command_lengths:
        return per_clock, per_clock, per_clock
    length = config.command_length
    halves = (length.activate, length.precharge, length.column)
    act, pre, col = (max(1, half * per_clock // 2) for half in halves)
    return act, pre, col


def gates(config: Dram) -> Gates:
    """The gates of `config` in ticks."""
    t = config.timing
    k = _ticks_per_clock(config)
    act, pre, col = _lengths(config)
    g = Gates(np.zeros(Gates.size, dtype=np.int64), 0)
    _set_column_gates(g, config)
    written = t.cwl + config.burst_clocks
    g.rd_pre = k * t.rtp + col - pre
    g.wr_pre = k * (written + t.wr) + col - pre
    g.act_rd = k * t.rcd_rd + act - col
    g.act_wr = k * t.rcd_wr + act - col
    g.act_pre = k * t.ras + act - pre
    g.act_act = k * t.rc
    g.rrd_s, g.rrd_l, g.faw = k * t.rrd_s, k * t.rrd_l, k * t.faw
    g.pre_act = k * t.rp + pre - act
    g.pre_pre = k * t.ppd
    g.pre_ref = k * t.rp
    g.act_ref = k * t.rc + act - pre
    g.ref_act = k * t.rfc + pre - act
    g.refi = k * t.refi
    _set_bank_refresh_gates(g, config)
    g.len_act, g.len_pre, g.len_col = act, pre, col
    return g


def _set_bank_refresh_gates(g: Gates, config: Dram) -> None:
    """Refresh of one bank: as an activate it waits for tRC, tRP and tRRD, and is waited for."""
    t, k = config.timing, _ticks_per_clock(config)
    act, pre, _ = _lengths(config)
    whole, apart = k * (t.rfc_pb or 0), k * (t.rrefd or 0)
    g.refb_refb, g.refb_refb_s = whole, apart
    g.refb_act, g.refb_act_s = whole + pre - act, max(0, apart + pre - act)
    g.act_refb = k * t.rc + act - pre
    g.act_refb_l, g.act_refb_s = k * t.rrd_l + act - pre, k * t.rrd_s + act - pre
    g.pre_refb = k * t.rp


def _set_column_gates(g: Gates, config: Dram) -> None:
    """Data on the bus, and from one column command to the next."""
    t, burst = config.timing, config.burst_clocks
    k = _ticks_per_clock(config)
    write_s = t.ccd_s if t.ccd_s_wr is None else t.ccd_s_wr
    write_l = t.ccd_l if t.ccd_l_wr is None else t.ccd_l_wr
    rtw = t.cl + burst + 2 - t.cwl if t.rtw is None else t.rtw
    g.bl, g.cl, g.cwl = k * burst, k * (t.cl + burst), k * t.cwl
    g.rr_s, g.rr_l = k * max(burst, t.ccd_s), k * max(burst, t.ccd_l)
    g.ww_s, g.ww_l = k * max(burst, write_s), k * max(burst, write_l)
    g.rr_r = k * max(burst, t.ccd_s if t.ccd_r is None else t.ccd_r)
    g.ww_r = k * max(burst, write_s if t.ccd_r is None else t.ccd_r)
    g.rw = k * rtw
    g.wr_s = k * (t.cwl + burst + t.wtr_s)
    g.wr_l = k * (t.cwl + burst + t.wtr_l)
    g.rr_x = k * (burst + t.rtrs)
    g.wr_x = max(1, k * (t.cwl + burst + t.rtrs - t.cl))


def shape(config: Dram, channels: int) -> Shape:
    """Counts and switches of `config`, for `channels` channels."""
    o, c = config.organization, config.controller
    s = Shape(np.zeros(Shape.size, dtype=np.int64), 0)
    s.channels = channels
    s.units = config.units
    s.ranks = config.simulated_ranks
    s.stack_ids = o.stack_ids
    s.groups = o.bank_groups
    s.banks = o.banks_per_group
    s.dual_bus = config.dual_command_bus
    s.edge = config.half_clock_commands
    s.reads = c.read_queue
    s.writes = config.write_entries
    s.drain_above = int(np.floor(np.float32(c.drain_high) * np.float32(s.writes)))
    s.drain_until = int(np.ceil(np.float32(c.drain_low) * np.float32(s.writes)))
    s.protect_hits = c.scheduler == "frfcfs-rowhit"
    s.merge_reads = c.merge_reads
    s.command_queue = c.command_queue
    s.write_batch = c.write_batch
    s.row_hit_cap = c.row_hit_cap
    s.by_bank = c.refresh == "per_bank"
    return s
