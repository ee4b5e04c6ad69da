"""Kernels compiled by another process: all that timing calls, and it does not outlive the run."""

from __future__ import annotations

import subprocess

import pytest

from simulator.engine import beside
from simulator.engine.beside import KERNELS, await_kernels, compile_all, compiling_beside
from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import measure


@pytest.fixture
def nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is kept, and there is a core to spare."""
    monkeypatch.setattr(beside, "is_kept", lambda kernel: False)
    monkeypatch.setattr(beside, "cores", lambda: 2)


def test_the_least_work_compiles_what_other_memories_use_too() -> None:
    compile_all()
    before = [list(kernel.signatures) for kernel in KERNELS]
    assert all(len(signatures) == 1 for signatures in before)
    measure(load_part("hbm3_h100"), "scatter", 512, 256, channels=1, load=0.5)
    assert [list(kernel.signatures) for kernel in KERNELS] == before


@pytest.mark.usefixtures("nobody_has")
def test_the_other_process_compiles_and_is_waited_for() -> None:
    with compiling_beside():
        (process,) = beside._begun
        await_kernels()
        assert process.returncode == 0
    assert not beside._begun


@pytest.mark.usefixtures("nobody_has")
def test_the_other_process_ends_with_the_run() -> None:
    with compiling_beside():
        (process,) = beside._begun
    assert process.returncode is not None
    await_kernels()


@pytest.mark.usefixtures("nobody_has")
def test_a_process_that_cannot_begin_or_fails_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(subprocess, "Popen", _refuse)
        with compiling_beside():
            assert not beside._begun
            await_kernels()
    monkeypatch.setattr(beside.sys, "executable", "false")
    with compiling_beside():
        await_kernels()


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
