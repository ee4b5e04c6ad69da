"""Every system that can be named, as a user meets it: a run as JSON, its timeline, its page, its
hazards, its energy and its price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.cli import main
from simulator.results.reading import read_run
from simulator.systems import names, system_class

MODEL = {
    "base": "default",
    "tables": 8,
    "rows_per_table": 2000,
    "batch_size": 64,
    "lookups_per_table": 2,
    "bottom_mlp": [16],
    "top_mlp": [16, 1],
}
SHORT: dict[str, dict[str, Any]] = {"bagpipe": {"look_ahead": 3}}
"""What a run of eight mini-batches needs said."""
ON: dict[str, str] = {"gpu_only": "p3_16xlarge"}


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command line that succeeds prints."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    assert not ended.value.code, printed.err
    return printed.out


def experiment(name: str) -> dict[str, Any]:
    kind = system_class(name)
    run = {"batches": 4, "warmup_batches": 4}
    return {
        "config_version": 1,
        "name": "every",
        "platform": ON.get(name, kind.shown_on),
        "model": MODEL,
        "operators": "tuned",
        "trace": {"kind": "zipf", "alpha": 0.9},
        "systems": [{"name": name, **SHORT.get(name, {})}],
        "cache": {"fraction": 0.8},
        "run": run | ({"mode": "inference"} if kind.no_training else {}),
    }


@pytest.mark.parametrize("name", names())
def test_every_verb_works_for_every_system(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, run = tmp_path / "every.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(experiment(name)))
    (told,) = json.loads(typed(capsys, "run", file, "--json", "--out", run))
    assert told["system"] == name
    assert told["iteration_time_us"] > 0.0

    parts = [device["energy_mj"] for device in told["devices"]]
    assert min(part for part in parts if part is not None) >= 0.0
    energy = sum(part for part in parts if part is not None)
    assert energy == pytest.approx(told["energy_mj"], rel=1e-9)
    assert energy > 0.0

    stages = list(read_run(run).stages())
    exposed = sum(row["exposed_us"] for row in stages)
    if not system_class(name).no_training:
        assert exposed == pytest.approx(told["iteration_time_us"], rel=1e-6)
        samples = told["throughput_samples_per_s"] * told["iteration_time_us"] / 1e6
        assert samples == pytest.approx(64, rel=1e-6)  # what a price an hour is divided by

    typed(capsys, "timeline", run)
    events = json.loads((run / "timeline.json").read_text())["traceEvents"]
    drawn = {event["name"] for event in events}
    used = {row["stage"] for row in stages if row["busy_us"] > 0.0}
    assert used
    assert all(any(stage in each for each in drawn) for stage in used), used
    typed(capsys, "report", run)
    assert name in (run / "report.html").read_text()
    assert name in typed(capsys, "results", "show", run)


@pytest.mark.parametrize("name", [n for n in names() if not system_class(n).no_training])
def test_hazards_of_every_system_that_trains(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever claims equal tables has them; who claims stale ones need not show them here."""
    said = [
        word for key, value in SHORT.get(name, {}).items() for word in ("--set", f"{key}={value}")
    ]
    told = json.loads(typed(capsys, "hazards", "--system", name, "--batches", 12, "--json", *said))
    assert told["trained_rows"] > 0
    claim = system_class(name).consistency
    assert claim is not None
    if claim.result == "equal":
        assert told["stale_reads"] == 0
        assert told["tables_equal"]
