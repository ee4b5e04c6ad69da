"""Cuts of least cost, and containers on nodes, against plain search."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.cuts import cheapest_cuts
from simulator.engine.first_fit import Room, nodes_for

NODE = Room(2, 16, 1000, 1_000_000, 100)


def tried(last: int, most: int, costs: dict[tuple[int, int], float]) -> tuple[float, int]:
    """The least cost of all ways to cut, and the fewest pieces that have it."""
    ways = [
        (0, *inner, last)
        for pieces in range(min(most, last))
        for inner in combinations(range(1, last), pieces)
    ]
    return min((sum(costs[pair] for pair in pairwise(way)), len(way) - 1) for way in ways)


@st.composite
def lines(draw: st.DrawFn) -> tuple[int, dict[tuple[int, int], float]]:
    last = draw(st.integers(1, 7))
    values = st.one_of(st.integers(0, 20).map(float), st.just(math.inf))
    return last, {(i, j): draw(values) for j in range(1, last + 1) for i in range(j)}


@given(lines(), st.integers(1, 6))
def test_cuts_cost_what_the_best_of_all_ways_costs(
    line: tuple[int, dict[tuple[int, int], float]], most: int
) -> None:
    last, costs = line
    borders = cheapest_cuts(last, most, lambda i, j: costs[i, j])
    assert (borders[0], borders[-1]) == (0, last)
    assert sorted(set(borders)) == list(borders)
    cost, pieces = tried(last, most, costs)
    assert sum(costs[pair] for pair in pairwise(borders)) == cost
    if cost < math.inf:
        assert len(borders) - 1 == pieces


@given(lines())
def test_one_more_cut_never_costs_more(line: tuple[int, dict[tuple[int, int], float]]) -> None:
    last, costs = line
    best = [
        sum(costs[p] for p in pairwise(cheapest_cuts(last, most, lambda i, j: costs[i, j])))
        for most in range(1, last + 2)
    ]
    assert all(more <= less for less, more in pairwise(best))


@pytest.mark.parametrize("copies", [1, 2, 4, 8])
def test_even_rows_of_many_copies_are_cut_until_each_lies_once(copies: int) -> None:
    """8 equal steps of 10 rows; a piece has a replica for each 8th of the load that it takes."""

    def memory(first: int, end: int) -> float:
        rows = 10 * (end - first)
        return math.ceil(copies * (end - first) / 8) * rows

    assert memory(0, 8) == copies * 80
    borders = cheapest_cuts(8, 8, memory)
    assert sum(memory(*pair) for pair in pairwise(borders)) == 80
    assert len(borders) - 1 == copies


def by_hand(node: Room, kinds: list[tuple[Room, int]]) -> int:
    """First fit, one container after the other, in the order of their largest need."""

    def size(needs: Room) -> float:
        return max(need / have for need, have in zip(needs, node, strict=True))

    rooms: list[Room] = []
    for needs, count in sorted(kinds, key=lambda kind: size(kind[0]), reverse=True):
        for _ in range(count):
            place = next((k for k, room in enumerate(rooms) if room.holds(needs)), None)
            if place is None:
                rooms.append(node.without(needs, 1))
            else:
                rooms[place] = rooms[place].without(needs, 1)
    return len(rooms)


needs = st.builds(
    Room,
    st.integers(0, 2),
    st.integers(1, 16),
    st.integers(1, 1000),
    st.integers(1, 1_000_000),
    st.integers(1, 100),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(needs, st.integers(1, 30)), min_size=1, max_size=5))
def test_containers_by_kind_take_the_nodes_of_containers_one_by_one(
    kinds: list[tuple[Room, int]],
) -> None:
    used = nodes_for(NODE, kinds)
    assert used == by_hand(NODE, kinds)
    for column, have in enumerate(NODE):
        asked = sum(count * each[column] for each, count in kinds)
        assert used * have >= asked


def test_a_million_containers_are_laid_at_once() -> None:
    assert nodes_for(NODE, [(Room(0, 3, 1, 1, 1), 1_000_000)]) == 200_000
