"""Points of the CPU: what a measurement left in the caches, and parts that a note tells."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.calibration.cpu_points import contended_operation, cpu_points
from simulator.calibration.hits import HitShares
from simulator.calibration.points import Point
from simulator.calibration.rig import Rig
from simulator.config.catalogue import load_named
from simulator.hardware.catalogue import load_machine
from simulator.hardware.program import Scatter

COLUMNS = ("op", "impl", "dim", "threads", "n_rows", "dist", "ms", "note")
OWN = "compiled with numba"
CACHE = 1 << 20
"""A last-level cache of 1 MiB: 2048 rows of 512 B."""


@pytest.fixture(scope="module")
def rig() -> Rig:
    model = load_named("models", "default")
    return Rig(load_machine("h200"), load_named("operators", "tuned"), model)


def points(folder: Path, *rows: tuple[object, ...]) -> dict[str, Point]:
    with (folder / "micro_cpu.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    hits = HitShares(cpu_bytes=CACHE, gpu_bytes=CACHE, tables=8, rows_per_table=1000)
    return {f"{p.operator}: {p.condition}": p for p in cpu_points(folder, hits)}


def scatter(rows: int, note: str) -> tuple[object, ...]:
    return ("scatter", "own nt-store", 128, 16, rows, "uniform", 1.0, note)


def held_of(rig: Rig, point: Point, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """The share of its staging buffer that a model of a scatter takes to be cached."""
    seen: list[float | None] = []
    alone_ms = Rig.alone_ms

    def spied(self: Rig, words: tuple[Scatter, ...], *rest: int) -> float:
        seen.extend(word.source.held for word in words)
        return alone_ms(self, words, *rest)

    monkeypatch.setattr(Rig, "alone_ms", spied)
    point.model(rig)
    return seen[0]


@pytest.mark.parametrize(
    ("rows", "note", "held"),
    [
        (1024, "", 1.0),
        (2048, "", 1.0),
        (4096, "", 0.5),
        (8192, "", 0.25),
        (256, OWN, 1.0),
        (257, OWN, 0.0),
        (4096, OWN, 0.0),
    ],
)
def test_a_staging_buffer_is_cached_as_far_as_its_turn_leaves_it(
    rows: int, note: str, held: float, tmp_path: Path, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same one each repetition: what the cache holds of it. Eight that take turns (own
    software): all of it where the cache holds eight, else nothing (least recently used goes)."""
    (point,) = points(tmp_path, scatter(rows, note)).values()
    assert held_of(rig, point, monkeypatch) == held


def update(ms: float, note: str) -> tuple[object, ...]:
    impl = "own (partition+radix sort+segment sum+sgd)"
    return ("coalesce_update", impl, 128, 16, 40_000, "uniform", ms, note)


@pytest.mark.parametrize(
    ("note", "ms"), [("partition 1.25 ms", 1.25), ("partition 1.25 ms; radix 0.5 ms", 1.75)]
)
def test_the_sort_of_an_update_is_a_point_of_its_own(
    note: str, ms: float, tmp_path: Path, rig: Rig
) -> None:
    """Its time is in the note: partition, and radix passes where they were measured apart."""
    found = points(tmp_path, update(5.0, f"unique=3000; {note}"))
    part = found["cpu sort: 40000 ids, 16 threads, uniform"]
    (whole,) = [p for p in found.values() if p.operator == "cpu update"]
    assert (part.measured, whole.measured) == pytest.approx((ms, 5.0))
    assert 0.0 < part.model(rig) < whole.model(rig)


@pytest.mark.parametrize("note", ["", "unique=3000", "partition of ids"])
def test_an_update_whose_note_tells_no_sort_has_none(tmp_path: Path, note: str) -> None:
    assert {p.operator for p in points(tmp_path, update(5.0, note)).values()} == {"cpu update"}


def test_a_sort_of_other_software_is_no_point(tmp_path: Path) -> None:
    other = ("coalesce_update", "torch", 128, 16, 4000, "uniform", 5.0, "partition 1 ms")
    assert points(tmp_path, other) == {}


@pytest.mark.parametrize("optimizer", ["adagrad", "rowwise_adagrad"])
def test_updates_with_state_are_points_of_their_own(
    optimizer: str, tmp_path: Path, rig: Rig
) -> None:
    """They move the state beside the rows, and take longer by it."""
    impl = f"own (partition+radix sort+segment sum+{optimizer})"
    row = (f"coalesce_update_{optimizer}", impl, 128, 16, 40_000, "uniform", 5.0, "unique=39000")
    found = points(tmp_path, row, update(5.0, "unique=39000"))
    kept = found[f"cpu update with state: 40000 rows of 512 B, 16 threads, uniform, {optimizer}"]
    plain = found["cpu update: 40000 rows of 512 B, 16 threads, uniform"]
    assert kept.model(rig) > 1.05 * plain.model(rig)


def test_victims_of_contention_scatter_from_buffers_that_are_cached(rig: Rig) -> None:
    (word,) = contended_operation(rig, "cpu scatter", 1000, 128)
    assert isinstance(word, Scatter)
    assert word.source.held == 1.0
    gather, word = contended_operation(rig, "cpu gather+scatter", 1000, 128, held=0.25)
    assert gather.name == "gather"
    assert isinstance(word, Scatter)
    assert word.source.held == 0.25
