"""Containers on nodes: first fit, the largest first.

Containers come in kinds, and nodes that are filled alike are kept as one entry with a count: time
goes with kinds, not with containers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Room", "nodes_for"]


class Room(NamedTuple):
    """What a node has, has left, or a container needs."""

    gpus: int
    cores: int
    bytes: int
    bandwidth: int
    """Of its memory: of a million."""
    network: int
    """Bytes a second, each way."""

    def holds(self, needs: Room) -> int:
        """Containers that fit."""
        return min(have // need for have, need in zip(self, needs, strict=True) if need)

    def without(self, needs: Room, count: int) -> Room:
        """What `count` containers leave."""
        return Room(*(have - count * need for have, need in zip(self, needs, strict=True)))


def nodes_for(node: Room, kinds: Sequence[tuple[Room, int]]) -> int:
    """Equal nodes that hold as many containers of each kind; one of each fits a node."""
    open_nodes: list[tuple[Room, int]] = []
    used = 0
    for needs, count in sorted(kinds, key=lambda kind: _size(node, kind[0]), reverse=True):
        filled: list[tuple[Room, int]] = []
        for room, nodes in open_nodes:
            count = _fill(room, nodes, needs, count, filled)
        if count:
            new = -(-count // node.holds(needs))
            used += new
            _fill(node, new, needs, count, filled)
        open_nodes = filled
    return used


def _size(node: Room, needs: Room) -> float:
    """The largest share of a node that a container needs of anything."""
    return max(need / have for need, have in zip(needs, node, strict=True) if have)


def _fill(room: Room, nodes: int, needs: Room, count: int, filled: list[tuple[Room, int]]) -> int:
    """Put up to `count` containers into nodes that have the same room, one node after the other,
    and add what they have left to `filled`; how many containers are left over."""
    most = room.holds(needs)
    full = min(nodes, count // most) if most else 0
    rest = min(count - full * most, most) if full < nodes else 0
    entries = ((room.without(needs, most), full), (room.without(needs, rest), int(rest > 0)))
    filled += [entry for entry in (*entries, (room, nodes - full - int(rest > 0))) if entry[1]]
    return count - full * most - rest
