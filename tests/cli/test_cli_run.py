"""`scratchpipe run`, in this process with a stand-in for the engine, and once for real."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.errors import CapacityError
from simulator.results.record import PointResult, Progress

REPOSITORY = Path(__file__).parents[2]
TEXT = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 1000, batch_size: 16, lookups_per_table: 2}
trace: {locality: medium}
systems: [hybrid, scratchpipe]
cache: {fraction: 0.5}
run: {batches: 3, warmup_batches: 2}
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TEXT)
    return "tiny.yaml"


def pretended(points, *, progress=None, threads=None):
    """What a simulation gives back, without one."""
    for number, point in enumerate(points):
        if progress is not None:
            progress(Progress(number, len(points), 0.5, point.system.label))
        metrics = {
            "point": point.key(),
            "system": point.system.name,
            "label": point.system.label,
            "operators": point.operators.name,
            "platform": point.platform.name,
            "model": point.model.name,
            "iteration_time_us": 1000.0 / (number + 1),
            "realtime_factor": 0.5,
        }
        yield number, PointResult(point, metrics, [{"stage": "train", "order": 0}])


@pytest.fixture
def engine(monkeypatch):
    """Replaces the engine's `simulate_each`."""

    def put(function):
        monkeypatch.setattr("simulator.sweep.work.simulate_each", function)

    put(pretended)
    return put


def run(*arguments):
    """The exit code of `scratchpipe run`."""
    with pytest.raises(SystemExit) as caught:
        main(["run", *map(str, arguments)])
    return caught.value.code or 0


def test_json_is_one_document_and_nothing_else(experiment, engine, capsys):
    assert run(experiment, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["system"] for row in rows] == ["hybrid", "scratchpipe"]
    assert rows[0]["realtime_factor"] == 0.5
    assert rows[0]["lookup_hit_rate"] is None


def test_the_run_directory_is_named_after_experiment_and_configuration(experiment, engine):
    assert run(experiment) == 0
    assert run(experiment, "--set", "run.seed=1") == 0
    assert run(experiment) == 0
    folders = sorted(os.listdir("runs"))
    assert len(folders) == 2
    assert all(name.startswith("tiny-") and len(name) == 13 for name in folders)


def test_a_table_then_the_files_then_what_to_type(experiment, engine, capsys):
    assert run(experiment, "--out", "out") == 0
    text = capsys.readouterr().out
    assert "operator profile paper" in text
    assert text.index("scratchpipe") < text.index("out/metrics.csv") < text.index("Next:")
    assert "scratchpipe explain" in text


def test_out_of_a_terminal_there_is_no_progress_and_no_colour(experiment, engine, capsys):
    run(experiment)
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "elapsed" not in captured.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CapacityError("the window needs 240 slots"), 2, "error: the window needs 240 slots"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_failing_simulation_leaves_no_files(experiment, engine, capsys, error, code, words):
    def fail(points, *, progress=None, threads=None):
        if isinstance(error, KeyboardInterrupt):
            raise error
        yield from ((number, error) for number in range(len(points)))

    engine(fail)
    assert run(experiment, "--json") == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert not any(Path("runs").iterdir())


def test_no_points_is_an_error(experiment, engine, capsys):
    engine(lambda points, *, progress=None, threads=None: iter(()))
    assert run(experiment) == 1
    assert "no point was simulated" in capsys.readouterr().err
    assert not any(Path("runs").iterdir())


def test_a_bad_target_is_told_before_the_simulation(experiment, engine, capsys):
    engine(lambda *a, **k: pytest.fail("simulated in vain"))
    assert run(experiment, "--out", "tiny.yaml") == 1
    assert "error: tiny.yaml is not a folder: choose another --out" in capsys.readouterr().err
    assert Path("tiny.yaml").read_text() == TEXT


def test_an_unwritable_target(experiment, engine, capsys, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", denied)
    assert run(experiment, "--out", "out") == 1
    assert "cannot write results to out: permission denied" in capsys.readouterr().err


def scratchpipe(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from simulator.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_for_real_with_the_same_bytes_under_two_hash_seeds(experiment, tmp_path):
    outputs = []
    for seed in ("1", "2"):
        done = scratchpipe(
            "run", experiment, "--out", f"out{seed}", "--json", cwd=tmp_path, PYTHONHASHSEED=seed
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)
        assert [row["system"] for row in rows] == ["hybrid", "scratchpipe"]
        assert all(row["iteration_time_us"] > 0 for row in rows)
        assert all(row["realtime_factor"] > 0 for row in rows)
        outputs.append(
            {
                file.name: file.read_bytes()
                for file in sorted((tmp_path / f"out{seed}").iterdir())
                if file.is_file() and file.name != "manifest.json"
            }
        )
    assert outputs[0] == outputs[1]
    assert {"metrics.csv", "metrics.parquet", "stages.parquet"} <= set(outputs[0])


def on_a_terminal(arguments, cwd, **environment):
    """Run with a pseudo-terminal as all three streams; what it showed."""
    main_end, their_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from simulator.cli import main; main()", *arguments],
        cwd=cwd,
        env=os.environ
        | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", "COLUMNS": "100"}
        | environment,
        stdin=their_end,
        stdout=their_end,
        stderr=their_end,
    )
    os.close(their_end)
    shown = b""
    while True:
        try:
            piece = os.read(main_end, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main_end)
    assert process.wait(timeout=60) == 0
    return shown.decode()


def test_on_a_terminal_there_is_progress_with_the_time_left_and_no_color_is_honoured(
    experiment, tmp_path
):
    shown = on_a_terminal(["run", experiment], tmp_path, NO_COLOR="1")
    assert "point " in shown
    assert "left" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-8][;m]", shown)
