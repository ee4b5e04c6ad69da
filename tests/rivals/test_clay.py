"""CLAY as its closed form: the slowest of clusters, instructions, sums between them and CXL."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import points, replayed, simulated, stage_times, words

from simulator.caches.facts import LOOKUP
from simulator.engine import simulate_points
from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import ConfigError, UsageError
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.cxl import Cxl
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.program import Add, Move
from simulator.systems.clay import ClayTimes

RUN: dict[str, Any] = {
    "run": {"mode": "inference", "batches": 1, "warmup_batches": 0},
    "trace": {"kind": "uniform"},
    "model": {"batch_size": 1024},
}
ROW = 512


def entry(**pool: Any) -> dict[str, Any]:
    """A machine whose GPU takes vectors as fast as CXL brings them."""
    host = {"near_memory": {"part": "clay_cxl", **pool}, "pcie": "pcie6_x16"}
    return {"name": "clay", "platform": {"base": "clay_v100", "name": "m", "host": host}}


def closed(**pool: Any) -> ClayTimes:
    """Of the first mini-batch, from what is known of its rows."""
    _, (facts,) = replayed(entry(**pool), 1, **RUN)
    spread = facts[LOOKUP].nodes
    assert spread is not None
    part = load_part("clay_cxl", pool, NearMemory)
    link = load_part("cxl2_x8", None, Cxl)
    sums = spread.modules * ROW
    return ClayTimes.of(part, max(spread.lookups), ROW, sums, spread.vectors * ROW, link.rate(0.0))


BOUND: dict[str, dict[str, Any]] = {
    "cluster": {},
    "instructions": {"instructions": {"bits_per_clock": 0.1}},
    "merging": {"channel_bandwidth": "2 GB/s"},
    "cxl": {"channels": 64},
}
"""A pool that each of the four binds."""


@pytest.mark.parametrize(("what", "pool"), BOUND.items())
def test_a_gather_takes_as_long_as_the_slowest_of_its_parts(
    what: str, pool: dict[str, Any]
) -> None:
    """Clusters reach 0.91 of their pins (refresh, turns of banks): nothing else is added but the
    start of the operation and of a copy by the host, 17 us at most."""
    times = closed(**pool)
    found = stage_times(simulated(entry(**pool), **RUN)["clay"])["gather_reduce"] * 1e6
    assert getattr(times, what) == times.longest
    reached = times._replace(cluster=times.cluster / 0.91)
    assert 0.98 * reached.longest < found < 1.02 * reached.longest + 17e6


def test_packets_that_are_duplicated_take_less_of_the_bus() -> None:
    one, four = (closed(instructions={"duplication": n}) for n in (1, 4))
    assert one.instructions == pytest.approx(4 * four.instructions)
    sizes = {}
    for duplication in (1, 4):
        pool = {"instructions": {"duplication": duplication}}
        system, (facts,) = replayed(entry(**pool), 1, **RUN)
        (told,) = (
            w for w in words(system, facts) if isinstance(w, Move) and w.name == "instructions"
        )
        sizes[duplication] = told.bytes
        assert told.bytes == -(-facts[LOOKUP].lookups * 85 // (8 * duplication))
    assert sizes[1] == pytest.approx(4 * sizes[4], abs=4)


def test_vectors_alone_cross_the_link() -> None:
    system, (facts,) = replayed(entry(), 1, **RUN)
    sizes = {w.name: w.bytes for w in words(system, facts) if isinstance(w, Move)}
    assert sizes["pooled_to_gpu"] == 1024 * 4 * ROW
    assert not any(isinstance(word, Add) for word in words(system, facts))
    assert "list_to_pool" not in sizes


def test_more_clusters_are_never_slower() -> None:
    times = [
        simulated(entry(channels=n), **RUN)["clay"].metrics["iteration_time_us"]
        for n in (2, 4, 8, 16)
    ]
    assert times == sorted(times, reverse=True)


def test_training_and_other_machines_are_refused() -> None:
    with pytest.raises(ConfigError, match="clay has none of: its source is about inference"):
        simulate_points(points(entry()))
    with pytest.raises(UsageError, match="clay trains nothing"):
        run_case(HazardCase(system="clay"))
    with pytest.raises(ConfigError, match="platform: clay_v100"):
        simulate_points(points("clay", **RUN))
    with pytest.raises(ConfigError, match=r"near_memory\.sums_meet=pool"):
        simulate_points(points(entry(sums_meet="host"), **RUN))
    with pytest.raises(ConfigError, match="gpus: is not used by clay: its pool answers one GPU"):
        points({**entry(), "gpus": 2}, **RUN)
    with pytest.raises(ConfigError, match="update: unknown key"):
        points({**entry(), "update": "fused"}, **RUN)
    with pytest.raises(ConfigError, match="duplication"):
        load_part("clay_cxl", {"instructions.duplication": 0}, NearMemory)
