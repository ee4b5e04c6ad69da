"""What a person writes beside observed data: the tolerance, and why numbers lie outside of it.

    tolerance: {iteration_median: 0.06, iteration_worst: 0.2, stage: 0.3}
    reasons:
      - {system: hybrid, stage: gradients_to_cpu, reason: "..."}
      - {system: scratchpipe, sweep: "trace.alpha=1.1", reason: "..."}

Every key of a reason but `reason` narrows it; without `stage` it speaks of whole iterations.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from simulator.config.problems import validate
from simulator.config.reader import read_yaml
from simulator.config.types import Frozen
from simulator.errors import ConfigError

__all__ = ["NOTES", "Notes", "Reason", "Tolerance", "read_notes"]

NOTES = "validation.yaml"
"""Looked for in a run directory, then beside it."""

Share = Annotated[float, Field(gt=0)]


class Tolerance(Frozen):
    """Largest relative errors (absolute values)."""

    iteration_median: Share = 0.06
    """Median over all iterations."""
    iteration_worst: Share = 0.20
    """Any iteration."""
    stage: Share = 0.30
    """Any stage: beyond it a stage is listed and asks for a reason; the exit code ignores it."""


class Reason(Frozen):
    """Why some numbers are bad."""

    reason: str
    system: str | None = None
    stage: str | None = None
    sweep: str | None = None
    """Text that the point's `sweep` holds."""
    experiment: str | None = None

    def speaks_of(self, experiment: str, system: str, sweep: str, stage: str | None) -> bool:
        """Whether this is the reason for a number."""
        return (
            self.stage == stage
            and self.system in (None, system)
            and self.experiment in (None, experiment)
            and (self.sweep is None or self.sweep in sweep)
        )


class Notes(Frozen):
    """The file."""

    tolerance: Tolerance = Tolerance()
    reasons: tuple[Reason, ...] = ()
    not_run: tuple[str, ...] = ()
    """What was not observed, for the page."""

    def why(self, experiment: str, system: str, sweep: str, stage: str | None) -> str:
        """The first reason that speaks of a number, or nothing."""
        fits = (r for r in self.reasons if r.speaks_of(experiment, system, sweep, stage))
        return next((reason.reason for reason in fits), "")


def read_notes(folders: Iterable[Path]) -> Notes:
    """The notes in or beside the run directories; those of several files together.

    Raises `ConfigError` with every mistake in them. The first file's tolerance holds.
    """
    searched = (directory for folder in folders for directory in (folder, folder.parent))
    files = dict.fromkeys(p / NOTES for p in searched if (p / NOTES).is_file())
    notes = [_read(file) for file in files]
    if not notes:
        return Notes()
    return Notes(
        tolerance=notes[0].tolerance,
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
