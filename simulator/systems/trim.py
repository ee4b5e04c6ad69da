"""TRiM: adders in the bank groups of DRAM gather and reduce whole rows (Park et al., "TRiM:
Enhancing Processor-Memory Interfaces with Scalable Tensor Reduction in Memory", MICRO 2021).

Second-hand (a summary of the paper): the data path of DRAM is a tree; adders at ranks (TRiM-R),
bank groups (TRiM-G, its choice) or banks use the bandwidth at that depth. A bank group decodes
compressed instructions, sums go to the buffer chip over the pins of their rank, which adds them up,
then to the host from every module. Hot rows are copied to every node to even out the load.
Published: up to 7.7 times the baseline.

The paper is about inference: how rows are trained is ours (`near_memory`); it lets ECC on the die
only detect errors, for tables are read only, which is not valid in training. Ours as well: a lookup
of a copied row goes to the node that the mini-batch has asked least; in training every copy is
updated, with gradients of the row that each node sums for its own lookups, that the host adds up
and sends to all. Machine: `trim_ddr5` (`level: rank` makes it TRiM-R). Left out: adders in banks
(`recross` has them), several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.facts import UNIQUE, BatchFacts
from simulator.caches.replays.nodes import NodesReplay
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.hardware.program import GRADIENT_BYTES, Add, Buffer, Operation, Stage
from simulator.hardware.topology import Topology
from simulator.systems.base import Consistency, Job, move, require_room
from simulator.systems.near_memory import OURS, NearMemorySystem, PoolParameters

__all__ = ["Trim", "TrimParameters"]


class TrimParameters(PoolParameters):
    """Of TRiM."""

    copies: Annotated[
        float, Field(ge=0.0, le=1.0), Given("assumed", "how many rows are copied is not told")
    ] = 0.0
    """Share of each table's rows, its hottest, of which every node has a copy."""


class Trim(NearMemorySystem):
    """Adders in bank groups of DRAM (an inference paper: training is ours)."""

    name: ClassVar[str] = "trim"
    source: ClassVar[str] = "Park et al., TRiM, MICRO 2021 (a summary)"
    training_is_ours: ClassVar[bool] = True
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "A mini-batch is done before the next one starts; all copies of a row get the same sum of "
        "gradients by then.",
        sums="vectors and gradients, node by node",
    )
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "How many hot rows are copied to every node, and which copy a lookup reads.",
        "Ranks and modules of its machine.",
    )
    parameters: ClassVar[type[Parameters]] = TrimParameters
    shown_on: ClassVar[str] = "trim_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal"}

    def __init__(self, job: Job, machine: Topology) -> None:
        share = job.parameters_as(TrimParameters).copies
        self.copied = tuple(int(share * rows) for rows in job.model.rows_per_table)
        super().__init__(job, machine)
        if any(self.copied):
            self._require_copies()

    def _require_copies(self) -> None:
        """Raise where copies do not fit beside the tables, or nodes have caches as well."""
        model, part, name = self._job.model, self.near.part, self.near.name
        if part.cache:
            raise ConfigError(
                "trim copies hot rows to every node and has no caches beside them: set copies: 0, "
                f'or platform.host.{name}.cache="0 B"'
            )
        if part.spread == "channel":
            raise ConfigError(
                "trim copies hot rows to the nodes of all channels: set copies: 0, or "
                f"platform.host.{name}.spread=pool"
            )
        nodes = part.nodes * part.groups
        rows = sum(count * size for count, size in zip(self.copied, model.entry_bytes, strict=True))
        require_room(
            f"tables, and {sum(self.copied):,} of their rows in each of {nodes} nodes,",
            sum(model.table_bytes) + rows * (nodes - 1),
            f"{self.near.dram} of {self._machine.name}",
            self._machine.memory(self.near.dram).capacity,
            "lower copies",
        )

    def _rows(self) -> NodesReplay:
        return replace(super()._rows(), copied=self.copied)

    def _trained(self, facts: BatchFacts) -> Iterator[Stage]:
        """Sums of gradients of copied rows stream to the host and back while others are made."""
        first, *rest = super()._trained(facts)
        shared = self._shared(facts) if any(self.copied) and self._by_host else ()
        yield Stage(first.name, (*first.lanes, shared)) if shared else first
        yield from rest

    def _shared(self, facts: BatchFacts) -> tuple[Operation, ...]:
        """Modules' sums of copied rows to the host, and their totals to every channel."""
        parts = totals = 0
        for tables in self._tables:
            spread = tables.group.of(facts)[UNIQUE].nodes
            if spread is None:
                continue
            size = tables.group.job.model.width * GRADIENT_BYTES
            parts += spread.copied.modules * size
            totals += spread.copied.rows * size
        host, buffers = self._dram, self.near.buffers
        sums = Buffer("sums_of_copies", buffers, parts, held=0.0)
        total = Buffer("totals", host, totals)
        return (
            Add("add_sums_of_copies", self.cpu, (sums,), total),
            move("totals_to_copies", host, buffers, totals * self.near.part.channels),
        )
