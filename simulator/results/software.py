"""Whether points that differ in their machine differ in its software too."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.results.rows import Row
from simulator.text import few, on_one_line

__all__ = ["DIFFERS", "software_note"]

DIFFERS = "software differs as well as machines"
"""For titles."""


def software_note(rows: Iterable[Row]) -> str:
    """A line where platforms of `rows` (of metrics) do not all have the same operator profiles:
    what lies between them is then not the machine alone. Empty where they have."""
    profiles: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["platform"] is not None and row["operators"] is not None:
            profiles.setdefault(str(row["platform"]), {})[str(row["operators"])] = None
    if len({frozenset(names) for names in profiles.values()}) < 2:
        return ""
    told = few(
        f"{on_one_line(platform)} with {'/'.join(names)} operators"
        for platform, names in profiles.items()
    )
    return f"{DIFFERS}: {told}: name one profile (operators: NAME) to compare machines alone"
