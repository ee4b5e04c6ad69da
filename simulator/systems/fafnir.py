"""FAFNIR: a tree of adders over all ranks of memory reads each distinct row of a few samples once
(Asgari et al., "FAFNIR: Accelerating Sparse Gathering by Using Efficient Near-Memory Intelligent
Reduction", HPCA 2021).

Second-hand (summaries of the paper): leaves read each distinct row once, headers say which pooled
vectors need it, values merge on their way up, the root gives pooled vectors. 32 ranks; a batch of
the hardware is small, for its headers and buffers are.

The paper is about inference: how rows are trained is ours (`near_memory`). Reconstructed: the pool
(`fafnir_ddr4`), samples of a hardware batch (`hardware_batch`). Left out: the time of comparisons
in elements of the tree, several GPUs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.caches.nodes import NodeCache
from simulator.caches.replays.nodes import NodesReplay
from simulator.config.parameters import Given, Parameters
from simulator.errors import ConfigError
from simulator.systems.near_memory import OURS, NearMemorySystem, PoolParameters

__all__ = ["Fafnir", "FafnirParameters"]


class FafnirParameters(PoolParameters):
    """Of FAFNIR."""

    hardware_batch: Annotated[
        int, Field(ge=1, le=1_000_000), Given("recalled", "50 %; what header space allows")
    ] = 32
    """Samples whose distinct rows are read once."""


class Fafnir(NearMemorySystem):
    """A tree over ranks reads distinct rows once (an inference paper: training is ours)."""

    name: ClassVar[str] = "fafnir"
    source: ClassVar[str] = "Asgari et al., FAFNIR, HPCA 2021 (summaries)"
    training_is_ours: ClassVar[bool] = True
    unknown: ClassVar[tuple[str, ...]] = (
        OURS,
        "Samples of a hardware batch, and how fast elements compare headers of many.",
        "Wires between modules of the tree; here they are channels of DDR4.",
    )
    parameters: ClassVar[type[Parameters]] = FafnirParameters
    shown_on: ClassVar[str] = "fafnir_v100"
    keys: ClassVar[dict[str, str]] = {"cut": "horizontal", "sums_meet": "pool"}

    def _rows(self) -> NodesReplay:
        samples = self._job.parameters_as(FafnirParameters).hardware_batch
        return replace(super()._rows(), samples=samples)

    def _cache(self, rows: int) -> NodeCache | None:
        if rows:
            raise ConfigError(
                "fafnir reads distinct rows once and has no caches beside its ranks: set "
                f'platform.host.{self.near.name}.cache="0 B"'
            )
        return None
