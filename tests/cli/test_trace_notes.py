"""What is guessed about a file that an experiment reads is said once, and kept in its manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typed import ran

EXPERIMENT = """\
config_version: 1
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 50, batch_size: 2, lookups_per_table: 1,
  dim: 16, bottom_mlp: [8], top_mlp: [1]}
trace: {kind: KIND, path: FILE}
systems: [hybrid, static_cache]
cache: {fraction: 0.5}
run: {batches: 2, warmup_batches: 1}
sweep: {model.dim: [16, 32]}
"""


def experiment(folder: Path, kind: str, file: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(EXPERIMENT.replace("KIND", kind).replace("FILE", file))
    return path


def numbers(separator: str, lines: int = 20) -> str:
    return "".join(f"{n}{separator}{n + 1}\n" for n in range(3, 3 + lines))


@pytest.mark.parametrize(
    ("kind", "name", "text", "guesses"),
    [
        ("file", "ids.csv", numbers(","), ["the first line is taken for ids"]),
        ("file", "ids.csv", numbers(";"), ["separated by", "the first line is taken for ids"]),
        ("file", "ids.txt", "a\tb\n" + numbers("\t"), ["read as tsv"]),
        ("file", "ids.data", numbers(","), ["read as csv", "taken for ids"]),
        ("histogram", "counts.csv", numbers(","), ["the first line is taken for counts"]),
        ("histogram", "counts.csv", numbers(";"), ["separated by", "taken for counts"]),
        ("histogram", "counts.csv", "1x,2\n" + numbers(","), ["taken for names although"]),
    ],
)
@pytest.mark.parametrize("verb", ["run", "check"])
def test_guesses_are_said_once_on_standard_error(
    verb: str,
    kind: str,
    name: str,
    text: str,
    guesses: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_text(text)
    file, out = experiment(tmp_path, kind, name), tmp_path / "out"
    words = ("run", file, "--out", out) if verb == "run" else ("config", "check", file)
    code, said, told = ran(capsys, *words)
    assert code == 0, told
    notes = [line for line in told.splitlines() if line.startswith("note: ") and name in line]
    assert len(notes) == len(guesses)
    for guess in guesses:
        assert told.count(guess) == 1
        assert guess not in said
    if verb == "run":
        manifest = json.loads((out / "manifest.json").read_text())
        assert [f"note: {note}" for note in manifest["notes"]] == notes


@pytest.mark.parametrize("verb", ["run", "check"])
def test_guesses_about_columns_that_share_a_table_are_said(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.data").write_text("a;b;c\n" + "1;2;3\n" * 20)
    file = experiment(tmp_path, "file", "ids.data, tables: {b: t, c: t}")
    file.write_text(
        file.read_text().replace("lookups_per_table: 1", "lookups_per_table: [1, [1, 1]]")
    )
    out = tmp_path / "out"
    words = ("run", file, "--out", out) if verb == "run" else ("config", "check", file)
    code, _, told = ran(capsys, *words)
    assert code == 0, told
    notes = [line for line in told.splitlines() if line.startswith("note: ")]
    assert [("read as csv" in n, "separated by" in n) for n in notes] == [
        (True, False),
        (False, True),
    ]
    if verb == "run":
        manifest = json.loads((out / "manifest.json").read_text())
        assert [f"note: {note}" for note in manifest["notes"]] == notes


def test_a_file_that_leaves_nothing_to_guess_has_no_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.csv").write_text("a,b\n" + numbers(","))
    code, _, told = ran(
        capsys, "run", experiment(tmp_path, "file", "ids.csv"), "--out", tmp_path / "out"
    )
    assert (code, "note: " in told) == (0, False)


def test_notes_of_arrays_are_those_of_the_trace_verbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("ids.npy", np.arange(40).reshape(20, 2))
    _, _, told = ran(capsys, "trace", "validate", "ids.npy")
    expected = [line for line in told.splitlines() if line.startswith("note: ")]
    assert expected
    _, _, told = ran(
        capsys, "run", experiment(tmp_path, "file", "ids.npy"), "--out", tmp_path / "out"
    )
    folder = f"{tmp_path}/"
    assert [n for n in told.replace(folder, "").splitlines() if n.startswith("note: ")] == expected


def test_a_file_that_cannot_be_read_is_told_by_the_run_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = ran(
        capsys, "run", experiment(tmp_path, "histogram", "no.csv"), "--out", tmp_path / "out"
    )
    assert (code, told.count("no.csv")) == (2, 1)
