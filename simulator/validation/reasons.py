"""What a person writes beside observed data: why numbers lie outside of the goal, what was not run,
a goal of the machine's own, and the name of its host where that has a page of its own.

    goal: {iteration_median: 0.035, iteration_worst: 0.12}
    reasons:
      - {system: hybrid, stage: gradients_to_cpu, error: [-0.4, -0.1], reason: "..."}
      - {system: scratchpipe, sweep: "trace.alpha=1.1", error: [-0.3, 0], reason: "..."}

A reason explains an error of some sign and size, `error`: another one at the same place is another
mistake, and has no reason. Every other key narrows it further; without `stage` it speaks of whole
iterations.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from simulator.config.problems import validate
from simulator.config.reader import read_yaml
from simulator.config.types import Frozen
from simulator.errors import ConfigError
from simulator.validation.goal import Goal

__all__ = ["NOTES", "Notes", "Reason", "read_notes"]

NOTES = "validation.yaml"
"""Looked for in a run directory, then beside it."""
Spot = tuple[str, str, str, str | None]
"""Where a number stands: experiment, system, point of the sweep, stage (None: the iteration)."""


def _rising(error: tuple[float, float]) -> tuple[float, float]:
    low, high = error
    if not (-1.0 <= low < high and low * high >= 0.0):
        raise ValueError("two numbers of one sign, the smaller first: [-0.4, -0.1] or [0, 0.5]")
    return error


class Reason(Frozen):
    """Why some numbers are bad."""

    reason: str
    error: Annotated[tuple[float, float], AfterValidator(_rising)]
    """Smallest and largest relative error that it explains, both of one sign: -0.4 is 40 % too
    fast."""
    system: str | None = None
    stage: str | None = None
    sweep: str | None = None
    """Text that the point's `sweep` holds."""
    experiment: str | None = None

    def speaks_of(self, spot: Spot, error: float) -> bool:
        """Whether this is the reason for a number that is off by `error`."""
        low, high = self.error
        experiment, system, sweep, stage = spot
        return (
            low <= error <= high
            and self.stage == stage
            and self.system in (None, system)
            and self.experiment in (None, experiment)
            and (self.sweep is None or self.sweep in sweep)
        )


class Notes(Frozen):
    """The file."""

    goal: Goal = Goal()
    host: Annotated[str, Field(pattern="^[a-z0-9_]*$")] = ""
    """Of a host that has a page of its own beside that of others of its kind: its name there."""
    reasons: tuple[Reason, ...] = ()
    not_run: tuple[str, ...] = ()
    """What was not observed, for the page."""

    def why(self, spot: Spot, error: float) -> str:
        """The first reason that speaks of a number, or nothing."""
        fits = (reason for reason in self.reasons if reason.speaks_of(spot, error))
        return next((reason.reason for reason in fits), "")


def read_notes(folders: Iterable[Path]) -> Notes:
    """The notes in or beside the run directories; those of several files together.

    Raises `ConfigError` with every mistake in them. The first file's goal holds.
    """
    searched = (directory for folder in folders for directory in (folder, folder.parent))
    files = dict.fromkeys(p / NOTES for p in searched if (p / NOTES).is_file())
    notes = [_read(file) for file in files]
    if not notes:
        return Notes()
    return Notes(
        goal=notes[0].goal,
        host=notes[0].host,
        reasons=tuple(reason for note in notes for reason in note.reasons),
        not_run=tuple(line for note in notes for line in note.not_run),
    )


def _read(file: Path) -> Notes:
    document = read_yaml(file)
    notes, misfits = validate(TypeAdapter(Notes), document.data, document.marks, ())
    problems = [*document.problems, *misfits]
    if problems or notes is None:
        raise ConfigError(*problems)
    read: Notes = notes
    return read
