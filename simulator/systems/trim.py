"""TRiM: adders in the bank groups of DRAM gather and reduce whole rows (Park et al., "TRiM:
Enhancing Processor-Memory Interfaces with Scalable Tensor Reduction in Memory", MICRO 2021).

Second-hand (a summary of the paper): the data path of DRAM is a tree; adders at ranks (TRiM-R),
bank groups (TRiM-G, its choice) or banks use the bandwidth at that depth. A bank group decodes
compressed instructions, sums go to the buffer chip over the pins of their rank, which adds them up,
then to the host from every module. Published: up to 7.7 times the baseline.

The paper is about inference: how rows are trained is ours (`near_memory`); it lets ECC on the die
only detect errors, for tables are read only, which is not valid in training. Machine: `trim_ddr5`
(`level: rank` makes it TRiM-R). Left out: adders in banks, copies of hot rows in every node,
several GPUs.
"""

from __future__ import annotations

from typing import ClassVar

from simulator.systems.near_memory import OURS, NearMemorySystem

__all__ = ["Trim"]


class Trim(NearMemorySystem):
    """Adders in bank groups of DRAM (an inference paper: training is ours)."""

    name: ClassVar[str] = "trim"
    source: ClassVar[str] = "Park et al., TRiM, MICRO 2021 (a summary)"
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "How many hot rows are copied to every node; here none are.",
        "Ranks and modules of its machine.",
    )
    shown_on: ClassVar[str] = "trim_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal"}
