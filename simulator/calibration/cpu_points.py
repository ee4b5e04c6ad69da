"""Points of the CPU's operators: streams, row gathers and scatters, pooled gather, fused update.

Kernels with non-temporal stores stand for staging buffers (Collect, Insert), the pooled gather
and the fused update for hybrid training; kernels of other libraries are other software.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from simulator.calibration.hits import HitShares
from simulator.calibration.points import Point
from simulator.calibration.rig import Bench, Rig
from simulator.calibration.tables import (
    WITH_STATE,
    Pooled,
    Row,
    optimizer_of,
    pool,
    read_rows,
    with_optimizer,
)
from simulator.config.operators import CpuOperator
from simulator.hardware.access import Access
from simulator.hardware.devices.cpu import CpuPass
from simulator.hardware.program import Flow, Operation

__all__ = ["FILE", "POOLED_ROWS", "contended_operation", "cpu_points", "own_software"]

FILE = "micro_cpu.csv"
POOLED_ROWS = 20
"""Rows a sample of the pooled gather, as its name in the file says."""
RING = 8
"""Staging buffers that take turns in measurements of this program's own software; in others each
repetition uses the same one."""
SOFTWARE = "compiled with numba"
"""In the notes of this program's own measurements."""
_STREAMS = {
    "stream_read": (False, None),
    "stream_write_nt": (None, True),
    "stream_copy_nt": (False, True),
}
_NO_TIME: Any = "0 ps"
_ALL_THREADS_WEIGHT = 8.0
"""Training uses every core: those points count more than those that show how threads scale."""
_SMALL = 30_000
"""Rows below which waking the threads is most of the time."""

Make = Callable[[Bench, int, str, HitShares, Row], tuple[Operation, ...]]


def _gather(bench: Bench, rows: int, *_: object) -> tuple[Operation, ...]:
    return (bench.gather(rows),)


def _scatter(
    bench: Bench, rows: int, _dist: str, hits: HitShares, row: Row
) -> tuple[Operation, ...]:
    return (bench.scatter(rows, held=_held(bench, rows, hits, row)),)


def _held(bench: Bench, rows: int, hits: HitShares, row: Row) -> float:
    """Share of a staging buffer that the last-level cache holds at its next turn."""
    if SOFTWARE in row["note"]:
        return 1.0 if RING * rows * bench.model.row_bytes <= hits.cpu_bytes else 0.0
    return min(1.0, hits.cpu_bytes / (rows * bench.model.row_bytes))


def _pooled(bench: Bench, rows: int, dist: str, hits: HitShares, _: Row) -> tuple[Operation, ...]:
    return (bench.pool(rows, hits.cpu(dist, rows, bench.model.row_bytes)),)


def _update(bench: Bench, rows: int, dist: str, hits: HitShares, row: Row) -> tuple[Operation, ...]:
    unique = re.search(r"unique=(\d+)", row["note"])
    drawn = hits.updated(dist, rows, bench.software.accumulate.range_bits)
    return bench.backward(dataclasses.replace(drawn, rows=int(unique.group(1)) if unique else rows))


_OPERATORS: dict[tuple[str, str], tuple[str, Make]] = {
    ("gather", "own nt-store"): ("cpu gather", _gather),
    ("scatter", "own nt-store"): ("cpu scatter", _scatter),
    ("pooled_gather_L20", "own"): ("cpu pooled gather", _pooled),
    ("coalesce_update", "own (partition+radix sort+segment sum+sgd)"): ("cpu update", _update),
    **{
        (f"coalesce_update_{kind}", f"own (partition+radix sort+segment sum+{kind})"): (
            "cpu update with state",
            _update,
        )
        for kind in WITH_STATE
    },
}


def own_software(folder: Path) -> bool:
    """Whether the files in `folder` measured this program's own kernels."""
    return any(SOFTWARE in row["note"] for row in read_rows(folder, FILE))


def cpu_points(folder: Path, hits: HitShares) -> list[Point]:
    """Points of `micro_cpu.csv` in `folder`."""
    rows = read_rows(folder, FILE)
    points = [_stream(pooled) for pooled in pool(FILE, rows, _stream_key, "ms").values()]
    points += [_rows(pooled, hits) for pooled in pool(FILE, rows, _row_key, "ms").values()]
    cores = max((int(row["threads"]) for row in rows), default=0)
    sorts = [{**row, "ms": _sort_ms(row)} for row in rows if _sort_ms(row)]
    points += [_sort(p) for p in pool(FILE, sorts, _row_key, "ms").values()]
    both = pool(FILE, rows, partial(_both_key, cores=cores), "ms")
    points += [_both(pooled) for pooled in both.values()]
    return [_weighted(point, cores) for point in points]


def _weighted(point: Point, cores: int) -> Point:
    if f" {cores} threads" not in point.condition or point.weight == 0.0:
        return point
    return dataclasses.replace(point, weight=point.weight * _ALL_THREADS_WEIGHT)


def _stream_key(row: Row) -> tuple[str, ...] | None:
    return (row["op"], row["threads"], row["n_rows"]) if row["op"] in _STREAMS else None


