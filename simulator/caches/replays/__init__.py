"""Replays: from mini-batches to the facts of what moves."""

from simulator.caches.replays.base import Kept, Replay
from simulator.caches.replays.planned import PlannedReplay, slots_for
from simulator.caches.replays.running import Replayed, Stream, run_replays
from simulator.caches.replays.static import StaticReplay
from simulator.caches.replays.unique import UniqueReplay

__all__ = [
    "Kept",
    "PlannedReplay",
    "Replay",
    "Replayed",
    "StaticReplay",
    "Stream",
    "UniqueReplay",
    "run_replays",
    "slots_for",
]
