"""What `observe` wrote, damaged: an error that names the file and the value."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.cli import main
from simulator.validation.machines import machine_name

SEED = Path(__file__).parents[1] / "fuzz" / "observed"


def _refusal(run: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(run), "--out", str(run / "page"), *options])
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert all(line.startswith((f"error: {run}", "    ")) for line in captured.err.splitlines())
    return captured.err


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SEED, tmp_path / "run"))


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("machine"), "machine: is missing"),
        (lambda data: data.update(machine="x"), "machine: is"),
        (lambda data: data["machine"].pop("cpu"), "machine.cpu: is missing"),
        (lambda data: data.update(points={}), "points: is"),
        (lambda data: data["points"].append(5), "points[2]: is 5"),
        (lambda data: data["points"][0].update(iteration_us=0), "points[0].iteration_us: is 0"),
        (lambda data: data["points"][1].update(repeats_us=[]), "points[1].repeats_us: is []"),
        (lambda data: data["points"][1]["counts"].update(x=5), "points[1].counts"),
        (lambda data: data["points"][0].pop("label"), "points[0].label: is missing"),
        (lambda data: data["points"].pop(), "the points of tiny are not those"),
        (lambda data: data["experiment"].update(systems=5), "systems: is 5"),
        (lambda data: data["experiment"].pop("systems"), "systems: is missing"),
        (lambda data: data["experiment"].update(pipeline=5), "pipeline: is 5"),
        (lambda data: data["experiment"].update(run=[1]), "run: is [1]"),
        (lambda data: data["experiment"]["model"].update(top_mlp=[8, [1]]), "top_mlp[1]: is [1]"),
        (lambda data: data["experiment"]["cache"].update(fraction=0.01), "cache.fraction 0.01"),
    ],
)
def test_a_document_with_other_values(
    run: Path, capsys: pytest.CaptureFixture[str], change: Change, words: str
) -> None:
    data = json.loads((run / "observed.json").read_text())
    change(data)
    (run / "observed.json").write_text(json.dumps(data))
    assert words in _refusal(run, capsys)
    if words.startswith("systems"):
        assert words in _refusal(run, capsys, "--platform", "a100")


@pytest.mark.parametrize("text", ["", "[]", "null", "{" * 5000, '{"format": NaN}', '{"format": 9}'])
def test_a_document_that_is_none(run: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (run / "observed.json").write_text(text)
    assert "observed.json" in _refusal(run, capsys)


def test_a_damaged_table_of_stages(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "stages.parquet"
    table = pq.read_table(file)
    wrong = pa.array([float("nan")] * table.num_rows, pa.float32())
    for changed in (
        table.drop_columns(["stage"]),
        table.set_column(table.column_names.index("busy_us"), "busy_us", wrong),
        table.set_column(0, "label", pa.array([None] * table.num_rows, pa.string())),
    ):
        pq.write_table(changed, file)
        assert "stages.parquet is damaged: " in _refusal(run, capsys)
    file.write_bytes(b"PAR1")
    assert "stages.parquet is damaged: " in _refusal(run, capsys)


def test_the_name_of_a_machine_whose_gpu_has_none() -> None:
    assert machine_name({"gpu": "NVIDIA"}) == "gpu"
    assert machine_name({"gpu": " (H200)", "gpus": 2}) == "h200_x2"
