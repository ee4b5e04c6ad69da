"""A small sweep, and the command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.config.expand import expand
from simulator.engine import parse_experiment

REPOSITORY = Path(__file__).parents[2]
TEXT = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 5000, batch_size: 64}
trace: {locality: medium}
systems: [hybrid, scratchpipe]
cache: {if_too_small: grow}
run: {batches: 80, warmup_batches: 2}
sweep:
  trace.locality: [low, high]
  cache.fraction: [0.5, 0.9]
"""
COMMAND = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs tests may ignore it
from simulator.cli import main
main()
"""
RESULTS = ("metrics.csv", "metrics.parquet", "stages.parquet", "timeline.parquet")


class Shell:
    """Runs `scratchpipe` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *arguments, code=COMMAND, **environment):
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, **options):
        """Exit code, standard output and standard error."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def results(self, name):
        """The bytes of a run directory's results."""
        return {file: (self.folder / name / file).read_bytes() for file in RESULTS}

    def points(self, name):
        """The files of finished points."""
        return sorted((self.folder / name / "points").glob("*.json"))


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "sweep.yaml").write_text(TEXT)
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The results of the small sweep, run in one go, and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(TEXT)
    shell = Shell(folder)
    code, out, err = shell.run("run", "sweep.yaml", "--out", "run", PYTHONHASHSEED="1")
    assert code == 0, err
    return shell.results("run"), out


@pytest.fixture
def make_points():
    """Points of a small experiment with changes."""

    def make(**changes):
        data = {
            "config_version": 1,
            "platform": "v100_p3",
            "model": {
                "base": "default",
                "tables": 2,
                "rows_per_table": 5000,
                "batch_size": 64,
            },
            "trace": {"locality": "medium"},
            "systems": ["hybrid", "straw_man", "scratchpipe"],
            "cache": {"fraction": 0.9, "if_too_small": "grow"},
            "run": {"batches": 4, "warmup_batches": 2},
        }
        return expand(parse_experiment(data | changes))

    return make
