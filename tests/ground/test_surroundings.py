"""What surrounds a command (environment, terminal) changes neither its files nor its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXPERIMENT = """\
config_version: 1
description: µ — description
platform: v100_p3
model: {base: default, rows_per_table: 500, tables: 2, batch_size: 8, lookups_per_table: 2}
trace: {kind: zipf, alpha: 0.9}
systems: [scratchpipe]
cache: {fraction: 0.6, prefill: hot}
run: {batches: 2, warmup_batches: 1}
"""
DRAW = """\
from pathlib import Path
import sys
import pandas as pd
from simulator.figures.charts import figure_grid
from simulator.figures.files import write_figure
from simulator.figures.style import styled
with styled():
    figure, (axes,) = figure_grid(1, 1, 3, 2)
    axes.plot([1, 2], [3, 4], label="\\u00b5 \\u2014 text")
    axes.legend()
write_figure("f", figure, pd.DataFrame({"a": [1]}), Path(sys.argv[1]))
"""


def ran(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A process of its own, with other variables; an empty one is taken away."""
    given = os.environ | environment
    kept = {name: value for name, value in given.items() if environment.get(name) != ""}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env=kept, capture_output=True, timeout=300, check=False)


def scratchpipe(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own."""
    return ran("-m", "simulator", *words, **environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace, an experiment and the figure that no variable has to do with."""
    folder = tmp_path_factory.mktemp("surroundings")
    np.save(folder / "ids.npy", np.arange(60) % 7)
    (folder / "µ.yaml").write_text(EXPERIMENT, encoding="utf-8")
    done = ran("-c", DRAW, folder / "plain")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    "variables",
    [
        {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"MATPLOTLIBRC": "{folder}/settings"},
        {"HOME": "/proc/nowhere", "XDG_CONFIG_HOME": "/proc/nowhere", "MPLCONFIGDIR": ""},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
    ],
    ids=str,
)
def test_a_figure_is_the_same(folder: Path, variables: dict[str, str]) -> None:
    settings = "backend: nowhere\nfont.size: 30\nlines.linewidth: 9\ntext.usetex: True\n"
    (folder / "settings").write_text(settings)
    given = {name: value.format(folder=folder) for name, value in variables.items()}
    done = ran("-c", DRAW, folder / "drawn", **given)
    assert done.returncode == 0, done.stderr
    for file in sorted((folder / "plain").iterdir()):
        assert (folder / "drawn" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_notebook_keeps_its_backend(folder: Path) -> None:
    code = f"import matplotlib; matplotlib.use('svg'); import sys\n{DRAW}\n"
    code += "assert matplotlib.get_backend() == 'svg'\n"
    assert ran("-c", code, folder / "kept").returncode == 0


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "latin-1"},
        {"TERM": "dumb", "COLUMNS": "1"},
        {"COLUMNS": "many", "NO_COLOR": "1", "LANG": "tr_TR.UTF-8"},
    ],
    ids=str,
)
def test_a_terminal_that_cannot_show_everything_is_no_error(
    folder: Path, variables: dict[str, str]
) -> None:
    for words in (
        ("config", "show", folder / "µ.yaml"),
        ("machine", "show", "v100_p3"),
        ("replay", "--trace", folder / "ids.npy", "--policy", "lru", "--capacity", 3),
    ):
        done = scratchpipe(*words, **variables)
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
        assert done.returncode in (0, 2), done.stderr.decode(errors="replace")


def test_without_compilation_the_commands_answer_the_same(folder: Path) -> None:
    def answers(**environment: str) -> list[object]:
        replay = ("replay", "--trace", folder / "ids.npy", "--policy", "lru", "--capacity", 3)
        memory = ("memory", "measure", "--memory", "ddr4_2400", "--pattern", "mixed")
        documents = []
        for words in (replay, (*memory, "--requests", 300)):
            done = scratchpipe(*words, "--json", **environment)
            assert done.returncode == 0, done.stderr
            documents.append(json.loads(done.stdout))
        for document in documents:
            for key in ("wall_s", "lookups_per_s", "requests_per_s"):
                document.pop(key, None)
        return documents

    assert answers(NUMBA_DISABLE_JIT="1") == answers()


def test_a_run_that_is_not_compiled_says_that_it_takes_long(folder: Path) -> None:
    (folder / "plain.yaml").write_text(
        "config_version: 1\nplatform: v100_p3\nmodel: default\nsystems: hybrid\n"
        "trace: {kind: zipf, alpha: 1.0}\nrun: {batches: 1, warmup_batches: 0}\n"
    )
    checked = ("run", folder / "plain.yaml", "--dry-run")
    said = "nothing is compiled, and a run takes hundreds of times as long"
    assert said in str(scratchpipe(*checked, NUMBA_DISABLE_JIT="1").stderr)
    assert said not in str(scratchpipe(*checked).stderr)


def test_closed_streams_are_no_traceback(folder: Path) -> None:
    command = f"{sys.executable} -m simulator list systems"
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(f"{command} {closed}", shell=True, cwd=folder, capture_output=True)
        assert done.returncode == 0
        assert b"Traceback" not in done.stdout + done.stderr


def test_names_that_are_no_utf_8_are_read_and_written(folder: Path) -> None:
    run = os.fsencode(folder) + b"/caf\xe9"
    tiny = (
        "config_version: 1\nplatform: v100_p3\nsystems: hybrid\ntrace: {kind: zipf, alpha: 1.0}\n"
        "model: {base: default, tables: 1, rows_per_table: 90, batch_size: 2, dim: 16}\n"
        "run: {batches: 1, warmup_batches: 0}\n"
    )
    Path(os.fsdecode(run) + ".yaml").write_text(tiny)
    table = run + b".parquet"
    for words in (
        (b"run", run + b".yaml", b"--out", run),
        (b"results", b"show", run),
        (b"report", run),
        (b"timeline", run),
        (b"trace", b"convert", os.fsencode(folder) + b"/ids.npy", table),
        (b"trace", b"validate", table),
    ):
        command = [os.fsencode(sys.executable), b"-m", b"simulator", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
