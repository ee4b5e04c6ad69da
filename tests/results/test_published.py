"""What was published of the error of a kind, out of the pages that ship and out of small ones."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from simulator.data import path as data_path
from simulator.results import published as module
from simulator.results.published import LEAST, longest_stage, published

ITERATIONS = """experiment,sweep,system,stage,gpus,bottleneck,measured_us,simulated_us,error
e,a=1,scratchpipe,,1,gpu0.sm,100,101,0.01
e,a=2,scratchpipe,,1,latency,100,98,-0.02
e,a=3,scratchpipe,,1,gpu1.sm,100,106,0.06
e,a=4,scratchpipe,,1,gpu.sm,100,120,0.20
e,a=1,hybrid,,1,cpu.path,100,130,0.30
"""
STAGES = """experiment,sweep,system,stage,gpus,measured_us,simulated_us,error
e,a=1,scratchpipe,collect,1,60,70,0.1
e,a=1,scratchpipe,train,1,40,30,0.1
e,a=2,scratchpipe,collect,1,60,70,0.1
e,a=3,scratchpipe,collect,1,60,70,0.1
e,a=4,scratchpipe,collect,1,60,40,0.1
e,a=4,scratchpipe,train,1,40,90,0.1
e,a=1,hybrid,accumulate,1,40,90,0.1
"""


def row(**changes: Any) -> dict[str, Any]:
    return {"calibrated": "yes", "system": "scratchpipe", "gpus": 1} | changes


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One machine with one GPU, and one with two on which everything is twice as far off."""
    for name, gpus in (("one", 1), ("two", 2)):
        folder = tmp_path / module.PAGES / name
        folder.mkdir(parents=True)
        lines = ITERATIONS.replace(",,1,", f",,{gpus},")
        (folder / "iterations.csv").write_text(lines if gpus == 1 else lines.replace("0.0", "0.1"))
        (folder / "stages.csv").write_text(STAGES)
    monkeypatch.setattr(module, "data_path", lambda _: tmp_path)
    module._iterations.cache_clear()
    yield tmp_path
    module._iterations.cache_clear()


@pytest.mark.parametrize(
    ("changes", "stage", "error", "basis"),
    [
        ({}, "collect", 0.02, "3 iterations of scratchpipe whose longest stage is collect on one"),
        ({"system": "new"}, "collect", 0.02, "3 iterations whose longest stage is collect on one"),
        ({}, "train", 0.04, "4 iterations of scratchpipe on one"),
        ({"system": "new"}, "train", 0.06, "5 iterations on one"),
        ({"system": "hybrid"}, "accumulate", 0.06, "5 iterations on one"),
        ({"gpus": 2, "system": "new"}, "train", 0.16, "5 iterations on two"),
        ({"gpus": 8}, "plan", 0.14, "4 iterations of scratchpipe on two"),
    ],
)  # fmt: skip
def test_the_kind_that_was_measured_is_the_nearest(
    pages: Path, changes: dict[str, Any], stage: str, error: float, basis: str
) -> None:
    found = published(row(**changes), stage)
    assert found is not None
    assert found.error == pytest.approx(error)
    assert found.basis == basis


@pytest.mark.parametrize(
    ("changes", "stage", "error", "basis"),
    [
        ({"bottleneck": "gpu.sm"}, "collect", 0.06, "3 of scratchpipe bound by GPU SMs"),
        ({"bottleneck": "gpu3.sm"}, "", 0.06, "3 of scratchpipe bound by GPU SMs"),
        ({"bottleneck": "gpu.sm", "system": "new"}, "", 0.06, "3 bound by GPU SMs"),
        (
            {"bottleneck": "cpu.path"},
            "collect",
            0.02,
            "3 of scratchpipe whose longest stage is collect",
        ),
        (
            {"bottleneck": "latency"},
            "collect",
            0.02,
            "3 of scratchpipe whose longest stage is collect",
        ),
        ({"bottleneck": "cpu.path", "system": "hybrid"}, "train", 0.06, "5"),
    ],
)
def test_what_binds_comes_before_the_longest_stage_where_enough_were_measured(
    pages: Path, changes: dict[str, Any], stage: str, error: float, basis: str
) -> None:
    """Three of scratchpipe are bound by the SMs of some GPU, one of hybrid by the CPU's path."""
    found = published(row(**changes), stage)
    assert found is not None
    assert found.error == pytest.approx(error)
    assert found.basis == f"{basis[0]} iterations{basis[1:]} on one"


def test_pages_without_what_binds_go_by_stage(pages: Path) -> None:
    for file in pages.rglob("iterations.csv"):
        head, *lines = file.read_text().splitlines()
        cut = [re.sub(r",(gpu\d?\.sm|latency|cpu\.path),", ",", line) for line in lines]
        file.write_text("\n".join([head.replace("bottleneck,", ""), *cut]))
    found = published(row(bottleneck="gpu.sm"), "collect")
    assert found is not None
    assert "whose longest stage is collect" in found.basis


def test_a_page_of_the_very_platform_counts_alone(pages: Path) -> None:
    found = published(row(), "collect", "two")
    assert found is not None
    assert found.basis.endswith("on two")


@pytest.mark.parametrize("calibrated", ["no", "partly"])
def test_of_other_platforms_errors_are_not_known(pages: Path, calibrated: str) -> None:
    assert published(row(calibrated=calibrated), "collect") is None


def test_without_pages_nothing_is_known(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGES", "nowhere")
    module._iterations.cache_clear()
    assert published(row(), "collect") is None


def test_the_longest_stage_is_that_of_a_mini_batch() -> None:
    stages = [{"stage": "a", "busy_us": 3.0}, {"stage": "b", "busy_us": 5.0}]
    assert longest_stage(stages) == "b"
    assert longest_stage([{"stage": "a", "busy_us": None}]) == ""


def test_what_ships_is_what_the_pages_say() -> None:
    """The median of the iterations that a reader of the page would pick."""
    page = data_path("experiments") / module.PAGES / "h200"
    with (page / "iterations.csv").open(newline="") as lines:
        errors = {
            (r["experiment"], r["sweep"]): abs(float(r["error"]))
            for r in csv.DictReader(lines)
            if r["system"] == "scratchpipe"
        }
    longest: dict[tuple[str, str], tuple[float, str]] = {}
    with (page / "stages.csv").open(newline="") as lines:
        for r in csv.DictReader(lines):
            if r["system"] == "scratchpipe":
                key = (r["experiment"], r["sweep"])
                longest[key] = max(
                    longest.get(key, (0.0, "")), (float(r["simulated_us"]), r["stage"])
                )
    chosen = [error for key, error in errors.items() if longest[key][1] == "collect"]
    assert len(chosen) >= LEAST
    found = published(row(), "collect", "h200")
    assert found is not None
    assert found.error == pytest.approx(median(chosen))


def test_what_ships_says_what_binds_each_iteration() -> None:
    """And the median is that of the iterations that it binds."""
    page = data_path("experiments") / module.PAGES / "h100"
    with (page / "iterations.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert all(r["bottleneck"] for r in rows)
    chosen = [
        abs(float(r["error"]))
        for r in rows
        if (r["system"], r["bottleneck"]) == ("scratchpipe", "cpu.path")
    ]
    assert len(chosen) >= LEAST
    found = published(row(bottleneck="cpu.path"), "collect", "h100")
    assert found is not None
    assert found.error == pytest.approx(median(chosen))
    assert found.basis == f"{len(chosen)} iterations of scratchpipe bound by CPU path on h100"
