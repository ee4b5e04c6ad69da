"""What was computed from an object that never changes, kept as long as the object is."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["by_identity"]

Kept = TypeVar("Kept")
Value = TypeVar("Value")


def by_identity(compute: Callable[[Kept], Value]) -> Callable[[Kept], Value]:
    """`compute`, called once for each object: equal ones count as different, and need no hash."""
    known: dict[int, tuple[weakref.ref[Any], Value]] = {}

    def remembered(kept: Kept) -> Value:
        number = id(kept)
        entry = known.get(number)
        if entry is None or entry[0]() is not kept:
            forget = weakref.ref(kept, lambda _: known.pop(number, None))
            entry = known[number] = (forget, compute(kept))
        return entry[1]

    return remembered
