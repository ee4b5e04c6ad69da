"""The columns that say what a resource of the machine does."""

from __future__ import annotations

from simulator.results.column import Column
from simulator.results.resources import KINDS

__all__ = ["RESOURCE"]

RESOURCE: tuple[Column, ...] = (
    Column(
        "resource",
        "text",
        "",
        "Name of the resource by the parts of the machine, such as `cpu.dram` or `gpu5.hbm`.",
    ),
    Column("device", "text", "", "The device that the resource belongs to, such as `gpu5`."),
    Column(
        "kind",
        "text",
        "",
        "What it is: " + ", ".join(f"`{kind}`" for kind in KINDS) + ".",
        choices=tuple(KINDS),
    ),
    Column(
        "bytes",
        "float",
        "bytes/batch",
        "Bytes through the resource a mini-batch, mean; null where it moves none: its memory "
        "counts them.",
    ),
    Column(
        "busy_us",
        "float",
        "us",
        "Simulated time a mini-batch in which the resource could not have done other work, mean.",
    ),
    Column(
        "utilization",
        "float",
        "1",
        "That time as a share of the elapsed simulated time: 1 is saturated, 0 not used.",
    ),
    Column(
        "bandwidth_gbps",
        "float",
        "1e9 bytes/s",
        "Achieved bandwidth: bytes over elapsed simulated time; null where no bytes move.",
    ),
    Column(
        "share_of_peak",
        "float",
        "1",
        "Achieved bandwidth over the nominal peak; null where there is none.",
    ),
    Column(
        "energy_mj",
        "float",
        "mJ/batch",
        "Energy of the resource, mean of a mini-batch: of a memory its activates, bursts, refresh "
        "and background; of a CPU or GPU the package without its memory, idle power and what "
        "activity adds. Null where nobody accounts for it.",
    ),
    Column(
        "written_gb_per_day",
        "float",
        "1e9 bytes/day",
        "Bytes written to a drive, whole pages, if training went on for a day; null for what does "
        "not wear.",
    ),
    Column(
        "fill_h",
        "float",
        "h",
        "Time of training in which a drive has been written as often as it has bytes; null where "
        "nothing is written to it.",
    ),
)
