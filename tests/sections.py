"""Sections of an experiment, laid over others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["laid_over"]


def laid_over(sections: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`sections` with `changes`: keys of mappings one by one, all else whole, and a trace too."""
    laid = dict(sections)
    for name, change in changes.items():
        base = laid.get(name)
        mapping = isinstance(base, dict) and isinstance(change, dict) and name != "trace"
        laid[name] = {**base, **change} if mapping else change  # type: ignore[dict-item]
    return laid
