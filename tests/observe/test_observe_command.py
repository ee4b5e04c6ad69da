"""`scratchpipe observe` and `measure_machine`: files, documented columns, plain refusals."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from simulator.cli.app import main
from simulator.errors import UsageError
from simulator.observe import microbench
from simulator.observe.extra import choose_device, require_torch
from simulator.observe.inputs import Inputs
from simulator.observe.microbench import tables
from simulator.observe.reading import read_observed
from simulator.observe.record import COLUMNS
from simulator.observe.trainer import Trainer
from simulator.observe.workspace import Place

TINY = """
config_version: 1
name: tiny
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 600, dim: 16, lookups_per_table: 2,
        batch_size: 8, bottom_mlp: [8], top_mlp: [8, 1]}
trace: {kind: zipf, alpha: 0.9}
systems: [hybrid, scratchpipe]
cache: {fraction: 0.5}
operators: observed
pipeline: {mode: lockstep}
run: {batches: 6, warmup_batches: 2, cpu_threads: 1}
"""


def test_without_pytorch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"pip install 'scratchpipe-sim\[lab\]'"):
        require_torch()


@pytest.mark.usefixtures("torch_there")
def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="cpu or cuda"):
        choose_device("tpu")


@pytest.mark.usefixtures("torch_there")
def test_observing_writes_documented_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    file, out = tmp_path / "tiny.yaml", tmp_path / "run"
    file.write_text(TINY)
    arguments = ["observe", str(file), "--device", "cpu", "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as outcome:
        main(arguments)
    assert outcome.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "observed.json").read_text())
    assert [point["label"] for point in document["points"]] == ["hybrid", "scratchpipe"]
    iterations = pd.read_parquet(out / "iterations.parquet")
    stages = pd.read_parquet(out / "stages.parquet")
    assert len(iterations) == 2 * 2 * 6
    assert {*iterations, *stages} == set(COLUMNS)
    # validation simulates what was observed; times of a toy on CPU tensors are not compared
    with pytest.raises(SystemExit) as outcome:
        main(["validate", str(out), "--out", str(tmp_path / "page")])
    assert outcome.value.code == 3
    (page,) = (tmp_path / "page").glob("*/validation.md")
    assert "have changed" not in page.read_text()
    assert "mini-batches differ" not in capsys.readouterr().err


@pytest.mark.usefixtures("torch_there")
@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("operators=paper", "--set operators=stock"),
        ("operators={base: stock, expand: null}", "--set operators=observed"),
        ("operators=tuned", "ids of 8 bytes, lists that are copied, a compacted list of cold ids"),
        ("operators={base: observed, id_bytes: 4}", "with ids of 8 bytes; observed*"),
        ("operators={base: observed, lists: mapped}", "with lists that are copied; observed*"),
        (
            "operators={base: observed, cold_list: holes}",
            "with a compacted list of cold ids; observed*",
        ),
        ("pipeline.cpu_pool=split", "cpu_pool=shared"),
        ("run.cpu_threads=20", "--set run.cpu_threads="),
    ],
)
def test_what_is_not_implemented_is_refused(
    change: str, advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    with pytest.raises(SystemExit) as outcome:
        main(["observe", str(file), "--device", "cpu", "--set", change])
    assert outcome.value.code == 2
    assert advice in capsys.readouterr().err


@pytest.mark.usefixtures("torch_there")
def test_a_point_that_fails_keeps_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises; the files are there after each point, and say what is to come."""
    ready, states = Trainer.__init__, []

    def fails_in_hybrid(trainer: Trainer, inputs: Inputs, place: Place) -> None:
        written = tmp_path / "run" / "observed.json"
        if written.is_file():
            states.append([point.get("error") for point in read_observed(written.parent)["points"]])
        if inputs.point.system.label == "hybrid":
            raise KeyError("a part of a framework")
        ready(trainer, inputs, place)

    monkeypatch.setattr(Trainer, "__init__", fails_in_hybrid)
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    arguments = ["observe", str(file), "--device", "cpu", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as outcome:
        main(arguments)
    assert outcome.value.code == 1
    assert "1 of 2 points: hybrid : KeyError: 'a part of a framework'" in capsys.readouterr().err
    failed, done = read_observed(tmp_path / "run")["points"]
    assert failed["error"].startswith("KeyError")
    assert done["iteration_us"] > 0
    assert done["threads"] == 1
    assert states[0] == [failed["error"], "not run: observe ended before it"]


def test_other_files_are_found_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    with pytest.raises(SystemExit) as outcome:
        main(["observe", str(file), "--device", "cpu", "--out", str(tmp_path)])
    assert outcome.value.code == 1
    told = capsys.readouterr().err
    assert "choose another --out" in told
    assert "point 1/" not in told


def test_a_machine_without_a_gpu_gives_the_file_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "TABLE_BYTES", 200_000_000)
    monkeypatch.setattr(tables.Budget, "seconds", 0.0)
    monkeypatch.setattr(tables.Budget, "threads", (1,))
    monkeypatch.setattr(tables.Budget, "cores", 1)
    monkeypatch.setattr(microbench, "_gpu_there", lambda: False)
    microbench.measure_machine(tmp_path, quick=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["machine.json", "micro_cpu.csv"]
    with (tmp_path / "micro_cpu.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == tables.FILES["micro_cpu.csv"]
    assert {row["op"] for row in rows} >= {"stream_read", "gather", "scatter", "coalesce_update"}
    assert all(float(row["ms"]) > 0 for row in rows)
