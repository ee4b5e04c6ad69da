"""A trial: files in a folder, and the commands that read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

__all__ = ["Bench", "Kind", "Trial"]


@dataclass(frozen=True)
class Bench:
    """Where a trial is made: its own empty folder, a folder for seeds, its random numbers."""

    folder: Path
    seeds: Path
    random: Random


@dataclass(frozen=True)
class Trial:
    """Commands, run one after the other; an error names one of `places`."""

    commands: tuple[tuple[str, ...], ...]
    places: tuple[str, ...]


Kind = Callable[[Bench], Trial]
