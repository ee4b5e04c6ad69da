"""What follows from the data sheet with pencil and paper, and what must hold for any stream."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.hardware.catalogue import load_part, part_names
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import RowStream, measure, replay_stream, replay_streams, sustained

N = 40_000


def refresh_factor(name: str) -> float:
    timing = load_part(name).timing
    return 1 - timing.rfc / timing.refi


@pytest.mark.parametrize("name", ["ddr4_2133", "ddr4_2400", "ddr4_3200"])
def test_activate_bound_gathers(name: str) -> None:
    config = load_part(name)
    spacing = max(config.timing.faw / 4, config.timing.rrd_s)
    bound = config.burst_clocks / spacing * refresh_factor(name)
    result = measure(config, "gather", 64, N)
    assert bound * 0.96 < result.efficiency <= bound * 1.001
    assert next(iter(result.limiter)) == "activate rate"


@pytest.mark.parametrize("name", ["ddr4_2400", "hbm2_pc64"])
def test_bank_group_interleaved_streams_lose_only_the_refresh(name: str) -> None:
    result = measure(load_part(name), "seq", 64, N, mapping="bgi")
    assert result.efficiency == pytest.approx(refresh_factor(name), rel=0.015)
    assert next(iter(result.limiter)) == "refresh"


@pytest.mark.parametrize("name", ["hbm2_v100", "hbm3_h100", "hbm3e_h200"])
@pytest.mark.parametrize("pattern", ["gather", "scatter"])
def test_refresh_bank_by_bank_hides_behind_other_banks(name: str, pattern: str) -> None:
    """All banks at once cannot give more than 1 - tRFC / tREFI (91 %); bank by bank can."""
    changes = {"mapping": "gpu", "controller": "gpu"}
    together = load_part(name, changes | {"controller": {"base": "gpu", "refresh": "all_bank"}})
    slow, fast = (
        measure(config, pattern, 256, N, channels=1)
        for config in (together, load_part(name, changes))
    )
    assert slow.efficiency < refresh_factor(name)
    assert fast.efficiency > max(1.05 * slow.efficiency, refresh_factor(name))
    intervals = fast.elapsed_ps / 1e12 * together.clock / together.timing.refi
    assert fast.refreshes == pytest.approx(
        together.units * together.organization.rank_banks * intervals, rel=0.01
    )
    energy = together.energy.refresh * together.units * intervals
    assert fast.energy_pj["refresh"] == pytest.approx(energy, rel=0.01)


def test_one_page_stream_is_capped_by_bank_group_spacing() -> None:
    config = load_part("ddr4_2400", {"order": "row"})
    shallow = measure(config, "seq", 64, N, queue=4)
    cap = config.timing.ccd_s / config.timing.ccd_l
    assert cap * 0.94 < shallow.efficiency < cap
    assert next(iter(shallow.limiter)) == "bank-group spacing"
    deep = measure(config, "seq", 64, N, queue=128)
    assert deep.efficiency > 0.94


def test_two_pseudo_channels_share_the_row_command_bus() -> None:
    # An activate takes 2 clocks and a precharge 1 for 2 bursts of 2 clocks on one of two buses.
    bound = 2 * 2 / (2 * (2 + 1)) * refresh_factor("hbm2_2x64")
    result = measure(load_part("hbm2_2x64"), "gather", 64, N, queue=128)
    assert bound * 0.97 < result.efficiency <= bound
    free = load_part("hbm2_2x64", {"command_lengths": False})
    assert measure(free, "gather", 64, N, queue=128).efficiency > bound * 1.2


def test_channel_interleave_cuts_rows_into_pieces() -> None:
    config = load_part("ddr4_2400", {"order": "row"})
    short, long = (measure(config, "gather", size, N, channels=4) for size in (256, 512))
    assert short.efficiency == pytest.approx(0.58, rel=0.02)
    assert long.efficiency == pytest.approx(0.92, rel=0.02)


@pytest.mark.parametrize("name", part_names("memories"))
@pytest.mark.parametrize("pattern", ["seq", "gather", "scatter", "mixed", "zipf"])
def test_every_memory_serves_every_pattern(name: str, pattern: str) -> None:
    config = load_part(name)
    result = measure(config, pattern, 256, 6000, channels=config.simulated_channels)
    assert result.requests == 6000 == result.reads + result.writes
    assert 0.05 < result.efficiency <= 1.0 or result.shared
    assert not result.limiter or sum(result.limiter.values()) == pytest.approx(1.0)
    assert 0.0 <= result.row_hit_rate <= 1.0
    total = result.energy_pj["total"]
    parts = sum(value for part, value in result.energy_pj.items() if part != "total")
    assert total == pytest.approx(parts)
    assert total > 0


def test_a_deeper_queue_and_a_lower_load_do_no_harm() -> None:
    config = load_part("ddr4_2400", {"order": "row", "scheduler": "frfcfs-rowhit"})
    depth = [measure(config, "gather", 1024, N, queue=q).efficiency for q in (8, 32, 128)]
    assert depth == sorted(depth)
    waits = [measure(config, "gather", 256, N, load=x).mean_latency_ns for x in (0.25, 0.5, 0.9)]
    assert waits == sorted(waits)
    assert measure(config, "gather", 256, N, load=0.25).efficiency == pytest.approx(0.25, rel=0.01)


def test_offered_load_limits_a_quiet_stream() -> None:
    result = measure(load_part("ddr4_2400"), "seq", 64, N, load=0.1)
    assert next(iter(result.limiter)) == "offered load"


def test_same_seed_same_result_and_zipf_reuses_rows() -> None:
    config = load_part("ddr4_2400", {"controller": "dramsim3"})
    first, again = (measure(config, "zipf", 256, N, seed=3, alpha=1.2) for _ in range(2))
    other = measure(config, "zipf", 256, N, seed=4, alpha=1.2)
    assert first.elapsed_ticks == again.elapsed_ticks != other.elapsed_ticks
    assert first.shared > measure(config, "gather", 256, N).shared


def test_replay_agrees_with_the_pattern() -> None:
    config = load_part("ddr4_2400")
    rng = np.random.default_rng(1)
    rows = rng.integers(0, (4 << 30) // 512, size=8000) * 512
    replayed = replay_stream(config, rows, 512)
    pattern = measure(config, "gather", 512, replayed.requests)
    assert replayed.requests == 8000 * 8
    assert replayed.efficiency == pytest.approx(pattern.efficiency, rel=0.02)
    table = sustained(config, "gather", 512)
    assert replayed.bytes_per_s == pytest.approx(table.bytes_per_s, rel=0.02)
    assert sustained(config, "gather", 512) is table
    dynamic = sum(replayed.energy_pj[part] for part in ("activate", "read", "write"))
    assert dynamic / (8000 * 512) == pytest.approx(table.pj_per_byte, rel=0.02)


def test_replay_counts_every_touched_burst() -> None:
    config = load_part("ddr4_2400")
    assert replay_stream(config, np.array([0, 100, 6400]), 48).requests == 1 + 2 + 1
    assert replay_stream(config, np.zeros(0, dtype=np.int64), 64).elapsed_ps == 0
    written = replay_stream(config, np.arange(4) * 640, 64, np.array([True, False, True, False]))
    assert (written.reads, written.writes) == (2, 2)


def test_streams_contend_and_mixing_costs_turnaround() -> None:
    config = load_part("ddr4_2400")
    rng = np.random.default_rng(2)
    ids = rng.integers(0, (4 << 30) // 512, size=(2, 6000)) * 512
    reads = replay_stream(config, ids[0], 512)
    writes = replay_stream(config, ids[1], 512, True)
    both = replay_streams(config, [RowStream(ids[0], 512), RowStream(ids[1], 512, True)])
    assert both.requests == reads.requests + writes.requests
    apart = reads.elapsed_ps + writes.elapsed_ps
    assert apart * 1.05 < both.elapsed_ps < apart * 1.6
    assert both.limiter["read/write turnaround"] > 0.1
    uneven = replay_streams(
        config, [RowStream(ids[0], 512), RowStream(ids[1], 512, True)], weights=[4.0, 1.0]
    )
    assert uneven.elapsed_ps < both.elapsed_ps


def test_write_fraction_lies_between_gather_and_scatter() -> None:
    config = load_part("ddr4_2400")
    assert measure(config, "gather", 256, N, write_fraction=0.25).writes == N // 4
    pure = [sustained(config, kind, 512).bytes_per_s for kind in ("gather", "scatter")]
    assert sustained(config, "gather", 512, 0.5).bytes_per_s < min(pure)


def test_bank_hash_spreads_a_stride() -> None:
    stride = np.arange(4000) * 8192 * 16  # every access to the same bank
    plain = replay_stream(load_part("ddr4_2400"), stride, 64)
    hashed = replay_stream(load_part("ddr4_2400", {"bank_hash": True}), stride, 64)
    assert hashed.efficiency > 3 * plain.efficiency
    assert next(iter(plain.limiter)) == "bank conflicts (row cycle)"


def test_independent_channels_are_not_held_back_by_each_other() -> None:
    coupled = load_part("hbm2_v100", {"in_order": True})
    free = load_part("hbm2_v100")
    apart, together = (measure(c, "gather", 512, N, channels=16) for c in (free, coupled))
    assert apart.efficiency > 1.1 * together.efficiency
    assert apart.requests == together.requests == N
    one = measure(free, "gather", 256, N, channels=1)  # 512 B rows: pieces of 256 B a channel
    assert apart.efficiency == pytest.approx(one.efficiency, rel=0.1)


def test_one_channel_is_the_same_either_way() -> None:
    ticks = {
        measure(load_part("ddr4_2400", {"in_order": order}), "mixed", 256, N).elapsed_ticks
        for order in (True, False)
    }
    assert len(ticks) == 1


def _counted(name: str) -> str:
    """The key that says how many channels a memory has."""
    return f"organization.{'dimm_channels' if name.startswith('ddr5') else 'channels'}"


def server(name: str, channels: int, capacity: str, **changes: object) -> Dram:
    """A memory as servers have it."""
    return load_part(
        name,
        {
            "mapping": "server",
            "controller": "server",
            _counted(name): channels,
            "capacity": capacity,
            **changes,
        },
        Dram,
    )


@pytest.mark.parametrize(
    ("name", "channels", "capacity", "ranks", "simulated"),
    [
        ("ddr4_2400", 4, "256 GB", 8, 4),  # 64 GB of ranks of 8 GiB
        ("ddr4_2400", 4, "96 GiB", 3, 2),
        ("ddr4_2400", 8, "8 GiB", 1, 1),
        ("ddr5_5600", 8, "128 GiB", 1, 1),
        ("ddr5_4800", 8, "1 TB", 8, 2),
        ("lpddr5x_grace", 32, "480 GB", 7, 4),  # 15 GB of ranks of 2 GiB
        ("hbm3e_h200", 96, "500 GB", 1, 1),  # stacks have no ranks
    ],
)
def test_capacity_decides_the_ranks_of_a_channel(
    name: str, channels: int, capacity: str, ranks: int, simulated: int
) -> None:
    memory = server(name, channels, capacity)
    assert (memory.ranks, memory.simulated_ranks) == (ranks, simulated)
    assert (" simulated)" in memory.derived()["ranks"]) == (ranks != simulated)
    assert server(name, channels, capacity, **{"organization.ranks": 2}).ranks == 2


def test_every_rank_stands_by_and_is_refreshed() -> None:
    for capacity, ranks in (("32 GiB", 1), ("256 GB", 8)):
        memory = server("ddr4_2400", 4, capacity)
        refresh = memory.energy.refresh * 1e-12 / (memory.timing.refi / memory.clock)
        watts = 4 * ranks * (memory.energy.background + refresh)
        assert sustained(memory, "gather", 512).standing_w == pytest.approx(watts, rel=0.02)


def test_ranks_hide_the_activate_window_and_cost_switches() -> None:
    """One rank gives a burst of 4 clocks every tFAW / 4 = 6.5; of two, only tRTRS is left."""
    one, two, four = (
        measure(server("ddr4_2400", 1, "8 GiB", ranks=n), "gather", 64, N) for n in (1, 2, 4)
    )
    assert one.efficiency < 4 / 6.5
    assert min(two.efficiency, four.efficiency) > 0.9
    slow = server("ddr4_2400", 1, "8 GiB", ranks=4, rtrs=8)
    assert measure(slow, "gather", 64, N).efficiency < 0.9 * four.efficiency
