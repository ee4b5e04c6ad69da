"""Which command comes next: the scheduling rules, one scenario each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator.hardware.catalogue import load_part
from simulator.hardware.dram.issue import ACT, PRE, RD, REF, WR
from simulator.hardware.dram.reference import Burst

Kernel = Callable[..., list[tuple[int, int, int, int, int]]]


def served(log: list[tuple[int, int, int, int, int]]) -> list[int]:
    """Numbers of the requests in the order of their data."""
    return [number for _, _, command, _, number in log if command in (RD, WR)]


def commands(log: list[tuple[int, int, int, int, int]], *kinds: int) -> list[int]:
    return [command for _, _, command, _, _ in log if command in kinds]


def test_a_hit_overtakes_a_miss(kernel: Kernel) -> None:
    stream = [Burst(0, 0, 0, 0, 0), Burst(0, 0, 1, 0, 0), Burst(0, 0, 0, 1, 0)]
    assert served(kernel(load_part("ddr4_2400"), stream)) == [0, 2, 1]


def test_an_older_miss_closes_the_row_as_soon_as_it_may(kernel: Kernel) -> None:
    # With tRTP and tRAS over before the next hit's tCCD_L, FR-FCFS prefers the older precharge;
    # row-hit protection keeps the row for hits that are older still.
    overrides: dict[str, Any] = {"ccd_l": 40, "rtp": 4, "ras": 18, "rc": 35}
    stream = [Burst(0, 0, 0, 0, 0), Burst(0, 0, 0, 1, 0), Burst(0, 0, 1, 0, 0)]
    plain = kernel(load_part("ddr4_2400", overrides), stream)
    assert commands(plain, ACT, PRE, RD)[:3] == [ACT, RD, PRE]
    kept = kernel(load_part("ddr4_2400", overrides | {"scheduler": "frfcfs-rowhit"}), stream)
    assert commands(kept, ACT, PRE, RD) == [ACT, RD, RD, PRE, ACT, RD]


def test_oldest_first_among_the_ready(kernel: Kernel) -> None:
    stream = [Burst(0, 4 * i, 0, 0, 0) for i in range(4)]
    assert served(kernel(load_part("ddr4_2400"), stream)) == [0, 1, 2, 3]


def test_writes_wait_for_their_threshold(kernel: Kernel) -> None:
    config = load_part("ddr4_2400", {"read_queue": 8, "write_queue": 8})
    stream = [Burst(0, i % 4, i, 0, 1 if i < 6 else 0) for i in range(14)]
    order = served(kernel(config, stream))
    assert order.index(6) < order.index(0)  # 6 of 8 writes: below 0.8, reads first
    stream = [Burst(0, i % 4, i, 0, 1 if i < 7 else 0) for i in range(14)]
    order = served(kernel(config, stream))
    assert order[0] < 7  # 7 of 8: drain


def test_a_read_of_a_buffered_write_needs_no_command(kernel: Kernel) -> None:
    stream = [Burst(0, 0, 0, 0, 0), Burst(0, 1, 3, 2, 1), Burst(0, 1, 3, 2, 0)]
    assert sorted(served(kernel(load_part("ddr4_2400"), stream))) == [0, 1]


def test_outstanding_reads_of_one_address_merge(kernel: Kernel) -> None:
    stream = [Burst(0, 0, 0, 0, 0) for _ in range(5)]
    config = load_part("ddr4_2400", {"controller": "dramsim3"})
    assert served(kernel(config, stream)) == [0]
    apart = load_part("ddr4_2400", {"controller": "dramsim3", "merge_reads": False})
    assert served(kernel(apart, stream)) == [0, 1, 2, 3, 4]


def test_a_row_closes_after_its_cap_if_another_waits(kernel: Kernel) -> None:
    stream = [Burst(0, 0, 0, 0, 0), Burst(0, 0, 1, 0, 0)]
    stream += [Burst(0, 0, 0, i, 0) for i in range(1, 7)]
    # tRTP and tRAS short enough for a precharge between two hits
    overrides = {"controller": "dramsim3", "rtp": 4, "ras": 18, "rc": 35}
    assert served(kernel(load_part("ddr4_2400", overrides), stream)).index(1) == 4
    overrides["row_hit_cap"] = 2
    assert served(kernel(load_part("ddr4_2400", overrides), stream)).index(1) == 2


def test_banks_take_turns(kernel: Kernel) -> None:
    stream = [Burst(0, bank, 0, i, 0) for i in range(3) for bank in (0, 4, 8, 12)]
    log = kernel(load_part("ddr4_2400", {"controller": "dramsim3"}), stream)
    banks = [bank for _, _, command, bank, _ in log if command == RD]
    assert banks[4:8] in ([0, 4, 8, 12], [4, 8, 12, 0], [8, 12, 0, 4], [12, 0, 4, 8])


def test_nothing_but_the_refresh_while_it_is_due(kernel: Kernel) -> None:
    config = load_part("ddr4_2400", {"timing.refi": 700, "timing.rfc": 200})
    log = kernel(config, [Burst(0, i % 16, i, 0, 0) for i in range(200)])
    ticks = [tick for tick, _, command, _, _ in log if command == REF]
    for tick in ticks:
        inside = [c for t, _, c, _, _ in log if tick < t < tick + 200]
        assert inside == []
