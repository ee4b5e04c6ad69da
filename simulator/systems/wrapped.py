"""Systems made of another one: GPUs, ranks and replay are its own."""

from __future__ import annotations

from simulator.caches.facts import BatchFacts
from simulator.config.checkpoint import CheckpointConfig
from simulator.errors import ConfigError
from simulator.hardware.program import Stage
from simulator.systems.base import System
from simulator.systems.schedule import StageSpec

__all__ = ["Derived", "Wrapped"]


class Derived(System):
    """A system whose program is made of that of `system`."""

    def __init__(self, system: System) -> None:
        self.system, self.replay = system, system.replay

    @property
    def placed(self) -> tuple[tuple[int, ...], ...]:
        return self.system.placed

    @property
    def equal_ranks(self) -> tuple[tuple[str, ...], ...]:
        return self.system.equal_ranks

    @property
    def gpus(self) -> int:
        return self.system.gpus


class Wrapped(Derived):
    """`system` behind the stage `first`, which the section `section` of an experiment asks for,
    whatever its schedule.

    Raises `ConfigError` where it has a stage of that name already.
    """

    def __init__(self, system: System, first: StageSpec, section: str) -> None:
        if first.name in system.schedule.names:
            raise ConfigError(
                f"a stage is called {first.name}, as that of `{section}`: rename it, or leave out "
                f"{section}"
            )
        super().__init__(system)

    @property
    def checkpoint(self) -> CheckpointConfig | None:
        return self.system.checkpoint

    def rank_stages(self, facts: BatchFacts, rank: int) -> tuple[Stage, ...]:
        return self.system.rank_stages(facts, rank)
