"""Every point that Ramulator 2.1 and DRAMsim3 measured, with the model set like each."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.hardware.catalogue import load_part
from simulator.hardware.dram import Measurement, measure

TEXT = (Path(__file__).parent / "data" / "dram.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines()))
DEVICE = {"DDR4-2400": "ddr4_2400", "DDR5-4800": "ddr5_4800", "HBM2-2000-pc64": "hbm2_pc64"}
AS_SIMULATED = {
    "ddr5_4800": {"timing.faw": 48, "timing.ccd_l_wr": 48, "timing.rfc": 710, "timing.refi": 9375}
}
"""Where Ramulator 2.1 differs from JESD79-5: tFAW of 20 ns at every rate, read-modify-write of
every burst, clocks of 416 ps."""
EFFICIENCY_TOLERANCE = {
    "activate-bound or interleaved": 0.002,
    "other": 0.005,
    "rows of 1 KiB and more": 0.004,
    "HBM2 pseudo-channel": 0.02,
}
LATENCY_TOLERANCE = {"25 %": 0.002, "50 to 75 %": 0.009, "90 %": 0.009, "always offered": 0.02}
"""Twice the largest error of each class (`docs/memory.md`), rounded up."""
PATTERN = {"gather_read": "gather", "scatter_write": "scatter", "seq_read": "seq"}
SCHEDULER = {"FRFCFS": "frfcfs", "FRFCFS-RowHit": "frfcfs-rowhit"}


def efficiency_class(row: dict[str, str]) -> str:
    """Class of stream, as in `docs/memory.md`."""
    if row["device"].startswith("HBM"):
        return "HBM2 pseudo-channel"
    if int(row["row_bytes"]) >= 1024:
        return "rows of 1 KiB and more"
    activate_bound = float(row["efficiency"]) < 0.62 and row["pattern"] == "gather_read"
    interleaved = row["pattern"] == "seq_read" and row["map"] == "bgi"
    return "activate-bound or interleaved" if activate_bound or interleaved else "other"


def latency_class(row: dict[str, str]) -> str:
    """Class of offered load."""
    return {"0.25": "25 %", "max": "always offered", "0.90": "90 %"}.get(row["load"], "50 to 75 %")


def name(row: dict[str, str]) -> str:
    keys = ("simulator", "device", "map", "sched", "queue", "pattern", "row_bytes", "load")
    return "-".join(row[key] for key in keys)


def run(row: dict[str, str]) -> Measurement:
    """The model set like the simulator that gave `row`."""
    controller = "ramulator" if row["simulator"].startswith("Ramulator") else "dramsim3"
    device = DEVICE[row["device"]]
    changes = {"controller": controller, "order": row["map"], **AS_SIMULATED.get(device, {})}
    return measure(
        load_part(device, changes),
        PATTERN[row["pattern"]],
        int(row["row_bytes"]),
        min(int(row["requests"]), 200_000),
        queue=int(row["queue"]),
        scheduler=SCHEDULER.get(row["sched"]),
        load=None if row["load"] == "max" else float(row["load"]),
    )


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_reference_point(row: dict[str, str]) -> None:
    result = run(row)
    tolerance = EFFICIENCY_TOLERANCE[efficiency_class(row)]
    assert result.efficiency == pytest.approx(float(row["efficiency"]), rel=tolerance)
    if row["mean_latency_ns"]:
        tolerance = LATENCY_TOLERANCE[latency_class(row)]
        assert result.mean_latency_ns == pytest.approx(float(row["mean_latency_ns"]), rel=tolerance)
