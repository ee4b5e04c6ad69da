"""Inputs tried one after the other, in this process; each is named by its kind and a number.

    python tests/fuzz/fuzzing.py KIND FIRST [STOP]

tries numbers FIRST to STOP - 1 (else FIRST alone, which is a replay: it shows the commands and what
they said, and keeps their files in `fuzzed/`). A line of JSON tells each number and its failure.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from kinds import KINDS, Bench, Trial

from simulator.cli import main
from simulator.errors import InvariantError

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Said", "failure_of", "in_processes", "tried"]

MOST_SECONDS = 60
MOST_BYTES = 4 << 30
"""Address space above what the process has before its first input."""

_CODES = (0, 1, 2, 3)
_FEW_SECONDS, _FEW_BYTES = 3, 2 << 30
"""What a run may be estimated to take; larger ones are left to who asks for them."""


@dataclass(frozen=True)
class Said:
    """What a command did."""

    command: tuple[str, ...]
    code: object
    out: str
    error: str
    small: bool = True
    """Whether it was estimated to take little memory, or takes none to speak of."""

    def __str__(self) -> str:
        return f"$ scratchpipe {self.command!r}\nexit code {self.code!r}\n{self.out}{self.error}"


def tried(kind: str, number: int, folder: Path, seeds: Path) -> str:
    """Make and try an input in the empty `folder`; what is wrong with the answer, "" if nothing."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trial = KINDS[kind](Bench(folder, seeds, Random(f"{kind} {number}")))
    with contextlib.chdir(folder):
        for command in trial.commands:
            said = _answer(command)
            failure = failure_of(trial, said)
            if failure:
                return f"{kind!r} {number}: {failure}\n{said}"
    return ""


def failure_of(trial: Trial, said: Said) -> str:
    """Why an answer is none that a user should get; "" for a good one."""
    if said.code not in _CODES:
        return f"exit code {said.code!r}"
    if "Traceback (most recent call last)" in said.error:
        return "a traceback"
    if "not enough memory" in said.error and said.small:
        return "it ran out of memory"
    if not said.code:
        return ""
    if "rror" not in said.error:
        return "an exit code without an error"
    flat = "".join(said.error.split()).replace("│", "")
    if not any(place in flat for place in trial.places):
        return f"an error that names none of {', '.join(trial.places)}"
    return ""


def _answer(command: tuple[str, ...]) -> Said:
    small: bool | None = True
    if command[0] == "run" and "--dry-run" not in command:
        small = _is_small(command)
        command = (*command, "--dry-run") if small is False else command
    return replace(_said(command), small=bool(small))


def _is_small(command: tuple[str, ...]) -> bool | None:
    """Whether a run is estimated to take seconds; None where it is refused, and not estimated."""
    estimated = _said((*command, "--dry-run", "--json"))
    try:
        cost = json.loads(estimated.out)
    except ValueError:
        return None
    return bool(cost["time_s"] < _FEW_SECONDS and cost["memory_bytes"] < _FEW_BYTES)


def _said(command: tuple[str, ...]) -> Said:
    out, error = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main(command)
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            code = traceback.format_exc()
    return Said(command, code, out.getvalue(), error.getvalue())


def in_processes(kind: str, numbers: range, at_once: int = 500) -> Iterator[tuple[int, str]]:
    """(number, failure or "") of each input, tried in processes with limits of time and memory."""
    number = numbers.start
    while number < numbers.stop:
        stop = min(numbers.stop, number + at_once)
        command = (sys.executable, __file__, kind, str(number), str(stop))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            number, failure = json.loads(line)
            yield number, failure
            number += 1
        if number < stop:  # the process ended under an input
            yield number, f"{kind!r} {number}: its process ended: {done.stderr[-3000:]}"
            number += 1


def _limited() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _ran(kind: str, numbers: range) -> None:
    """Try `numbers`, a line of JSON each; the process ends where one takes too long."""
    warnings.simplefilter("error")
    InvariantError.exit_code = 70  # a bug of the simulator, whatever the input
    with tempfile.TemporaryDirectory() as place, os.fdopen(os.dup(1), "w", buffering=1) as lines:
        folder, seeds = Path(place) / "trial", Path(place) / "seeds"
        seeds.mkdir()
        for number in numbers:
            folder.mkdir()
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            failure = tried(kind, number, folder, seeds)
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(folder, ignore_errors=True)
            lines.write(json.dumps([number, failure]) + "\n")
            if number == numbers.start:  # it has imported what the others need
                _limited()


def _replayed(kind: str, number: int) -> None:
    folder = Path("fuzzed").resolve()
    folder.mkdir()
    with tempfile.TemporaryDirectory() as seeds:
        trial = KINDS[kind](Bench(folder, Path(seeds), Random(f"{kind} {number}")))
        with contextlib.chdir(folder):
            for command in trial.commands:
                said = _answer(command)
                print(said, failure_of(trial, said), sep="\n")


if __name__ == "__main__":
    chosen, *given = sys.argv[1:]
    if len(given) == 1:
        _replayed(chosen, int(given[0]))
    else:
        _ran(chosen, range(int(given[0]), int(given[1])))
