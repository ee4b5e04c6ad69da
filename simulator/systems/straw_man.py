"""Straw-man: ScratchPipe's always-hit cache with its stages one after the other."""

from __future__ import annotations

from simulator.systems.base import ReplayKind
from simulator.systems.cached import CachedTraining

__all__ = ["StrawMan"]


class StrawMan(CachedTraining):
    """A mini-batch is loaded, planned, fetched and trained before the next one starts."""

    replay: ReplayKind = "planned"
    pipelined = False
