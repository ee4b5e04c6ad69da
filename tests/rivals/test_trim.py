"""TRiM: adders in bank groups, and what they come to at the level of ranks."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import executed, replayed, simulated

from simulator.caches.facts import LOOKUP, UNIQUE
from simulator.errors import CapacityError, ConfigError
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
    [(64, 1.0, 0.9), (128, 2.0, 1.8), (256, 4.0, 3.3), (512, 16 / 3, 4.4)],
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


# copies of hot rows

SKEWED: dict[str, Any] = {**UNIFORM, "trace": {"kind": "zipf", "alpha": 1.2}}
ONCE: dict[str, Any] = {"run": {"batches": 1, "warmup_batches": 0}}


def copied(copies: float, changes: dict[str, Any] = SKEWED, **pool: Any) -> PointResult:
    return simulated({**entry("trim", **pool), "copies": copies}, **changes)["trim"]


def bytes_of(result: PointResult, resource: str) -> float:
    rows = {row["resource"]: row for row in result.devices}
    return float(rows[f"near_memory.{resource}"]["bytes"])


def test_copies_even_out_what_nodes_look_up() -> None:
    """The fullest of 64 bank groups has four times the mean of Zipf 1.2 (four tables), and as good
    as the mean once every hundredth row is copied."""
    fullest = {}
    for copies in (0.0, 0.01):
        _, (facts,) = replayed({**entry("trim"), "copies": copies}, 1, **SKEWED)
        spread = facts[LOOKUP].nodes
        assert spread is not None
        assert sum(spread.lookups) == facts[LOOKUP].lookups
        fullest[copies] = max(spread.lookups) * 64 / sum(spread.lookups)
    assert fullest[0.0] > 3.5
    assert fullest[0.01] < 1.05


def test_every_copy_is_read_and_written_in_an_update() -> None:
    """Bytes of the pool's memory rise by (64 - 1) copies of each distinct copied row, read and
    written, and by gradients of vectors in more nodes: what `n x U_hot E` comes to."""
    _, (plain,) = replayed(entry("trim"), 1, **SKEWED)
    _, (facts,) = replayed({**entry("trim"), "copies": 0.01}, 1, **SKEWED)
    mine, other = facts[UNIQUE].nodes, plain[UNIQUE].nodes
    assert mine is not None
    assert other is not None
    assert sum(mine.rows) - sum(other.rows) == 63 * mine.copied.rows
    more = 63 * mine.copied.rows * 512 * 2 + (mine.homes - other.homes) * 512
    changes = {**SKEWED, **ONCE}
    found = bytes_of(copied(0.01, changes), "dram") - bytes_of(ran("trim", changes), "dram")
    assert found == pytest.approx(more, rel=1e-9)


def test_sums_of_copies_go_to_the_host_and_back() -> None:
    """Out of every module that has one, in to every channel; within ranks out of every bank group
    that has one, in to all 64."""
    _, (facts,) = replayed({**entry("trim"), "copies": 0.01}, 1, **SKEWED)
    spread = facts[UNIQUE].nodes
    assert spread is not None
    changes, sums, vectors = {**SKEWED, **ONCE}, spread.copied, 256 * 4
    result = copied(0.01, changes)
    asked = spread.modules + spread.channels + sums.modules + 4 * sums.rows
    assert spread.vectors == vectors
    assert busy(result, "channels") == pytest.approx(asked * 512 / (4 * 19.2e3), rel=1e-4)
    inside = 2 * spread.homes + sums.homes + 64 * sums.rows
    assert busy(result, "pins") == pytest.approx(inside * 512 / (8 * 19.2e3), rel=1e-4)


def test_copies_pay_in_inference_at_high_skew() -> None:
    """Queries only read: evenly loaded groups are faster, the more the skew. Of uniform rows there
    is nothing to gain."""
    gain = {}
    for alpha in (0.0, 1.2):
        changes = {**UNIFORM, "trace": {"kind": "zipf", "alpha": alpha}}
        changes["run"] = {"mode": "inference", "batches": 4, "warmup_batches": 0}
        gain[alpha] = busy(ran("trim", changes), "dram") / busy(copied(0.01, changes), "dram")
    assert gain[0.0] == pytest.approx(1.0, abs=0.06)
    assert gain[1.2] > 2.3


def test_in_training_copies_beyond_the_hottest_cost_more_than_they_bring() -> None:
    """Four rows a table even out the load; of a hundred and more the updates of 64 copies take more
    than they bring."""
    few, hundred, many, none = (busy(copied(c), "dram") for c in (2e-5, 5e-4, 0.01, 0.0))
    assert few < 0.75 * none
    assert hundred > none
    assert many > 3 * none


def test_copies_of_no_row_are_none() -> None:
    assert (
        copied(1e-9).metrics["iteration_time_us"]
        == ran("trim", SKEWED).metrics["iteration_time_us"]
    )


@pytest.mark.parametrize("update", ["fused", "in_two_passes"])
def test_copies_train_like_one_batch_at_a_time(update: str) -> None:
    outcome = executed("trim", "copies=0.2", f"update={update}")
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_copies_are_exact_or_refused() -> None:
    large = {**SKEWED, "model": {"rows_per_table": 8_000_000}}
    with pytest.raises(CapacityError, match=r"32,000,000 of their rows in each of 64.*lower cop"):
        copied(1.0, large)
    with pytest.raises(ConfigError, match="copies"):
        copied(1.5)
    with pytest.raises(ConfigError, match="has no caches beside them"):
        copied(0.1, cache="1 KiB")
    with pytest.raises(ConfigError, match=r"copies hot rows to the nodes of all channels.*=pool"):
        copied(0.1, spread="channel")
    sampled = {**SKEWED, "run": {"batches": 2, "warmup_batches": 1, "memory_fidelity": "exact"}}
    assert busy(copied(0.01, sampled), "dram") > 0
