"""Fewer looks for garbage: objects of a sweep live until its end, and there are many of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_seldom", "seldom_collected"]

OBJECTS = 50_000
"""New ones before the first look for those that nobody can reach (Python: 700 to 2,000)."""


def collect_seldom() -> None:
    """Leave out what is there already (modules, models) from now on, and look seldom at the rest.

    Only objects that refer to each other in circles wait for it.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def seldom_collected() -> Iterator[None]:
    """`collect_seldom`, until the context ends."""
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
