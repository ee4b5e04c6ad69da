"""Groups of a mesh through which no ring leads: trees, with closed forms."""

from __future__ import annotations

import pytest

from simulator.config.catalogue import load_named
from simulator.hardware.catalogue import load_machine
from simulator.hardware.devices.mesh_loads import ring_loads
from simulator.hardware.program import Exchange
from simulator.hardware.topology import build_topology


def widths(*pairs: tuple[int, int, int]) -> tuple[tuple[tuple[int, int], int], ...]:
    both = {edge: w for a, b, w in pairs for edge in ((a, b), (b, a))}
    return tuple(sorted(both.items()))


def test_a_chain_of_three_carries_every_sum_there_and_back() -> None:
    """All-reduce of S: each member sends 4/3 S, each link carries S each way, 3/4 of that."""
    assert ring_loads((0, 1, 2), widths((0, 1, 1), (1, 2, 1))) == {
        (0, 1): 0.75,
        (1, 0): 0.75,
        (1, 2): 0.75,
        (2, 1): 0.75,
    }


def test_a_ring_is_taken_where_there_is_one() -> None:
    loads = ring_loads((0, 1, 2), widths((0, 1, 1), (1, 2, 1), (0, 2, 1)))
    assert loads is not None
    assert set(loads.values()) == {0.5}


def test_trees_together_carry_what_members_send() -> None:
    """n members, one byte each: n bytes over n - 1 pairs of every tree."""
    loads = ring_loads((0, 1, 2, 3), widths((0, 1, 1), (0, 2, 1), (1, 2, 1), (0, 3, 1)))
    assert loads is not None
    assert sum(loads.values()) == pytest.approx(4.0)
    assert loads[0, 3] == loads[3, 0] == pytest.approx(4 / 6), "the only way to the last"


@pytest.mark.parametrize("members", [3, 4, 8])
def test_a_star_sums_in_its_middle(members: int) -> None:
    """All-reduce of S: every member sends S to the middle and gets S back."""
    star = widths(*((0, leaf, 1) for leaf in range(1, members)))
    loads = ring_loads(tuple(range(members)), star)
    sent = 2 * (members - 1) / members  # of a member, for an all-reduce of one byte
    assert loads is not None
    assert [load * sent for load in loads.values()] == pytest.approx([1.0] * len(star))


def test_trees_load_a_triangle_evenly() -> None:
    """Two of its three pairs belong to each tree, beside the only way to the last member."""
    triangle = widths((0, 1, 1), (0, 2, 1), (0, 3, 2), (1, 2, 1))
    loads = ring_loads((0, 1, 2, 3), triangle)
    assert loads is not None
    assert loads[0, 1] == loads[0, 2] == loads[1, 2] == pytest.approx(4 / 6 * 2 / 3)


def test_what_links_do_not_reach_has_none() -> None:
    assert ring_loads((0, 1, 2, 3), widths((0, 1, 1), (2, 3, 1))) is None


@pytest.mark.parametrize("gpus", range(2, 9))
def test_any_number_of_gpus_of_a_cube_mesh_sum_their_gradients(gpus: int) -> None:
    server = build_topology(load_machine("dgx1_v100"), 512)
    group = server.all("gpu")[:gpus]
    software = load_named("operators", "tuned")
    demand = server.price(Exchange("sum", "gpu0", group, "all_reduce", 10**9), software)
    ports = [s.bytes for name, s in demand.services.items() if name.startswith("nvlink.gpu0.")]
    assert sum(ports) > 0
