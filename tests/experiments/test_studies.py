"""The studies: their files, their figures at a small size, and the command."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import load_experiment
from simulator.errors import UsageError
from simulator.studies import (
    Inputs,
    Study,
    check,
    find_studies,
    readme_of,
    simulate_studies,
    study_names,
)
from simulator.studies.expected import Bound, Query

SMALL = (
    "model.tables=2",
    "model.rows_per_table=4000",
    "model.batch_size=16",
    "run.warmup_batches=2",
    "run.batches=2",
)


def _small(name: str, **settings: object) -> Study:
    (study,) = find_studies([name])
    experiments = {
        stem: tuple(
            load_experiment(study.folder / f"{stem}.yaml", [*variant, *SMALL])
            for variant in study.expected.variants_of(stem)
        )
        for stem in study.experiments
    }
    expected = study.expected.model_copy(update={"settings": study.expected.settings | settings})
    return dataclasses.replace(study, experiments=experiments, expected=expected)


def test_there_are_seventeen_in_order() -> None:
    assert study_names() == (
        "locality",
        "breakdown",
        "headline",
        "stages",
        "cost",
        "energy",
        "sensitivity",
        "window",
        "scratchpad",
        "beyond",
        "scaling",
        "rivals",
        "memory_path",
        "load",
        "private",
        "inference",
        "mlperf",
    )


@pytest.mark.parametrize("name", study_names())
def test_every_study_is_whole(name: str) -> None:
    (study,) = find_studies([name])
    assert study.expected.bounds or study.expected.orders, "nothing that can fail"
    text = (study.folder / "README.md").read_text(encoding="utf-8")
    for heading in ("## What it shows", "## What the paper reports", "## What this simulator gives",
                    "## Why they differ"):  # fmt: skip
        assert heading in text, heading
    for one in study.expected.published:
        assert f"[{one.source}]" in text, one.what
    for variants in study.experiments.values():
        assert all(expand(experiment) for experiment in variants)


@pytest.mark.parametrize("name", study_names())
def test_the_study_stands_beside_its_experiments(name: str) -> None:
    (study,) = find_studies([name])
    assert study.module is study.module, "loaded once"
    assert Path(str(study.module.__file__)) == study.folder / "study.py"
    assert study.module.__doc__


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is no study: it has no study.py"),
        ("", "has no function tables and no function figures and"),
        ("def tables(inputs):\n    return {}\n", "has no function figures and no function readme"),
    ],
)
def test_a_folder_without_a_study_is_told(tmp_path: Path, text: str | None, words: str) -> None:
    (study,) = find_studies(["stages"])
    if text is not None:
        (tmp_path / "study.py").write_text(text)
    with pytest.raises(UsageError, match=words):
        _ = dataclasses.replace(study, folder=tmp_path).module


@pytest.mark.parametrize("name", ["cost", "05_cost", "experiments/05_cost/"])
def test_a_study_is_called_by_its_name_or_its_folder(name: str) -> None:
    (study,) = find_studies([name])
    assert (study.name, study.folder.name) == ("cost", "05_cost")


def test_studies_share_points() -> None:
    studies = find_studies(["breakdown", "headline", "stages"])
    keys = [
        {p.key() for variants in s.experiments.values() for e in variants for p in expand(e)}
        for s in studies
    ]
    assert keys[0] <= keys[1]
    assert keys[2] <= keys[1]


@pytest.mark.parametrize("name", ["breakdown", "stages", "cost", "energy"])
def test_tables_and_figures_at_a_small_size(name: str, tmp_path: Path) -> None:
    study = _small(name)
    results = simulate_studies([study], tmp_path / "points")[name]
    tables = study.module.tables(Inputs(results, study.expected.settings))
    figures = study.module.figures(tables)
    assert figures
    assert set(figures) <= set(tables)
    assert all(len(table) for table in tables.values())
    shipped = (study.folder / "README.md").read_text(encoding="utf-8")
    page = readme_of(study, tables, check(study.expected, tables))
    assert page != shipped
    assert _without_numbers(page) == _without_numbers(shipped), "the same rows and headings"


def _without_numbers(text: str) -> str:
    return re.sub(r"\b(yes|no)\b", "yes or no", re.sub(r"\d[\d.]*", "#", text))


def test_window_at_a_small_size(tmp_path: Path) -> None:
    study = _small("window", seeds=1, batches=40)
    results = simulate_studies([study], tmp_path / "points")["window"]
    tables = study.module.tables(Inputs(results, study.expected.settings))
    full = tables["stale_reads"].query("past == 3 and future == 2")
    assert full["stale_reads"].tolist() == [0, 0]
    assert tables["stale_reads"]["stale_reads"].sum() > 0
    assert set(study.module.figures(tables)) == {"stale_reads", "time"}


def test_a_second_run_takes_what_is_finished(tmp_path: Path) -> None:
    study = _small("stages")
    first = simulate_studies([study], tmp_path / "points")
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "points").glob("*.json")}
    assert files
    second = simulate_studies([study], tmp_path / "points")
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "points").glob("*.json")} == files
    one, other = (r["stages"]["experiment"].to_pandas() for r in (first, second))
    kept = [c for c in one.columns if not c.startswith("wall") and c != "realtime_factor"]
    assert one[kept].equals(other[kept])


@pytest.fixture
def only_stages(monkeypatch: pytest.MonkeyPatch) -> Study:
    """`reproduce` finds a small `stages` alone."""
    study = _small("stages")
    monkeypatch.setattr("simulator.studies.find_studies", lambda names: [study])
    return study


def _reproduce(out: Path, *more: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "stages", "--out", str(out), *more])
    return int(ended.value.code or 0)


def test_reproduce_writes_figures_data_and_a_summary(
    only_stages: Study,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = _reproduce(tmp_path)
    printed = capsys.readouterr().out
    assert "Published and simulated" in printed
    assert code in (0, 3)
    files = {file.name for file in (tmp_path / "04_stages").iterdir()}
    for suffix in ("pdf", "svg", "png", "csv"):
        assert {f"stage_times.{suffix}", f"pipeline.{suffix}"} <= files
    assert "## What it shows" in (tmp_path / "04_stages" / "README.md").read_text()
    (summary,) = json.loads((tmp_path / "summary.json").read_text())
    assert summary["study"] == "stages"
    assert summary["published"][0]["source"] == "D"


def test_a_shape_that_fails_gives_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Query(table="steady_state", column="time_ms", reduce="min")
    bounds = (Bound(what="too fast", simulated=asked, at_most=0.0),)
    study = _small("stages")
    expected = study.expected.model_copy(update={"bounds": bounds})
    study = dataclasses.replace(study, expected=expected)
    monkeypatch.setattr("simulator.studies.find_studies", lambda names: [study])
    assert _reproduce(tmp_path) == 3
    captured = capsys.readouterr()
    assert "FAIL too fast" in captured.out
    assert "expected shape does not hold: stages" in captured.err


def test_json_is_all_that_is_printed(
    only_stages: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _reproduce(tmp_path, "--json")
    assert json.loads(capsys.readouterr().out)[0]["study"] == "stages"


def test_an_unknown_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", "headlines", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "headline" in capsys.readouterr().err


def test_without_a_name_the_studies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce"])
    assert not ended.value.code
    assert all(name in capsys.readouterr().out for name in ("window",))
