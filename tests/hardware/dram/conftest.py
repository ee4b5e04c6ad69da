"""Running the kernels on hand-made streams and reading their command logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import frfcfs, perbank
from simulator.hardware.dram.clocks import gates, shape
from simulator.hardware.dram.reference import Burst, Command
from simulator.hardware.dram.state import LogEntry, new_state

Kernel = Callable[..., list[Command]]


def run_kernel(
    config: Dram,
    stream: Sequence[Burst],
    channels: int = 1,
    interval: float = 0.0,
    chunk: int = 1000,
) -> list[Command]:
    """The commands that the compiled kernel issues for `stream`, fed `chunk` requests at a time."""
    run = perbank.run if config.controller.scheduler == "per-bank" else frfcfs.run
    state = new_state(gates(config), shape(config, channels), 40 * len(stream) + 4000)
    columns = [[b.channel, b.bank, b.row, b.column, b.write] for b in stream]
    table = np.array(columns, dtype=np.int64).reshape(-1, 5).T
    tick, count = 0, len(stream)
    for first in range(0, max(count, 1), chunk):
        part = np.ascontiguousarray(table[:, first : first + chunk])
        tick = run(state.words, part, part.shape[1], interval, tick, first + chunk >= count)
    entries = [LogEntry(state, state.log_at + LogEntry.size * i) for i in range(state.logged)]
    return [(e.tick, e.channel, e.command, e.bank, e.number) for e in entries]


@pytest.fixture
def kernel() -> Kernel:
    """`run_kernel`, for tests."""
    return run_kernel
