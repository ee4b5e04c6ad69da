"""How collectives divide over a mesh of links: loads that leave the busiest link least to carry.

Linear programs, solved once for a mesh and kept on disk, for the library that solves them takes
long to load. Answers are rounded, for their last digits differ from solver to solver.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from simulator._kept_answers import kept

__all__ = ["Edge", "Widths", "all_to_all_loads", "ring_loads"]

Edge = tuple[int, int]
Widths = tuple[tuple[Edge, int], ...]
"""Links of a mesh: both ends, and how wide it is."""


@cache
def all_to_all_loads(members: tuple[int, ...], widths: Widths) -> Mapping[Edge, float] | None:
    """Bytes over each link where every member sends one byte, the same share to each other one.

    None where links do not lead from each to each.
    """
    return _by_edge(widths, _all_to_all(members, widths))


def _by_edge(widths: Widths, loads: Sequence[float] | None) -> Mapping[Edge, float] | None:
    """`loads` of the links, each under its ends."""
    if loads is None:
        return None
    return dict(zip((edge for edge, _ in widths), loads, strict=True))


@kept("scipy")
def _all_to_all(members: tuple[int, ...], widths: Widths) -> list[float] | None:
    """See `all_to_all_loads`; in the order of `widths`."""
    from scipy.optimize import linprog  # slow to import, and only meshes need it

    edges = [edge for edge, _ in widths]
    flow, needed = _conservation(members, edges)
    columns = len(members) * len(edges)
    cut = np.tile(np.eye(len(edges)), len(members)) / np.array([w for _, w in widths])[:, None]
    least = linprog(
        np.append(np.zeros(columns), 1.0),
        A_ub=np.hstack([cut, -np.ones((len(edges), 1))]),
        b_ub=np.zeros(len(edges)),
        A_eq=np.hstack([flow, np.zeros((len(flow), 1))]),
        b_eq=needed,
    )
    if not least.success:
        return None
    limit = np.full(len(edges), least.fun * (1 + 1e-9))
    shortest = linprog(np.ones(columns), A_ub=cut, b_ub=limit, A_eq=flow, b_eq=needed)
    best = shortest.x if shortest.success else least.x[:-1]
    return _rounded(best.reshape(len(members), len(edges)).sum(axis=0))


def _conservation(members: Sequence[int], edges: Sequence[Edge]) -> tuple[np.ndarray, np.ndarray]:
    """What each source sends arrives: rows (source, other member), columns (source, edge)."""
    share = 1.0 / (len(members) - 1)
    rows, columns = len(members) * (len(members) - 1), len(members) * len(edges)
    flow, needed = np.zeros((rows, columns)), np.full(rows, share)
    ends = itertools.permutations(range(len(members)), 2)
    for row, (source, other) in enumerate(ends):
        for number, edge in enumerate(edges):
            column = source * len(edges) + number
            flow[row, column] = (edge[1] == members[other]) - (edge[0] == members[other])
    return flow, needed


def _rounded(loads: np.ndarray) -> list[float]:
    """Without the last digits, which differ from solver to solver."""
    return [round(float(load), 8) + 0.0 for load in loads]


@cache
def ring_loads(members: tuple[int, ...], widths: Widths) -> Mapping[Edge, float] | None:
    """Bytes over each link where every member sends one byte in all along rings through all, or,
    where there is none, along trees that reach all.

    None where links do not reach all members.
    """
    return _by_edge(widths, _along_rings(members, widths))


@kept("scipy")
def _along_rings(members: tuple[int, ...], widths: Widths) -> list[float] | None:
    """See `ring_loads`; in the order of `widths`."""
    from scipy.optimize import linprog  # slow to import, and only meshes need it

    ways = list(_rings((members[0],), frozenset(members), dict(widths)))
    if not ways:
        return _along_trees(members, widths)
    uses = np.array([[edge in way for way in ways] for edge, _ in widths], float)
    best = linprog(-np.ones(len(ways)), A_ub=uses, b_ub=[links for _, links in widths])
    return _rounded(uses @ best.x / best.x.sum())


def _along_trees(members: tuple[int, ...], widths: Widths) -> list[float] | None:
    """Bytes over each link along the trees that load the busiest least.

    A tree carries sums to its root and results back: of n bytes in all as many over each of its
    n - 1 pairs, half of them each way. Shares of trees are the points of the spanning-tree polytope
    (Edmonds): n - 1 pairs in all, of those among any k members at most k - 1.
    """
    from scipy.optimize import linprog  # slow to import, and only meshes need it

    pairs = [(edge, links) for edge, links in widths if edge[0] < edge[1]]
    count = len(pairs)
    groups = [g for size in range(2, len(members)) for g in itertools.combinations(members, size)]
    within = np.array([[set(edge) <= set(g) for edge, _ in pairs] for g in groups], float)
    least = linprog(
        np.append(np.zeros(count), 1.0),
        A_ub=np.vstack(
            [
                np.hstack([within.reshape(-1, count), np.zeros((len(groups), 1))]),
                np.hstack([np.eye(count), -np.array([[links] for _, links in pairs], float)]),
            ]
        ),
        b_ub=[*(len(group) - 1 for group in groups), *[0] * count],
        A_eq=[[*[1.0] * count, 0.0]],
        b_eq=[len(members) - 1],
    )
    if not least.success:
        return None
    each = len(members) / (2.0 * (len(members) - 1))
    loads = {
        edge: load for (edge, _), load in zip(pairs, _rounded(least.x[:-1] * each), strict=True)
    }
    return [loads[min(edge), max(edge)] for edge, _ in widths]


def _rings(
    way: tuple[int, ...], members: frozenset[int], width: Mapping[Edge, int]
) -> Iterator[frozenset[Edge]]:
    """Every ring through all members that goes on from `way`, as its links."""
    if len(way) == len(members):
        if (way[-1], way[0]) in width:
            yield frozenset(zip(way, (*way[1:], way[0]), strict=True))
        return
    for other in sorted(members.difference(way)):
        if (way[-1], other) in width:
            yield from _rings((*way, other), members, width)
