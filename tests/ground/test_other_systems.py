"""What differs between operating systems: each way, on the one that there is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from simulator import UsageError, _extras
from simulator._extras import extra_module, install, require
from simulator._machine import lock_at_once, physical_memory


def test_memory_without_proc_is_that_of_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    told = physical_memory()

    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert physical_memory() == pytest.approx(told, rel=0.01)
    monkeypatch.setattr(os, "sysconf_names", {})
    assert physical_memory() == 8 * 2**30


def test_a_file_is_locked_once(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with file.open("w") as first, file.open("w") as second:
        lock_at_once(first)
        with pytest.raises(BlockingIOError):
            lock_at_once(second)
    with file.open("w") as third:
        lock_at_once(third)


@pytest.mark.parametrize(
    ("error", "raised"),
    [(PermissionError(13, "held"), BlockingIOError), (OSError(38, "none"), None)],
)
def test_windows_locks_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, raised: type[OSError] | None
) -> None:
    """Held by another: as elsewhere; no locks on that file system: nobody is kept out."""
    asked = []

    def locking(descriptor: int, mode: int, size: int) -> None:
        asked.append((mode, size))
        raise error

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with (tmp_path / "lock").open("w") as stream:
        if raised is None:
            lock_at_once(stream)
        else:
            with pytest.raises(raised):
                lock_at_once(stream)
    assert asked == [(2, 1)]


def test_an_extra_that_is_missing_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_extras.EXTRAS, "figures", ("no_such", "json"))
    with pytest.raises(UsageError, match=r"a chart: no_such missing: python -m pip install 'scra"):
        require("figures", "a chart")
    monkeypatch.setitem(_extras.EXTRAS, "lab", ("csv",))
    assert extra_module("csv", "measuring").__name__ == "csv"
    assert install("lab").endswith("'scratchpipe-sim[lab]'")


def test_every_extra_is_one_of_the_package() -> None:
    import tomllib

    file = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, modules in _extras.EXTRAS.items():
        for module in modules:
            assert any(line.startswith(module) for line in extras[extra])
