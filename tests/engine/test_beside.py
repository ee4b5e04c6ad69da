"""Kernels compiled by other processes: all that timing calls, and none outlives the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from small import points

from simulator.engine import beside, simulate_points
from simulator.engine.beside import (
    EVENTS,
    PRICING,
    await_kernels,
    compile_events,
    compile_pricing,
    compiling_beside,
)
from simulator.engine.clockwork import run_clockwork
from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import measure


@pytest.fixture
def nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is kept, and there is a core to spare."""
    monkeypatch.setattr(beside, "is_kept", lambda kernel: False)
    monkeypatch.setattr(beside, "cores", lambda: 2)


def test_the_least_work_compiles_what_other_memories_use_too() -> None:
    compile_pricing()
    before = [list(kernel.signatures) for kernel in PRICING]
    assert all(len(signatures) == 1 for signatures in before)
    measure(load_part("hbm3_h100"), "scatter", 512, 256, channels=1, load=0.5)
    assert [list(kernel.signatures) for kernel in PRICING] == before


def test_events_are_compiled_for_the_words_of_runs() -> None:
    compile_events()
    before = list(run_clockwork.signatures)
    assert before == [(typed(np.int64), typed(np.float64))]
    (point,) = points("scratchpipe", run={"check": False})
    simulate_points([point], threads=1)
    assert list(run_clockwork.signatures) == before


def typed(kind: type) -> object:
    return numba.typeof(np.zeros(1, kind))


@pytest.mark.usefixtures("nobody_has")
def test_the_other_process_compiles_and_is_waited_for() -> None:
    with compiling_beside():
        pricing, events = beside._others
        assert events.process is None
        await_kernels()
        assert pricing.process.returncode == 0
        assert events.process.poll() is None or events.process.returncode == 0
    assert not beside._others


@pytest.mark.usefixtures("nobody_has")
def test_the_other_processes_end_with_the_run() -> None:
    with compiling_beside():
        others = tuple(beside._others)
        for other in others:
            other.begin()
        with compiling_beside():  # of a sweep within a command
            assert tuple(beside._others) == others
        assert tuple(beside._others) == others
    assert all(other.process.returncode is not None for other in others)
    await_kernels()


@pytest.mark.parametrize(("long_s", "waits"), [(0.0, True), (60.0, False)])
def test_a_command_that_is_done_waits_for_who_has_been_at_it_for_long(
    monkeypatch: pytest.MonkeyPatch, long_s: float, waits: bool
) -> None:
    monkeypatch.setattr(beside, "is_kept", lambda kernel: kernel not in EVENTS)
    monkeypatch.setattr(beside, "cores", lambda: 2)
    monkeypatch.setattr(beside, "LONG_S", long_s)
    monkeypatch.setattr(beside, "PATIENCE_S", 60.0)
    with compiling_beside():
        events = beside._others[1]
    assert (events.process.returncode == 0) is waits
    others: list[beside._Other] = []
    with pytest.raises(KeyError):
        _fail_beside(others)
    assert others[1].process.returncode != 0


def _fail_beside(others: list[beside._Other]) -> None:
    with compiling_beside():
        others += beside._others
        raise KeyError


def test_events_begin_at_once_where_pricing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "is_kept", lambda kernel: kernel not in EVENTS)
    monkeypatch.setattr(beside, "cores", lambda: 2)
    with compiling_beside():
        pricing, events = beside._others
        await_kernels()
        assert pricing.process is None
        assert events.process is not None
    assert events.process.returncode is not None


@pytest.mark.usefixtures("nobody_has")
def test_a_process_that_cannot_begin_or_fails_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(subprocess, "Popen", _refuse)
        with compiling_beside():
            await_kernels()
            assert [other.process for other in beside._others] == [None, None]
    monkeypatch.setattr(beside.sys, "executable", "false")
    with compiling_beside():
        await_kernels()


def test_nobody_compiles_what_no_folder_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "is_kept", lambda kernel: False)
    monkeypatch.setattr(beside, "can_be_kept", lambda kernel: False)
    monkeypatch.setattr(beside, "cores", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", _fail)
    with compiling_beside():
        await_kernels()


@pytest.mark.usefixtures("nobody_has")
def test_the_other_process_imports_what_this_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder `simulator` where the command is given is none of its business."""
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "__init__.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    with compiling_beside():
        await_kernels()
        assert beside._others[0].process.returncode == 0
    assert not (tmp_path / "ran").exists()


def _refuse(*args: object, **options: object) -> None:
    raise OSError("no more processes")


def test_no_process_begins_where_kernels_are_kept_or_no_core_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", _fail)
    monkeypatch.setattr(beside, "is_kept", lambda kernel: True)
    with compiling_beside():
        await_kernels()
    monkeypatch.setattr(beside, "is_kept", lambda kernel: False)
    monkeypatch.setattr(beside, "cores", lambda: 1)
    with compiling_beside():
        await_kernels()


def _fail(*args: object, **options: object) -> None:
    raise AssertionError("a process begins")
