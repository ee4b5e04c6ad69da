"""What-if: the same as editing the experiment, and shares that add up where stages follow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from small import MODEL, points, time_us

from simulator.cli import main
from simulator.config.expand import expand
from simulator.engine import load_experiment, simulate_points
from simulator.engine.levers import levers_of, with_speed
from simulator.engine.whatif import what_if
from simulator.errors import UsageError


def experiment(folder: Path, **changes: Any) -> Path:
    sections = {
        "config_version": 1,
        "platform": "v100_p3",
        "operators": "tuned",
        "model": MODEL,
        "trace": {"kind": "zipf", "alpha": 0.9},
        "systems": ["hybrid"],
        "run": {"batches": 4, "warmup_batches": 2},
    }
    file = folder / "x.yaml"
    file.write_text(yaml.safe_dump({**sections, **changes}))
    return file


@pytest.mark.parametrize("platform", ["v100_p3", "p3_16xlarge", "h100_x2"])
def test_a_lever_is_what_editing_the_experiment_gives(tmp_path: Path, platform: str) -> None:
    """Every lever of the machine and of the software: the keys that it says, set by hand."""
    file = experiment(tmp_path, platform=platform)
    (point,) = expand(load_experiment(file))
    for lever in levers_of(point):
        faster = with_speed(point, lever, 2.0)
        settings = lever.settings(faster)
        (edited,) = expand(load_experiment(file, [f"{k}={v}" for k, v in settings.items()]))
        where = lever.path[0]
        assert _bare(getattr(edited, where)) == _bare(getattr(faster, where)), lever.name
        assert faster != point, lever.name


def _bare(section: Any) -> Any:
    """Without names and sources, which an edit marks."""

    def cleaned(data: Any) -> Any:
        if isinstance(data, dict):
            left_out = ("name", "sources", "source", "calibrated", "description")
            return {k: cleaned(v) for k, v in data.items() if k not in left_out}
        return [cleaned(item) for item in data] if isinstance(data, list) else data

    return cleaned(section.model_dump(mode="json"))


def test_times_are_those_of_the_edited_point() -> None:
    (point,) = points("scratchpipe", cache={"prefill": "steady"})
    (answer,) = what_if([point])
    assert answer.base.time_us == time_us(simulate_points([point])[0])
    change = next(each for each in answer.changes if each.name == "cpu.memory")
    for speed, told in ((2.0, change.faster), (math.inf, change.free), (0.5, change.slower)):
        varied = with_speed(point, change.levers[0], speed)
        assert told is not None
        assert told.time_us == time_us(simulate_points([varied])[0])


@pytest.mark.parametrize("system", ["hybrid", "straw_man"])
def test_elasticities_add_up_where_stages_follow_each_other(system: str) -> None:
    """To one: what of an iteration is nobody's is the little that rows wait for each other."""
    (point,) = points(system, cache={"prefill": "steady"})
    (answer,) = what_if([point])
    total = sum(change.elasticity for change in answer.changes)
    assert total == pytest.approx(1.0, abs=0.1)
    assert all(change.elasticity < 1.02 for change in answer.changes)


def test_twice_everything_is_half_the_time() -> None:
    (point,) = points("hybrid")
    faster = point
    for lever in levers_of(point):
        faster = with_speed(faster, lever, 2.0)
    before, after = (time_us(result) for result in simulate_points([point, faster]))
    assert before / after == pytest.approx(2.0, rel=0.01)


def test_single_keys_are_those_of_the_parts() -> None:
    (point,) = points("hybrid")
    whole = {(lever.path, key) for lever in levers_of(point) for key in lever.keys}
    single = [(lever.path, *lever.keys) for lever in levers_of(point, single=True)]
    assert set(single) == whole
    assert len(single) == len(whole)
    keys = {".".join((*path[1:], key)) for path, key in whole}
    assert {"host.cpu.memory.clock", "host.gpu.sort_rate", "host.pcie.raw_bandwidth"} <= keys
    assert not {key for key in keys if key.endswith(("capacity", "cores", "power", "l2_cache"))}


def test_the_pair_is_the_best_of_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the document has what to set for it."""
    file = experiment(tmp_path, systems=["straw_man"], cache={"fraction": 0.2})
    with pytest.raises(SystemExit) as ended:
        main(
            ["whatif", str(file), "--json", "--pair", "--factor", "4", "--out", str(tmp_path / "o")]
        )
    assert not ended.value.code
    (told,) = json.loads(capsys.readouterr().out)
    gains = [change["gain"] for change in told["changes"] if change["gain"] is not None]
    assert gains == sorted(gains, reverse=True)
    assert told["pair"]["gain"] >= gains[0] - 1e-9
    assert len(told["pair"]["settings"]) >= 2
    assert {file.suffix for file in (tmp_path / "o").iterdir()} == {".csv", ".pdf", ".png", ".svg"}


@pytest.mark.parametrize("factor", [1.0, 0.5, math.inf, math.nan])
def test_a_factor_is_a_speed_up(factor: float) -> None:
    with pytest.raises(UsageError, match="a number above 1"):
        list(what_if(points("hybrid"), factor))


def test_too_many_variations_are_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="choose points with --set"):
        list(what_if(points("hybrid") * 100))
