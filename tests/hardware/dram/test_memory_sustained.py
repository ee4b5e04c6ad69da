"""What a memory sustains, kept on disk: as it was simulated, to the last bit."""

from __future__ import annotations

import sys
from pathlib import Path

import numba
import pytest

from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import Sustained, sustained

HOME = sys.modules["simulator.hardware.dram.sustained"]
"""The module; the package gives its name to the function."""


def test_what_is_kept_is_what_was_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated: list[str] = []
    measure = HOME.measure  # type: ignore[attr-defined]

    def counted(*args: object, **options: object) -> object:
        simulated.append(str(args[1]))
        return measure(*args, **options)

    monkeypatch.setattr(HOME, "measure", counted)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    folders = sys.modules["simulator._kept_files"].folders_of  # type: ignore[attr-defined]
    folders.cache_clear()
    try:
        given = []
        for _ in range(2):
            sustained.cache_clear()
            memories = [load_part("ddr4_2400"), load_part("hbm2_v100")]
            given.append([sustained(m, "gather", 512, 0.25, requests=4096) for m in memories])
        assert given[0] == given[1]
        assert all(isinstance(each, Sustained) for each in given[1])
        assert given[0][0] != given[0][1]
        assert simulated == ["gather", "gather"]
    finally:
        folders.cache_clear()
        sustained.cache_clear()


def test_memories_that_differ_in_one_number_have_answers_of_their_own() -> None:
    memory = load_part("ddr4_2400")
    slower = memory.model_copy(update={"timing": memory.timing.model_copy(update={"faw": 200})})
    one, other = (sustained(m, "gather", 64, requests=4096) for m in (memory, slower))
    assert other.bytes_per_s < one.bytes_per_s
