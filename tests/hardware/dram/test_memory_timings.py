"""Clocks of the parts against the standards' formulas: the longer of some clocks and some time."""

from __future__ import annotations

import math

import pytest

from simulator.hardware.catalogue import load_part

DDR4 = {
    "rrd_s": (4, 3.7),
    "faw": (20, 21.0),
    "ccd_s": (4, 0.0),
    "ccd_l": (5, 5.0),
    "wtr_s": (2, 2.5),
    "wtr_l": (4, 7.5),
    "wr": (1, 15.0),
    "rtp": (4, 7.5),
    "rfc": (1, 350.0),
}
"""JESD79-4B, 8 Gb x8, pages of 1 KiB; tRRD_S 3.7 to 2.5 ns is four clocks at every rate."""
DDR5 = {
    "rrd_s": (8, 0.0),
    "rrd_l": (8, 5.0),
    "ccd_s": (8, 0.0),
    "ccd_l": (8, 5.0),
    "ccd_l_wr": (16, 10.0),
    "wtr_s": (4, 2.5),
    "wtr_l": (16, 10.0),
    "ras": (1, 32.0),
    "wr": (1, 30.0),
    "rtp": (12, 7.5),
    "ppd": (2, 0.0),
    "rfc": (1, 295.0),
}
"""JESD79-5B, 16 Gb x8, pages of 1 KiB."""
HBM2 = {"faw": (1, 15.0), "rfc": (1, 350.0), "rfc_pb": (1, 160.0), "rrefd": (1, 8.0)}
HBM3 = {"faw": (1, 15.0), "rfc": (1, 350.0), "rfc_pb": (1, 200.0), "rrefd": (3, 8.0)}
CCD = {"ccd_s": (2, 0.0), "ccd_l": (4, 0.0)}
PARTS = {
    "ddr4_2133": DDR4 | {"rrd_l": (4, 5.3), "ras": (1, 33.0)},
    "ddr4_2400": DDR4 | {"rrd_s": (4, 3.3), "rrd_l": (4, 4.9), "ras": (1, 32.0)},
    "ddr4_2666": DDR4 | {"rrd_s": (4, 3.0), "rrd_l": (4, 4.9), "ras": (1, 32.0)},
    "ddr4_3200": DDR4 | {"rrd_s": (4, 2.5), "rrd_l": (4, 4.9), "ras": (1, 32.0)},
    "ddr5_4800": DDR5 | {"faw": (32, 13.333)},
    "ddr5_5600": DDR5 | {"faw": (32, 11.428)},
    "ddr5_6400": DDR5 | {"faw": (32, 10.0)},
    "hbm2_v100": HBM2 | CCD,
    "hbm2e_a100": HBM2 | CCD,
    "hbm3_h100": HBM3 | CCD,
    "hbm3e_h200": HBM3 | CCD,
}
REFI_NS = {"DDR4": 7800.0}
"""Of the others 3.9 us."""


@pytest.mark.parametrize("name", PARTS)
def test_clocks_follow_from_the_rate(name: str) -> None:
    part = load_part(name)
    per_ns = part.clock / 1e9
    expected = {
        key: max(clocks, math.ceil(ns * per_ns - 1e-3)) for key, (clocks, ns) in PARTS[name].items()
    }
    assert {key: getattr(part.timing, key) for key in expected} == expected
    refi_ns = REFI_NS.get(part.standard, 3900.0)
    assert part.timing.refi == math.floor(refi_ns * per_ns + 1e-3)


@pytest.mark.parametrize("name", PARTS)
def test_a_row_cycle_is_an_activate_and_a_precharge(name: str) -> None:
    timing = load_part(name).timing
    assert abs(timing.rc - timing.ras - timing.rp) <= 1
