"""What of a rank has adders, and how nodes are told which rows to read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simulator.config.types import Frozen, Positive
from simulator.hardware.devices.dram import Dram

__all__ = ["InstructionBus", "Regions"]

Banks = Annotated[int, Field(ge=0, le=1024)]
Adders = Annotated[int, Field(ge=0, le=256)]


class InstructionBus(Frozen):
    """How nodes are told which rows to read: instructions that they turn into DRAM commands."""

    bits: Positive
    """Of the instruction for one row."""
    bits_per_clock: Annotated[float, Field(gt=0, le=1e9)]
    """Bits that one channel carries a clock of the memory."""
    rank_bits_per_clock: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """The same of what leads from the buffer chip into one rank; null: never the limit."""
    duplication: Annotated[int, Field(ge=1, le=4096)] = 1
    """Rows that one instruction asks for: nodes copy it to each other."""

    def bytes_for(self, rows: int) -> int:
        """What asks for so many rows."""
        return -(-rows * self.bits // (8 * self.duplication))


class Regions(Frozen):
    """The banks of a rank by what reads them: its buffer chip, adders of bank groups, adders of
    single banks."""

    rank_banks: Banks
    """Read by the buffer chip over the pins of the rank, which has one adder for them."""
    group_banks: Banks
    """Read by adders of bank groups."""
    bank_banks: Banks
    """Read by adders of their own."""
    group_adders: Adders
    """Bank groups with an adder."""
    bank_adders: Adders
    """Banks with an adder."""
    sub_arrays: Positive = 1
    """Of a bank with an adder, rows that are open at once: each takes tRC, their columns one
    another's turn."""

    @property
    def banks(self) -> tuple[int, int, int]:
        """Of each region."""
        return self.rank_banks, self.group_banks, self.bank_banks

    @property
    def adders(self) -> int:
        """Of a rank, that of its buffer chip first, then those of groups, then those of banks."""
        return 1 + self.group_adders + self.bank_adders

    def widths(self, nodes: int) -> tuple[int, int, int]:
        """Homes of each region in `nodes` ranks, in that order."""
        return nodes, nodes * self.group_adders, nodes * self.bank_adders

    def bank_clocks(self, memory: Dram, size: int) -> float:
        """Clocks that a bank with an adder takes for a row of `size` bytes."""
        bursts = -(-size // memory.burst_bytes)
        return max(bursts * memory.timing.ccd_l, memory.timing.rc / self.sub_arrays)

    def rates(self, memory: Dram, size: int) -> tuple[float, float, float]:
        """Rows of `size` bytes a clock that the adders of each region of a rank can take."""
        bursts = -(-size // memory.burst_bytes)
        return (
            1.0 / (bursts * memory.burst_clocks),
            self.group_adders / (bursts * memory.timing.ccd_l),
            self.bank_adders / self.bank_clocks(memory, size),
        )
