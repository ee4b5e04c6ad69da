"""Measuring subject after subject: what fails costs its own rows alone."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.errors import MeasurementError, OutputError, UsageError
from simulator.observe import microbench
from simulator.observe.microbench import tables
from simulator.observe.microbench.cpu_bench import CpuBench
from simulator.observe.microbench.session import Session
from simulator.observe.microbench.tables import Row, Subject, milliseconds

FILE = "micro_launch.csv"


def subject(name: str, rows: int, *, fails: bool = False, file: str = FILE) -> Subject:
    """So many rows, and then an error or none."""

    def measured() -> Iterator[Row]:
        for k in range(rows):
            yield {"what": f"{name} {k}", "us": 1.0}
        if fails:
            raise RuntimeError("CUDA error: too much\nstack")

    return Subject(name, file, measured)


def whats(folder: Path) -> list[str]:
    with (folder / FILE).open(encoding="utf-8", newline="") as stream:
        return [row["what"] for row in csv.DictReader(stream)]


def test_a_subject_that_fails_loses_nothing_of_itself_or_of_others(tmp_path: Path) -> None:
    said: list[str] = []
    session = Session(tmp_path, said.append)
    session.run(lambda: [subject("a", 2), subject("b", 1, fails=True), subject("c", 1)], "all")
    assert whats(tmp_path) == ["a 0", "a 1", "b 0", "c 0"]
    assert session.failed == {"b": "RuntimeError: CUDA error: too much"}
    assert "b failed: RuntimeError: CUDA error: too much" in said


def test_a_group_that_cannot_be_listed_fails_alone(tmp_path: Path) -> None:
    session = Session(tmp_path, lambda _: None)

    def broken() -> list[Subject]:
        raise ImportError("no such library")

    session.run(broken, "links")
    session.run(lambda: [subject("a", 1)], "rest")
    assert session.failed == {"links": "ImportError: no such library"}
    assert whats(tmp_path) == ["a 0"]


def test_each_file_is_there_before_the_next_subject_begins(tmp_path: Path) -> None:
    def look() -> Iterator[Row]:
        yield {"what": ",".join(whats(tmp_path)), "us": 1.0}

    session = Session(tmp_path, lambda _: None)
    session.run(lambda: [subject("a", 1), Subject("b", FILE, look)], "all")
    assert whats(tmp_path) == ["a 0", "a 0"]


def test_nothing_begins_after_the_time_is_up(tmp_path: Path) -> None:
    session = Session(tmp_path, lambda _: None, until=time.monotonic() - 1)
    session.run(lambda: [subject("a", 1)], "all")
    assert session.failed == {"a": "not begun: the time was up"}
    assert not list(tmp_path.iterdir())


def test_a_part_is_chosen_by_name_or_file(tmp_path: Path) -> None:
    session = Session(tmp_path, lambda _: None, only=("pea", "micro_sort"))
    other = subject("sorts", 0, file="micro_sort.csv")
    session.run(lambda: [subject("peas", 1), subject("beans", 1), other], "all")
    assert session.done == ["peas", "sorts"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLE_BYTES", 1 << 20)
    monkeypatch.setattr(tables.Budget, "seconds", 0.0)
    monkeypatch.setattr(tables.Budget, "cores", 1)
    monkeypatch.setattr(tables.Budget, "threads", (1,))
    monkeypatch.setattr(microbench, "_gpu_there", lambda: False)


@pytest.mark.usefixtures("small")
def test_the_error_at_the_end_names_what_failed_and_where_the_rest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.observe.microbench import subjects

    groups = {"all": lambda: [subject("a", 1), subject("b", 0, fails=True)]}
    monkeypatch.setattr(subjects, "cpu_groups", lambda _: groups)
    with pytest.raises(MeasurementError) as failed:
        microbench.measure_machine(tmp_path / "out")
    assert failed.value.exit_code == 1
    assert "b: RuntimeError: CUDA error: too much" in str(failed.value)
    assert str(tmp_path / "out") in str(failed.value)
    assert whats(tmp_path / "out") == ["a 0"]


@pytest.mark.usefixtures("small")
def test_a_gpu_that_cannot_be_opened_leaves_what_the_cpu_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.observe.microbench import subjects

    def broken(_: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(subjects, "cpu_groups", lambda _: {"all": lambda: [subject("a", 1)]})
    monkeypatch.setattr(subjects, "open_gpu", broken)
    session = Session(tmp_path, lambda _: None)
    microbench._measure(session, True, True)
    assert session.failed == {"gpu": "RuntimeError: no kernel image"}
    assert whats(tmp_path) == ["a 0"]


@pytest.mark.usefixtures("small")
def test_a_name_that_nothing_has_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before the table is filled, which takes tens of seconds, and beside good names."""
    monkeypatch.setattr(microbench, "_measure", lambda *_: pytest.fail("it measures"))
    monkeypatch.setattr(CpuBench, "flat", property(lambda _: pytest.fail("it fills the table")))
    for only in (("turbines",), ("micro_cpu", "turbines")):
        with pytest.raises(UsageError, match="nothing to measure is called turbines"):
            microbench.measure_machine(tmp_path / "out", only=only)
    assert not (tmp_path / "out").exists()


def test_names_that_the_gpu_alone_has_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.observe.microbench import subjects

    there = {"all": lambda: [subject("launches", 1)]}
    monkeypatch.setattr(subjects, "open_gpu", lambda _: None)
    monkeypatch.setattr(subjects, "gpu_groups", lambda *_: there)
    microbench._require_known(("micro_cpu", "launch"), tables.Budget(True), True)
    with pytest.raises(UsageError, match="called launch"):
        microbench._require_known(("micro_cpu", "launch"), tables.Budget(True), False)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("only", [(), ("cpu",)])
def test_measurements_are_replaced_only_where_somebody_asks_for_it(
    tmp_path: Path, only: tuple[str, ...]
) -> None:
    (tmp_path / "micro_cpu.csv").write_text("ours")
    with pytest.raises(OutputError, match="holds measurements: fit those"):
        microbench.measure_machine(tmp_path, only=only)
    assert (tmp_path / "micro_cpu.csv").read_text() == "ours"
    with pytest.raises(UsageError, match="nothing to measure is called turbines"):
        microbench.measure_machine(tmp_path, only=("turbines",), replace=True)
    assert (tmp_path / "micro_cpu.csv").read_text() == "ours", "a slip of the pen loses nothing"


def test_preparations_come_before_each_repetition_and_are_not_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables.Budget, "seconds", 0.0)
    calls: list[str] = []

    def prepare(k: int) -> None:
        calls.append(f"before {k}")
        time.sleep(0.02)

    times = milliseconds(
        lambda k: calls.append(f"work {k}"), tables.Budget(True), pause_s=0.005, before=prepare
    )
    assert calls == [f"{what} {k}" for k in range(4) for what in ("before", "work")]
    assert times["ms"] < 5.0  # neither the 20 ms before nor the pause of 5 ms
