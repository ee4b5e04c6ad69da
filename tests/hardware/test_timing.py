"""Three fidelities of a memory: every row at its address, on samples alone, or by the table."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from machines import catalogue_part

from simulator.errors import UsageError
from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Service
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import replay_stream, sustained
from simulator.hardware.memory import Memory
from simulator.hardware.timing import (
    SEQUENTIAL_BYTES,
    ExactTiming,
    SampledTiming,
    TableTiming,
)

DDR4 = catalogue_part("ddr4_2400")
SIZE = 512


@cache
def table() -> TableTiming:
    return TableTiming(DDR4, SIZE)


def rows(count: int, seed: int = 1, **changes: object) -> Access:
    """Random rows of a large table."""
    pieces = np.random.default_rng(seed).integers(0, 2_000_000, count)
    return Access("m", count, SIZE, pieces=pieces, **changes)  # type: ignore[arg-type]


def test_a_table_times_bytes_by_the_bandwidth_of_their_kind() -> None:
    for pattern, write in (("gather", False), ("scatter", True)):
        bandwidth = sustained(DDR4, pattern, SIZE, 0.0).bytes_per_s
        access = Access("m", 1000, SIZE, write=write)
        assert table().stream_ps(access) == pytest.approx(1000 * SIZE * 1e12 / bandwidth)


def test_streams_in_order_are_random_pieces_of_16_kib() -> None:
    in_order = Access("m", 4, SEQUENTIAL_BYTES, random=False)
    pieces = Access("m", 4, SEQUENTIAL_BYTES)
    small = Access("m", 4 * SEQUENTIAL_BYTES // 8, 8, random=False)
    assert table().stream_ps(in_order) == table().stream_ps(pieces) == table().stream_ps(small)


def test_the_peak_of_a_memory_bounds_every_stream() -> None:
    for access in (rows(100), Access("m", 100, SIZE, random=False), Access("m", 100, 64)):
        assert table().stream_ps(access) >= access.bytes * 1e12 / table().peak_bandwidth


def test_exact_rows_are_replayed_at_their_addresses() -> None:
    access = rows(500)
    assert access.pieces is not None
    ran = replay_stream(DDR4, access.pieces * SIZE, SIZE, False)
    assert ExactTiming(DDR4, SIZE).stream_ps(access) == ran.elapsed_ps


def test_rows_that_caches_serve_take_their_share() -> None:
    """The count says how many reach memory, the pieces which were looked up."""
    exact, access = ExactTiming(DDR4, SIZE), rows(400)
    fewer = Access("m", 100, SIZE, pieces=access.pieces)
    assert exact.stream_ps(fewer) == pytest.approx(exact.stream_ps(access) / 4)


@pytest.mark.parametrize("kind", [ExactTiming, SampledTiming])
def test_buffers_use_the_table(kind: type[TableTiming]) -> None:
    timing = kind(DDR4, SIZE)
    for access in (Access("m", 100, SIZE, buffer=True), Access("m", 100, SIZE, random=False)):
        assert timing.stream_ps(access) == table().stream_ps(access)


@pytest.mark.parametrize("pieces", [None, np.empty(0, np.int64)])
def test_random_rows_that_were_not_kept_are_no_silent_table(pieces: np.ndarray | None) -> None:
    access = Access("m", 1000, SIZE, pieces=pieces)
    with pytest.raises(UsageError, match=r"m: 1,000 random pieces of 512 B .*buffer=True"):
        ExactTiming(DDR4, SIZE).stream_ps(access)
    assert ExactTiming(DDR4, SIZE).stream_ps(Access("m", 0, SIZE)) == 0.0
    sampled = SampledTiming(DDR4, SIZE)
    assert sampled.stream_ps(access) == table().stream_ps(access), "no sample yet"


def test_samples_stand_for_streams_of_their_kind() -> None:
    """The mean time per byte of two samples, on half as many rows; writes know none."""
    sampled, exact = SampledTiming(DDR4, SIZE), ExactTiming(DDR4, SIZE)
    first, second = rows(300, 1), rows(300, 2)
    times = [sampled.stream_ps(access) for access in (first, second)]
    assert times == [exact.stream_ps(access) for access in (first, second)]
    others = Access("m", 150, SIZE)
    assert sampled.stream_ps(others) == pytest.approx(sum(times) / 2 / 2)
    written = Access("m", 150, SIZE, write=True)
    assert sampled.stream_ps(written) == table().stream_ps(written)


def test_the_sampling_error_is_the_standard_error_of_the_mean() -> None:
    """Of times per byte 1, 2 and 3: deviation 1, error 1 / sqrt(3) of a mean of 2."""
    sampled = SampledTiming(DDR4, SIZE, samples={(SIZE, False): [1.0, 2.0, 3.0]})
    assert sampled.sampling_error == pytest.approx(1 / math.sqrt(3) / 2)
    sampled.samples[SIZE, True] = [5.0]
    assert sampled.sampling_error == pytest.approx(1 / math.sqrt(3) / 2), "one sample has none"
    assert SampledTiming(DDR4, SIZE).sampling_error == table().sampling_error == 0.0


# a memory of streams


def test_a_memory_adds_up_its_streams_by_direction() -> None:
    memory = Memory("m", "cpu", "dram", 10**9, table())
    read, write = Access("m", 100, SIZE), Access("m", 50, SIZE, write=True)
    service = memory.service([read, write, read])
    assert service.read_ps == pytest.approx(2 * table().stream_ps(read))
    assert service.write_ps == table().stream_ps(write)
    assert service.bytes == 250 * SIZE
    assert service.energy_pj == pytest.approx(
        2 * table().stream_pj(read) + table().stream_pj(write)
    )
    assert memory.service([Access("m", 0, SIZE)]) == Service(0.0)


def test_a_memory_alone_loses_time_to_turnaround() -> None:
    memory = Memory("m", "cpu", "dram", 10**9, table())
    assert 0.0 < memory.turnaround.factor(1.0, 1.0) - 1.0 < 1.0
    assert memory.alone_ps(Service(300.0, 100.0)) == pytest.approx(
        400.0 * memory.turnaround.factor(300.0, 100.0)
    )
    assert memory.alone_ps(Service(300.0)) == 300.0


SERVER: dict[str, object] = {"mapping": "server", "controller": "server"}
MEMORIES: dict[str, dict[str, object]] = {
    "ddr4_2400": SERVER | {"organization.channels": 4, "capacity": "256 GB"},
    "ddr5_5600": SERVER | {"organization.dimm_channels": 8},
    "hbm3_h100": {"mapping": "gpu", "controller": "gpu"},
}


@pytest.mark.parametrize("share", [0.125, 0.375, 0.5, 0.625, 0.875])
@pytest.mark.parametrize("name", MEMORIES)
def test_mixes_take_as_long_as_the_bank_model_says(name: str, share: float) -> None:
    """Also between the mixes that the table has."""
    config = load_part(name, MEMORIES[name], Dram)
    timing = TableTiming(config, SIZE)
    kinds = ("gather", "scatter")
    read, write = (1e12 / sustained(config, kind, SIZE).bytes_per_s for kind in kinds)
    mixed = 1e12 / sustained(config, "gather", SIZE, share).bytes_per_s
    alone = (1.0 - share) * read, share * write
    assert sum(alone) * timing.turnaround.factor(*alone) == pytest.approx(mixed, rel=0.03)


def test_services_add_up_and_scale_in_time_alone() -> None:
    service = Service(3.0, 1.0, 64, 2.0)
    assert service.ps == 4.0
    assert service + service == Service(6.0, 2.0, 128, 4.0)
    assert service.scaled(2.5) == Service(7.5, 2.5, 64, 2.0)
