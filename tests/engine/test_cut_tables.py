"""Runs of systems whose tables are cut: conservation, one GPU as without, links, hazards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small import BOX, simulated

from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import UsageError
from simulator.results.record import PointResult

CUT = ("row", "column", "auto")
PARTED = ("gpu_only", "static_cache", "straw_man", "scratchpipe")
WALL = ("point", "wall_", "realtime_factor", "sweep", "model")
COUNTS = ("lookups_per_batch", "unique_rows_per_batch", "lookup_hit_rate", "misses_per_batch")


def run(name: str, sharding: str, gpus: int, **keys: Any) -> PointResult:
    entry = {"name": name, "gpus": gpus}
    (result,) = simulated(entry, platform=BOX, model={"sharding": sharding}, **keys).values()
    return result


def told(result: PointResult) -> tuple[object, ...]:
    """All that a run says but for the clock on the wall and what the point is called."""

    def kept(row: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in row.items() if not k.startswith(WALL)}

    tables = [[kept(row) for row in rows] for rows in (result.stages, result.devices)]
    return kept(result.metrics), *tables, result.timeline


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("sharding", CUT)
def test_one_gpu_is_as_without_to_the_last_byte(name: str, sharding: str) -> None:
    assert told(run(name, sharding, 1)) == told(run(name, "table", 1))


@pytest.mark.parametrize("name", PARTED)
@pytest.mark.parametrize("gpus", [2, 4])
def test_parts_look_up_and_train_what_whole_tables_do(name: str, gpus: int) -> None:
    """With everything cached, hits do not depend on where rows lie."""
    keys = {} if name == "gpu_only" else {"cache": {"fraction": 1.0}}
    row, column, plain = (run(name, s, gpus, **keys).metrics for s in ("row", "column", "table"))
    for key in COUNTS:
        assert row.get(key) == plain.get(key) == column.get(key), key


@pytest.mark.parametrize("sharding", ["row", "column"])
def test_the_cache_of_a_part_is_planned_on_its_own(sharding: str) -> None:
    """Pieces of columns are those of one plan; parts by rows have a share of the slots each."""
    cut, plain = (run("scratchpipe", s, 4).metrics for s in (sharding, "table"))
    assert cut["cache_rows"] == pytest.approx(plain["cache_rows"], rel=0.02)
    assert cut["cache_fraction"] == pytest.approx(plain["cache_fraction"], rel=0.02)
    near = {"rel": 0.0} if sharding == "column" else {"rel": 0.1}
    assert cut["misses_per_batch"] == pytest.approx(plain["misses_per_batch"], **near)


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
def test_columns_move_the_bytes_of_their_rows(name: str) -> None:
    """Missed rows and victims over PCIe: as many bytes as whole rows, in more pieces; ids and
    lists of rows go to every GPU."""
    cut, plain = ({r["stage"]: r for r in run(name, s, 4).stages} for s in ("column", "table"))
    assert cut["exchange"]["link_bytes"] == plain["exchange"]["link_bytes"]
    assert cut["load"]["link_bytes"] > plain["load"]["link_bytes"]


@pytest.mark.parametrize("name", ["straw_man", "scratchpipe"])
@pytest.mark.parametrize("sharding", ["row", "column"])
@pytest.mark.parametrize("gpus", [2, 3])
def test_cut_tables_are_trained_like_one_batch_at_a_time(
    name: str, sharding: Any, gpus: int
) -> None:
    case = HazardCase(platform=BOX, batches=60, system=name, gpus=gpus, sharding=sharding)
    outcome = run_case(case)
    assert outcome.stale == 0
    assert outcome.tables_equal
    pieces = gpus if sharding == "column" else 1
    assert outcome.report.trained_rows == 60 * 6 * pieces
    assert f"tables cut by {sharding}" in outcome.sentence()


@pytest.mark.parametrize("sharding", ["row", "column"])
def test_a_window_that_is_too_small_is_caught_in_cut_tables(sharding: Any) -> None:
    case = HazardCase(platform=BOX, batches=80, gpus=2, sharding=sharding, window_future=1)
    outcome = run_case(replace(case, policy="random"))
    assert outcome.stale > 5
    assert not outcome.tables_equal


def test_an_unknown_sharding_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no sharding 'x': table, row, column, auto"):
        run_case(HazardCase(platform=BOX, gpus=2, sharding="x"))  # type: ignore[arg-type]
