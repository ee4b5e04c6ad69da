"""The study of rivals at a small size: every question has its tables, its figure and its README."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.engine import load_experiment
from simulator.results.record import Result
from simulator.studies import Inputs, Study, Tables, find_studies, simulate_studies
from simulator.systems import names, system_class
from simulator.systems.private import PrivateTraining

TINY = ("model.tables=2", "model.rows_per_table=40000", "model.batch_size=16")
LINK = "platform.host.pcie.part=pcie5_x16"
ONE_HOT = (*TINY, "model.lookups_per_table=1")
CHANGES = {
    "servers": (*TINY, "sweep={trace.locality: [high]}"),
    "look_ahead": (*TINY[:1], "model.rows_per_table=200000", TINY[2], "cache.fraction=0.9"),
    "cold_rows": TINY,
    "hazards": TINY,
    "pooling": (*TINY, "sweep={trace.locality: [high], model.lookups_per_table: [1, 4]}"),
    "flights": ("run.batches=20", "run.warmup_batches=10"),
    "dollars": ONE_HOT,
    "pairs": (*ONE_HOT, "cache.rows=2000"),
    "pairs_a100": ONE_HOT,
    "pairs_herald": (*ONE_HOT, "run.batches=8", "run.warmup_batches=4"),
}
"""What makes each experiment small; a study has no more files than these."""


@pytest.fixture(scope="module")
def study() -> Study:
    (rivals,) = find_studies(["rivals"])
    return rivals


@pytest.fixture(scope="module")
def results(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The first variant of every file, and a link of a data sheet."""
    assert set(CHANGES) == set(study.experiments)
    small = {
        stem: (load_experiment(study.folder / f"{stem}.yaml", changes),)
        for stem, changes in CHANGES.items()
    }
    linked = load_experiment(study.folder / "cold_rows.yaml", (*TINY, LINK))
    small["cold_rows"] = (*small["cold_rows"], linked)
    points = tmp_path_factory.mktemp("points")
    return simulate_studies([replace(study, experiments=small)], points)["rivals"]


@pytest.fixture(scope="module")
def tables(study: Study, results: dict[str, Result]) -> Tables:
    return study.module.tables(Inputs(results, study.expected.settings))


def test_every_question_has_its_tables_and_figures(study: Study, tables: Tables) -> None:
    assert all(len(table) for table in tables.values())
    figures = study.module.figures(tables)
    assert set(figures) == {
        "servers", "map", "look_ahead", "cold_rows", "hazards", "pooling", "dollars"
    }  # fmt: skip
    assert set(figures) <= set(tables)
    text = (study.folder / "README.md").read_text(encoding="utf-8")
    for name, table in study.module.readme(tables).items():
        assert f"<!-- table: {name} -->" in text
        assert len(table), name


def test_the_checker_finds_stale_reads_where_and_only_where_a_system_claims_them(
    tables: Tables,
) -> None:
    rules = tables["hazards"].drop_duplicates("label").set_index("label")
    for label, row in rules.iterrows():
        stale = (not row["trains_right"] and label != "het 0") or label == "no hold"
        assert (row["stale_share"] > 0) == stale, label


def test_every_system_of_one_server_stands_beside_the_others(study: Study) -> None:
    (first, *_) = study.experiments["servers"]
    listed = {system.name for system in first.systems}
    servers = {"v100_p3", "hotline_v100"}
    grouped = {name for name in names() if system_class(name).group != "other"}
    own_study = {name for name in grouped if issubclass(system_class(name), PrivateTraining)}
    on_one_server = {name for name in grouped if system_class(name).shown_on in servers}
    without_gpu = {"cpu_only"}  # in the study of inference
    assert listed == on_one_server - own_study - without_gpu
