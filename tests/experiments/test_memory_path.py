"""The study of the memory path at a small size: every question has its tables, its figure and its
README."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine import load_experiment
from simulator.results.record import Result
from simulator.studies import Inputs, Study, Tables, find_studies, simulate_studies

TINY = ("model.tables=2", "model.rows_per_table=40000", "model.batch_size=16")
ALPHAS = "sweep={trace.alpha: [0.9]}"
SIZES = "sweep={model.dim: [64]}"
CHANGES = {
    "skew": ("sweep={trace.alpha: [0.0, 0.9]}",),
    "tiers": (ALPHAS,),
    "ahead": ("run.warmup_batches=3",),
    "drives": (),
    "logs": (),
    "overlap": (ALPHAS,),
    "nodes": (SIZES,),
    "near_data": (ALPHAS,),
    "queries": (ALPHAS, "run.warmup_batches=3"),
    "levels": (ALPHAS,),
    "copies": (
        "systems=[{name: trim, label: '0'}, {name: trim, label: '4', copies: 1.0e-4}]",
        ALPHAS,
    ),
}
"""What makes each experiment small beside `TINY`; a study has no more files than these."""
KEPT = {"skew": 2, "tiers": 5, "ahead": 2, "logs": 4, "near_data": 2, "copies": 2}
"""Variants that are run, where there are several."""


@pytest.fixture(scope="module")
def study() -> Study:
    (memory_path,) = find_studies(["memory_path"])
    return memory_path


@pytest.fixture(scope="module")
def results(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    assert set(CHANGES) == set(study.experiments)
    small = {
        stem: tuple(
            load_experiment(study.folder / f"{stem}.yaml", (*variant, *TINY, *changes))
            for variant in study.expected.variants_of(stem)[: KEPT.get(stem, 1)]
        )
        for stem, changes in CHANGES.items()
    }
    points = tmp_path_factory.mktemp("points")
    return simulate_studies([replace(study, experiments=small)], points)["memory_path"]


@pytest.fixture(scope="module")
def tables(study: Study, results: dict[str, Result]) -> Tables:
    settings = study.expected.settings | {"requests": 2_000}
    return study.module.tables(Inputs(results, settings))


def test_every_question_has_its_tables_and_figures(study: Study, tables: Tables) -> None:
    assert all(len(table) for table in tables.values())
    figures = study.module.figures(tables)
    assert set(figures) == {
        *("skew", "levels", "slow", "overlap", "rates", "copies", "logs", "near_data", "tiers")
    }
    assert set(figures) <= set(tables)
    text = (study.folder / "README.md").read_text(encoding="utf-8")
    for name, table in study.module.readme(tables).items():
        assert f"<!-- table: {name} -->" in text
        assert len(table), name


def test_the_bound_without_host_is_no_longer_than_the_iteration(tables: Tables) -> None:
    data = tables["skew"]
    assert (data["without_host_ms"] > 0).all()
    assert (data["without_host_ms"] <= data["time_ms"] * (1 + 1e-9)).all()


def test_copies_are_compared_with_none_of_the_same_skew(tables: Tables) -> None:
    data = tables["copies"].set_index(["mode", "rows"])
    for mode in ("training", "inference"):
        none, four = (data.loc[mode, rows] for rows in (0, 4))
        assert none["memory_over_none"] == none["time_over_none"] == 1.0
        assert four["memory_over_none"] == pytest.approx(four["memory_ms"] / none["memory_ms"])
        assert four["time_over_none"] == pytest.approx(four["time_ms"] / none["time_ms"])
    best = tables["copies_best"].set_index(["mode", "what"])["over_none"]
    assert (best <= 1.0).all()


def test_money_is_rent_and_the_tier_for_the_time_of_a_billion_samples(
    study: Study, tables: Tables
) -> None:
    row = tables["tiers"].iloc[0]
    settings = study.expected.settings
    hours = row["time_ms"] / 3.6e6 * 1e9 / row["batch_size"]
    memory = settings["usd_per_gb"]["DRAM"] * settings["tables_gb"] / (settings["years"] * 8766)
    paid = hours * (settings["usd_per_host_hour"] + memory)
    assert row["platform"] == "DRAM"
    assert row["usd_per_billion_samples"] == pytest.approx(paid)


def test_what_neighbours_share_is_that_of_plain_sets(
    study: Study, results: dict[str, Result]
) -> None:
    point = next(iter(results["overlap"])).point
    replayed = study.module.overlap.shared_with_before(point)
    trace, first = study.module.overlap.open_for(point, 1), point.run.warmup_batches
    before, own = trace.minibatch(first), trace.minibatch(first + 1)
    again = [
        row in set(earlier.tolist())
        for earlier, ids in zip(before.ids, own.ids, strict=True)
        for row in ids.tolist()
    ]
    assert replayed == pytest.approx(sum(again) / len(again))
    assert 0 < replayed < 1


@pytest.mark.parametrize(
    ("ratio", "where"),
    [
        ([0.5, 0.4, 0.3], 0.0),
        ([2.0, 0.5, 0.4], 0.5),
        ([2.0, 3.0, 1.5], float("nan")),
        ([0.9, 2.0, 0.5], 1.5),
    ],
)
def test_a_crossing_is_where_a_ratio_falls_below_one_for_good(
    study: Study, ratio: list[float], where: float
) -> None:
    found = study.module.skew.crossing([0.0, 1.0, 2.0], ratio)
    assert found == pytest.approx(where, nan_ok=True)


def test_logs_and_snapshots_of_one_write_every_changed_row(tables: Tables) -> None:
    """The rows of a mini-batch before it, or after it, and the MLPs: whole, or a part of 32."""
    logs = tables["logs"].set_index(["label", "kept"])
    for system in ("hybrid", "scratchpipe"):
        written = logs.loc[system]["written_mb"]
        assert written["nothing"] == 0.0
        assert written["undo log, PMEM"] == written["undo log, drive"] > 0.0
        assert written["snapshot of 1, drive"] > written["undo log, drive"]
        assert logs.loc[system]["lost"].to_dict()["undo log, drive"] == 1.0
