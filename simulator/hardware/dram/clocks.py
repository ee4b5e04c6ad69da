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
import numpy.typing as npt

from simulator.hardware.devices.dram import Dram
from simulator.units import PS_PER_S

__all__ = ["gates", "shape", "tick_ps", "ticks_to_ps"]

# Positions in the gate vector.
BL = 0  # ticks of one burst on the data bus
CL = 1  # read command to the end of its data
RR_S = 2  # read to read, other bank group
RR_L = 3  # read to read, same bank group
RR_R = 4  # read to read, other stack identifier
WW_S = 5
WW_L = 6
WW_R = 7
RW = 8  # read to write, same rank
WR_S = 9  # write to read, other bank group
WR_L = 10  # write to read, same bank group
RR_X = 11  # read to read or write, other rank
WR_X = 12  # write to read, other rank
RD_PRE = 13
WR_PRE = 14
ACT_RD = 15
ACT_WR = 16
ACT_PRE = 17
ACT_ACT = 18  # same bank (tRC)
RRD_S = 19
RRD_L = 20
FAW = 21
PRE_ACT = 22
PRE_PRE = 23
PRE_REF = 24
ACT_REF = 25
REF_ACT = 26
REFI = 27
LEN_ACT = 28  # ticks that a command occupies its bus
LEN_PRE = 29
LEN_COL = 30
CWL = 31  # write command to the start of its data
GATES = 32

# Positions in the shape vector, which follows the gates.
CHANNELS = GATES + 0
UNITS = GATES + 1  # pseudo-channels x ranks of a channel: own activate gates, own refresh
RANKS = GATES + 2
SIDS = GATES + 3
GROUPS = GATES + 4
BANKS = GATES + 5  # of one bank group
DUAL = GATES + 6  # separate row and column command buses
EDGE = GATES + 7  # 1: activates and column commands only at odd ticks
READS = GATES + 8  # queue depths
WRITES = GATES + 9
HIGH = GATES + 10  # more writes than this: drain
LOW = GATES + 11  # fewer writes than this: stop
ROWHIT = GATES + 12  # protect rows that an older request hits
MERGE = GATES + 13
CQ = GATES + 14
BATCH = GATES + 15
CAP = GATES + 16
PRE_ALL = GATES + 17
SHAPE = 18


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


def gates(config: Dram) -> npt.NDArray[np.int64]:
    """The gates of `config` in ticks, int64[GATES]."""
    t = config.timing
    k = _ticks_per_clock(config)
    burst = config.burst_clocks
    act, pre, col = _lengths(config)
    rtw = t.cl + burst + 2 - t.cwl if t.rtw is None else t.rtw
    g = np.zeros(GATES, dtype=np.int64)
    g[BL] = k * burst
    g[CL] = k * (t.cl + burst)
    g[CWL] = k * t.cwl
    write_s = t.ccd_s if t.ccd_s_wr is None else t.ccd_s_wr
    write_l = t.ccd_l if t.ccd_l_wr is None else t.ccd_l_wr
    g[RR_S] = k * max(burst, t.ccd_s)
    g[RR_L] = k * max(burst, t.ccd_l)
    g[WW_S] = k * max(burst, write_s)
    g[WW_L] = k * max(burst, write_l)
    g[RR_R] = k * max(burst, t.ccd_s if t.ccd_r is None else t.ccd_r)
    g[WW_R] = k * max(burst, write_s if t.ccd_r is None else t.ccd_r)
    g[RW] = k * rtw
    g[WR_S] = k * (t.cwl + burst + t.wtr_s)
    g[WR_L] = k * (t.cwl + burst + t.wtr_l)
    g[RR_X] = k * (burst + t.rtrs)
    g[WR_X] = max(1, k * (t.cwl + burst + t.rtrs - t.cl))
    g[RD_PRE] = k * t.rtp + col - pre
    g[WR_PRE] = k * (t.cwl + burst + t.wr) + col - pre
    g[ACT_RD] = k * t.rcd_rd + act - col
    g[ACT_WR] = k * t.rcd_wr + act - col
    g[ACT_PRE] = k * t.ras + act - pre
    g[ACT_ACT] = k * t.rc
    g[RRD_S] = k * t.rrd_s
    g[RRD_L] = k * t.rrd_l
    g[FAW] = k * t.faw
    g[PRE_ACT] = k * t.rp + pre - act
    g[PRE_PRE] = k * t.ppd
    g[PRE_REF] = k * t.rp
    g[ACT_REF] = k * t.rc + act - pre
    g[REF_ACT] = k * t.rfc + pre - act
    g[REFI] = k * t.refi
    g[LEN_ACT], g[LEN_PRE], g[LEN_COL] = act, pre, col
    return g


def shape(config: Dram, channels: int) -> npt.NDArray[np.int64]:
    """Counts and switches of `config` for the kernels, int64[SHAPE]."""
    o, c = config.organization, config.controller
    s = np.zeros(SHAPE, dtype=np.int64)
    s[CHANNELS - GATES] = channels
    s[UNITS - GATES] = o.pseudo_channels * o.ranks
    s[RANKS - GATES] = o.ranks
    s[SIDS - GATES] = o.stack_ids
    s[GROUPS - GATES] = o.bank_groups
    s[BANKS - GATES] = o.banks_per_group
    s[DUAL - GATES] = config.dual_command_bus
    s[EDGE - GATES] = config.half_clock_commands
    s[READS - GATES] = c.read_queue
    s[WRITES - GATES] = c.write_queue
    s[HIGH - GATES] = int(np.floor(np.float32(c.drain_high) * np.float32(c.write_queue)))
    s[LOW - GATES] = int(np.ceil(np.float32(c.drain_low) * np.float32(c.write_queue)))
    s[ROWHIT - GATES] = c.scheduler == "frfcfs-rowhit"
    s[MERGE - GATES] = c.merge_reads
    s[CQ - GATES] = c.command_queue
    s[BATCH - GATES] = c.write_batch
    s[CAP - GATES] = c.row_hit_cap
    s[PRE_ALL - GATES] = c.precharge_all
    return s
