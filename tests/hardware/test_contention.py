"""Streams that share a memory: the fluid division against interleaved streams in the bank model."""

from __future__ import annotations

import numpy as np
import pytest
import simpy
from simulator.config.platform import PlatformConfig
from simulator.hardware.build import build_platform
from simulator.hardware.work import Access

from simulator.config.catalogue import load_named
from simulator.config.experiment import RunConfig
from simulator.hardware.demand import Demand
from simulator.hardware.dram import RowStream, replay_streams
from simulator.hardware.machine import Machine

ROWS = 20_000
TABLE_ROWS = 4_000_000


def addresses(seed: int, row_bytes: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, TABLE_ROWS, ROWS, dtype=np.int64) * row_bytes


@pytest.mark.parametrize("row_bytes", [128, 512, 1024])
@pytest.mark.parametrize(
    ("first", "second"), [(False, False), (False, True), (True, True)], ids=["rr", "rw", "ww"]
)
def test_two_streams_at_once_take_as_long_as_interleaved_in_the_bank_model(
    row_bytes: int, first: bool, second: bool
) -> None:
    server: PlatformConfig = load_named("platforms", "v100_p3")
    memories = {"cpu": server.cpu.memory.load(), "gpu": server.gpu.memory.load()}
    platform = build_platform(server, memories, RunConfig(), row_bytes)
    env = simpy.Environment()
    machine = Machine(env, platform.turnaround, check=True)
    for write in (first, second):
        service = platform.cpu_dram.service([Access(ROWS, row_bytes, write=write)])
        env.process(machine.execute(Demand("stream", {"cpu_dram": service})))
    env.run()
    streams = [
        RowStream(addresses(seed, row_bytes), row_bytes, write)
        for seed, write in enumerate((first, second))
    ]
    together = replay_streams(memories["cpu"], streams)
    assert env.now == pytest.approx(together.elapsed_ps, rel=0.05)
