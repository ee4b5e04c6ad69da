"""Damaged inputs of every kind, through the verb that a user would type.

Whatever a file, an option or a `--set` says: an exit code of 0 to 3, no traceback, and an error
that names what it is about. The long run (`pytest -m fuzz`) tries `FUZZ_INPUTS` inputs of each
kind, 500 by default, from number `FUZZ_FIRST` on, in processes with limits of time and memory.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fuzzing import in_processes, tried
from kinds import KINDS
from mutations import mutated_bytes, mutated_data, mutated_fields, mutated_yaml

FEW = 8
"""Inputs of a kind in the ordinary test run; the suite has some forty kinds."""
SLOW = ("zip.pt", "stream.pt", "tensors", "calibration", "run", "guard", "machine", "points")
"""Kinds that import PyTorch, or fit or draw: seconds each."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_inputs_of_each_kind(kind: str, tmp_path: Path, seeds: Path) -> None:
    few = 2 if kind.endswith(SLOW) else FEW
    for number in range(few):
        folder = tmp_path / str(number)
        folder.mkdir()
        failure = tried(kind, number, folder, seeds)
        assert not failure, failure
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
def test_many_inputs_of_each_kind(kind: str) -> None:
    first, count = (int(os.environ.get(f"FUZZ_{name}", n)) for name, n in _DEFAULTS.items())
    results = list(in_processes(kind, range(first, first + count)))
    assert [number for number, _ in results] == list(range(first, first + count))
    failures = [failure for _, failure in results if failure]
    assert not failures, f"{len(failures)} of {count}:\n" + "\n\n".join(failures[:20])


_DEFAULTS = {"FIRST": 0, "INPUTS": 500}


def test_an_input_follows_from_its_kind_and_number() -> None:
    from random import Random

    changed = set()
    for number in range(50):
        made = [
            (
                mutated_bytes(b"0123456789" * 9, random),
                mutated_fields("a,b\n1,2\n3,4", random),
                mutated_yaml("a: 1\nb: {c: 2}", random),
                repr(mutated_data({"a": [1, {"b": 2}]}, random)),
            )
            for random in (Random(number), Random(number))
        ]
        assert made[0] == made[1]
        changed.add(made[0])
    assert len(changed) > 40
