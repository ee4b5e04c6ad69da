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
from simulator.hardware.loading import LOADER, Preprocess
from simulator.hardware.program import Stage
from simulator.systems.base import System
from simulator.systems.schedule import StageSpec
from simulator.systems.wrapped import Wrapped

__all__ = ["PREPROCESS", "Loaded"]

PREPROCESS = StageSpec("preprocess", "load")


class Loaded(Wrapped):
    """A system whose mini-batches are loaded as `load` says.

    Raises `ConfigError` where it has a stage of that name already.
    """

    def __init__(self, system: System, load: LoadConfig, model: ModelConfig) -> None:
        super().__init__(system, PREPROCESS, "load")
        self._load, self._model, schedule = load, model, system.schedule
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
