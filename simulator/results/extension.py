"""Points whose training no source describes: systems of papers about inference, that train here."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.results.rows import Row
from simulator.text import few, on_one_line

__all__ = ["EXTENSION", "extension_note", "extension_title"]

EXTENSION = "[X]"
"""Mark of what is ours."""


def extension_note(rows: Iterable[Row]) -> str:
    """A line on systems in `rows` (of metrics) whose training is ours; empty where none is."""
    if names := _extended(rows):
        return (
            f"{EXTENSION} our extension: how {names} train; their sources are about inference alone"
        )
    return ""


def extension_title(rows: Iterable[Row]) -> str:
    """The same for the title of a figure."""
    names = _extended(rows)
    return f"{EXTENSION} training of {names} is ours" if names else ""


def _extended(rows: Iterable[Row]) -> str:
    """Systems whose training is ours."""
    return few(dict.fromkeys(on_one_line(r["system"]) for r in rows if r.get("training_is_ours")))
