"""`scratchpipe calibrate` without --from: measures the machine, then fits; no GPU, no PyTorch."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from simulator.calibration.calibrate import Entries, held_out
from simulator.calibration.facts import machine_facts, with_facts
from simulator.calibration.sockets import cpu_of, gpu_of
from simulator.cli.app import main
from simulator.config.catalogue import load_named
from simulator.errors import UsageError
from simulator.hardware.catalogue import load_machine
from simulator.observe.microbench import cpu, tables

MEASURED = Path(__file__).parents[2] / "experiments" / "validation" / "microbenchmarks"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement of seconds: small tables, few repetitions. It decides little."""
    monkeypatch.setattr(tables, "LOOKUPS", 4_000)
    monkeypatch.setattr(tables, "FRESH_ROWS", 20_000)
    monkeypatch.setattr(cpu, "_SCALING", (1_000, 2_000))
    monkeypatch.setattr(tables, "TABLE_BYTES", 1 << 24)
    monkeypatch.setattr(tables.Budget, "seconds", 0.002)
    monkeypatch.setattr(tables.Budget, "dims", (16, 128))
    monkeypatch.setattr(tables.Budget, "cores", 2)
    monkeypatch.setattr(tables.Budget, "threads", (1, 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("small")
def test_this_machine_becomes_a_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.yaml"
    options = ("--base", "h200", "--keep-undecided")
    software = tmp_path / "software.yaml"
    kept = ("--out", str(out), "--operators", str(software))
    assert run("calibrate", *kept, "--quick", *options) == 0
    said = capsys.readouterr()
    assert "measuring this machine" in said.err
    assert "profile: observed" in said.err
    assert "cpu pooled gather" in (tmp_path / "mine.residuals.csv").read_text()
    folder = tmp_path / "mine_microbenchmarks"
    assert sorted(one.name for one in folder.iterdir()) == ["machine.json", "micro_cpu.csv"]
    with (folder / "micro_cpu.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == tables.FILES["micro_cpu.csv"]
    assert {"gather", "scatter", "pooled_gather_L20", "coalesce_update"} < {r["op"] for r in rows}
    assert all(float(row["ms"]) > 0 for row in rows)
    described = json.loads((folder / "machine.json").read_text())
    made, base = load_machine(str(out)), load_machine("h200")
    cpu = made.socket("cpu").part
    assert (cpu.name, cpu.cores) == (described["cpu"], described["cores"])
    assert cpu.sources["cores"] == "said by the machine itself"
    assert cpu.memory.sources["capacity"] == "said by the machine itself"
    assert "GPU and link, not measured, are those of h200" in made.description
    assert made.socket("gpu") == base.socket("gpu")
    assert made.socket("pcie") == base.socket("pcie")
    fitted, start = (load_named("operators", name) for name in (str(software), "observed"))
    passes = ("gather_reduce", "sort", "accumulate", "gather", "row_scatter")
    sources = [getattr(fitted, name).source for name in passes]
    decided = any("micro_cpu.csv" in source for source in sources)
    assert decided or "KEPT" in said.out + said.err, "a busy machine may decide none of them"
    assert fitted.id_bytes == start.id_bytes
    # the same again, from the files
    again = tmp_path / "again.yaml"
    assert run("calibrate", "--from", str(folder), "--out", str(again), *options) == 0
    assert load_machine(str(again)).socket("cpu") == made.socket("cpu")


def test_a_folder_with_other_files_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("")
    out = str(tmp_path / "mine.yaml")
    folder = str(tmp_path)
    assert run("calibrate", "--out", out, "--measurements", folder, "--base", "h200") != 0
    assert "choose another folder" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


def test_quick_measures_and_from_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "mine.yaml")
    assert run("calibrate", "--from", str(MEASURED), "--out", out, "--quick") == 2
    assert "leave --from out" in capsys.readouterr().err


def test_facts_of_a_machine_replace_those_of_the_base(tmp_path: Path) -> None:
    facts = {"cpu": "a processor", "cores": 6, "gpu": "a GPU", "gpu_memory_bytes": 1 << 34}
    (tmp_path / "machine.json").write_text(json.dumps(facts | {"kernel": "Linux", "driver": None}))
    base = load_machine("h200")
    platform = with_facts(base, machine_facts(tmp_path))
    cpu, gpu = cpu_of(platform), gpu_of(platform)
    assert (cpu.name, cpu.cores) == ("a processor", 6)
    assert (gpu.name, gpu.memory.capacity) == ("a GPU", 1 << 34)
    assert gpu.l2_cache == gpu_of(base).l2_cache


@pytest.mark.parametrize("text", ["{", "[]", '{"cores": "many"}', '{"cores": true}', '{"cpu": 3}'])
def test_facts_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "machine.json").write_text(text)
    with pytest.raises(UsageError, match=r"machine\.json"):
        machine_facts(tmp_path)


def test_points_held_out_are_predicted_by_the_others(tmp_path: Path) -> None:
    name = "micro_sort.csv"
    (tmp_path / name).write_text((MEASURED / name).read_text())
    profile, model = load_named("operators", "tuned"), load_named("models", "default")
    found = held_out(tmp_path, Entries(load_machine("h200"), profile, model))
    assert len(found) == 28  # of 30: the first and the last are always seen
    assert len({one.point.condition for one in found}) == 28
    assert max(abs(one.error) for one in found) < 0.12
