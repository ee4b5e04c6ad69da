"""Algorithms of collectives in closed form: bytes by level, steps, and what all ranks send."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.hardware.collectives import Shape, Way, ways

shapes = st.builds(Shape, st.integers(1, 64), st.integers(1, 16)).filter(lambda s: s.ranks > 1)
ROUNDS = {"all_to_all": 1, "all_reduce": 2, "reduce_scatter": 1, "all_gather": 1, "broadcast": 1}


def by_name(pattern: str, shape: Shape) -> dict[str, Way]:
    return {way.algorithm: way for way in ways(pattern, shape)}  # type: ignore[arg-type]


@given(st.integers(2, 4096))
def test_a_ring_all_reduce_sends_two_n_minus_one_over_n(ranks: int) -> None:
    for shape in (Shape(1, ranks), Shape(ranks, 1)):
        ring = by_name("all_reduce", shape)["ring"]
        assert ring.inside + ring.across == Fraction(2 * (ranks - 1), ranks)
        assert ring.steps.inside + ring.steps.across == 2 * (ranks - 1)


@given(st.integers(2, 4096))
def test_an_all_to_all_sends_n_minus_one_over_n(ranks: int) -> None:
    (way,) = ways("all_to_all", Shape(1, ranks))
    assert (way.inside, way.across) == (Fraction(ranks - 1, ranks), 0)
    assert way.steps.peers == ranks - 1


@given(st.sampled_from(sorted(ROUNDS)), shapes)
def test_together_ranks_send_each_byte_once_a_round(pattern: str, shape: Shape) -> None:
    """n - 1 buffers a round; only the two-level all-to-all sends more: what goes through the rank
    with the number of the target is sent a second time; a switch sums in place of ranks; in a
    broadcast each rank counts as the first, which sends all of it."""
    for name, way in by_name(pattern, shape).items():
        total = shape.ranks * (way.inside + way.across)
        least = ROUNDS[pattern] * (shape.ranks - 1)
        if name == "switch":
            assert way.inside == 1 + Fraction(1, shape.per_host)
        elif (pattern, name) == ("all_to_all", "hierarchical"):
            twice = Fraction(shape.hosts - 1, shape.hosts) * (shape.per_host - 1) * shape.hosts
            assert total == least + twice
        else:
            assert total == (least if pattern != "broadcast" else shape.ranks)


@given(st.integers(2, 64), st.integers(2, 16))
def test_bytes_by_level(hosts: int, per_host: int) -> None:
    """What crosses links of the host, and the interface, in closed form."""
    shape, ranks = Shape(hosts, per_host), hosts * per_host
    sent = by_name("all_to_all", shape)
    assert sent["pairwise"].inside == Fraction(per_host - 1, ranks)
    assert sent["hierarchical"].inside == Fraction(per_host - 1, per_host)
    assert {w.across for w in sent.values()} == {Fraction(hosts - 1, hosts)}
    assert sent["pairwise"].steps.network_peers == ranks - per_host
    assert sent["hierarchical"].steps.network_peers == hosts - 1
    summed = by_name("all_reduce", shape)
    for name in ("hierarchical", "tree"):
        assert summed[name].inside == Fraction(2 * (per_host - 1), per_host)
        assert summed[name].across == Fraction(2 * (hosts - 1), ranks)
    assert summed["ring"].across == Fraction(2 * (ranks - 1), ranks * per_host)
    gathered = by_name("all_gather", shape)["hierarchical"]
    assert gathered.inside == Fraction(per_host - 1, per_host)
    assert gathered.across == Fraction(hosts - 1, ranks)


@pytest.mark.parametrize(("hosts", "deep"), [(2, 1), (3, 2), (8, 3), (128, 7)])
def test_a_tree_of_hosts_is_as_deep_as_its_logarithm(hosts: int, deep: int) -> None:
    tree = by_name("all_reduce", Shape(hosts, 8))["tree"]
    assert tree.steps.across == 2 * deep
    busiest = tree.across * tree.busiest
    assert busiest == (Fraction(1, 8) if hosts == 2 else Fraction(2, 8)), "an inner host: both ways"


@pytest.mark.parametrize("pattern", sorted(ROUNDS))
def test_a_single_rank_has_nothing_to_do(pattern: str) -> None:
    assert by_name(pattern, Shape(1, 1)) == {}


@given(shapes)
def test_two_levels_are_offered_where_there_are_two(shape: Shape) -> None:
    two = shape.hosts > 1 and shape.per_host > 1
    for pattern in ("all_to_all", "all_reduce", "all_gather"):
        assert ("hierarchical" in by_name(pattern, shape)) == two
