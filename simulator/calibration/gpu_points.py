"""Points of the GPU's operators: gather, scatter, pooled gather, update, sort, Plan, MLPs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from simulator.calibration.hits import HitShares
from simulator.calibration.points import Point
from simulator.calibration.rig import Rig
from simulator.calibration.tables import Pooled, Row, pool, read_rows
from simulator.hardware.work import Access, GpuWork
from simulator.systems.operators import GpuOperators, mlp_step

__all__ = ["contended_kernel", "gpu_points", "unexpanded_update"]

HBM, SORT, PLAN, MLP = "micro_hbm.csv", "micro_sort.csv", "micro_plan.csv", "micro_mlp.csv"
POOLED_ROWS = 20
_FEW = 30_000
"""Rows below which a kernel's latency is most of its time."""

Make = Callable[[GpuOperators, int, str, HitShares, int], GpuWork]


def unexpanded_update(operators: GpuOperators, lookups: int, unique: int) -> GpuWork:
    """The update kernel as it was measured alone: a gradient of its own for every lookup, all of
    them in HBM (in training the pooled gradients of a mini-batch stay in L2)."""
    update = operators.backward(lookups, unique, 2**24)[-1]
    accesses = tuple(
        dataclasses.replace(a, hit_share=0.0) if not a.write else a for a in update.accesses
    )
    return dataclasses.replace(update, accesses=accesses)


def _pooled(o: GpuOperators, rows: int, dist: str, hits: HitShares, _: int) -> GpuWork:
    return o.gather_reduce(rows, hits.gpu(dist, rows, o.model.row_bytes), tables=1)


_KERNELS: dict[str, tuple[str, Make]] = {
    "cuda k_gather": ("gpu gather", lambda o, n, *_: o.gather("gather", n)),
    "cuda k_scatter": ("gpu scatter", lambda o, n, *_: o.scatter("scatter", n)),
    "cuda k_pool": ("gpu pooled gather", _pooled),
    "cuda k_segupd mode1 (sorted input)": (
        "gpu update",
        lambda o, n, _d, _h, unique: unexpanded_update(o, n, unique),
    ),
}


def gpu_points(folder: Path, hits: HitShares) -> list[Point]:
    """Points of the kernels, sorts, Plans and MLP steps measured in `folder`."""
    kernels = pool(HBM, read_rows(folder, HBM), _kernel_key, "ms").values()
    sorts = pool(SORT, read_rows(folder, SORT), _sort_key, "ms").values()
    plans = pool(PLAN, read_rows(folder, PLAN), lambda r: (r["slots"], r["misses"]), "ms").values()
    steps = pool(MLP, read_rows(folder, MLP), _step_key, "ms").values()
    return [
        *(_kernel(pooled, hits) for pooled in kernels),
        *map(_sort, sorts),
        *map(_plan, plans),
        *map(_step, steps),
    ]


def _kernel_key(row: Row) -> tuple[str, ...] | None:
    """Zipf rows only where the lookups of a mini-batch repeat rows: gathers and scatters of a
    cache move each row once."""
    if row["impl"] not in _KERNELS:
        return None
    if row["dist"] != "uniform" and row["op"] in ("gather", "scatter"):
        return None
    return (row["impl"], row["dim"], row["n_rows"], row["dist"])


def _kernel(pooled: Pooled, hits: HitShares) -> Point:
    row = pooled.row
    name, make = _KERNELS[row["impl"]]
    dim, rows, dist = int(row["dim"]), int(row["n_rows"]), row["dist"]
    found = re.search(r"unique=(\d+)", row["note"])
    unique = int(found.group(1)) if found else rows

    def model(rig: Rig) -> float:
        sized = rig.sized(dim=dim, batch_size=max(1, rows // POOLED_ROWS), lookups=POOLED_ROWS)
        work = make(GpuOperators(sized, rig.profile), rows, dist, hits, unique)
        return rig.alone_ms((work,), 4 * dim)

    few = rows < _FEW
    return Point(
        operator=f"{name}, few rows" if few else name,
        file=HBM,
        condition=f"{rows} rows of {4 * dim} B, {dist}",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
        weight=0.5 if few else 1.0,
    )


def _sort_key(row: Row) -> tuple[str, ...] | None:
    return (row["impl"], row["n"], row["dist"]) if row["op"] == "sort_pairs" else None


def _sort(pooled: Pooled) -> Point:
    row = pooled.row
    bits, pairs = int(row["impl"].split()[-2]), int(row["n"])

    def model(rig: Rig) -> float:
        operators = GpuOperators(rig.sized(dim=128), rig.profile)
        return rig.alone_ms(operators.backward(pairs, pairs, 2**bits)[:1], 512)

    return _point("gpu sort", SORT, f"{pairs} pairs, {bits} bit, {row['dist']}", pooled, model)


def _plan(pooled: Pooled) -> Point:
    row = pooled.row
    slots, lookups, misses = int(row["slots"]), int(row["n_lookups"]), round(float(row["misses"]))

    def model(rig: Rig) -> float:
        operators = GpuOperators(rig.sized(dim=128), rig.profile)
        return rig.alone_ms((operators.plan(lookups, lookups, misses, slots),), 512)

    return _point(
        "gpu plan", PLAN, f"{lookups} lookups, {slots} slots, {misses} misses", pooled, model
    )


def _step_key(row: Row) -> tuple[str, ...] | None:
    graph = row["what"] == "mlp_train_step" and row["mode"] == "cuda_graph"
    return (row["batch"], row["dim"], row["precision"]) if graph else None


def _step(pooled: Pooled) -> Point:
    row = pooled.row
    batch, dim, precision = int(row["batch"]), int(row["dim"]), row["precision"]

    def model(rig: Rig) -> float:
        sized = rig.sized(dim=dim, batch_size=batch).model_copy(update={"mlp_precision": precision})
        return rig.alone_ms((mlp_step(sized, rig.profile),), 4 * dim)

    return _point(f"mlp {precision}", MLP, f"batch {batch}, dim {dim}", pooled, model)


def _point(
    operator: str, file: str, condition: str, pooled: Pooled, model: Callable[[Rig], float]
) -> Point:
    return Point(operator, file, condition, pooled.value, "ms", pooled.spread, model)


def contended_kernel(rig: Rig, name: str, rows: int, dim: int) -> GpuWork:
    """The kernel of a victim of `contention.csv` on the GPU."""
    operators = GpuOperators(
        rig.sized(dim=dim, batch_size=max(1, rows // POOLED_ROWS)), rig.profile
    )
    if name == "hbm stream copy":
        size = rows * dim * 4
        accesses = (Access(1, size, random=False), Access(1, size, write=True, random=False))
        return GpuWork(name, kernels=1, accesses=accesses)
    return {
        "hbm gather": operators.gather("gather", rows),
        "hbm pooled gather": operators.gather_reduce(rows, 0.0, tables=1),
        "hbm coalesced update": unexpanded_update(operators, rows, rows),
    }[name]
