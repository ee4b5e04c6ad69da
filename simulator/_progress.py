"""How far long work is: whoever does it tells, whoever watches hears; without a watcher it costs
nothing.

Work of several steps tells each within `part`, so that shares add up to that of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Watcher", "part", "tell", "watched"]

Watcher = Callable[[str, float], None]
"""Takes what is being done and the share of all that is done, 0 where that is not known."""

_watchers: list[Watcher] = []
"""Those of the work under way, the innermost last."""


def tell(what: str, share: float = 0.0) -> None:
    """Say how far the work under way is."""
    for watcher in _watchers[-1:]:
        watcher(what, min(max(share, 0.0), 1.0))


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """`watcher` hears what is told meanwhile."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextmanager
def part(begin: float, end: float) -> Iterator[None]:
    """What is told meanwhile is a part of the work that is under way, from share to share."""
    if not _watchers:
        yield
        return
    outer = _watchers[-1]
    with watched(lambda what, share: outer(what, begin + share * (end - begin))):
        yield
