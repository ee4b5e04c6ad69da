"""Points whose training no source describes: systems of papers about inference, that train here."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.results.rows import Row
from simulator.text import few, on_one_line

__all__ = ["EXTENSION", "extension_mark", "extension_note", "extension_title"]

EXTENSION = "[X]"
"""Mark of what is ours."""


def extension_mark(ours: bool) -> str:
    """The mark behind the name of a point, after a space; empty where its training is no one's
    extension."""
    return f" {EXTENSION}" if ours else ""


def extension_note(rows: Iterable[Row]) -> str:
    """A line on systems in `rows` (of metrics) whose training is ours; empty where none is."""
    names = _extended(rows)
    if not names:
        return ""
    trains, source = ("train", "their sources are") if names[1:] else ("trains", "its source is")
    return f"{EXTENSION} our extension: how {few(names)} {trains}; {source} about inference alone"


def extension_title(rows: Iterable[Row]) -> str:
    """The same for the title of a figure."""
    names = _extended(rows)
    return f"{EXTENSION} training of {few(names)} is ours" if names else ""


def _extended(rows: Iterable[Row]) -> list[str]:
    """Systems whose training is ours."""
    named = (on_one_line(row["system"]) for row in rows if row.get("training_is_ours"))
    return list(dict.fromkeys(named))
