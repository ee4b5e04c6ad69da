"""Every point that Ramulator 2.1 and DRAMsim3 measured, with the model set like each."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import measure

TEXT = (Path(__file__).parent / "data" / "dram.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines()))
DEVICE = {"DDR4-2400": "ddr4_2400", "DDR5-4800": "ddr5_4800", "HBM2-2000-pc64": "hbm2_pc64"}
PATTERN = {"gather_read": "gather", "scatter_write": "scatter", "seq_read": "seq"}
SCHEDULER = {"FRFCFS": "frfcfs", "FRFCFS-RowHit": "frfcfs-rowhit"}


def efficiency_tolerance(row: dict[str, str]) -> float:
    """Tolerances by class of stream."""
    if row["device"].startswith("HBM"):
        return 0.08
    if int(row["row_bytes"]) >= 1024:
        return 0.05
    activate_bound = float(row["efficiency"]) < 0.62 and row["pattern"] == "gather_read"
    interleaved = row["pattern"] == "seq_read" and row["map"] == "bgi"
    return 0.01 if activate_bound or interleaved else 0.03


def name(row: dict[str, str]) -> str:
    keys = ("simulator", "device", "map", "sched", "queue", "pattern", "row_bytes", "load")
    return "-".join(row[key] for key in keys)


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_reference_point(row: dict[str, str]) -> None:
    controller = "ramulator" if row["simulator"].startswith("Ramulator") else "dramsim3"
    config = load_part(DEVICE[row["device"]], {"controller": controller, "order": row["map"]})
    load = None if row["load"] == "max" else float(row["load"])
    result = measure(
        config,
        PATTERN[row["pattern"]],
        int(row["row_bytes"]),
        min(int(row["requests"]), 200_000),
        queue=int(row["queue"]),
        scheduler=SCHEDULER.get(row["sched"]),
        load=load,
    )
    measured = float(row["efficiency"])
    assert result.efficiency == pytest.approx(measured, rel=efficiency_tolerance(row))
    if row["mean_latency_ns"]:
        tolerance = 0.05 if row["load"] in ("0.25", "max") else 0.20
        assert result.mean_latency_ns == pytest.approx(float(row["mean_latency_ns"]), rel=tolerance)
