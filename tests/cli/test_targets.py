"""Where verbs write to: special files, odd places, and folders with work in them."""

import json
import os
import stat
import threading

import numpy as np
import pytest
from typed import ran

from simulator.cli import main

DATA = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": {"base": "default", "tables": 1, "rows_per_table": 2000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 1.05},
    "systems": ["hybrid"],
    "cache": {"fraction": 1.0},
    "run": {"batches": 3, "warmup_batches": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an experiment, its run and a trace."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "e.yaml").write_text(json.dumps(DATA))
    np.save(folder / "ids.npy", np.arange(50) % 7)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "e.yaml"), "--out", str(folder / "run")])
    assert not ended.value.code
    return folder


WRITERS = {
    "csv": lambda place, target: ("trace", "convert", place / "ids.npy", target, "--to", "csv"),
    "npz": lambda place, target: ("trace", "convert", place / "ids.npy", target, "--to", "npz"),
    "parquet": lambda p, target: ("trace", "convert", p / "ids.npy", target, "--to", "parquet"),
    "generate": lambda place, target: ("trace", "generate", target, "--alpha", 1, "--to", "npy"),
    "report": lambda place, target: ("report", place / "run", "--out", target),
    "timeline": lambda place, target: ("timeline", place / "run", "--out", target),
    "plot": lambda place, target: ("trace", "describe", place / "ids.npy", "--plot", target),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_pipe_stays_a_pipe_and_gets_what_a_file_would(place, tmp_path, capsys, name):
    pipe, file = tmp_path / "pipe.svg", tmp_path / "file.svg"
    assert ran(capsys, *WRITERS[name](place, file))[0] == 0
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    code, _, err = ran(capsys, *WRITERS[name](place, pipe))
    assert code == 0, err
    reader.join(30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert len(received[0]) == file.stat().st_size
    if name != "plot":  # ids of its parts are drawn anew
        assert received == [file.read_bytes()]


@pytest.mark.parametrize("name", WRITERS)
def test_links_are_followed_and_folders_refused(place, tmp_path, capsys, name):
    real, link = tmp_path / "real.svg", tmp_path / "link.svg"
    real.write_text("old")
    link.symlink_to(real)
    assert ran(capsys, *WRITERS[name](place, link))[0] == 0
    assert link.is_symlink()
    assert real.read_bytes() != b"old"
    (tmp_path / "folder.svg").mkdir()
    code, _, err = ran(capsys, *WRITERS[name](place, tmp_path / "folder.svg"))
    assert code == 1
    assert "folder.svg: cannot be written: it is a folder; name another file" in err
    code, _, err = ran(capsys, *WRITERS[name](place, real / "below.svg"))
    assert code == 1
    assert "a part of the path is a file, not a folder" in err
    code, _, err = ran(capsys, *WRITERS[name](place, tmp_path / f"{'x' * 300}.svg"))
    assert code == 1
    assert "the name is too long" in err


@pytest.mark.parametrize("arguments", [("run",), ("observe", "--device", "cpu")])
@pytest.mark.parametrize("target", [".", "", "file", "file/below", "/", "x" * 300])
def test_a_folder_that_cannot_be_the_target_is_told(
    place, tmp_path, capsys, monkeypatch, arguments, target
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("ours")
    profile = ["--set", "operators=observed"] if arguments[0] == "observe" else []
    verb, *options = arguments
    code, _, err = ran(capsys, verb, place / "e.yaml", "--out", target, *options, *profile)
    assert code == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")
    assert "choose another" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_empty_folder_is_a_fine_target_by_its_dot(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ran(capsys, "run", place / "e.yaml", "--out", ".")[0] == 0
    assert (tmp_path / "manifest.json").is_file()
    assert [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")] == []


def test_studies_are_reproduced_only_beside_their_own(tmp_path, capsys):
    (tmp_path / "README.md").write_text("ours")
    code, _, err = ran(capsys, "reproduce", "locality", "--out", tmp_path)
    assert code == 1
    assert "holds files but no summary.json" in err
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_an_observation_is_replaced_only_where_somebody_asks_for_it(place, tmp_path, capsys):
    (tmp_path / "observed.json").write_text("hours")
    code, _, err = ran(capsys, "observe", place / "e.yaml", "--out", tmp_path, "--device", "cpu")
    assert code == 1
    assert "holds an observation: choose another --out, or --replace to lose it" in err
    assert (tmp_path / "observed.json").read_text() == "hours"


def test_another_experiment_needs_replace(place, tmp_path, capsys):
    out = tmp_path / "run"
    assert ran(capsys, "run", place / "e.yaml", "--out", out)[0] == 0
    changed = ("run", place / "e.yaml", "--out", out, "--set", "run.batches=4")
    for more in ((), ("--dry-run",)):
        code, told, err = ran(capsys, *changed, *more)
        assert (code, told) == (2, "")
        assert "run.batches is 3 there, 4 here" in err
    code, told, err = ran(capsys, *changed, "--replace")
    assert code == 0
    assert "more finished points" not in err
    code, told, err = ran(capsys, *changed, "--set", "sweep={run.seed: [1, 2]}")
    assert code == 0
    assert "1 more finished points stay in" in err


@pytest.mark.parametrize("group", ["config", "trace", "memory", "results", "machine"])
def test_a_group_of_verbs_alone_prints_its_help(capsys, group):
    code, out, _ = ran(capsys, group)
    assert code == 2
    assert f"Usage: scratchpipe {group}" in out
