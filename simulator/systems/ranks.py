"""Which ranks of a job are simulated: those that do the same are so once.

Two ranks do the same where they have as many samples and neither has a table; all others have rows
of their own. Ranks of several hosts are folded host by host: hosts whose ranks do the same, rank
by rank, are simulated once, and where all ranks of such hosts are alike one rank stands for them.

Approximated where more than `MOST` ranks would be left: those with parts of equal shape are taken
to do the same, each mini-batch what the one of them with the most lookups has to do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from simulator.hardware.collectives import host_of

__all__ = ["MOST", "equal_groups", "folded"]

MOST = 64
"""Ranks that are simulated one by one."""

Groups = tuple[tuple[int, ...], ...]


def folded(
    ranks: Sequence[str],
    exact: Sequence[Hashable],
    alike: Sequence[Hashable],
    most: int = MOST,
) -> Groups:
    """Groups of ranks, by number, of which the first is simulated.

    `exact`: of each rank, equal for those that do the same to the last row; `alike`: equal for
    those with parts of equal shape, which are taken where `exact` leaves more than `most` groups.
    """
    groups = equal_groups(ranks, exact)
    return groups if len(groups) <= most else equal_groups(ranks, alike)


def equal_groups(ranks: Sequence[str], works: Sequence[Hashable]) -> Groups:
    """Groups of ranks with equal `works` on hosts that do the same."""
    hosts: dict[str, list[int]] = {}
    for number, rank in enumerate(ranks):
        hosts.setdefault(host_of(rank), []).append(number)
    classes: dict[Hashable, list[list[int]]] = {}
    for members in hosts.values():
        classes.setdefault(tuple(works[k] for k in members), []).append(members)
    groups: list[tuple[int, ...]] = []
    for key, same in classes.items():
        if isinstance(key, tuple) and len(set(key)) == 1:
            groups.append(tuple(k for members in same for k in members))
        else:
            groups += zip(*same, strict=True)
    return tuple(groups)
