"""Streams that share a memory: the fluid division against interleaved streams in the bank model."""

from __future__ import annotations

import numpy as np
import pytest
import simpy

from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_machine
from simulator.hardware.demand import Demand
from simulator.hardware.devices.cpu import Cpu
from simulator.hardware.dram import RowStream, replay_streams
from simulator.hardware.machine import Machine
from simulator.hardware.topology import build_topology

ROWS = 20_000
TABLE_ROWS = 4_000_000


def addresses(seed: int, row_bytes: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, TABLE_ROWS, ROWS, dtype=np.int64) * row_bytes


def error_of_two_streams(row_bytes: int, first: bool, second: bool) -> float:
    """Time of two streams (whether they write) that share the memory, over that of the bank model,
    less one."""
    server = load_machine("v100_p3")
    topology = build_topology(server, row_bytes)
    memory = topology.memory("cpu")
    env = simpy.Environment()
    machine = Machine(env, topology.resources, check=True)
    for write in (first, second):
        service = memory.service([Access(memory.place, ROWS, row_bytes, write=write)])
        env.process(machine.execute(Demand("stream", {memory.place: service})))
    env.run()
    cpu = topology.devices["cpu"].part
    assert isinstance(cpu, Cpu)
    streams = [
        RowStream(addresses(seed, row_bytes), row_bytes, write)
        for seed, write in enumerate((first, second))
    ]
    together = replay_streams(cpu.memory, streams)
    return float(env.now / together.elapsed_ps - 1.0)


@pytest.mark.parametrize("row_bytes", [128, 512, 1024])
@pytest.mark.parametrize(
    ("first", "second"), [(False, False), (False, True), (True, True)], ids=["rr", "rw", "ww"]
)
def test_two_streams_at_once_take_as_long_as_interleaved_in_the_bank_model(
    row_bytes: int, first: bool, second: bool
) -> None:
    assert abs(error_of_two_streams(row_bytes, first, second)) < 0.05
