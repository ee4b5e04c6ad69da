"""The command that repeats one point of an experiment."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from simulator._plugin_files import anchored
from simulator.config.experiment import Experiment, SystemEntry
from simulator.config.point import PointConfig, canonical_json

__all__ = ["Source", "overrides_of", "repeat_command"]


@dataclass(frozen=True, slots=True)
class Source:
    """How an experiment was asked for on the command line."""

    path: str
    overrides: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """`scratchpipe run ...`, to be pasted into a shell."""
        return _command(self.path, self.overrides)


def repeat_command(experiment: Experiment, point: PointConfig, source: Source) -> str:
    """`scratchpipe run ...` for `point` alone, to be pasted into a shell."""
    return _command(source.path, overrides_of(experiment, point, source.overrides))


def _command(path: str, overrides: Sequence[str]) -> str:
    return shlex.join(["scratchpipe", "run", path, *(w for o in overrides for w in ("--set", o))])


def overrides_of(
    experiment: Experiment, point: PointConfig, given: Sequence[str] = ()
) -> list[str]:
    """`given`, then each swept key at its value for `point`, then its system alone: in place of
    `systems` among those given."""
    entry = next(e for e in experiment.systems if e.called == point.system.label)
    files = partial(_anchored, folder=experiment.origin.folder)
    swept = [f"{path}={canonical_json(files(value))}" for path, value in point.swept.items()]
    named = experiment.operators or entry.operators or point.swept.get("operators")
    if "platform" in point.swept and not named:
        swept.append(f"operators={point.operators.name}")  # of the platform of all
    kept = [text for text in given if text.partition("=")[0].strip() != "systems"]
    if experiment.run.seeds > 1:
        swept += ["run.seeds=1", f"run.seed={point.run.seed}"]
    return [*kept, *swept, f"systems={canonical_json([files(_written(entry))])}"]


def _written(entry: SystemEntry) -> str | dict[str, Any]:
    """An entry as one writes it: what it does not change left out."""
    changes = entry.model_dump(mode="json", exclude_defaults=True)
    return entry.name if list(changes) == ["name"] else changes


def _anchored(value: Any, folder: Path) -> Any:
    """A value with its references to files of Python as seen from the shell."""
    if isinstance(value, dict):
        return {key: _anchored(inner, folder) for key, inner in value.items()}
    return anchored(value, folder) if isinstance(value, str) else value
