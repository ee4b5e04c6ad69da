"""`config check` and `--dry-run` find what a run would refuse, and tell what they left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import points

from simulator.cli import main
from simulator.engine import check, check_points
from simulator.errors import CapacityError, ConfigError

MODEL = {"tables": 1, "rows_per_table": 3000, "batch_size": 4, "lookups_per_table": 5}
RUN = {"batches": 8, "warmup_batches": 2}


def of_file(path: Path, system: str = "scratchpipe", **changes: Any) -> Any:
    sections: dict[str, Any] = {"model": MODEL, "run": RUN, "cache": {"fraction": 1.0}}
    return points(system, trace={"kind": "file", "path": str(path)}, **(sections | changes))


def ids(folder: Path, batches: int, name: str = "ids.npy") -> Path:
    path, values = folder / name, np.arange(4 * 5 * batches) % 400
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        path.write_text("".join(f"{i}\n" for i in values))
    return path


@pytest.mark.parametrize("name", ["ids.npy", "ids.csv"])
def test_a_trace_with_too_few_mini_batches(tmp_path: Path, name: str) -> None:
    assert check_points(of_file(ids(tmp_path, 15, name)))
    with pytest.raises(ConfigError, match="but the trace has 9"):
        check_points(of_file(ids(tmp_path, 9, name), "hybrid"))


def test_a_trace_that_does_not_open_or_has_other_tables(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        check_points(of_file(tmp_path / "missing.npy"))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="broken"):
        check_points(of_file(tmp_path / "broken.npy"))
    with pytest.raises(ConfigError, match=r"1 tables in the file .* 2 in the model"):
        check_points(of_file(ids(tmp_path, 15), model=MODEL | {"tables": 2}))


def test_a_cache_below_its_window() -> None:
    with pytest.raises(ConfigError, match=r"holds up to .* set cache.fraction to at least"):
        check_points(points("scratchpipe", cache={"fraction": 0.01}))
    with pytest.raises(ConfigError) as caught:
        check_points(points("scratchpipe", "straw_man", "hybrid", cache={"fraction": 0.001}))
    assert len(caught.value.problems) == 2, "one for each system"


def test_a_check_refuses_what_the_run_refuses(tmp_path: Path) -> None:
    from simulator.engine import simulate_points

    for made in (of_file(ids(tmp_path, 9)), points("scratchpipe", cache={"fraction": 0.01})):
        with pytest.raises((ConfigError, CapacityError)) as ran:
            simulate_points(made)
        with pytest.raises(ConfigError) as checked:
            check_points(made)
        assert checked.value.args == ran.value.args


WIDE = {"gpu_pool": {"pinned_rows": 300_000, "thread_bytes": 4}}
REFUSED_AT_PRICES: tuple[tuple[Any, dict[str, Any], str], ...] = (
    (
        "gpu_only",
        {"operators": {"base": "tuned", **WIDE}},
        r"pinned_rows is 300,000: L2 of gpu holds .* rows of 512 B",
    ),
    (
        {"name": "gpu_only", "gpus": 2},
        {
            "platform": "p3_16xlarge",
            "operators": {"base": "tuned", "collectives": {"algorithms": {"all_to_all": "tree"}}},
        },
        "no all_to_all by tree among 2 ranks",
    ),
    ({"name": "hugectr_etc", "pass_batches": 64}, {}, "reads 64 mini-batches ahead"),
    ({"name": "fae", "round_batches": 64}, {}, "packs 64 mini-batches together"),
)
"""A system, sections of the experiment, and what neither run nor check leaves unsaid."""


@pytest.mark.parametrize(("system", "sections", "message"), REFUSED_AT_PRICES)
def test_what_the_machine_cannot_do_is_found_without_a_replay(
    system: Any, sections: dict[str, Any], message: str
) -> None:
    from simulator.engine import simulate_points

    made = points(system, **sections)
    with pytest.raises(ConfigError, match=message) as checked:
        check_points(made)
    with pytest.raises(ConfigError) as ran:
        simulate_points(made)
    assert checked.value.args == ran.value.args


def test_what_was_not_checked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_points(points("scratchpipe")) == ()
    assert check_points(points("hugectr_etc", model=MODEL, run=RUN, cache={"fraction": 1.0})) == ()
    (line,) = check_points(of_file(ids(tmp_path, 15)))
    assert line.endswith("that every id is a row of its table")
    monkeypatch.setattr(check, "WHOLE_FILE", 10)
    (line,) = check_points(of_file(ids(tmp_path, 1, "ids.csv")))
    assert "how many mini-batches" in line
    monkeypatch.setattr(check, "DRAWN_LOOKUPS", 1)
    (line,) = check_points(points("scratchpipe", cache={"fraction": 0.25}))
    assert "after the first 1 of" in line
    (line,) = check_points(points("hugectr_etc", model=MODEL, run=RUN, cache={"fraction": 1.0}))
    assert line == "hugectr_etc: whether the cache holds the rows of each pass"
    monkeypatch.setattr(check, "DRAWN_LOOKUPS", 10 * 20)
    (line,) = check_points(points("hugectr_etc", model=MODEL, run=RUN, cache={"fraction": 1.0}))
    assert line.endswith("holds the rows of each pass after the first 10 of 16")
    monkeypatch.setattr(check, "MOST_LOOKUPS", 1)
    (line,) = check_points(points("hugectr_etc", model=MODEL, run=RUN, cache={"fraction": 1.0}))
    assert line == "hugectr_etc: whether the cache holds the rows of each pass"


@pytest.mark.parametrize(
    ("system", "sections", "message"),
    [
        ("hugectr_etc", {"cache": {"fraction": 0.01}}, "a pass of .* distinct rows, more than"),
        ("rects", {"platform": "ssd_v100"}, "its pool has room for"),
    ],
)
def test_rows_that_do_not_fit_are_found_in_the_first_mini_batches(
    system: Any, sections: dict[str, Any], message: str
) -> None:
    """Of systems that say so when they replay alone: the check replays what is quickly drawn."""
    from simulator.engine import simulate_points

    model = MODEL | {"rows_per_table": 300, "batch_size": 256}
    made = points(system, model=model, **sections)
    with pytest.raises(ConfigError, match=message) as checked:
        check_points(made)
    assert checked.value.problems[0].key.startswith("systems."), "it stands at the entry"
    with pytest.raises(CapacityError, match=message):
        simulate_points(made)


def test_a_large_file_is_opened_for_its_tables_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "WHOLE_FILE", 10)
    with pytest.raises(ConfigError, match="1 tables in the file"):
        check_points(of_file(ids(tmp_path, 1, "ids.csv"), model=MODEL | {"tables": 2}))


def test_a_billion_mini_batches_are_checked_at_once() -> None:
    lines = check_points(points("scratchpipe", run=RUN | {"batches": 10**9}))
    assert all("mini-batches" in line for line in lines)


@pytest.mark.parametrize("command", [["config", "check"], ["run", "--dry-run"]])
def test_the_commands_refuse_and_tell(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.yaml"
    text = """config_version: 1
platform: v100_p3
model: {base: default, tables: 1, rows_per_table: 3000, batch_size: 4, lookups_per_table: 5}
trace: {path: ids.npy}
systems: [hybrid, scratchpipe]
cache: {fraction: 1}
run: {batches: 8, warmup_batches: 2}
"""
    file.write_text(text)
    ids(tmp_path, 9)
    with pytest.raises(SystemExit) as ended:
        main([*command, str(file)])
    assert ended.value.code == 2
    assert "but the trace has 9: lower them" in capsys.readouterr().err
    ids(tmp_path, 15)
    with pytest.raises(SystemExit) as ended:
        main([*command, str(file)])
    assert not ended.value.code
    assert "not checked: " in capsys.readouterr().out
