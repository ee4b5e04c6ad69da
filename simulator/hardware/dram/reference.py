"""The two controllers tick by tick, in plain Python: slow, short, and the kernels' judge.

Same rules as `frfcfs.py` and `perbank.py`, written the other way round: every tick is visited,
every command is tested against the times of all earlier commands, queues are lists in order of
age. `simulate` returns the log of commands, which must equal the kernel's entry by entry.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram.clocks import gates, shape
from simulator.hardware.dram.issue import ACT, PRE, PREA, RD, REF, REFB, WR
from simulator.hardware.dram.reference_channel import Burst, Channel, Command

__all__ = ["Burst", "Command", "simulate"]


class FirstReady(Channel):
    """Read and write queue; the oldest timing-ready request first."""

    def accept(self, burst: Burst, t: int) -> bool:
        if any(burst.same(w) for w in self.writes):
            return True
        queue = self.writes if burst.write else self.reads
        if len(queue) >= self.s["writes" if burst.write else "reads"]:
            return False
        burst.arrive = t
        queue.append(burst)
        return True

    def busy(self) -> bool:
        return bool(self.reads or self.writes or self.active)

    def tick(self, t: int) -> None:
        if self.s["by_bank"]:
            self.fall_due(t)
        elif t % self.s["refi"] == 0:
            self.refreshing = 0
        if self.s["dual_bus"]:
            if t >= self.free_col:
                self.slot(t, (RD, WR))
            if t >= self.free_row:
                self.slot(t, (ACT, PRE))
        elif t >= self.free_col:
            self.slot(t, (RD, WR, ACT, PRE))
        elif self.refreshing < 0:
            self.set_mode()

    def slot(self, t: int, commands: tuple[int, ...]) -> None:
        """At most one of `commands`: for an active request, a refresh, or a queued request."""
        if RD in commands:
            for burst in sorted(self.active, key=lambda b: b.number):
                if self.ready(self.needs(burst), burst.bank, t):
                    self.serve(burst, t, self.active)
                    return
        if self.refreshing >= 0:
            if ACT in commands:
                self.refresh(t)
            return
        self.set_mode()
        if ACT in commands and self.refresh_bank(t):
            return
        queue = self.writes if self.mode else self.reads
        for burst in queue:
            command = self.needs(burst)
            if burst.bank in self.due or command not in commands:
                continue
            if not self.ready(command, burst.bank, t):
                continue
            if command == PRE and self.keeps_open(burst, queue):
                continue
            self.serve(burst, t, queue)
            return

    def keeps_open(self, burst: Burst, queue: list[Burst]) -> bool:
        if any(a.bank == burst.bank for a in self.active):
            return True
        row = self.open_row[burst.bank]
        hits = [b for b in queue if b.bank == burst.bank and b.row == row]
        return bool(self.s["protect_hits"] and hits and hits[0].arrive <= burst.arrive)

    def serve(self, burst: Burst, t: int, queue: list[Burst]) -> None:
        command = self.needs(burst)
        self.issue(command, burst.bank, t, burst.number)
        if command == ACT:
            self.open_row[burst.bank] = burst.row
            self.active.append(burst)
        if command != PRE:
            queue.remove(burst)

    def set_mode(self) -> None:
        if self.mode == 0:
            if self.writes and (len(self.writes) > self.s["drain_above"] or not self.reads):
                self.mode = 1
        elif len(self.writes) < self.s["drain_until"] and self.reads:
            self.mode = 0

    def fall_due(self, t: int) -> None:
        """Note the bank whose refresh is due: unit after unit, then bank after bank."""
        while (self.turns + 1) * self.s["refi"] // self.n_banks <= t:
            bank, unit = divmod(self.turns, self.s["units"])
            self.due.add(unit * self.unit_banks + bank % self.unit_banks)
            self.turns += 1

    def refresh_bank(self, t: int) -> bool:
        """Bring a bank that is due nearer to its refresh; True if a command issued."""
        for bank in sorted(self.due):
            if any(a.bank == bank for a in self.active):
                continue
            command = PRE if bank in self.open_row else REFB
            if self.ready(command, bank, t):
                self.issue(command, bank, t, -1)
                if command == REFB:
                    self.due.remove(bank)
                return True
        return False

    def refresh(self, t: int) -> None:
        unit = self.refreshing
        banks = self.banks(unit)
        if any(a.bank in banks for a in self.active):
            return
        if any(b in self.open_row for b in banks):
            if all(self.ready(PRE, b, t) for b in banks):
                self.issue(PREA, banks[0], t, -1)
        elif self.ready(REF, banks[0], t):
            self.issue(REF, banks[0], t, -1)
            self.refreshing = unit + 1 if unit + 1 < self.s["units"] else -1


class PerBank(Channel):
    """A command queue a bank, banks in turn."""

    final = False

    def pending(self, kind: int, bank: int) -> list[Burst]:
        waiting = self.writes if kind else self.reads
        return [b for b in waiting + self.queues[bank] if b.write == kind and b.bank == bank]

    def accept(self, burst: Burst, t: int) -> bool:
        queue = self.writes if burst.write else self.reads
        if len(queue) >= self.s["writes" if burst.write else "reads"]:
            return False
        if any(burst.same(w) for w in self.pending(1, burst.bank)):
            return True
        merge = self.s["merge_reads"] and not burst.write
        if merge and any(burst.same(r) for r in self.pending(0, burst.bank)):
            return True
        burst.arrive = t
        queue.append(burst)
        return True

    def busy(self) -> bool:
        return bool(self.reads or self.writes or any(self.queues.values()))

    def tick(self, t: int) -> None:
        if t and t % self.s["refi"] == 0:
            self.refreshing = 0
        if self.refreshing >= 0:
            self.refresh(t)
        elif t:
            first = self.choose(t)
            if first is not None:
                self.serve(*first, t)
                second = self.choose(t) if self.s["dual_bus"] else None
                if second is not None:
                    if (second[0] in (RD, WR)) != (first[0] in (RD, WR)):
                        self.serve(*second, t)
                    else:
                        self.turn = second[1].bank
        self.move()

    def choose(self, t: int) -> tuple[int, Burst] | None:
        """The first ready command of the first bank in turn that has one."""
        for step in range(1, self.n_banks + 1):
            for burst in self.queues[(self.turn + step) % self.n_banks]:
                command = self.needs(burst)
                if self.ready(command, burst.bank, t) and self.may(command, burst):
                    return command, burst
        return None

    def may(self, command: int, burst: Burst) -> bool:
        queue = self.queues[burst.bank]
        if command == PRE:
            row = self.open_row[burst.bank]
            spent = self.served[burst.bank] >= self.s["row_hit_cap"]
            return queue[0] is burst and (spent or all(b.row != row for b in queue))
        if command == WR:
            older = queue[: queue.index(burst)]
            return not any(not b.write and b.same(burst) for b in older)
        return True

    def serve(self, command: int, burst: Burst, t: int) -> None:
        self.turn = burst.bank
        self.issue(command, burst.bank, t, burst.number)
        if command == ACT:
            self.open_row[burst.bank] = burst.row
            self.served[burst.bank] = 0
        elif command != PRE:
            self.served[burst.bank] += 1
            self.queues[burst.bank].remove(burst)

    def refresh(self, t: int) -> None:
        for bank in sorted(self.open_row):
            if self.ready(PRE, bank, t):
                self.issue(PRE, bank, t, -1)
                return
        if not self.open_row and self.ready(REF, 0, t):
            self.issue(REF, 0, t, -1)
            self.refreshing = -1

    def move(self) -> None:
        full = len(self.writes) >= self.s["writes"]
        batch = not self.reads and len(self.writes) >= self.s["write_batch"]
        if self.drain == 0 and (full or batch or (self.final and not self.reads)):
            self.drain = len(self.writes)
        waiting = self.writes if self.drain else self.reads
        for burst in waiting:
            if len(self.queues[burst.bank]) >= self.s["command_queue"]:
                continue
            if burst.write and any(burst.same(r) for r in self.pending(0, burst.bank)):
                self.drain = 0
                self.move_read()
                return
            self.drain -= burst.write
            waiting.remove(burst)
            self.queues[burst.bank].append(burst)
            return

    def move_read(self) -> None:
        for burst in self.reads:
            if len(self.queues[burst.bank]) < self.s["command_queue"]:
                self.reads.remove(burst)
                self.queues[burst.bank].append(burst)
                return


def simulate(
    config: Dram, channels: int, stream: Sequence[Burst], interval: float = 0.0
) -> list[Command]:
    """The commands that serve `stream`, request `i` offered from tick `i * interval` on."""
    s = gates(config).as_dict() | shape(config, channels).as_dict()
    log: list[Command] = []
    per_bank = config.controller.scheduler == "per-bank"
    units: list[FirstReady | PerBank] = [
        PerBank(c, s, log) if per_bank else FirstReady(c, s, log) for c in range(channels)
    ]
    at = t = 0
    while True:
        if t and not per_bank:
            for unit in units:
                unit.tick(t)
        while at < len(stream) and int(at * interval) <= t:
            stream[at].number = at
            if not units[stream[at].channel].accept(stream[at], t):
                break
            at += 1
        if at == len(stream) and not any(unit.busy() for unit in units):
            return log
        if per_bank:
            for unit in units:
                if isinstance(unit, PerBank):
                    unit.final = at == len(stream)
                unit.tick(t)
        t += 1
