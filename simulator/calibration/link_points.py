"""Points of the link: copies of one direction, of both at once, of all GPUs, and beside busy
memories.

Contention: what a victim loses while copies run all the time, and what the copies keep. All three
backgrounds (to the GPU, from it, both) are points of their own; rates of copies that had a tail
alone at their end are shown, not fitted, where that tail is not known to be short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from simulator.calibration.cpu_points import contended_operation
from simulator.calibration.gpu_points import contended_kernel
from simulator.calibration.points import Point
from simulator.calibration.rig import Rig
from simulator.calibration.tables import Pooled, Row, pool, read_rows
from simulator.hardware.program import Operation

__all__ = ["link_points"]

LINK, CONTENTION, LINKS = "micro_pcie.csv", "contention.csv", "micro_links.csv"
_ENDLESS = 1 << 34
"""Bytes of a background copy that outlasts every victim."""
_OVERLAPPING = 1 << 20
"""Bytes below which two copies started in turn are not long beside each other."""
_UNCACHED = 4 << 20
"""Bytes from which on the copies of several GPUs do not stay in the last-level cache."""
_AT_ONCE = re.compile(r"pinned (h2d|d2h|h2d\+d2h) gpu\d+(?:\+gpu\d+)+")
_UNSTEADY = 1.8
"""90th over 10th percentile of a victim's times from which on its median is chance."""
_BACKGROUNDS: dict[str, tuple[bool, ...]] = {
    "h2d": (True,),
    "d2h": (False,),
    "h2d+d2h": (True, False),
}
_CPU_VICTIMS = ("cpu gather", "cpu scatter", "cpu gather+scatter", "cpu pooled gather")
_HBM_VICTIMS = ("hbm gather", "hbm pooled gather", "hbm coalesced update", "hbm stream copy")
_ROWS, _DIM = 327_680, 128
"""Rows and elements of a row of the victims, as their names say."""
_STREAM_ROWS = 2_097_152
"""Rows of the 1 GB stream copy."""


def link_points(folder: Path, cores: int) -> list[Point]:
    """Points of `micro_pcie.csv`, `micro_links.csv` and `contention.csv`; those of the last with
    `cores` threads."""
    copies = pool(LINK, read_rows(folder, LINK), _copy_key, "ms_event").values()
    rows = [_of_one_gpu(r) for r in read_rows(folder, CONTENTION)]
    rows = [r for r in rows if _victim(r, cores) is not None]
    rows = _without_unsteady(rows)
    points = [_copy(pooled) for pooled in copies]
    at_once = pool(LINKS, read_rows(folder, LINKS), _at_once_key, "GBps_sum").values()
    points += [_at_once(pooled) for pooled in at_once]
    points += [
        _slowdown(pooled, cores)
        for pooled in pool(CONTENTION, rows, _contention_key, "slowdown").values()
    ]
    for direction in ("h2d", "d2h"):
        column = f"bg_{direction}_GBps"
        with_rate = [r for r in rows if r["background"] in _BACKGROUNDS and r[column]]
        for pooled in pool(CONTENTION, with_rate, _contention_key, column).values():
            points.append(_kept(pooled, direction, cores))
    return points


def _of_one_gpu(row: Row) -> Row:
    """A row of a machine with several GPUs: copies of the first alone are copies of one."""
    return {**row, "background": row["background"].removesuffix(" gpu0")}


def _without_unsteady(rows: Sequence[Row]) -> list[Row]:
    """Without victims that even alone took now this long, now that: their slowdown says nothing."""
    unsteady = {
        (row.get("measurement"), row["victim"])
        for row in rows
        if row.get("ms_p10")
        and row.get("ms_p90")
        and float(row["ms_p90"]) > _UNSTEADY * float(row["ms_p10"])
    }
    return [row for row in rows if (row.get("measurement"), row["victim"]) not in unsteady]


def _copy_key(row: Row) -> tuple[str, ...] | None:
    """Pinned memory whose lines no core holds, as rings of staging buffers leave it."""
    if row["mem"] != "pinned" or "buffer state" in row["note"] or not row["ms_event"]:
        return None
    known = row["op"] in ("h2d", "d2h", "both_h2d", "both_d2h")
    return (row["op"], row["bytes"]) if known else None


