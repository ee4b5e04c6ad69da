"""TrainingCXL: lookups ahead of updates are amended, the log is written where nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import (
    MODEL,
    executed,
    leave_out,
    points,
    replayed,
    simulated,
    stage_times,
    without_wait,
    words,
)

from simulator.caches.facts import LOOKUP, UNIQUE, BatchFacts
from simulator.caches.replays.overlap import AGAIN_LOOKUP
from simulator.engine import simulate_points
from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.early import Amend, EarlyPool
from simulator.hardware.program import Move, Pool, Update
from simulator.results.record import PointResult
from simulator.systems.mlp import mlp_weight_bytes
from simulator.systems.training_cxl import TrainingCxl

PLATFORM = "training_cxl_v100"
BASE = {"name": "training_cxl", "platform": PLATFORM}
ROW = 512
PS = 1e6
"""Picoseconds of a microsecond."""
READ, WRITE = 4 * 11.52e9, 4 * 1.92e9
"""Of the medium: four controllers."""
FORMS = {
    "CXL": {},
    "CXL-B": {"lookup": "strict"},
    "CXL-D": {"lookup": "strict", "log": "critical"},
}
LARGE_MLP = {"bottom_mlp": [1024, 1024], "top_mlp": [2048, 2048, 1]}
PLAIN = {"lookup": "strict", "log": "none"}


def ran(own: dict[str, Any] | None = None, **changes: Any) -> PointResult:
    device = changes.pop("device", {})
    machine = {
        "base": PLATFORM,
        "name": "expander",
        "host": {"pmem": {"part": "training_cxl_pmem", **device}},
    }
    entry = {"name": "training_cxl", "platform": machine, **(own or {})}
    return simulated(entry, **changes)["training_cxl"]


def time_us(result: PointResult) -> float:
    return float(result.metrics["iteration_time_us"])


def used(result: PointResult, resource: str) -> dict[str, Any]:
    return next(dict(row) for row in result.devices if row["resource"] == resource)


def facts_of(**changes: Any) -> list[BatchFacts]:
    return replayed(BASE, 12, **changes)[1]


# what is done, and how much


def test_every_lookup_is_summed_once_and_those_of_rows_just_updated_are_amended() -> None:
    system, (_, facts, _) = replayed(BASE, 3)
    own = words(system, facts)
    (pool,) = [word for word in own if isinstance(word, Pool)]
    (amend,) = [word for word in own if isinstance(word, Amend)]
    (update,) = [word for word in own if isinstance(word, Update)]
    assert isinstance(pool, EarlyPool)
    assert pool.rows.lookups == facts[LOOKUP].lookups
    assert amend.rows.lookups == facts[AGAIN_LOOKUP].lookups > 0
    assert update.rows.rows == facts[UNIQUE].rows
    sizes = {word.name: word.bytes for word in own if isinstance(word, Move)}
    assert sizes["pooled_to_gpu"] == sizes["gradients_to_device"] == 256 * 4 * ROW
    assert sizes["ids_to_device"] == 8 * facts[LOOKUP].lookups


def test_pooled_vectors_gradients_and_ids_are_all_that_crosses_the_link() -> None:
    result = ran(PLAIN)
    lookups = 256 * 4 * 20
    assert used(result, "pmem_link.up")["bytes"] == 256 * 4 * ROW
    assert used(result, "pmem_link.down")["bytes"] == 256 * 4 * ROW + 8 * lookups


def test_stages_take_what_the_medium_takes_for_their_rows() -> None:
    """Rows are two granules of 256 B: N E read, U E read and written, one to one where both are."""
    result, times = ran(PLAIN), stage_times(ran(PLAIN))
    facts = facts_of()[6:]
    lookups = sum(f[LOOKUP].lookups for f in facts) / len(facts) * ROW
    rows = sum(f[UNIQUE].rows for f in facts) / len(facts) * ROW
    assert times["lookup"] == pytest.approx(0.5 + lookups / READ * PS, rel=1e-6)
    read, written = rows / READ, rows / WRITE
    lost = 1 + 0.2 * 2 * read / (read + written)  # linear between reads alone and one to one
    assert times["update"] == pytest.approx(0.5 + (read + written) * lost * PS, rel=1e-6)
    assert time_us(result) == pytest.approx(sum(times.values()), rel=1e-6)


def test_the_log_has_every_updated_row_read_and_written_once_and_its_part_of_the_mlps() -> None:
    logged, plain = ran({"mlp_every": 4}), ran({"log": "none"})
    rows = logged.metrics["unique_rows_per_batch"] * ROW
    (point,) = points(BASE)
    mlps = mlp_weight_bytes(point.model) / 4
    assert logged.checkpoint is not None
    assert logged.checkpoint["written_bytes"] == pytest.approx(rows + mlps, rel=1e-3)
    assert logged.checkpoint["every"] == 4
    more = used(logged, "pmem.media")["bytes"] - used(plain, "pmem.media")["bytes"]
    assert more == pytest.approx(2 * rows + mlps, rel=1e-2)
    assert plain.checkpoint is None


def test_writes_of_rows_and_log_set_the_pace_of_uniform_ids() -> None:
    """2 U E at a tenth of what DRAM writes: far above the MLPs, so that the log cannot hide."""
    result = ran(trace={"kind": "uniform"}, model={"rows_per_table": 2_000_000})
    rows = result.metrics["unique_rows_per_batch"] * ROW
    assert time_us(result) >= 2 * rows / WRITE * PS
    assert result.checkpoint is not None
    assert result.checkpoint["waited_us"] > 0


def test_the_log_hides_where_few_rows_are_updated_many_times() -> None:
    model = {"rows_per_table": 300, **LARGE_MLP}
    logged, plain = (ran(own, model=model) for own in ({}, {"log": "none"}))
    assert logged.checkpoint is not None
    assert logged.checkpoint["written_bytes"] > 0
    assert logged.checkpoint["waited_share"] < 0.02
    assert time_us(logged) == pytest.approx(time_us(plain), rel=0.02)


# identities and order of its forms


def test_looking_up_early_costs_nothing_where_neighbours_share_nothing() -> None:
    change: dict[str, Any] = {"trace": {"kind": "uniform"}, "operators": "tuned"}
    change["model"] = {"rows_per_table": 2_000_000, **LARGE_MLP}
    relaxed, strict = (ran({"log": "none", **own}, **change) for own in ({}, {"lookup": "strict"}))
    assert stage_times(relaxed)["amend"] < 0.02 * stage_times(relaxed)["lookup"]
    assert time_us(relaxed) < time_us(strict)


def test_each_form_is_faster_than_the_one_before() -> None:
    """CXL-D, CXL-B, CXL: with MLPs that leave time for log and lookups."""
    change: dict[str, Any] = {"model": {"rows_per_table": 2_000, **LARGE_MLP}}
    times = [
        time_us(ran(FORMS[name], operators="tuned", **change)) for name in ("CXL-D", "CXL-B", "CXL")
    ]
    assert times[0] > times[1] > times[2]


def test_relaxed_or_strict_the_medium_moves_the_same_bytes() -> None:
    relaxed, strict = (ran({"lookup": kind}) for kind in ("relaxed", "strict"))
    for result in (relaxed, strict):
        assert result.checkpoint is not None
    assert used(relaxed, "pmem.media")["bytes"] == pytest.approx(
        used(strict, "pmem.media")["bytes"], rel=0.01
    )


@pytest.mark.parametrize(
    "device",
    [
        {"additions": 1e9},
        {"latency": "50 us"},
        {"memory": {"part": "pmem_training_cxl", "write_bandwidth": "1 GB/s"}},
        {"memory": {"part": "pmem_training_cxl", "modules": 2}},
    ],
)
def test_no_number_of_the_device_makes_it_faster_by_being_worse(device: dict[str, Any]) -> None:
    assert time_us(ran(device=device)) > time_us(ran())


def test_free_of_log_and_order_it_is_a_pool_of_one_node_with_the_same_rates() -> None:
    """A medium as fast to write as to read, without granules: N E + 2 U E bytes at one rate."""
    flat = {
        "part": "pmem_training_cxl",
        "modules": 1,
        "read_bandwidth": "50 GB/s",
        "write_bandwidth": "50 GB/s",
        "write_then_read": 0,
        "granule": "64 B",
    }
    times = stage_times(ran(PLAIN, device={"memory": flat, "latency": "0 ns"}))
    facts = facts_of()[6:]
    moved = sum(f[LOOKUP].lookups + 2 * f[UNIQUE].rows for f in facts) / len(facts) * ROW
    assert times["lookup"] + times["update"] == pytest.approx(moved / 50e9 * PS, rel=1e-6)


# on values


@pytest.mark.parametrize("own", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("tables", [1, 3])
def test_it_trains_like_one_batch_at_a_time(own: dict[str, str], tables: int) -> None:
    parameters = tuple(f"{key}={value}" for key, value in own.items())
    outcome = executed("training_cxl", *parameters, tables=tables)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0
    assert "exact arithmetic" in outcome.sentence()


def test_without_its_amendments_reads_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, TrainingCxl, "amend")
    outcome = run_case(HazardCase(system="training_cxl", batches=120, rows=24))
    assert outcome.stale > 0
    assert outcome.behind >= 1
    assert not outcome.tables_equal


@pytest.mark.parametrize(
    ("stage", "other"), [("lookup", "update"), ("amend", "update"), ("update", "lookup")]
)
def test_without_one_of_its_waits_tables_differ(
    stage: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too early: updates lack; too late: a change is added to rows that have it."""
    without_wait(monkeypatch, "training_cxl", stage, other)
    case = HazardCase(system="training_cxl", batches=200, rows=12, order="random")
    outcome = run_case(case)
    assert outcome.stale > 0 or not outcome.tables_equal


