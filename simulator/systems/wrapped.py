"""A system with a stage before its own, whatever its schedule."""

from __future__ import annotations

from simulator.caches.facts import BatchFacts
from simulator.config.checkpoint import CheckpointConfig
from simulator.errors import ConfigError
from simulator.hardware.program import Stage
from simulator.systems.base import System
from simulator.systems.schedule import StageSpec

__all__ = ["Wrapped"]


class Wrapped(System):
    """`system` behind the stage `first`, which the section `section` of an experiment asks for:
    GPUs, ranks and replay are its own.

    Raises `ConfigError` where it has a stage of that name already.
    """

    def __init__(self, system: System, first: StageSpec, section: str) -> None:
        if first.name in system.schedule.names:
            raise ConfigError(
                f"a stage is called {first.name}, as that of `{section}`: rename it, or leave out "
                f"{section}"
            )
        self.system, self.replay = system, system.replay

    @property
    def checkpoint(self) -> CheckpointConfig | None:
        return self.system.checkpoint

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        return self.system.placed

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self.system.rank_stages(facts, rank)

    @property
    def equal_ranks(self) -> tuple[tuple[str, ...], ...]:
        return self.system.equal_ranks

    @property
    def gpus(self) -> int:
        return self.system.gpus
