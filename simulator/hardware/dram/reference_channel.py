"""What the tick-by-tick controllers share: banks, past commands, and rules between commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.hardware.dram.issue import ACT, PRE, PREA, RD, REF, REFB, WR

__all__ = ["Burst", "Channel", "Command"]

Command = tuple[int, int, int, int, int]
"""Tick, channel, command, bank (or unit), number of the request (-1: none)."""

Rule = tuple[int, int, str, str]
RULES: tuple[Rule, ...] = (
    (ACT, RD, "bank", "act_rd"),
    (ACT, WR, "bank", "act_wr"),
    (ACT, PRE, "bank", "act_pre"),
    (ACT, ACT, "bank", "act_act"),
    (PRE, ACT, "bank", "pre_act"),
    (RD, PRE, "bank", "rd_pre"),
    (WR, PRE, "bank", "wr_pre"),
    (RD, RD, "group", "rr_l"),
    (WR, WR, "group", "ww_l"),
    (WR, RD, "group", "wr_l"),
    (ACT, ACT, "group", "rrd_l"),
    (RD, RD, "sid", "rr_s"),
    (WR, WR, "sid", "ww_s"),
    (RD, RD, "other sid", "rr_r"),
    (WR, WR, "other sid", "ww_r"),
    (RD, WR, "unit", "rw"),
    (WR, RD, "unit", "wr_s"),
    (ACT, ACT, "unit", "rrd_s"),
    (PRE, PRE, "unit", "pre_pre"),
    (PREA, PRE, "unit", "pre_pre"),
    (PREA, ACT, "unit", "pre_act"),
    (REF, ACT, "unit", "ref_act"),
    (PRE, REF, "unit", "pre_ref"),
    (PREA, REF, "unit", "pre_ref"),
    (ACT, REF, "unit", "act_ref"),
    (REF, REF, "unit", "ref_act"),
    (ACT, REFB, "bank", "act_refb"),
    (ACT, REFB, "group", "act_refb_l"),
    (ACT, REFB, "unit", "act_refb_s"),
    (PRE, REFB, "bank", "pre_refb"),
    (REFB, ACT, "bank", "refb_act"),
    (REFB, ACT, "unit", "refb_act_s"),
    (REFB, REFB, "bank", "refb_refb"),
    (REFB, REFB, "unit", "refb_refb_s"),
    (RD, RD, "other rank", "rr_x"),
    (RD, WR, "other rank", "rr_x"),
    (WR, RD, "other rank", "wr_x"),
    (WR, WR, "other rank", "ww_s"),
)
"""First command, later command, where both must lie, the gate between them."""

RULES_OF = {
    (first, later): [(rule[2], rule[3]) for rule in RULES if rule[:2] == (first, later)]
    for first, later, _, _ in RULES
}


@dataclass
class Burst:
    """One request: where it goes, and what happened to it."""

    channel: int
    bank: int
    row: int
    column: int
    write: int
    number: int = -1
    arrive: int = -1

    def same(self, other: Burst) -> bool:
        return (self.bank, self.row, self.column) == (other.bank, other.row, other.column)


@dataclass
class Channel:
    """Banks and past commands of one channel."""

    index: int
    s: Mapping[str, int]
    """Gates and shape, by name."""
    log: list[Command]
    past: list[tuple[int, int, int]] = field(default_factory=list)
    open_row: dict[int, int] = field(default_factory=dict)
    reads: list[Burst] = field(default_factory=list)
    writes: list[Burst] = field(default_factory=list)
    active: list[Burst] = field(default_factory=list)
    queues: dict[int, list[Burst]] = field(default_factory=dict)
    served: dict[int, int] = field(default_factory=dict)
    mode: int = 0
    drain: int = 0
    turn: int = 0
    refreshing: int = -1
    turns: int = 0
    due: set[int] = field(default_factory=set)
    free_col: int = 0
    free_row: int = 0

    def __post_init__(self) -> None:
        s = self.s
        self.unit_banks = s["stack_ids"] * s["groups"] * s["banks"]
        self.n_banks = s["units"] * self.unit_banks
        self.queues = {b: [] for b in range(self.n_banks)}

    def scope(self, where: str, first: int, later: int) -> bool:
        """True if commands to banks `first` and `later` lie in the relation `where`."""
        s, n = self.s, self.unit_banks
        unit, other = first // n, later // n
        sid = n // s["stack_ids"]
        if where == "bank":
            return first == later
        if where == "group":
            return first // s["banks"] == later // s["banks"]
        if where == "other rank":
            return unit != other and unit // s["ranks"] == other // s["ranks"]
        if where == "unit":
            return unit == other
        return unit == other and (first // sid == later // sid) == (where == "sid")

    def ready(self, command: int, bank: int, t: int) -> bool:
        """True if no gate holds `command` to `bank` back at tick `t`."""
        if self.s["edge"] and command not in (PRE, PREA) and t % 2 == 0:
            return False
        for at, earlier, earlier_bank in self.past:
            for where, gate in RULES_OF.get((earlier, command), ()):
                if t - at < self.s[gate] and self.scope(where, earlier_bank, bank):
                    return False
        if command == ACT:
            acts = [a for a, c, p in self.past if c == ACT and self.scope("unit", p, bank)]
            return len(acts) < 4 or t - acts[-4] >= self.s["faw"]
        return True

    def issue(self, command: int, bank: int, t: int, number: int) -> None:
        """Issue a command (`bank`: any bank of the unit for PREA and REF)."""
        unit = bank // self.unit_banks
        shown = unit if command in (PREA, REF) else bank
        self.log.append((t, self.index, command, shown, number))
        self.past.append((t, command, bank))
        horizon = max(self.s[gate] for _, _, _, gate in RULES)
        self.past = [entry for entry in self.past if t - entry[0] <= horizon + self.s["faw"]]
        length = self.s["len_col"]
        if command in (RD, WR):
            self.free_col = t + length
        else:
            length = self.s["len_act"] if command == ACT else self.s["len_pre"]
            self.free_row = t + length
        if not self.s["dual_bus"]:
            self.free_col = self.free_row = t + length
        if command == PRE:
            del self.open_row[bank]
        if command == PREA:
            for b in self.banks(unit):
                self.open_row.pop(b, None)

    def banks(self, unit: int) -> range:
        return range(unit * self.unit_banks, (unit + 1) * self.unit_banks)

    def needs(self, burst: Burst) -> int:
        """The command that brings `burst` on its way."""
        if burst.bank not in self.open_row:
            return ACT
        if self.open_row[burst.bank] != burst.row:
            return PRE
        return WR if burst.write else RD