def _copy(pooled: Pooled) -> Point:
    row = pooled.row
    op, size = row["op"], int(row["bytes"])
    both = op.startswith("both")
    to_gpu = op.endswith("h2d")

    def model(rig: Rig) -> float:
        copy = rig.copy(to_gpu, size)
        if not both:
            return rig.alone_ms((copy,), 512)
        ms, _ = rig.beside_ms((copy,), (rig.copy(not to_gpu, size, "other"),), 512)
        return ms

    return Point(
        operator="copies both ways" if both else "copies",
        file=LINK,
        condition=f"{op} {size} B",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
        weight=0.0 if both and size < _OVERLAPPING else 1.0,
    )


def _at_once_key(row: Row) -> tuple[str, ...] | None:
    """Each of several GPUs copies over a link of its own, out of memory that no cache holds."""
    if not _AT_ONCE.fullmatch(row["op"]) or int(row["bytes"]) < _UNCACHED:
        return None
    return (row["op"], row["bytes"])


def _at_once(pooled: Pooled) -> Point:
    row = pooled.row
    match = _AT_ONCE.fullmatch(row["op"])
    assert match is not None
    ways, gpus, size = _BACKGROUNDS[match.group(1)], row["gpus"].split(","), int(row["bytes"])

    def model(rig: Rig) -> float:
        copies = [rig.copy(way, size, gpu=int(gpu)) for gpu in gpus for way in ways]
        ms, _ = rig.beside_ms(copies, (), 512)
        return len(copies) * size / ms / 1e6

    return Point(
        operator="copies of several GPUs",
        file=LINKS,
        condition=f"{match.group(1)} of {len(gpus)} GPUs, {size} B each",
        measured=pooled.value,
        unit="GB/s",
        spread=pooled.spread,
        model=model,
    )


def _victim(row: Row, cores: int) -> tuple[str, bool] | None:
    """Name of the victim and whether it is on the CPU; None where it is not modelled."""
    name = row["victim"]
    for known in _HBM_VICTIMS:
        if name.startswith(f"{known} ") or name == known:
            return known, False
    for known in _CPU_VICTIMS:
        if name.startswith(f"{known} ") and name.endswith(f" {cores}t"):
            return known, True
    return None


def _contention_key(row: Row) -> tuple[str, ...] | None:
    return (row["victim"], row["background"]) if row["background"] in _BACKGROUNDS else None


def _works(rig: Rig, row: Row, cores: int) -> tuple[Operation, ...]:
    victim = _victim(row, cores)
    assert victim is not None
    name, on_cpu = victim
    if on_cpu:
        return contended_operation(rig, name, _ROWS, _DIM)
    rows = _STREAM_ROWS if name == "hbm stream copy" else _ROWS
    return (contended_kernel(rig, name, rows, _DIM),)


def _beside(rig: Rig, row: Row, cores: int) -> tuple[float, dict[str, float]]:
    """Milliseconds of the victim with the background, and the rates of the devices."""
    copies = [rig.copy(way, _ENDLESS, "background") for way in _BACKGROUNDS[row["background"]]]
    return rig.beside_ms(_works(rig, row, cores), copies, 4 * _DIM, cores)


def _slowdown(pooled: Pooled, cores: int) -> Point:
    row = pooled.row

    def model(rig: Rig) -> float:
        alone, _ = rig.beside_ms(_works(rig, row, cores), (), 4 * _DIM, cores)
        return _beside(rig, row, cores)[0] / alone

    kind = "cpu" if row["victim"].startswith("cpu") else "hbm"
    return _contended(f"slowdown of {kind}", row, pooled, "x", model)


def _kept(pooled: Pooled, direction: str, cores: int) -> Point:
    row = pooled.row

    def model(rig: Rig) -> float:
        return _beside(rig, row, cores)[1][rig.link(direction == "h2d")] / 1e9

    kind = "cpu" if row["victim"].startswith("cpu") else "hbm"
    return _contended(f"copies {direction} beside {kind}", row, pooled, "GB/s", model)


def _contended(
    operator: str, row: Row, pooled: Pooled, unit: str, model: Callable[[Rig], float]
) -> Point:
    return Point(
        operator=operator,
        file=CONTENTION,
        condition=f"{row['victim']} with {row['background']}",
        measured=pooled.value,
        unit=unit,
        spread=pooled.spread,
        model=model,
    )
