"""TRiM: adders in bank groups, and what they come to at the level of ranks."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, replayed, simulated

from simulator.caches.facts import LOOKUP
from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.node_rates import measure_nodes, places_touched
from simulator.results.record import PointResult

UNIFORM: dict[str, Any] = {
    "trace": {"kind": "uniform"},
    "model": {"rows_per_table": 200_000, "lookups_per_table": 20},
}


def entry(name: str, **pool: Any) -> dict[str, Any]:
    keys = {"part": "trim_ddr5", **pool}
    host = {"near_memory": keys}
    return {"name": name, "platform": {"base": "trim_v100", "name": "pool", "host": host}}


def ran(name: str, changes: dict[str, Any] = UNIFORM, **pool: Any) -> PointResult:
    return simulated(entry(name, **pool), **changes)[name]


def busy(result: PointResult, resource: str) -> float:
    rows = {row["resource"]: row for row in result.devices}
    return float(rows[f"near_memory.{resource}"]["busy_us"])


@pytest.mark.parametrize(
    ("size", "bound", "reached"),
    [(64, 1.0, 0.9), (128, 2.0, 1.75), (256, 4.0, 2.5), (512, 16 / 3, 3.2)],
)
def test_bank_groups_read_what_activates_and_columns_allow(
    size: int, bound: float, reached: float
) -> None:
    """DDR5-4800, tFAW of 32 clocks, 8 groups x 64 B in tCCD_L of 12 clocks: nothing is gained at
    64 B, twice at 128 B, four times at 256 B and 5.3 times at 512 B of the pins, less refresh and
    groups that wait for each other."""
    pool = load_part("trim_ddr5", None, NearMemory)
    found = measure_nodes(pool, "gather", size, 100_000)
    assert found.activate_bound == pytest.approx(bound)
    assert reached <= found.efficiency <= bound * (1 - 708 / 9360)


def test_instructions_into_a_rank_bind_short_rows() -> None:
    """85 bits at 14 a clock: 10.5 B a clock of 64-B rows, where the pins of a rank carry 8."""
    pool = load_part("trim_ddr5", None, NearMemory)
    for size, known in ((64, 10.5), (128, 21.1), (512, 84.3)):
        found = measure_nodes(pool, "gather", size, 2_000)
        assert found.limits["instructions"] * 8 / 2 == pytest.approx(known, rel=0.005)


def test_sums_of_bank_groups_bind_the_gain_over_ranks() -> None:
    """A vector of 20 rows in 16 bank groups of two ranks leaves 11.6 sums, one of 80 leaves 15.9:
    at most 1.7 and 5.0 times what ranks read."""
    one = {"channels": 1, "modules": 1, "ranks": 2}
    pool = load_part("trim_ddr5", one, NearMemory)
    for lookups, known in ((20, 1.72), (80, 5.03)):
        found = measure_nodes(pool, "gather", 512, 2_000, lookups=lookups)
        assert found.limits["rank_sums"] / 2 == pytest.approx(known, rel=0.01)


def test_trim_r_is_recnmp_without_caches() -> None:
    mine, other = ran("trim", level="rank"), ran("recnmp", level="rank")
    assert mine.metrics["iteration_time_us"] == other.metrics["iteration_time_us"]
    assert mine.metrics["energy_mj"] == other.metrics["energy_mj"]
    assert busy(mine, "pins") == 0.0


def test_bank_groups_read_sooner_and_send_more() -> None:
    ranks, groups = ran("trim", level="rank"), ran("trim")
    assert busy(groups, "dram") < 0.6 * busy(ranks, "dram")
    _, (facts,) = replayed(entry("trim"), 1, **UNIFORM)
    spread = facts[LOOKUP].nodes
    assert spread is not None
    assert len(spread.lookups) == 64
    assert spread.homes / spread.vectors == pytest.approx(places_touched(64, 20), rel=0.01)
    bytes_sent = 2 * 256 * 4 * 512 * spread.homes / spread.vectors  # sums out, gradients in
    assert busy(groups, "pins") == pytest.approx(bytes_sent / (8 * 19.2e3), rel=0.01)


def test_a_hot_bank_group_binds_by_its_own_columns() -> None:
    """One row that takes most lookups: its group reads it every tCCD_L, however idle others are."""
    changes = {**UNIFORM, "trace": {"kind": "zipf", "alpha": 3.0}}
    _, (facts,) = replayed(entry("trim"), 1, **changes)
    spread = facts[LOOKUP].nodes
    assert spread is not None
    alone = max(spread.lookups) * 8 * 12 / 2400
    run = {"batches": 1, "warmup_batches": 0}
    assert busy(ran("trim", {**changes, "run": run}), "dram") >= alone


@pytest.mark.parametrize("tables", [1, 3])
def test_it_trains_like_one_batch_at_a_time(tables: int) -> None:
    outcome = executed("trim", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_rows_that_are_cut_have_no_adders_in_bank_groups() -> None:
    with pytest.raises(ConfigError, match="must be horizontal where bank groups have adders"):
        load_part("trim_ddr5", {"cut": "vertical"}, NearMemory)
