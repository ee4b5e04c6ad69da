"""Text of the user is no markup, no formula, no pattern and no shell command."""

import json
import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typed import ran

from simulator.engine import parse_experiment, simulate

LABELS = ("a[b]", "x[/y]", ":smile:", "$\\frac$", "<b>", "a|b", "--x", "a b", "'", "_u", "[red]r")
DATA = {
    "config_version": 1,
    "platform": "v100_p3",
    "model": {"base": "default", "tables": 1, "rows_per_table": 2000, "batch_size": 16},
    "trace": {"kind": "zipf", "alpha": 1.05},
    "systems": [{"name": "static_cache", "label": label} for label in (*LABELS, "n\nl")],
    "cache": {"fraction": 1.0},
    "run": {"batches": 3, "warmup_batches": 1},
    "sweep": {"cache.fraction": [0.9, 1.0]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("it's [a] $folder")


@pytest.fixture
def finished(folder, capsys):
    (folder / "e x.yaml").write_text(json.dumps(DATA))
    code, out, _ = ran(capsys, "run", folder / "e x.yaml", "--out", folder / "r n")
    assert code == 0
    return folder / "r n", out


def test_labels_are_shown_as_they_are(finished, capsys):
    for text in (finished[1], ran(capsys, "results", "show", finished[0])[1]):
        for label in LABELS:
            assert sum(line.startswith(f" {label} ") for line in text.splitlines()) >= 2, label
        assert " n\\nl " in text


def test_commands_to_type_can_be_pasted(finished):
    (line,) = (text for text in finished[1].splitlines() if "scratchpipe run" in text)
    words = shlex.split(line, comments=True)
    assert words[:3] == ["scratchpipe", "run", str(finished[0].parent / "e x.yaml")]


def test_pages_and_timelines_hold_labels_as_text(finished, capsys):
    code, _, err = ran(capsys, "report", finished[0])
    assert (code, err) == (0, "")
    page = (finished[0] / "report.html").read_text()
    assert "<b>" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert {row.strip() for row in json.loads(data)["names"]["label"].values()} >= set(LABELS)
    code, out, _ = ran(capsys, "timeline", finished[0], "--point=--x")
    assert (code, out.split(": ")[1].split(",")[0]) == (0, "2 points")


def test_a_console_that_reads_markup_shows_them_all_the_same():
    """As in a notebook, where the console is not ours."""
    result = simulate(parse_experiment(DATA))
    console = Console(width=160, markup=True, emoji=True, highlight=True)
    with console.capture() as captured:
        console.print(result)
    for label in LABELS:
        assert f" {label} " in captured.get()


def test_tables_of_a_trace_are_shown_as_they_are(folder, capsys):
    names = ["history[item]", "history[shop]", "clicks[/day]", ":smile:", "$\\frac$", "_a", "a,b"]
    file = folder / "names.parquet"
    pq.write_table(pa.table({name: np.arange(30) % 7 for name in names}), file)
    picture = folder / "p.svg"
    code, out, _ = ran(capsys, "trace", "describe", file, "--plot", picture)
    assert code == 0
    for name in names:
        assert sum(f" {name} " in line for line in out.splitlines()) == 4, name
    assert picture.is_file()
    code, _, err = ran(capsys, "trace", "convert", file, folder / "names.csv")
    assert code == 0, err
    code, out, _ = ran(capsys, "trace", "validate", folder / "names.csv", "--json")
    assert [table["table"] for table in json.loads(out)["tables"]] == names


def test_a_replay_of_a_file_in_brackets(folder, capsys):
    file = folder / "ids[x].npy"
    np.save(file, np.arange(100) % 7)
    code, out, err = ran(capsys, "replay", "--trace", file, "--policy", "lru", "--capacity", 3)
    assert code == 0, err
    assert "lookups" in out
    (folder / "bad[b].npy").write_bytes(b"no array")
    code, _, err = ran(
        capsys, "replay", "--trace", folder / "bad[b].npy", "--policy", "lru", "--capacity", 3
    )
    assert code == 2
    assert "bad[b].npy" in err


def test_a_machine_in_brackets(folder, capsys):
    file = folder / "m.yaml"
    file.write_text("base: v100_p3\nname: 'm[/x]'\ndescription: 'with [brackets] and :smile:'\n")
    code, out, err = ran(capsys, "machine", "show", file)
    assert code == 0, err
    assert "m[/x]: with [brackets] and :smile:" in out
