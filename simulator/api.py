"""What a notebook needs: read an experiment with the systems and policies that exist here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulator import caches, systems
from simulator.config import load
from simulator.config.experiment import Experiment, Names

__all__ = ["known_names", "load_experiment", "parse_experiment"]


def known_names() -> Names:
    """The systems and policies that can be named, those of other packages included."""
    return Names(systems=systems.names(), policies=caches.names())


def load_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """The experiment in the YAML file `path`, after `overrides` such as "model.dim=64".

    Raises `ConfigError` with every mistake at once.
    """
    return load.load_experiment(path, overrides, known_names())


def parse_experiment(data: dict[str, Any], overrides: Iterable[str] = ()) -> Experiment:
    """The experiment that plain `data` says: what `load_experiment` does without a file."""
    return load.parse_experiment(data, overrides, known_names())
