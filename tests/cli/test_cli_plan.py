"""`scratchpipe machine plan` and `scratchpipe list placements`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.cli.app import main
from simulator.config.catalogue import load_named
from simulator.systems.placement import PLANNERS

EXPERIMENT = """
config_version: 1
platform: p3_16xlarge
model: mlperf_dlrm
trace: {kind: uniform}
systems: [gpu_only, hybrid]
"""


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "x.yaml"
    file.write_text(EXPERIMENT)
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    output = capsys.readouterr()
    return int(ended.value.code or 0), output.out, output.err


def test_placements_are_listed_with_a_sentence_each(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "list", "placements")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(PLANNERS)
    assert all(len(line.split()) > 4 for line in text.splitlines())


def test_a_plan_has_a_line_a_gpu(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The five largest tables have GPUs of their own; one plan for both systems. Expected: 8 B of
    ids, rows and vectors of 64 columns thrice at 897 GiB/s, 1.15 times as long, and vectors each
    way at 600 GiB/s."""
    memory, link = 2048 * (8 + 256 + 256), 2 * 2048 * 256
    table_us = 1e6 * (3 * 1.15 * memory / (897 * 2**30) + link / (600 * 2**30))
    code, text, _ = run(capsys, "machine", "plan", str(experiment), "--set", "model.dim=64")
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    lines = [row for row in rows if row[0].isdigit()]
    assert code == 0
    assert [row[0] for row in lines] == [str(gpu) for gpu in range(8)]
    assert lines[0] == ["0", "19", "10.23 GB", "2,048", "10.23 GB", f"{table_us:.4g}"]
    assert "26 tables, 48.07 GB with optimizer state" in text


def test_long_times_are_told_in_figures(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TorchRec's planner weighs what is expected, in the same figures."""
    wide = ("--set", "model.batch_size=1000000", "--set", "model.rows_per_table=1000000")
    wide = (*wide, "--set", "model.placement=torchrec")
    _, text, error = run(capsys, "machine", "plan", str(experiment), *wide)
    assert "e+" not in text, error
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    lines = [row for row in rows if row[0].isdigit()]
    assert max(float(row[-1].replace(",", "")) for row in lines) > 1e4
    assert all(row[-2] == f"{row[-1]} us" for row in lines)


def test_json_has_every_part_and_they_add_up(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("--set", "model.placement=hugectr", "--set", "model.sharding=auto")
    code, text, _ = run(capsys, "machine", "plan", str(experiment), "--json", *changes)
    (plan,) = json.loads(text)
    model = load_named("models", "mlperf_dlrm")
    assert code == 0
    assert (plan["placement"], plan["unit"]) == ("hugectr", "lookups a sample")
    once = [part for part in plan["parts"] if part["cut"] != "replica"]
    copies = {part["table"] for part in plan["parts"] if part["cut"] == "replica"}
    rows = sum(part["rows"] for part in once) + sum(model.rows_per_table[t] for t in copies)
    assert rows == model.rows
    for gpu in plan["gpus"]:
        own = [part for part in plan["parts"] if part["gpu"] == gpu["gpu"]]
        assert sum(part["bytes"] for part in own) == gpu["bytes"]
    assert all(part["expected_seconds"] > 0 for part in plan["parts"])


def test_every_part_is_shown_where_asked_for(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("--set", "model.sharding=row", "--set", "model.tables=1")
    changes = (*changes, "--set", "model.rows_per_table=1001")
    _, text, _ = run(capsys, "machine", "plan", str(experiment), "--all", *changes)
    rows = [[c.strip() for c in line.strip("│").split("│")] for line in text.splitlines()]
    lines = [row[1:5] for row in rows if row[0].isdigit()]
    assert lines == [
        ["0", f"row {k + 1} of 8", "126" if k == 0 else "125", "128"] for k in range(8)
    ]


def test_tables_without_room_are_shown_and_refused(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, message = run(
        capsys, "machine", "plan", str(experiment), "--set", "model.optimizer=adagrad"
    )
    assert code == 2
    assert "40.94 GB" in text
    assert "192.3 GB of tables on 8 GPUs with 17.18 GB each" in message
    assert "gpu0 40.94 GB in 1 part," in message
    assert message.rstrip().endswith("use more GPUs, a smaller model, or model.sharding: auto")


def test_what_has_no_room_in_any_cut_is_not_told_to_cut(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("model.sharding=auto", "model.placement=torchrec", "model.dim=512")
    settings = [text for change in changes for text in ("--set", change)]
    code, _, message = run(capsys, "machine", "plan", str(experiment), *settings)
    assert code == 2
    assert message.rstrip().endswith("use more GPUs, a smaller model, or another model.placement")


def test_an_unknown_placement_names_the_known_ones(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, message = run(capsys, "machine", "plan", str(experiment), "--set", "model.placement=x")
    assert code == 2
    assert "expected one of size, lookups, hugectr, torchrec" in message
