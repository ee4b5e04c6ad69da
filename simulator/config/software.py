"""Software that changes with the machine: an option that names another platform brings its profile.

`--set platform=NAME` is that line of the file, edited: where the experiment names no operator
profile, each platform brings its own. A sweep over platforms keeps one (`expand`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simulator.config.experiment import Origin
from simulator.config.point import short
from simulator.config.reader import Document
from simulator.config.resolve import Resolver, unbased
from simulator.text import on_one_line

__all__ = ["CHANGED", "software_that_changed"]

CHANGED = "software changed with the machine"
"""For titles; the whole line begins with it."""


def software_that_changed(given: Document, changed: Document, origin: Origin) -> str:
    """A line where `changed` is the experiment `given` on another platform that brings another
    operator profile; empty where not both changed, or where one of them cannot be read."""
    old, new = (document.data.get("platform") for document in (given, changed))
    if old is None or old == new or "platform" in (changed.data.get("sweep") or ()):
        return ""
    had, has = _profile(given, origin), _profile(changed, origin)
    if None in (had, has) or had == has:
        return ""
    return on_one_line(
        f"{CHANGED}: {_name(new)} brings {has} operators, {_name(old)} of the experiment {had}: "
        f"--set operators={had} changes the machine alone"
    )


def _profile(document: Document, origin: Origin) -> str | None:
    """The operator profile that its platform brings; None where the experiment names one."""
    data = document.data
    own = data.get("operators")
    if own is not None and not unbased(own):
        return None
    resolver = Resolver(replace(origin, marks=document.marks))
    profile = resolver.with_profile_of_platform({**data, "operators": None})["operators"]
    return None if profile is None else str(profile)


def _name(platform: Any) -> str:
    """What people call a platform: of one that changes another, that of the other."""
    if isinstance(platform, dict):
        platform = platform.get("name") or platform.get("base") or "the new one"
    return short(platform)
