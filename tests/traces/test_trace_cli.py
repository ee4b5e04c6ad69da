"""The trace verbs as a user runs them."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from simulator.cli import main
from simulator.cli.trace import app
from simulator.errors import ConfigError, TraceError, UsageError
from simulator.traces import read_ids
from simulator.traces.curves import shipped


def run(*arguments):
    """Standard output; what the verb raises is raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result


def test_generate_describe_convert_validate(tmp_path):
    made, other = tmp_path / "a.npz", tmp_path / "b.npy"
    shape = ("--tables", 2, "--rows", 500, "--lookups", 3, "--batch-size", 64, "--batches", 4)
    facts = json.loads(run("generate", made, "--locality", "medium", *shape, "--json").stdout)
    assert (facts["lookups"], facts["tables"]) == (2 * 3 * 64 * 4, 2)
    assert "wrote 768 lookups of 1 table" in run("convert", made, other, "--column", "t1").stdout
    assert read_ids(other).tolist() == read_ids(made, column="t1").tolist()
    assert json.loads(run("validate", other, "--rows", 500, "--json").stdout)["valid"]
    described = run("describe", made, "--json", "--plot", tmp_path / "a.png")
    tables = json.loads(described.stdout)["tables"]
    assert [t["table"] for t in tables] == ["t0", "t1"]
    assert tables[0]["lookups"] == 768
    assert "NO ORDER IN TIME in t0, t1" in described.stderr
    assert (tmp_path / "a.png").exists()


def test_same_seed_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        run("generate", tmp_path / name, "--alpha", 0.9, "--set", "pooling=poisson", "--rows", 99,
            "--batches", 2, "--batch-size", 50)  # fmt: skip
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_describe_prints_tables_for_people(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    result = run("describe", shipped("nycflights13_2013.npz"), "--column", "dest")
    assert "334,264" in result.stdout
    assert "order in time" in result.stdout
    assert "WARNING" not in result.stderr


def test_criteo_needs_sizes(tmp_path):
    path = tmp_path / "day_0.txt"
    path.write_text("\t".join(["0"] * 14 + ["0a"] * 26) + "\n")
    run("convert", path, tmp_path / "a.parquet", "--sizes", "100")
    assert read_ids(tmp_path / "a.parquet", column="C7").max() < 100
    with pytest.raises(TraceError, match="stated table sizes"):
        run("validate", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "a.npy", "--kind", "zipff"), "expected one of"),
        (("generate", "a.npy", "--kind", "zipf"), "trace.alpha: is missing"),
        (("generate", "a.npy", "--set", "alpha"), "is not path=value"),
        (("generate", "a.npy", "--set", "alpha=[1"), "is not valid YAML"),
        (("generate", "a.what", "--alpha", "1"), "tells no trace format"),
        (("generate", "a.pt", "--alpha", "1"), "are not written"),
        (("validate", "a.npy", "--rows", "0"), "expected 1 numbers from 1"),
        (("validate", "a.npy", "--rows", "many"), "expected N or N,N"),
        (("validate", "a.npy", "--format", "hdf5"), "expected one of npy"),
    ],
)
def test_mistakes_are_usage_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.arange(3))
    before = sorted(tmp_path.iterdir())
    with pytest.raises((UsageError, ConfigError), match=message):
        run(*arguments)
    assert sorted(tmp_path.iterdir()) == before


def test_notes_go_to_standard_error_and_into_the_document(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,1,2\n7,8,9\n")
    said = run("validate", path)
    assert "6 lookups in 3 table(s)" in said.stdout
    assert said.stderr.startswith(f"note: {path}: the first line is taken for ids")
    named = run("validate", path, "--header", "yes", "--column", "2", "--json")
    assert named.stderr == ""
    document = json.loads(named.stdout)
    assert document["tables"] == [{"table": "2", "lookups": 1, "max_id": 9}]
    assert document["notes"] == []
    assert len(json.loads(run("describe", path, "--json").stdout)["notes"]) == 1


def test_parts_and_standard_input(tmp_path):
    parts = []
    for number in range(3):
        parts.append(tmp_path / f"part-{number}.csv.gz")
        parts[-1].write_bytes(gzip.compress(f"x\n{number}\n".encode()))
    assert "3 lookups in 1 table" in run("validate", *parts).stdout
    assert "3 lookups in 1 table" in run("validate", tmp_path).stdout
    run("convert", *reversed(parts), tmp_path / "a.npy")
    assert read_ids(tmp_path / "a.npy").tolist() == [2, 1, 0]
    command = [sys.executable, "-m", "simulator", "trace", "validate", "-", "--format", "csv"]
    piped = subprocess.run(command, input=b"x\n4\n2\n", capture_output=True, check=True)
    assert b"2 lookups in 1 table" in piped.stdout


def test_any_records_can_be_forced(tmp_path):
    (tmp_path / "a.bin").write_bytes(np.arange(6, dtype=np.int32)[::-1].tobytes() * 9)
    with pytest.raises(TraceError, match="no oracleGeneral records"):
        run("validate", tmp_path / "a.bin")
    assert "9 lookups" in run("validate", tmp_path / "a.bin", "--unchecked").stdout


def test_packed_files_are_not_written(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(UsageError, match="tells no trace format"):
        run("convert", tmp_path / "a.npy", tmp_path / "a.csv.gz")


def test_validate_names_the_first_bad_record(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, 2, 30, 40]))
    with pytest.raises(TraceError, match="id 30 at record 2 is outside of a table of 10 rows"):
        run("validate", tmp_path / "a.npy", "--rows", "10")


def test_more_lookups_than_the_disk_holds_are_not_drawn(tmp_path, capsys):
    target = tmp_path / "ids.npy"
    with pytest.raises(SystemExit) as ended:
        main(["trace", "generate", str(target), "--locality", "high", "--batches", str(10**7)])
    assert ended.value.code == 2
    assert "lower --batches" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["validate", "describe"])
def test_standard_input_is_called_so(tmp_path, command):
    arguments = [sys.executable, "-m", "simulator", "trace", command, "-", "--format", "csv"]
    for text, words in (
        (b"x\n4\n-2\n", "error: -: table 'x': id -2 at record 1 is negative"),
        (b"x\n4\ny\n", "error: -: line 3: 'y'"),
        (b"", "error: -: holds no ids"),
    ):
        piped = subprocess.run(arguments, input=text, capture_output=True, check=False)
        assert piped.returncode == 2
        assert piped.stderr.decode().startswith(words)
    piped = subprocess.run(arguments, input=b"4\n2\n", capture_output=True, check=True)
    assert piped.stderr.decode().startswith("note: -: the first line is taken for ids")


@pytest.mark.parametrize("name", ["a.csv", "a.npy", "a.npz", "a.parquet", "a.oracleGeneral"])
def test_sizes_of_what_is_not_hashed_are_refused(tmp_path, name):
    (tmp_path / "x.csv").write_text("x\n1\n2\n")
    run("convert", tmp_path / "x.csv", tmp_path / name)
    for verb in ("validate", "describe"):
        with pytest.raises(TraceError, match="row numbers, not words to hash: leave the sizes out"):
            run(verb, tmp_path / name, "--sizes", "100")
