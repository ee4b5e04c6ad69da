"""Where the numbers of a part come from, kept true when parts are changed or taken over.

Whoever changes a value drops the source of that key and of keys below it, and marks the name. A
file that starts from another part is another device: what was fitted or measured of that one is
assumed of this one, and its source says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from simulator.config.machine import CHOOSERS
from simulator.config.nodes import Node, different

__all__ = ["as_changed", "carried_over", "starred", "surviving", "with_doubt"]

_OF_A_DEVICE = ("fitted", "measured")
"""What sources begin with that speak of one device."""


def carried_over(part: Node, file: Node) -> Node:
    """`part`, read from a file with the keys `file`; sources of numbers that it takes over from
    another device (its `base`) name that device."""
    sources, own = part.get("sources"), file.get("sources")
    chosen = next((file.get(choose) for choose in CHOOSERS if choose in file), None)
    if chosen is None or not isinstance(chosen.value, str) or sources is None:
        return part
    taken = {
        key: replace(source, value=f"assumed: as {chosen.value}")
        for key, source in (sources.items() if sources.is_mapping else ())
        if (own is None or key not in own) and str(source.value).startswith(_OF_A_DEVICE)
    }
    return part.with_keys({"sources": sources.with_keys(taken)}) if taken else part


_CHANGED = ", changed"
UNSOURCED = "changed, without a source"
"""The source of a changed key where the old one was that of its whole section."""


def starred(name: Node) -> Node:
    """A name marked as that of something changed."""
    return replace(name, value=f"{str(name.value).rstrip('*')}*")


def as_changed(name: Node) -> Node:
    """The name, or description, of what was changed: it says so, once."""
    told = str(name.value).removesuffix(_CHANGED)
    return replace(name, value=f"{told}{_CHANGED}" if told else "")


def with_doubt(old: Node, preset: Node) -> Node:
    """`preset`, changed from `old`: its source says which keys are not from there."""
    changed = [key for key in different(old, preset, "") if key != "source"]
    source = preset.get("source")
    if not changed or source is None or source is not old.get("source"):
        return preset
    told = f"{source.value}, but for {', '.join(changed)}"
    return preset.with_keys({"source": replace(source, value=told)})


def surviving(sources: Node | None, changed: Iterable[str], added: Node | None) -> Node | None:
    """`sources` without those of changed keys and of keys below them, and with those `added`.

    A changed key within a section that has a source of its own is said to have none."""
    if sources is None or not sources.is_mapping:
        return sources if added is None else added
    changed = tuple(changed)
    gone = {s for s in sources.value for c in changed if f"{s}.".startswith(f"{c}.")}
    within = {c: s for c in changed for s in sources.value if c.startswith(f"{s}.")}
    unsourced = {c: replace(sources, value=UNSOURCED) for c in within}
    rest = sources.without(gone).with_keys(unsourced)
    if added is None or not added.is_mapping:
        return rest if added is None else added
    return rest.with_keys(dict(added.items()))
