"""NDRec: rows of three mini-batches in the DRAM of a drive, copied ahead and corrected."""

from __future__ import annotations

from typing import Any

import pytest
from rivalry import (
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
from simulator.caches.replays.ring import FETCHED_ROWS, OF_OLD, OF_PREVIOUS
from simulator.engine import simulate_points
from simulator.engine.hazards import HazardCase, run_case
from simulator.errors import CapacityError, ConfigError
from simulator.hardware.program import Move
from simulator.results.record import PointResult
from simulator.systems.ndrec import NdRec

PLATFORM = "ndrec_v100"
BASE = {"name": "ndrec", "platform": PLATFORM}
ROW, BATCHES = 512, 6
BLOCK, PAGE = 4096, 16_384
US = 1e6


def drive(flash: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    array = {"part": "simplessd_sample", **(flash or {})}
    part = {"part": "ndrec_ssd", "flash": array, **keys}
    return {"base": PLATFORM, "name": "drive", "host": {"ssd": part}}


def ran(flash: dict[str, Any] | None = None, **changes: Any) -> PointResult:
    keys = changes.pop("keys", {})
    entry = {"name": "ndrec", "platform": drive(flash, **keys)}
    return simulated(entry, **changes)["ndrec"]


def time_us(result: PointResult) -> float:
    return float(result.metrics["iteration_time_us"])


def used(result: PointResult, resource: str) -> dict[str, Any]:
    return next(dict(row) for row in result.devices if row["resource"] == resource)


def mean(facts: list[BatchFacts], name: str) -> float:
    return sum(f[name].rows for f in facts) / len(facts)


FREE_FLASH = {"read_time": "1 ns", "program_time": "1 ns", "channel_bandwidth": "100 TB/s"}


def test_every_row_comes_from_one_place_and_goes_back_once() -> None:
    _, (*_, facts) = replayed(BASE, 4)
    parts = [facts[name].rows for name in (FETCHED_ROWS, OF_PREVIOUS, OF_OLD)]
    assert sum(parts) == facts[UNIQUE].rows
    assert min(parts) > 0


@pytest.mark.parametrize("packs", [True, False])
def test_flash_reads_and_writes_are_those_of_the_sets(packs: bool) -> None:
    """Read: rows of neither of the two mini-batches before, a block each; written: every row of the
    retired one, though it was copied on, by its bytes or by a page each."""
    result = ran(FREE_FLASH | {"packs_writes": packs})
    facts = replayed(BASE, 12)[1]
    written = mean(facts[BATCHES:], UNIQUE) * (ROW if packs else PAGE)
    fetched = mean(facts[BATCHES:], FETCHED_ROWS) * BLOCK
    flash = used(result, "ssd.flash")
    assert flash["bytes"] == pytest.approx(written + fetched, rel=0.02)
    per_day = written / time_us(result) * US * 86_400 / 1e9
    assert flash["written_gb_per_day"] == pytest.approx(per_day, rel=0.02)


def test_pooled_vectors_gradients_and_ids_are_all_that_crosses_the_link() -> None:
    system, (_, facts, _) = replayed(BASE, 3)
    sizes = {word.name: word.bytes for word in words(system, facts) if isinstance(word, Move)}
    assert sizes["pooled_to_gpu"] == sizes["gradients_to_device"] == 256 * 4 * ROW
    assert sizes["ids_to_device"] == 8 * facts[LOOKUP].lookups
    result = ran()
    assert used(result, "ssd_link.up")["bytes"] == pytest.approx(256 * 4 * ROW)


def test_programs_of_packed_and_of_lone_rows_set_the_pace() -> None:
    """128 planes, 1.3 ms a page: U E / 16 KiB pages a mini-batch, or U of them."""
    rows = mean(replayed(BASE, 12)[1][BATCHES:], UNIQUE)
    for packs, pages in ((True, rows * ROW / 16384), (False, rows)):
        floor_us = pages * 1300 / 128
        result = ran({"packs_writes": packs, "read_time": "1 ns"})
        assert time_us(result) >= floor_us * 0.98
        if not packs:  # far above all else
            assert time_us(result) == pytest.approx(floor_us, rel=0.1)


def test_without_time_for_flash_it_is_hybrid_near_the_data() -> None:
    """DRAM alone: rows looked up, copied, amended, updated, filled and written back."""
    result = ran(FREE_FLASH)
    facts = replayed(BASE, 12)[1][BATCHES:]
    lookups = sum(f[LOOKUP].lookups for f in facts) / len(facts)
    copied = mean(facts, OF_PREVIOUS) + mean(facts, OF_OLD)
    rows = 2 * copied + mean(facts, FETCHED_ROWS) + lookups + 2 * mean(facts, OF_PREVIOUS)
    rows += 3 * mean(facts, UNIQUE)  # update, and read to be written back
    assert used(result, "ssd.dram")["bytes"] == pytest.approx(rows * ROW, rel=0.02)
    assert used(result, "ssd.flash")["busy_us"] < 0.01 * time_us(result)


def test_nothing_shared_makes_speculation_free() -> None:
    result = ran(trace={"kind": "uniform"}, model={"rows_per_table": 2_000_000})
    times = stage_times(result)
    assert times["amend"] + times["copy"] < 0.01 * times["forward"] + 10.0


@pytest.mark.parametrize(
    ("flash", "keys"),
    [
        ({"read_time": "500 us"}, {}),
        ({"program_time": "10 ms"}, {}),
        ({"dies": 1}, {}),
        ({"interface": "50 MB/s"}, {}),
        ({}, {"row_time": "10 us"}),
        ({}, {"additions": 1e8}),
    ],
)
def test_no_number_of_the_drive_makes_it_faster_by_being_worse(
    flash: dict[str, Any], keys: dict[str, Any]
) -> None:
    assert time_us(ran(flash, keys=keys)) > time_us(ran())


# on values


@pytest.mark.parametrize("tables", [1, 3])
@pytest.mark.parametrize("rows", [12, 24, 60])
def test_it_trains_like_one_batch_at_a_time(tables: int, rows: int) -> None:
    """Most rows shared, or few."""
    outcome = executed("ndrec", tables=tables, rows=rows)
    assert outcome.tables_equal
    assert outcome.stale == outcome.lost == 0


def test_without_its_corrections_reads_are_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, NdRec, "amend")
    outcome = run_case(HazardCase(system="ndrec", batches=120, rows=24))
    assert outcome.stale > 0
    assert not outcome.tables_equal


@pytest.mark.parametrize(
    ("stage", "other"),
    [
        ("copy", "amend"),
        ("copy", "clean_up"),
        ("amend", "update"),
        ("update", "copy"),
    ],
)
def test_without_one_of_its_waits_tables_differ(
    stage: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_wait(monkeypatch, "ndrec", stage, other)
    outcome = run_case(HazardCase(system="ndrec", batches=300, rows=24, order="random"))
    assert outcome.stale > 0 or not outcome.tables_equal


# what is refused


def test_rows_of_unlike_dim_and_adagrad_run() -> None:
    model = {"dim": [128, 64, 128, 64], "interaction": "cat", "optimizer": "adagrad"}
    assert time_us(ran(model=model)) > 0


def test_buffers_that_the_drive_has_no_room_for_are_told() -> None:
    small = {"part": "ddr4_2400", "mapping": {"order": "row"}, "controller": "server",
             "organization": {"channels": 1}, "capacity": "1 GiB"}  # fmt: skip
    model = {"batch_size": 16_384, "rows_per_table": 400_000}
    with pytest.raises(CapacityError, match=r"Rows of 3 mini-batches.*lower model\.batch_size"):
        simulate_points(points({"name": "ndrec", "platform": drive(memory=small)}, model=model))


def test_a_machine_without_such_a_drive_is_named_one() -> None:
    with pytest.raises(ConfigError, match=r"\{name: ndrec, platform: ndrec_v100\}.*ndrec_ssd"):
        simulate_points(points({"name": "ndrec", "platform": "ssd_v100"}))
    with pytest.raises(ConfigError, match="ndrec has none of"):
        simulate_points(points(BASE, run={"mode": "inference"}))
