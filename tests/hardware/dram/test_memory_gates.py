"""Every timing gate is tight: the command issues at the gate, and one later if the gate is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import measure
from simulator.hardware.dram.issue import ACT, PRE, PREA, RD, REF, REFB, WR
from simulator.hardware.dram.reference import Burst


def read(bank: int, row: int = 0, column: int = 0) -> Burst:
    return Burst(0, bank, row, column, 0)


def write(bank: int, row: int = 0, column: int = 0) -> Burst:
    return Burst(0, bank, row, column, 1)


@dataclass
class Gate:
    """Commands `first` (its `nth`) and `later` (its `mth`) lie exactly `clocks` apart."""

    name: str
    device: str
    stream: list[Burst]
    first: int
    later: int
    clocks: int
    nth: int = 0
    mth: int = 0
    interval: float = 0.0
    overrides: dict[str, Any] = field(default_factory=dict)
    parameter: str = ""


DDR4, DDR5, HBM2, HBM3 = "ddr4_2400", "ddr5_4800", "hbm2_2x64", "hbm3_2x32"
# Of 16 banks: bank 0 falls due at clock 100, bank 1 at clock 200.
BY_BANK = {
    "controller.refresh": "per_bank",
    "timing.refi": 1600,
    "timing.rfc_pb": 200,
    "timing.rrefd": 8,
}
# DDR4-2400 banks: group = bank // 4. HBM3: stack identifier = (bank // 16) % 2.
GATES = [
    Gate("rcd_rd", DDR4, [read(0)], ACT, RD, 17),
    Gate("rcd_wr", DDR4, [write(0)], ACT, WR, 17),
    Gate("rp", DDR4, [read(0), read(0, 1)], PRE, ACT, 17, mth=1),
    Gate("ras", DDR4, [read(0), read(0, 1)], ACT, PRE, 39),
    Gate("rc", DDR4, [read(0), read(0, 1)], ACT, ACT, 90, mth=1, overrides={"rc": 90}),
    Gate("rtp", DDR4, [read(0), read(0, 1)], RD, PRE, 30, overrides={"rtp": 30}),
    Gate("wr", DDR4, [write(0), write(0, 1)], WR, PRE, 12 + 4 + 18),
    Gate("ccd_l", DDR4, [read(0, 0, i) for i in range(3)], RD, RD, 6, nth=1, mth=2),
    Gate("ccd_l", DDR4, [write(0, 0, i) for i in range(3)], WR, WR, 6, nth=1, mth=2),
    Gate("ccd_s", DDR4, [read(4 * (i % 4), 0, i) for i in range(9)], RD, RD, 8, 7, 8,
         overrides={"ccd_s": 8}),
    Gate("ccd_l_wr", DDR5, [write(0, 0, i) for i in range(3)], WR, WR, 24, nth=1, mth=2),
    Gate("rrd_s", DDR4, [read(0), read(4)], ACT, ACT, 4, mth=1),
    Gate("rrd_l", DDR4, [read(0), read(1)], ACT, ACT, 6, mth=1),
    Gate("faw", DDR4, [read(4 * (i % 4) + i // 4) for i in range(5)], ACT, ACT, 26, mth=4),
    Gate("wtr_l", DDR4, [write(0), read(0, 0, 1)], WR, RD, 12 + 4 + 9, interval=20.0),
    Gate("wtr_s", DDR4, [write(0), read(4)], WR, RD, 12 + 4 + 9, interval=20.0,
         overrides={"wtr_s": 9}),
    Gate("rtw", DDR4, [read(0), write(0, 0, 1)], RD, WR, 11, interval=20.0,
         overrides={"rtw": 11}),
    Gate("rfc", DDR4, [read(0), read(0, 1)], REF, ACT, 420, mth=1, interval=1050.0,
         overrides={"timing.refi": 1000}),
    Gate("rp", DDR4, [read(0), read(0, 1)], PREA, REF, 17, interval=1050.0,
         overrides={"timing.refi": 1000}),
    Gate("rp", DDR4, [read(0), read(0, 1)], PRE, REFB, 17, interval=110.0, overrides=BY_BANK),
    Gate("rfc_pb", DDR4, [read(0), read(0, 1)], REFB, ACT, 200, mth=1, interval=110.0,
         overrides=BY_BANK),
    Gate("rrefd", DDR4, [read(8), read(4)], REFB, ACT, 8, mth=1, interval=100.0,
         overrides=BY_BANK),
    Gate("rrd_s", DDR4, [read(8), read(4)], ACT, REFB, 4, nth=1, interval=97.0,
         overrides=BY_BANK),
    Gate("rrd_l", DDR4, [read(8), read(1)], ACT, REFB, 6, nth=1, interval=97.0,
         overrides=BY_BANK),
    Gate("rc", DDR4, [read(0)] * 2, ACT, REFB, 120, interval=150.0,
         overrides=BY_BANK | {"rc": 120}),
    Gate("ppd", DDR5, [read(0), read(4), read(0, 1), read(4, 1)], PRE, PRE, 20, mth=1,
         overrides={"ppd": 20}),
    Gate("ccd_r", HBM3, [read(16 * (i % 2), 0, i) for i in range(8)], RD, RD, 3, 6, 7),
    Gate("rtrs", DDR4, [read(0), read(16)], RD, RD, 4 + 2, mth=1,
         overrides={"ranks": 2}),
]  # fmt: skip


def distance(gate: Gate, kernel: Callable[..., Any], overrides: dict[str, Any]) -> float:
    """Clocks between the two commands."""
    config = load_part(gate.device, overrides)
    log = kernel(config, gate.stream, 1, gate.interval)
    ticks = 2 if config.half_clock_commands else 1
    first = [entry[0] for entry in log if entry[2] == gate.first][gate.nth]
    later = [entry[0] for entry in log if entry[2] == gate.later][gate.mth]
    return float(later - first) / ticks


@pytest.mark.parametrize("gate", GATES, ids=lambda g: f"{g.name}-{g.device}-{g.first}-{g.later}")
def test_gate_is_tight(kernel: Callable[..., Any], gate: Gate) -> None:
    assert distance(gate, kernel, gate.overrides) == gate.clocks
    config = load_part(gate.device, gate.overrides)
    value = getattr(config.timing, gate.name) + 1
    assert distance(gate, kernel, gate.overrides | {f"timing.{gate.name}": value}) == (
        gate.clocks + 1
    )


def test_refresh_is_due_every_refi(kernel: Callable[..., Any]) -> None:
    config = load_part("ddr4_2400", {"timing.refi": 1000})
    log = kernel(config, [read(0), read(0)], 1, 3500.0)
    due = [(tick, command) for tick, _, command, _, _ in log if command in (PREA, REF)]
    assert due == [(1000, PREA), (1017, REF), (2000, REF), (3000, REF)]


def test_banks_are_refreshed_in_turn_every_refi(kernel: Callable[..., Any]) -> None:
    """Bank 0 is open when its turn comes and closes first; 16 turns later it comes again."""
    log = kernel(load_part("ddr4_2400", BY_BANK), [read(0), read(0)], 1, 1750.0)
    turns = [(tick, bank) for tick, _, command, bank, _ in log if command == REFB]
    assert turns == [(117, 0), *((100 * n + 100, n % 16) for n in range(1, 19))]
    assert [tick for tick, _, command, _, _ in log if command == PRE] == [100]


def test_a_bank_under_refresh_holds_no_other_back(kernel: Callable[..., Any]) -> None:
    """Bank 0 is refreshed from clock 100 to 290; other banks are read meanwhile."""
    config = load_part("ddr4_2400", BY_BANK | {"timing.rfc_pb": 190})
    stream = [read(8), read(0, 1), *(read(4 + i) for i in range(4))]
    log = kernel(config, stream, 1, 101.0 / 6)
    read_at = {bank: tick for tick, _, command, bank, _ in log if command == RD}
    assert read_at[0] < 100
    log = kernel(config, stream, 1, 105.0)
    read_at = {bank: tick for tick, _, command, bank, _ in log if command == RD}
    assert read_at[0] == 290 + 17
    assert read_at[4] == 2 * 105 + 1 + 17


def test_read_latency_is_that_of_its_commands() -> None:
    config = load_part("ddr4_2400")
    clocks = measure(config, "gather", 64, 1).mean_latency_ns * 1.2
    assert clocks == pytest.approx(1 + 17 + 17 + 4)  # accepted, tRCD, CL, burst


def test_two_clock_activates_share_the_row_command_bus(kernel: Callable[..., Any]) -> None:
    other = 16  # first bank of the second pseudo-channel: no tRRD between them
    log = kernel(load_part("hbm2_2x64"), [read(0), read(other)])
    first, second = (tick for tick, _, command, _, _ in log if command == ACT)
    assert second - first == 2
    log = kernel(load_part("hbm2_2x64", {"command_lengths": False}), [read(0), read(other)])
    first, second = (tick for tick, _, command, _, _ in log if command == ACT)
    assert second - first == 1


def test_half_clock_precharge_only(kernel: Callable[..., Any]) -> None:
    stream = [read(bank, row, i) for row in range(3) for i in range(8) for bank in range(4)]
    log = kernel(load_part("hbm3_2x32"), stream)
    assert all(tick % 2 == 1 for tick, _, command, _, _ in log if command in (ACT, RD, REF))
    assert any(tick % 2 == 0 for tick, _, command, _, _ in log if command == PRE)