def _row_key(row: Row) -> tuple[str, ...] | None:
    """Prefetch distances are other software (one of them is what the kernels use)."""
    if (row["op"], row["impl"]) not in _OPERATORS or "prefetch distance" in row["note"]:
        return None
    if row["op"] == "gather" and row["dist"].startswith("zipf"):
        return None  # rows that repeat: Collect fetches a row once
    dist = row["dist"].split(" ")[0]
    return (row["op"], row["dim"], row["threads"], row["n_rows"], dist)


def _stream(pooled: Pooled) -> Point:
    row = pooled.row
    size, threads = int(row["n_rows"]) * 4, int(row["threads"])
    operator = CpuOperator(
        threads="all", row_time=_NO_TIME, overlap=1.0, nontemporal=True, source="a plain loop"
    )

    def model(rig: Rig) -> float:
        bench = rig.bench("cpu", rig.sized(dim=128))
        accesses = tuple(
            Access(bench.place, 1, size, write=write, random=False)
            for write in _STREAMS[row["op"]]
            if write is not None
        )
        word = CpuPass(row["op"], bench.at, operator, accesses, count=0, tables=1)
        return rig.alone_ms((word,), 512, threads)

    return Point(
        operator="cpu " + row["op"].replace("_", " "),
        file=FILE,
        condition=f"{size} B, {threads} threads",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
    )


def _rows(pooled: Pooled, hits: HitShares) -> Point:
    row = pooled.row
    name, make = _OPERATORS[row["op"], row["impl"]]
    dim, threads, rows = int(row["dim"]), int(row["threads"]), int(row["n_rows"])
    dist = row["dist"].split(" ")[0]

    def model(rig: Rig) -> float:
        works = make(_bench(rig, dim, rows, row), rows, dist, hits, row)
        return rig.alone_ms(works, 4 * dim, threads)

    return Point(
        operator=name if rows > _SMALL else f"{name}, few rows",
        file=FILE,
        condition=f"{rows} rows of {4 * dim} B, {threads} threads, {dist}"
        f"{with_optimizer(row['op'])}",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
        weight=1.0 if rows > _SMALL else 0.5,
    )


def _sort_ms(row: Row) -> str:
    """The part of a fused update that orders ids, partition and radix passes, as its note says;
    empty where it does not."""
    parts = re.findall(r"(?:partition|radix) ([0-9.]+) ms", row["note"])
    known = (row["op"], row["impl"]) in _OPERATORS
    return str(sum(map(float, parts))) if parts and known else ""


def _sort(pooled: Pooled) -> Point:
    row = pooled.row
    dim, threads, rows = int(row["dim"]), int(row["threads"]), int(row["n_rows"])

    def model(rig: Rig) -> float:
        bench = _bench(rig, dim, rows, row)
        return rig.alone_ms((bench.backward(Flow(rows, rows))[0],), 4 * dim, threads)

    return Point(
        operator="cpu sort",
        file=FILE,
        condition=f"{rows} ids, {threads} threads, {row['dist'].split(' ')[0]}",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
    )


def _both_key(row: Row, cores: int) -> tuple[str, ...] | None:
    """Gather and scatter at once out of one pool of all threads, chunk by chunk."""
    if row["threads"] != str(cores):
        return None
    nontemporal = row["impl"] == "own, nt-store gather=1 scatter=1"
    if row["op"] != "gather+scatter concurrent" or not nontemporal:
        return None
    return (row["op"], row["dim"], row["threads"], row["n_rows"])


def _both(pooled: Pooled) -> Point:
    row = pooled.row
    held = 0.0 if SOFTWARE in row["note"] else 1.0
    dim, threads, rows = int(row["dim"]), int(row["threads"]), int(row["n_rows"]) // 2

    def model(rig: Rig) -> float:
        bench = _bench(rig, dim, rows, row)
        works = (bench.gather(rows), bench.scatter(rows, held=held))
        return rig.beside_ms(works, (), 4 * dim, threads)[0]

    return Point(
        operator="cpu gather and scatter",
        file=FILE,
        condition=f"{rows} + {rows} rows of {4 * dim} B, {threads} threads, uniform",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
    )


def _bench(rig: Rig, dim: int, rows: int, row: Row | None = None) -> Bench:
    """Operations of a model whose mini-batch makes `rows` lookups, 20 a sample and table.

    `row`: the measurement; those of this program never use a row twice.
    """
    samples = max(1, rows // (POOLED_ROWS * rig.model.tables))
    optimizer = optimizer_of(row["op"]) if row else "sgd"
    model = rig.sized(dim=dim, batch_size=samples, lookups=POOLED_ROWS, optimizer=optimizer)
    bench = rig.bench("cpu", model)
    return dataclasses.replace(bench, fresh=row is not None and SOFTWARE in row["note"])


def contended_operation(
    rig: Rig, name: str, rows: int, dim: int, held: float = 1.0
) -> tuple[Operation, ...]:
    """The operations of a victim of `contention.csv` on the CPU; `held`: share of its staging
    buffers that the last-level cache holds."""
    bench = _bench(rig, dim, rows)
    return {
        "cpu gather": (bench.gather(rows),),
        "cpu scatter": (bench.scatter(rows, held=held),),
        "cpu gather+scatter": (bench.gather(rows), bench.scatter(rows, held=held)),
        "cpu pooled gather": (bench.pool(rows, 0.0),),
    }[name]
