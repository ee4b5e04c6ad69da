"""DRAM timing: bank-level simulation of DDR, LPDDR, GDDR and HBM memories, compiled.

`measure` runs a pattern, `replay_stream` and `replay_streams` run real addresses, `sustained`
answers from a table that fills itself. Memories come from `load_memory`.
"""

from simulator.config.memory import (
    MemoryConfig,
    available_controllers,
    available_memories,
    load_memory,
)
from simulator.hardware.dram.measure import (
    Measurement,
    RowStream,
    Sustained,
    measure,
    replay_stream,
    replay_streams,
    sustained,
)
from simulator.hardware.dram.patterns import PATTERNS

__all__ = [
    "PATTERNS",
    "Measurement",
    "MemoryConfig",
    "RowStream",
    "Sustained",
    "available_controllers",
    "available_memories",
    "load_memory",
    "measure",
    "replay_stream",
    "replay_streams",
    "sustained",
]
