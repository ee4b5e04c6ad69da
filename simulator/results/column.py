"""What is known of a column of the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Column", "Dtype"]

Dtype = Literal["text", "int", "float", "bool"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `unit` is empty where the value has none."""

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    deterministic: bool = True
    """False for wall-clock values: they differ between two runs of the same point."""
    choices: tuple[str, ...] = ()
    """The values that a text can have; empty where it can be anything."""
