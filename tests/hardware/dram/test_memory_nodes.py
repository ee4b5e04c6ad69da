"""Nodes of a near-memory pool, each a channel with one rank: published tables and closed limits.

DDR5 here has tFAW of 32 clocks at every rate (JESD79-5), as the tables have; their DDR5-4800 has a
read-modify-write of every burst that is written (tCCD_L_WR of 48 clocks), which the part has not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.node_rates import NodeRates, activate_bound, measure_nodes, places_touched

SIZES = (64, 128, 256, 512)
REQUESTS = 40_000
ALONE = {
    "ddr4_2400": (0.578, 0.924, 0.943, 0.947),
    "ddr4_3200": (0.435, 0.872, 0.938, 0.941),
    "ddr5_4800": (0.913, 0.914, 0.911, 0.913),
    "ddr5_6400": (0.901, 0.908, 0.902, 0.903),
}
"""Share of its pins that one rank alone reaches, gathers of 64 B to 512 B."""
ON_ONE_BUS = {
    "ddr4_2400": (0.926, 0.92, 0.925, 0.924),
    "ddr4_3200": (0.9135,) * 4,
    "ddr5_4800": (0.916,) * 4,
    "ddr5_6400": (0.9065,) * 4,
}
"""The same of ranks that share the channel's bus: 4 of DDR4, 2 of DDR5 (a range of DDR4-3200,
.905 to .922, and of DDR5, .913 to .919 and .902 to .911)."""
SPEEDUP = {
    ("ddr4_2400", "gather"): (2.50, 4.02, 4.08, 4.10),
    ("ddr4_2400", "scatter"): (2.43, 3.94, 3.97, 3.97),
    ("ddr4_2400", "half"): (2.52, 3.53, 3.64, 3.67),
    ("ddr4_3200", "gather"): (1.91, 3.85, 4.09, 4.08),
    ("ddr4_3200", "scatter"): (1.88, 3.62, 3.95, 3.96),
    ("ddr4_3200", "half"): (1.96, 3.09, 3.42, 3.45),
    ("ddr5_4800", "gather"): (1.99, 2.00, 2.00, 2.00),
    ("ddr5_4800", "scatter"): (1.96, 1.97, 1.92, 1.74),
    ("ddr5_4800", "half"): (1.81, 1.77, 1.71, 1.68),
}
"""Nodes over as many ranks on one bus: 4 of DDR4, 2 of DDR5."""
WHOLE_OVER_CUT = {"ddr4_2400": 1.64, "ddr4_3200": 2.16, "ddr5_4800": 1.00}
"""Rows of 512 B whole in one of 8 nodes over the same cut over all 8, where both are even."""


@cache
def pool(memory: str, **changes: Any) -> NearMemory:
    """Ranks of `memory` behind one channel, rows whole in each; `changes`: keys of the part."""
    ranks = 2 if memory.startswith("ddr5") else 4
    node: dict[str, Any] = {"part": memory, "mapping": {"order": "row"}, "controller": "server"}
    if memory == "ddr5_4800":
        node["timing"] = {"ccd_l_wr": 48}
    keys = {"memory": node, "modules": 1, "ranks": ranks, **changes}
    return load_part("recnmp_ddr4", keys, NearMemory)


@cache
def rates(memory: str, pattern: str, size: int) -> NodeRates:
    half = {"write_fraction": 0.5} if pattern == "half" else {}
    name = "gather" if pattern == "half" else pattern
    return measure_nodes(pool(memory), name, size, REQUESTS * (size // 64), **half)


@pytest.mark.parametrize("memory", ALONE)
@pytest.mark.parametrize("number", range(4))
def test_a_rank_alone_reaches_what_is_known_of_it(memory: str, number: int) -> None:
    known = ALONE[memory][number]
    assert rates(memory, "gather", SIZES[number]).efficiency == pytest.approx(known, rel=0.03)


@pytest.mark.parametrize("memory", ON_ONE_BUS)
@pytest.mark.parametrize("number", range(4))
def test_so_do_ranks_on_one_bus(memory: str, number: int) -> None:
    known = ON_ONE_BUS[memory][number]
    found = rates(memory, "gather", SIZES[number])
    assert found.shared_efficiency == pytest.approx(known, rel=0.03)
    assert found.shared_ranks == (2 if memory.startswith("ddr5") else 4)


@pytest.mark.parametrize("memory", ON_ONE_BUS)
@pytest.mark.parametrize("size", SIZES)
def test_ranks_on_one_bus_hide_each_others_activates_but_share_its_slots(
    memory: str, size: int
) -> None:
    """Closed limits of a bus that all ranks share: the activates of all of them, and its own slots,
    of which refresh takes a share unless other ranks fill them. At most as many as there are."""
    found, timing = rates(memory, "gather", size), pool(memory).memory.timing
    ranks, refresh = found.shared_ranks, 1.0 - timing.rfc / timing.refi
    activates = min(1.0, ranks * found.activate_bound)
    assert activates == 1.0  # of these parts already two ranks have enough
    assert refresh - 0.06 < found.shared_efficiency < 1.0
    assert found.speedup == pytest.approx(ranks * found.efficiency / found.shared_efficiency)
    assert found.speedup <= ranks * found.activate_bound / found.shared_efficiency


@pytest.mark.parametrize("memory", ON_ONE_BUS)
def test_one_rank_on_a_shared_bus_is_that_rank_alone(memory: str) -> None:
    part = pool(memory, ranks=1)
    found = measure_nodes(part, "gather", 128, REQUESTS)
    assert found.shared_ranks == 1
    assert found.speedup == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize(("memory", "faw"), [("ddr4_3200", 400), ("ddr5_6400", 512)])
def test_a_shared_bus_binds_once_its_ranks_activate_enough(memory: str, faw: int) -> None:
    """With a tFAW so long that all ranks together do not fill the bus, they reach as much on it as
    alone: activates bind, not the bus."""
    node = pool(memory).memory
    slow = node.model_copy(update={"timing": node.timing.model_copy(update={"faw": faw})})
    part = pool(memory).model_copy(update={"memory": slow})
    found = measure_nodes(part, "gather", 64, REQUESTS)
    ranks = found.shared_ranks
    assert ranks * found.activate_bound < 0.5
    assert found.shared_efficiency == pytest.approx(ranks * found.activate_bound, rel=0.1)
    assert found.speedup == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("memory", "pattern"), SPEEDUP)
@pytest.mark.parametrize("number", range(4))
def test_nodes_beat_ranks_on_one_bus_by_what_is_known(
    memory: str, pattern: str, number: int
) -> None:
    known = SPEEDUP[memory, pattern][number]
    assert rates(memory, pattern, SIZES[number]).speedup == pytest.approx(known, rel=0.03)


@pytest.mark.parametrize("memory", WHOLE_OVER_CUT)
def test_whole_rows_of_eight_nodes_beat_rows_cut_into_pieces_by_what_is_known(memory: str) -> None:
    """Eight ranks simulated at bank level, with a piece of 64 B a row in each, or rows whole."""
    cut, whole = (
        measure_nodes(pool(memory, modules=8, ranks=1, cut=how), "gather", 512, REQUESTS)
        for how in ("vertical", "horizontal")
    )
    assert (cut.piece_bytes, whole.piece_bytes) == (64, 512)
    assert whole.nodes == cut.nodes == 8
    assert whole.buses / cut.buses == pytest.approx(WHOLE_OVER_CUT[memory], rel=0.03)


def test_axdimm_gains_a_little_less_than_two_ranks_allow() -> None:
    """Measured: up to 1.89 of two ranks, with all that is around them. Not tuned to."""
    part = load_part("axdimm", None, NearMemory)
    found = measure_nodes(part, "gather", 256, REQUESTS).speedup
    assert 1.89 <= found <= 2.1


@pytest.mark.parametrize("memory", ALONE)
@pytest.mark.parametrize("size", SIZES)
def test_no_node_passes_its_activates(memory: str, size: int) -> None:
    found = rates(memory, "gather", size)
    timing = pool(memory).memory.timing
    apart = max(timing.rrd_s, timing.faw / 4)
    bound = min(1.0, size // 64 * pool(memory).memory.burst_clocks / apart)
    assert found.activate_bound == bound
    assert found.efficiency <= bound
    if bound < 1.0:  # then refresh is all that is lost beside
        refresh = 1.0 - timing.rfc / timing.refi
        assert found.efficiency == pytest.approx(bound * refresh, rel=0.04)


@pytest.mark.parametrize(
    ("memory", "faw", "known", "bound"),
    [("ddr5_4800", 48, 0.61, 32 / 48), ("ddr5_6400", 64, 0.457, 0.5)],
)
def test_a_longer_tfaw_binds_a_lone_rank(memory: str, faw: int, known: float, bound: float) -> None:
    """20 ns, as one simulator has it at every rate, against 32 clocks: 64-B gathers lose a third
    and half; two ranks on a bus and rows of 128 B hardly change (1 to 3 %)."""
    node = pool(memory).memory
    long = node.model_copy(update={"timing": node.timing.model_copy(update={"faw": faw})})
    slow = pool(memory).model_copy(update={"memory": long})
    assert activate_bound(slow, 64) == pytest.approx(bound)
    found = measure_nodes(slow, "gather", 64, REQUESTS)
    assert found.efficiency == pytest.approx(known, rel=0.03)
    assert found.shared_efficiency == pytest.approx(ON_ONE_BUS[memory][0], rel=0.03)
    wide = measure_nodes(slow, "gather", 128, 2 * REQUESTS)
    assert wide.efficiency == pytest.approx(ALONE[memory][1], rel=0.03)


@pytest.mark.parametrize("bursts", [1, 2, 4, 8])
def test_commands_of_a_host_allow_few_buses(bursts: int) -> None:
    """ACT, RD x b, PRE a row: 4 b / (b + 2) buses of DDR4, 8 b / (2 b + 3) of DDR5."""
    ddr4, ddr5 = (
        pool(memory, instructions=None, channel_bandwidth=width)
        for memory, width in (("ddr4_2400", "19.2 GB/s"), ("ddr5_4800", "19.2 GB/s"))
    )
    size = 64 * bursts
    for part, known in ((ddr4, 4 * bursts / (bursts + 2)), (ddr5, 8 * bursts / (2 * bursts + 3))):
        found = measure_nodes(part, "gather", size, 2_000)
        assert found.limits["commands"] == pytest.approx(known, rel=1e-9)
        assert found.limited_by in ("commands", "sums", "memory")
    assert measure_nodes(ddr4, "gather", 64, 20_000).limited_by == "commands"


def test_sums_on_their_way_out_bind_by_the_modules_that_a_vector_touches() -> None:
    """16 of 16 modules hold rows of a vector of 80, 11.6 one of 20: 1.7 and 5.0 buses."""
    assert places_touched(16, 20) == pytest.approx(11.6, rel=0.003)
    assert places_touched(8, 20) == pytest.approx(7.45, rel=0.003)
    part = load_part("recnmp_ddr4", None, NearMemory)
    for lookups, known in ((20, 1.72), (80, 5.03)):
        found = measure_nodes(part, "gather", 512, 2_000, lookups=lookups)
        assert found.limits["sums"] == pytest.approx(known, rel=0.01)
    own = part.model_copy(update={"spread": "channel"})
    for lookups, known in ((20, 20 / 3.99), (80, 20.0)):
        found = measure_nodes(own, "gather", 512, 2_000, lookups=lookups)
        assert found.limits["sums"] == pytest.approx(known, rel=0.01)
    whole = part.model_copy(update={"cut": "vertical"})
    assert measure_nodes(whole, "gather", 512, 2_000).limits["sums"] == 20.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("memory.organization.channels", 2, "a node is one rank on a bus of its own"),
        ("memory.organization.ranks", 2, "a node is one rank"),
        ("memory.capacity", "64 GB", "a node is one rank"),
        ("channels", 4096, "at most 4,096"),
    ],
)
def test_a_node_is_one_rank(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_part("recnmp_ddr4", {key: value}, NearMemory)
