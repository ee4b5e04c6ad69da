"""ScratchPipe: the always-hit cache whose stages overlap over consecutive mini-batches."""

from __future__ import annotations

from typing import ClassVar

from simulator.systems.base import Consistency
from simulator.systems.cached import CachedTraining
from simulator.systems.schedule import Pipeline, Schedule

__all__ = ["ScratchPipe"]


class ScratchPipe(CachedTraining):
    """Six mini-batches in flight, one in each stage; the Hold mask keeps their rows apart."""

    source: ClassVar[str] = "Kwon and Rhu, ScratchPipe, ISCA 2022"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "The Hold mask keeps rows of the mini-batches in flight (three past ones, two coming ones) "
        "from being victims.",
        sums="of tables cut by rows the vectors, part by part",
    )
    uses: ClassVar[frozenset[str]] = frozenset({"cache", "gpus", "pipeline", "tables"})
    name: ClassVar[str] = "scratchpipe"
    kind: ClassVar[type[Schedule]] = Pipeline
