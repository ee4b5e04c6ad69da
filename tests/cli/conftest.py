"""The command line in this process."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.cli import main

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def scratchpipe(capsys, monkeypatch):
    """Runs a command line in this process."""

    def call(*arguments, cwd=REPOSITORY):
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(caught.value.code or 0, captured.out, captured.err)

    return call
