"""DRAM timing: bank-level simulation of DDR, LPDDR, GDDR and HBM memories, compiled.

`measure` runs a pattern, `replay_stream` and `replay_streams` run real addresses, `sustained`
answers from a table that fills itself and lies on disk. What a memory is says
`simulator.hardware.devices.dram`.
"""

from simulator.hardware.dram.measure import (
    Measurement,
    RowStream,
    measure,
    replay_stream,
    replay_streams,
)
from simulator.hardware.dram.patterns import PATTERNS
from simulator.hardware.dram.sustained import Sustained, sustained

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
