"""ReCross: rows at ranks, bank groups and banks, and what it comes to with one of them alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from rivalry import executed, replayed, simulated

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.node_rates import measure_nodes
from simulator.results.record import PointResult

NODES = 8
"""Ranks: four channels of two."""
UNIFORM: dict[str, Any] = {
    "trace": {"kind": "uniform"},
    "model": {"rows_per_table": 200_000, "lookups_per_table": 20},
}
SKEWED: dict[str, Any] = {**UNIFORM, "trace": {"kind": "zipf", "alpha": 1.05}}
GROUPS = {
    "rank_banks": 0, "group_banks": 32, "bank_banks": 0, "group_adders": 8, "bank_adders": 0
}  # fmt: skip
"""Every bank group has an adder, as TRiM-G has it."""


def entry(name: str = "recross", pool: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    part = {"recross": "recross_ddr5", "trim": "trim_ddr5"}[name]
    host = {"near_memory": {"part": part, **(pool or {})}}
    return {
        "name": name, "platform": {"base": f"{name}_v100", "name": "pool", "host": host}, **keys
    }  # fmt: skip


def ran(changes: dict[str, Any], *arguments: Any, **keys: Any) -> PointResult:
    (result,) = simulated(entry(*arguments, **keys), **changes).values()
    return result


def busy(result: PointResult, resource: str) -> float:
    rows = {row["resource"]: row for row in result.devices}
    return float(rows[f"near_memory.{resource}"]["busy_us"])


def facts_of(changes: dict[str, Any], **keys: Any) -> BatchFacts:
    _, (facts,) = replayed(entry(**keys), 1, **changes)
    return facts


@pytest.mark.parametrize("changes", [UNIFORM, SKEWED])
def test_all_rows_at_ranks_are_trim_r(changes: dict[str, Any]) -> None:
    """Within a thousandth in queries; updates turn around as bank groups do, which is sooner."""
    run = {"mode": "inference", "batches": 3, "warmup_batches": 0}
    for asked, most in (({"run": run}, 1e-3), ({}, 0.07)):
        mine = ran({**changes, **asked}, bank_share=0.0, group_share=0.0)
        other = ran({**changes, **asked}, "trim", {"level": "rank"})
        for resource in ("channels", "instructions"):
            assert busy(mine, resource) == pytest.approx(busy(other, resource), rel=1e-9)
        assert busy(mine, "dram") == pytest.approx(busy(other, "dram"), rel=most, abs=0)


@pytest.mark.parametrize("changes", [UNIFORM, SKEWED])
def test_all_rows_in_bank_groups_are_trim_g(changes: dict[str, Any]) -> None:
    mine = ran(changes, pool={"regions": GROUPS}, group_share=1.0)
    other = ran(changes, "trim")
    for resource in ("dram", "pins", "channels", "instructions"):
        assert busy(mine, resource) == busy(other, resource), resource
    assert mine.metrics["iteration_time_us"] == other.metrics["iteration_time_us"]


def test_the_hottest_rows_lie_in_banks_and_the_tail_at_ranks() -> None:
    """Shares as what adders can take: a rank a row of 512 B in 64 clocks, four groups one each in
    96, four banks as well, where four rows are open at once."""
    facts = facts_of(SKEWED)
    spread, unique = facts[LOOKUP].nodes, facts[UNIQUE].nodes
    assert spread is not None
    assert unique is not None
    cut = (0, NODES, 5 * NODES, 9 * NODES)
    lookups, rows = (
        [sum(counts[a:b]) for a, b in pairwise(cut)] for counts in (spread.lookups, unique.rows)
    )
    rates = (1 / 64, 4 / 96, 4 / 96)
    for found, rate in zip(lookups, rates, strict=True):
        assert found / sum(lookups) == pytest.approx(rate / sum(rates), abs=0.02)
    heat = [n / k for n, k in zip(lookups, rows, strict=True)]
    assert heat[0] < heat[1] < heat[2]
    assert sum(lookups) == facts[LOOKUP].lookups
    assert sum(rows) == facts[UNIQUE].rows


def test_a_mini_batch_takes_as_long_as_the_slowest_kind_of_node() -> None:
    """Of all lookups in banks, where one row is open at a time: the fullest bank has a row in tRC
    of 111 clocks; of all in groups in 8 bursts of 12 clocks."""
    once = {"run": {"batches": 1, "warmup_batches": 0, "mode": "inference"}}
    one = {
        **GROUPS, "group_banks": 0, "bank_banks": 32, "group_adders": 0, "bank_adders": 4
    }  # fmt: skip
    for sub_arrays, clocks in ((1, 111), (2, 96), (4, 96)):
        pool = {"regions": {**one, "sub_arrays": sub_arrays}}
        facts = facts_of({**UNIFORM, **once}, pool=pool, bank_share=1.0)
        spread = facts[LOOKUP].nodes
        assert spread is not None
        assert sum(spread.lookups[NODES:]) == facts[LOOKUP].lookups
        found = busy(ran({**UNIFORM, **once}, pool=pool, bank_share=1.0), "dram")
        assert found == pytest.approx(max(spread.lookups) * clocks / 2400, rel=1e-6)


def test_placement_by_heat_beats_one_level_in_inference() -> None:
    """At skew, where bank groups that all rows go round have a fullest one."""
    asked = {"run": {"mode": "inference", "batches": 3, "warmup_batches": 0}}
    changes = {**SKEWED, **asked}
    placed = busy(ran(changes), "dram")
    ranks = busy(ran(changes, bank_share=0.0, group_share=0.0), "dram")
    assert placed < 0.5 * ranks


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_regions_read_what_activates_and_their_adders_allow(size: int) -> None:
    pool = load_part("recross_ddr5", None, NearMemory)
    found = measure_nodes(pool, "gather", size, 20_000)
    activates = size // 64 * 8 / 8
    bursts = size // 64
    adders = 1 + 4 * 8 / 12 + 4 * bursts * 8 / max(bursts * 12, 111 / 4)
    assert found.activate_bound == pytest.approx(min(activates, adders))
    assert 0.5 * found.activate_bound < found.efficiency <= found.activate_bound


@pytest.mark.parametrize("tables", [1, 3])
@pytest.mark.parametrize("update", ["fused", "in_two_passes"])
def test_it_trains_like_one_batch_at_a_time(tables: int, update: str) -> None:
    outcome = executed("recross", f"update={update}", tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_what_does_not_fit_is_refused_with_what_to_type() -> None:
    small = {"memory": {"part": "ddr5_4800", "organization": {"rows_per_bank": 512}}}
    with pytest.raises(CapacityError, match="lower bank_share or group_share"):
        ran(SKEWED, pool=small, bank_share=0.95)
    with pytest.raises(CapacityError, match=r"rows at ranks \(16 of 32 banks\)"):
        ran(SKEWED, pool=small, bank_share=0.0, group_share=0.0)
    with pytest.raises(
        ConfigError, match=r"bank_share 0\.7 and group_share 0\.6 are more than all"
    ):
        ran(SKEWED, bank_share=0.7, group_share=0.6)
    with pytest.raises(ConfigError, match="bank_share"):
        ran(SKEWED, bank_share=-0.1)
    with pytest.raises(ConfigError, match=r"near_memory\.level=regions"):
        ran(SKEWED, pool={"part": "trim_ddr5"})
    with pytest.raises(ConfigError, match="has no caches beside its nodes"):
        ran(SKEWED, pool={"cache": "1 KiB"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": None}, "must be given where level is regions"),
        ({"level": "rank"}, "must be given where level is regions"),
        ({"regions": {**GROUPS, "group_banks": 31}}, "must have all 32 banks"),
    ],
)
def test_regions_are_all_banks_of_a_rank(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_part("recross_ddr5", changes, NearMemory)
