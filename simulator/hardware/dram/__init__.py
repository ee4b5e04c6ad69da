"""DRAM timing: bank-level simulation of DDR, LPDDR, GDDR and HBM memories, compiled.

`measure` runs a pattern, `replay_stream` and `replay_streams` run real addresses, `sustained`
answers from a table that fills itself. What a memory is says `simulator.hardware.devices.dram`.
"""

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
    "RowStream",
    "Sustained",
    "measure",
    "replay_stream",
    "replay_streams",
    "sustained",
]
