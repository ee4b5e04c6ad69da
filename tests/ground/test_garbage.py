"""Garbage is looked for seldom in a sweep, and as before after it."""

from __future__ import annotations

import gc
import weakref

from simulator._garbage import OBJECTS, seldom_collected


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_is_looked_for_seldom_and_as_before_after_it() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    circle = Circle()
    seen = weakref.ref(circle)
    with seldom_collected():
        assert gc.get_threshold() == (OBJECTS, *before[1:])
        assert gc.get_freeze_count() > frozen
        del circle
        gc.collect()
        assert seen() is not None, "what was there before is left alone"
    assert gc.get_threshold() == before
    gc.collect()
    assert seen() is None
