"""Any system behind a load stage: mini-batches that cores or accelerators make of what storage
holds, a few of them ahead of training.

The stage comes before those of the system and runs beside all of them, whatever their schedule:
training takes the mini-batches in order and waits where there is none.
"""

from __future__ import annotations

from dataclasses import replace

from simulator.caches.facts import LOOKUP, BatchFacts
from simulator.config.loading import LoadConfig
from simulator.config.model import ModelConfig
from simulator.errors import ConfigError
from simulator.hardware.loading import LOADER, Preprocess
from simulator.hardware.program import Stage
from simulator.systems.base import System
from simulator.systems.schedule import StageSpec

__all__ = ["PREPROCESS", "Loaded"]

PREPROCESS = StageSpec("preprocess", "load")


class Loaded(System):
    """A system whose mini-batches are loaded as `load` says.

    Raises `ConfigError` where it has a stage of that name already.
    """

    def __init__(self, system: System, load: LoadConfig, model: ModelConfig) -> None:
        schedule = system.schedule
        if PREPROCESS.name in schedule.names:
            raise ConfigError(
                f"a stage is called {PREPROCESS.name}, as that of `load`: rename it, or leave out "
                "load"
            )
        self.system, self._load, self._model = system, load, model
        self.replay = system.replay
        self.schedule = replace(schedule, stages=(PREPROCESS, *schedule.stages), fed=True)

    def stages(self, facts: BatchFacts) -> tuple[Stage, ...]:
        return (Stage(PREPROCESS.name, ((self.word(facts),),)), *self.system.stages(facts))

    def word(self, facts: BatchFacts) -> Preprocess:
        """What is read and transformed for a mini-batch."""
        model, samples = self._model, facts.samples
        bucketized = self._load.bucketized
        return Preprocess(
            PREPROCESS.name,
            LOADER,
            samples,
            samples * model.dense_features,
            self.replay.counted(facts)[LOOKUP].lookups,
            samples * bucketized,
            1 + model.dense_features + model.features - bucketized,
        )

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
