"""Many GPUs on the page and in figures: a column a family, a colour a kind."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.figures import runs
from simulator.figures.page import render_report
from simulator.figures.style import resource_entries
from simulator.results.reading import read_run
from simulator.results.resources import KINDS, fold
from simulator.results.rows import by_point

GPUS = 16


@pytest.fixture(scope="module")
def many(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_run` as if every GPU of sixteen were a little less busy than the one before."""
    run = shutil.copytree(small_run, tmp_path_factory.mktemp("many") / "run")
    table = pq.read_table(run / "devices.parquet")
    rows = []
    for row in table.to_pylist():
        if row["device"] != "gpu":
            rows.append(row)
            continue
        for n in range(GPUS):
            names = {"resource": row["resource"].replace("gpu", f"gpu{n}"), "device": f"gpu{n}"}
            rows.append(row | names | {"utilization": 0.9 - n / 50, "share_of_peak": 0.5})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), run / "devices.parquet")
    return run


def test_the_page_has_a_column_a_family_and_downloads_hold_every_resource(many: Path) -> None:
    page = render_report(read_run(many))
    told = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    data = json.loads(told[0])
    titles = [family["title"] for family in data["families"].values()]
    assert titles.count("gpu0..gpu15 HBM") == 1
    sms = data["resources"][0]["gpu.sm"]
    assert sms["bandwidth_gbps"] == [], "they move no bytes"
    assert len(sms["utilization"]) == GPUS
    (table,) = re.findall(r'download="devices\.csv" href="data:[^;]+;base64,([^"]+)"', page)
    lines = base64.b64decode(table).decode().splitlines()
    assert sum("gpu15.hbm" in line for line in lines) == 8


def test_the_figure_says_least_mean_and_most(many: Path) -> None:
    run = read_run(many)
    points = [fold(rows) for rows in by_point(run.metrics(), run.devices())]
    figure = runs.resources(run.to_pandas(), points)
    texts = [text.get_text() for text in figure.axes[0].texts]
    families = {"HBM", "SMs", "L2", "launch"}
    assert texts.count("60/75/90%") == len(families) * len(points)
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {f"gpu0..gpu15\n{family}" for family in families} <= set(names)
    assert len(names) == len(set(names))
    assert not [name for name in names if re.match(r"gpu\d+\n", name)]


def test_a_kind_has_one_colour_and_its_resources_differ_otherwise() -> None:
    links = {"pcie.down": "link", "pcie.up": "link", "gpu.hbm": "hbm"}
    entries = resource_entries(links)
    assert [entry.title for entry in entries.values()] == ["PCIe down", "PCIe up", "GPU HBM"]
    down, up, hbm = (entry.look for entry in entries.values())
    assert down.color == up.color != hbm.color
    assert (down.hatch, down.marker, down.dash) != (up.hatch, up.marker, up.dash)
    assert down == resource_entries({"cxl.down": "link"})["cxl.down"].look


def test_every_kind_has_a_look_of_its_own() -> None:
    entries = resource_entries({f"x.{kind}": kind for kind in KINDS})
    looks = [(entry.look.color, entry.look.hatch) for entry in entries.values()]
    assert len(set(looks)) == len(KINDS)
