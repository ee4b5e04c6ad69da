"""The compiled kernels issue exactly the commands of the tick-by-tick reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram.issue import REFB
from simulator.hardware.dram.reference import Burst, simulate

DEVICES = {
    "frfcfs": ("ddr4_2400", "ddr5_4800", "hbm2_pc64", "hbm2_2x64", "hbm3_2x32"),
    "frfcfs-rowhit": ("ddr4_2400", "hbm2_2x64", "hbm3_2x32"),
    "per-bank": ("ddr4_2400", "hbm2_pc64"),
}


@st.composite
def configs(draw: st.DrawFn) -> Dram:
    scheduler = draw(st.sampled_from(sorted(DEVICES)))
    device = draw(st.sampled_from(DEVICES[scheduler]))
    overrides: dict[str, Any] = {
        "controller": "dramsim3" if scheduler == "per-bank" else "ramulator",
        "scheduler": scheduler,
        "read_queue": draw(st.sampled_from([2, 4, 8])),
        "write_queue": draw(st.sampled_from([2, 4, 8])),
        "command_queue": draw(st.sampled_from([1, 2, 4])),
        "write_batch": draw(st.sampled_from([1, 2])),
        "timing.refi": draw(st.sampled_from([700, 1500, 9000])),
        "timing.rfc": draw(st.sampled_from([60, 200])),
    }
    if scheduler != "per-bank":
        overrides["controller.refresh"] = draw(st.sampled_from(["all_bank", "per_bank"]))
        overrides["timing.rfc_pb"] = draw(st.sampled_from([40, 130]))
        overrides["timing.rrefd"] = draw(st.sampled_from([3, 9]))
        if device == "ddr4_2400":
            overrides["ranks"] = draw(st.sampled_from([1, 2]))
    return load_part(device, overrides)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dram, int, list[Burst], float, int]:
    config = draw(configs())
    banks = config.units * config.organization.rank_banks
    channels = draw(st.sampled_from([1, 1, 2]))
    used = draw(st.lists(st.integers(0, banks - 1), min_size=1, max_size=4, unique=True))
    rows = draw(st.sampled_from([1, 2, 40]))
    writes = draw(st.sampled_from([[0], [0, 0, 0, 1], [0, 1], [1]]))
    burst = st.builds(
        Burst,
        st.integers(0, channels - 1),
        st.sampled_from(used),
        st.integers(0, rows - 1),
        st.integers(0, 3),
        st.sampled_from(writes),
    )
    stream = draw(st.lists(burst, max_size=40))
    interval = draw(st.sampled_from([0.0, 3.0, 11.7, 60.0]))
    return config, channels, stream, interval, draw(st.sampled_from([1, 7, 1000]))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=cases())
def test_kernel_equals_reference(
    kernel: Callable[..., Any], case: tuple[Dram, int, list[Burst], float, int]
) -> None:
    config, channels, stream, interval, chunk = case
    expected = simulate(config, channels, stream, interval)
    assert kernel(config, stream, channels, interval, chunk) == expected


def test_a_longer_stream_too(kernel: Callable[..., Any]) -> None:
    config = load_part("ddr4_2400", {"timing.refi": 1000})
    stream = [
        Burst(0, (7 * i) % 16, (i * i) % 5, i % 8, int(i % 3 == 0 or i > 200)) for i in range(300)
    ]
    assert kernel(config, stream) == simulate(config, 1, stream)


@pytest.mark.parametrize("name", ["hbm3_2x32", "hbm2_2x64", "ddr4_2400"])
@pytest.mark.parametrize("scheduler", ["frfcfs", "frfcfs-rowhit"])
def test_refresh_bank_by_bank_in_a_longer_stream(
    kernel: Callable[..., Any], name: str, scheduler: str
) -> None:
    changes = {"controller.refresh": "per_bank", "scheduler": scheduler, "timing.refi": 800}
    config = load_part(name, changes | {"timing.rfc_pb": 90, "timing.rrefd": 7})
    banks = config.units * config.organization.rank_banks
    stream = [
        Burst(0, (7 * i) % banks, (i * i) % 5, i % 8, int(i % 3 == 0 or i > 300))
        for i in range(400)
    ]
    expected = simulate(config, 1, stream)
    assert sum(command == REFB for _, _, command, _, _ in expected) > 30
    assert kernel(config, stream) == expected


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_chunks_do_not_matter(kernel: Callable[..., Any], chunk: int) -> None:
    config = load_part("hbm2_2x64")
    stream = [Burst(0, (5 * i) % 32, i % 11, i % 4, i % 2) for i in range(150)]
    assert kernel(config, stream, 1, 2.5, chunk) == kernel(config, stream, 1, 2.5)
