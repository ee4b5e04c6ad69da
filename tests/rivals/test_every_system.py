"""Every system that can be named, as a user meets it: a run as JSON, its timeline, its page, its
hazards, its energy and its price."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import known_names, parse_experiment, simulate_points
from simulator.results.finishing import finished_points
from simulator.results.reading import read_run
from simulator.sweep.candidates import candidate
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


STALE: dict[str, tuple[tuple[str, ...], str, range]] = {
    "het": (("--set", "bound=4", "--gpus", "2"), "updates", range(4, 9)),
    "torchrec_semi_sync": ((), "batches", range(1, 2)),
    "cdlrm": ((), "batches", range(2 * (8 + 2), 150)),
}
"""What shows that a system is stale, in what it counts, and how much it is: HET's bound, and as
much of the other worker; one mini-batch; windows of two that wait in the queue and with its
collectors, and any number, for what is lost is lacked ever after."""
TRAINS = [name for name in names() if not system_class(name).no_training]


@pytest.mark.parametrize("name", TRAINS)
def test_hazards_of_every_system_that_trains(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever claims equal tables has them, reordered ones in whole numbers (in floats:
    `test_sums_in_floats.py`); who claims stale rows reads some, as old as it says and no older."""
    claim = system_class(name).consistency
    assert claim is not None
    more, counted, amounts = STALE.get(name, ((), "", range(0)))
    given = [f"{key}={value}" for key, value in SHORT.get(name, {}).items()]
    said = [*more, *(word for pair in given for word in ("--set", pair))]
    told = json.loads(typed(capsys, "hazards", "--system", name, "--batches", 150, "--json", *said))
    assert told["trained_rows"] > 150 * 5  # FAE packs some samples of equal rows together
    assert (claim.result == "stale") == (name in STALE)
    if claim.result != "stale":
        assert told["stale_reads"] == told["lost_updates"] == 0
        assert told["tables_equal"]
        return
    assert not told["tables_equal"]
    assert min(told["stale_reads_by_order"].values()) > 0.05 * told["trained_rows"]
    assert told[f"stale_by_at_most_{counted}"] in amounts
    assert (told["lost_updates"] > 0) == (name == "cdlrm")


def test_what_claims_serial_bits_says_which_sums_are_in_another_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, words in (
        ("hybrid", "sequential training bit for bit\n"),
        ("static_cache", "bit for bit, but for the order of floating-point sums (the vector of a"),
        ("ndrec", "in exact arithmetic (floating-point sums are in another order)"),
    ):
        assert words in typed(capsys, "hazards", "--system", name, "--batches", 12)
    assert "floating-point sums in another order: changes of rows, worker by worker" in typed(
        capsys, "explain", "herald"
    )


@pytest.mark.parametrize("name", TRAINS)
def test_its_dollars_are_price_by_time_over_samples(name: str) -> None:
    """Of a billion samples at 7.2 US$ an hour."""
    asked = experiment(name)
    asked["platform"] = {"base": asked["platform"], "name": "priced", "price_usd_per_hour": 7.2}
    (point,) = expand(parse_experiment(asked, names=known_names()))
    (result,) = simulate_points([point], threads=1)
    (finished,) = finished_points([point], [result])
    seconds = result.metrics["iteration_time_us"] / 1e6
    cost = candidate(finished).usd_per_billion
    assert cost == pytest.approx(7.2 / 3600 * seconds / 64 * 1e9, rel=1e-9)
