"""ScratchPipe: the always-hit cache whose stages overlap over consecutive mini-batches."""

from __future__ import annotations

from simulator.systems.base import ReplayKind
from simulator.systems.cached import CachedTraining

__all__ = ["ScratchPipe"]


class ScratchPipe(CachedTraining):
    """Six mini-batches in flight, one in each stage; the Hold mask keeps their rows apart."""

    replay: ReplayKind = "planned"
    pipelined = True
