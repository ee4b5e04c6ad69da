"""The command line as a user meets it: help, exit codes, and where messages go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GOOD = """\
config_version: 1
platform: v100_p3
model: default
trace: {locality: medium}
systems: [hybrid, scratchpipe]
"""


def imported_by(*arguments):
    """The modules that are loaded when the command line is done."""
    code = (
        "import sys\n"
        "from simulator.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_is_quick_because_it_imports_nothing_heavy(arguments):
    heavy = {"numpy", "pandas", "numba", "pyarrow", "matplotlib", "simpy", "ruamel"}
    assert not heavy & imported_by(*arguments)


def test_help_names_every_verb(scratchpipe):
    done = scratchpipe("--help")
    assert done.returncode == 0
    for verb in ("run", "replay", "hazards", "trace", "memory", "config", "list", "explain"):
        assert verb in done.stdout


@pytest.mark.parametrize("verb", ["run", "replay", "hazards", "trace", "config", "list", "explain"])
def test_every_verb_has_help(scratchpipe, verb):
    done = scratchpipe(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_version(scratchpipe):
    assert scratchpipe("--version").stdout.startswith("scratchpipe ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "run"),
        (["run"], "Missing argument"),
        (["run", "x.yaml", "--nonsense"], "No such option"),
        (["list", "nonsense"], "systems"),
        (["config", "check"], "Missing argument"),
        (["run", "no.yaml"], "error: no.yaml: there is no such file"),
        (
            ["explain", "wal_s"],
            "error: there is no column, system or policy 'wal_s': did you mean 'wall_s'?",
        ),
        (["explain", "xyzzy"], "lists all"),
        (["explain", "hits"], "columns that say so: lookup_hit_rate"),
        (["explain", "evictions"], "victims_per_batch"),
    ],
)
def test_bad_usage_exits_with_2_and_says_so_on_stderr(scratchpipe, arguments, words):
    done = scratchpipe(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_the_same_from_outside(tmp_path):
    """Exit code and streams of a process of its own, with every warning an error."""
    (tmp_path / "x.yaml").write_text(GOOD.replace("default", "defualt"))
    code = "from simulator.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "config", "check", "x.yaml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('error: x.yaml:3:8: model: is "defualt"')


def test_config_check(scratchpipe, tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    done = scratchpipe("config", "check", "x.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "x.yaml: no mistakes, 2 points to simulate\n")


def test_config_mistakes_come_one_a_line_with_their_places(scratchpipe, tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD.replace("v100_p3", "v100") + "cache: {fraction: 0}\n")
    for verb in (["config", "check"], ["config", "show"], ["run"]):
        done = scratchpipe(*verb, "x.yaml", "--set", "run.seed=-1", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert 'error: x.yaml:2:11: platform: is "v100"' in done.stderr
        assert "    did you mean 'v100_p3'?" in done.stderr
        assert "error: x.yaml:6:19: cache.fraction: is 0: must be greater than 0" in done.stderr
        assert "error: --set run.seed: run.seed: is -1: must be at least 0" in done.stderr
        assert done.stderr.count("error:") == 3
    assert os.listdir(tmp_path) == ["x.yaml"]


def test_config_show_prints_yaml_that_check_takes(scratchpipe, tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    shown = scratchpipe("config", "show", "x.yaml", "--set", "model.dim=64", cwd=tmp_path)
    assert "dim: 64" in shown.stdout
    assert "fraction: 0.1" in shown.stdout
    (tmp_path / "y.yaml").write_text(shown.stdout)
    assert scratchpipe("config", "check", "y.yaml", cwd=tmp_path).returncode == 0


def test_config_show_resolved(scratchpipe, tmp_path):
    (tmp_path / "x.yaml").write_text(GOOD)
    shown = scratchpipe("config", "show", "x.yaml", "--resolved", "--json", cwd=tmp_path)
    points = json.loads(shown.stdout)
    assert [point["system"]["name"] for point in points] == ["hybrid", "scratchpipe"]
    assert points[0]["model"]["rows_per_table"] == 10_000_000


@pytest.mark.parametrize(
    "of", ["experiment", "platform", "model", "trace", "operators", "memory", "part"]
)
def test_config_schema(scratchpipe, of):
    schema = json.loads(scratchpipe("config", "schema", of).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"properties", "oneOf", "anyOf"} & set(schema)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("systems", "scratchpipe"),
        ("policies", "lru"),
        ("platforms", "h200"),
        ("models", "mlperf_dlrm"),
        ("memories", "ddr4_2400"),
        ("parts", "v100_sxm2_32gb"),
        ("traces", "medium"),
        ("operators", "paper"),
    ],
)
def test_list(scratchpipe, kind, name):
    lines = scratchpipe("list", kind).stdout.splitlines()
    assert any(line.split()[0] == name and len(line.split()) > 2 for line in lines)
    assert name in json.loads(scratchpipe("list", kind, "--json").stdout)


def test_list_without_a_kind_is_everything(scratchpipe):
    assert "systems: hybrid, static_cache" in scratchpipe("list").stdout
    assert "h200" in json.loads(scratchpipe("list", "--json").stdout)["platforms"]


def test_sentences_are_whole(scratchpipe):
    for line in scratchpipe("list", "traces").stdout.splitlines():
        assert line.endswith("."), line


@pytest.mark.parametrize("verb", [["-h"], ["run", "-h"], ["results", "show", "-h"]])
def test_help_has_a_short_name(scratchpipe, verb):
    assert "Usage" in scratchpipe(*verb).stdout


def test_explain(scratchpipe):
    done = scratchpipe("explain", "lookup_hit_rate")
    assert "lookup_hit_rate (metrics; float, 1)" in done.stdout
    assert "Share of lookups" in done.stdout
    assert "Wall-clock" in scratchpipe("explain", "realtime_factor").stdout
    assert "iteration_time_us" in scratchpipe("explain").stdout.split()


def test_a_reader_that_goes_away_is_no_error_message():
    code = "from simulator.cli import main; main(['explain', '--markdown'])"
    writer = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout
    writer.stdout.close()
    _, stderr = writer.communicate(timeout=60)
    assert stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_told():
    code = "from simulator.cli import main; main(['explain', '--markdown'])"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"