@pytest.mark.parametrize("every", [1, 2, 7])
def test_mlps_in_the_log_lag_by_two_of_their_periods_at_most(every: int) -> None:
    outcome = executed("training_cxl", f"mlp_every={every}")
    assert outcome.mlps_behind == 2 * every - 1
    assert f"at most {2 * every - 1} mini-batch" in outcome.sentence()
    assert outcome.as_dict()["logged_mlps_behind"] == 2 * every - 1


def test_without_a_log_nothing_lags() -> None:
    assert executed("training_cxl", "log=none").mlps_behind is None
    assert executed("hybrid").mlps_behind is None


# what is refused


def test_rows_of_unlike_dim_and_adagrad_run() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat", "optimizer": "adagrad"}
    assert time_us(ran(model=model)) > 0


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"log": "critical"}, "set lookup: strict"),
        ({"platform": "v100_p3"}, "platform: training_cxl_v100"),
        ({"platform": {"base": PLATFORM, "host": {"pmem": {"part": "training_cxl_pmem",
          "count": 2}}}}, "has 2 (pmem0, pmem1)"),
    ],
)  # fmt: skip
def test_a_form_or_a_machine_that_it_cannot_have_is_named(own: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)")):
        simulate_points(points({**BASE, **own}), threads=1)


def test_a_second_log_is_refused_and_may_take_the_place_of_its_own() -> None:
    asked = {"kind": "undo_log", "to": "pmem", "every": 2}
    with pytest.raises(ConfigError, match="log: none"):
        simulate_points(points(BASE, checkpoint=asked), threads=1)
    result = ran({"log": "none"}, checkpoint=asked)
    own = ran({"mlp_every": 2})
    assert time_us(result) == pytest.approx(time_us(own), rel=1e-9)


def test_queries_and_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="training_cxl has none of"):
        simulate_points(points(BASE, run={"mode": "inference"}), threads=1)
    model = {**MODEL, "rows_per_table": 1_000_000_000}
    with pytest.raises(CapacityError, match=r"pmem\.media"):
        simulate_points(points(BASE, model=model), threads=1)
