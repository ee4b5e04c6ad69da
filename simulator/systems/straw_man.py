"""Straw-man: ScratchPipe's always-hit cache with its stages one after the other."""

from __future__ import annotations

from typing import ClassVar

from simulator.systems.base import Consistency
from simulator.systems.cached import CachedTraining
from simulator.systems.schedule import Schedule, Serial

__all__ = ["StrawMan"]


class StrawMan(CachedTraining):
    """A mini-batch is loaded, planned, fetched and trained before the next one starts."""

    source: ClassVar[str] = "Kwon and Rhu, ScratchPipe, ISCA 2022 (its straw-man)"
    consistency: ClassVar[Consistency] = Consistency(
        "equal",
        "Victims reach their tables, and missed rows the cache, before the mini-batch trains; it "
        "is done before the next one starts.",
        sums="of tables cut by rows the vectors, part by part",
    )
    uses: ClassVar[frozenset[str]] = frozenset({"cache", "gpus", "tables"})
    name: ClassVar[str] = "straw_man"
    kind: ClassVar[type[Schedule]] = Serial
