"""Points of the GPU's operators: gather, scatter, pooled gather, update, sort, Plan, MLPs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from simulator.calibration.hits import HitShares
from simulator.calibration.points import Point
from simulator.calibration.rig import Bench, Rig
from simulator.calibration.tables import (
    Pooled,
    Row,
    optimizer_of,
    pool,
    read_rows,
    with_optimizer,
)
from simulator.hardware.access import Access
from simulator.hardware.devices.gpu import GpuKernels
from simulator.hardware.program import Operation
from simulator.systems.mlp import mlp_step
from simulator.systems.networks import DEFAULT, PREDICTED, with_network

__all__ = ["contended_kernel", "gpu_points"]

HBM, SORT, PLAN, MLP = "micro_hbm.csv", "micro_sort.csv", "micro_plan.csv", "micro_mlp.csv"
POOLED_ROWS = 20
_FEW = 30_000
"""Rows below which a kernel's latency is most of its time."""
_SHORT = 256
"""Bytes below which the instructions of a row that is copied may take longer than its bytes."""

Make = Callable[[Bench, int, str, HitShares, int], Operation]


def _pooled(bench: Bench, rows: int, dist: str, hits: HitShares, _: int) -> Operation:
    return bench.pool(rows, hits.gpu(dist, rows, bench.model.row_bytes), tables=1)


_ALONE = "cuda k_segupd mode1 (sorted input)"
"""Every lookup with a gradient of its own."""
_TRAINING = "Triton (sorted input, pooled gradients)"
_KERNELS: dict[str, tuple[str, Make]] = {
    "cuda k_gather": ("gpu gather", lambda bench, n, *_: bench.gather(n)),
    "cuda k_scatter": ("gpu scatter", lambda bench, n, *_: bench.scatter(n)),
    "cuda k_pool": ("gpu pooled gather", _pooled),
    _ALONE: (
        "gpu update",
        lambda bench, n, _d, _h, unique: bench.unexpanded_update(n, unique),
    ),
    _TRAINING: (
        "gpu update",
        lambda bench, n, _d, _h, unique: bench.pooled_update(n, unique, -(-n // POOLED_ROWS)),
    ),
    "Triton (sorted input)": (
        "gpu update with state",
        lambda bench, n, _d, _h, unique: bench.unexpanded_update(n, unique),
    ),
}


def gpu_points(folder: Path, hits: HitShares) -> list[Point]:
    """Points of the kernels, sorts, Plans and MLP steps measured in `folder`."""
    kernels = [*pool(HBM, read_rows(folder, HBM), _kernel_key, "ms").values()]
    sorts = pool(SORT, read_rows(folder, SORT), _sort_key, "ms").values()
    plans = pool(PLAN, read_rows(folder, PLAN), lambda r: (r["slots"], r["misses"]), "ms").values()
    steps = pool(MLP, read_rows(folder, MLP), _step_key, "ms").values()
    trained = any(pooled.row["impl"] == _TRAINING for pooled in kernels)
    return [
        *(_kernel(p, hits, superseded=p.row["impl"] == _ALONE and trained) for p in kernels),
        *map(_sort, sorts),
        *map(_plan, plans),
        *_steps(list(steps)),
    ]


def _kernel_key(row: Row) -> tuple[str, ...] | None:
    """Zipf rows only where the lookups of a mini-batch repeat rows: gathers and scatters of a
    cache move each row once."""
    if row["impl"] not in _KERNELS:
        return None
    if row["dist"] != "uniform" and row["op"] in ("gather", "scatter"):
        return None
    return (row["op"], row["impl"], row["dim"], row["n_rows"], row["dist"])


def _kernel(pooled: Pooled, hits: HitShares, *, superseded: bool) -> Point:
    """`superseded`: shown, not fitted, for the update that trains was measured as well."""
    row = pooled.row
    name, make = _KERNELS[row["impl"]]
    dim, rows, dist = int(row["dim"]), int(row["n_rows"]), row["dist"]
    match = re.search(r"unique=(\d+)", row["note"])
    unique = int(match.group(1)) if match else rows

    def model(rig: Rig) -> float:
        sized = rig.sized(
            dim=dim,
            batch_size=max(1, rows // POOLED_ROWS),
            lookups=POOLED_ROWS,
            optimizer=optimizer_of(row["op"]),
        )
        work = make(rig.bench("gpu", sized), rows, dist, hits, unique)
        return rig.alone_ms((work,), 4 * dim)

    few, usual = rows < _FEW, 0.5 if rows < _FEW else 1.0
    return Point(
        operator=name + (", few rows" if few else ", short rows" if _are_short(name, dim) else ""),
        file=HBM,
        condition=f"{rows} rows of {4 * dim} B, {dist}{with_optimizer(row['op'])}",
        measured=pooled.value,
        unit="ms",
        spread=pooled.spread,
        model=model,
        weight=0.0 if superseded else usual,
    )


def _are_short(name: str, dim: int) -> bool:
    """Copies of rows whose instructions may take longer than their bytes."""
    return name in ("gpu gather", "gpu scatter") and 4 * dim < _SHORT


def _sort_key(row: Row) -> tuple[str, ...] | None:
    return (row["impl"], row["n"], row["dist"]) if row["op"] == "sort_pairs" else None


def _sort(pooled: Pooled) -> Point:
    row = pooled.row
    bits, pairs = int(row["impl"].split()[-2]), int(row["n"])

    def model(rig: Rig) -> float:
        bench = rig.bench("gpu", rig.sized(dim=128))
        return rig.alone_ms((bench.sort(pairs, 2**bits),), 512)

    return _point("gpu sort", SORT, f"{pairs} pairs, {bits} bit, {row['dist']}", pooled, model)


def _plan(pooled: Pooled) -> Point:
    row = pooled.row
    slots, lookups, misses = int(row["slots"]), int(row["n_lookups"]), round(float(row["misses"]))

    def model(rig: Rig) -> float:
        bench = rig.bench("gpu", rig.sized(dim=128))
        return rig.alone_ms((bench.plan(lookups, misses, slots),), 512)

    return _point(
        "gpu plan", PLAN, f"{lookups} lookups, {slots} slots, {misses} misses", pooled, model
    )


def _step_key(row: Row) -> tuple[str, ...] | None:
    graph = row["what"] == "mlp_train_step" and row["mode"] == "cuda_graph"
    return (_network(row), row["batch"], row["dim"], row["precision"]) if graph else None


def _network(row: Row) -> str:
    """Of a step of MLPs; without a name it is the default one."""
    return row.get("network") or DEFAULT


def _steps(steps: list[Pooled]) -> list[Point]:
    """Steps of one network alone are shown, not fitted: they cannot tell what its layers cost from
    what its interaction costs."""
    networks: dict[str, set[str]] = {}
    for pooled in steps:
        networks.setdefault(pooled.row["precision"], set()).add(_network(pooled.row))
    return [_step(pooled, len(networks[pooled.row["precision"]]) > 1) for pooled in steps]


def _step(pooled: Pooled, several: bool) -> Point:
    row = pooled.row
    batch, dim, precision = int(row["batch"]), int(row["dim"]), row["precision"]
    network = _network(row)

    def model(rig: Rig) -> float:
        sized = with_network(rig.sized(dim=dim, batch_size=batch), network)
        sized = sized.model_copy(update={"mlp_precision": precision})
        return rig.alone_ms((mlp_step(sized, rig.bench("gpu", sized).at),), 4 * dim)

    called = "" if network == DEFAULT else f", {network}"
    point = _point(f"mlp {precision}", MLP, f"batch {batch}, dim {dim}{called}", pooled, model)
    return point if several and network not in PREDICTED else replace(point, weight=0.0)


def _point(
    operator: str, file: str, condition: str, pooled: Pooled, model: Callable[[Rig], float]
) -> Point:
    return Point(operator, file, condition, pooled.value, "ms", pooled.spread, model)


def contended_kernel(rig: Rig, name: str, rows: int, dim: int) -> Operation:
    """The kernel of a victim of `contention.csv` on the GPU."""
    bench = rig.bench("gpu", rig.sized(dim=dim, batch_size=max(1, rows // POOLED_ROWS)))
    if name == "hbm stream copy":
        size = rows * dim * 4
        accesses = (
            Access(bench.place, 1, size, random=False),
            Access(bench.place, 1, size, write=True, random=False),
        )
        return GpuKernels(name, bench.at, kernels=1, accesses=accesses)
    return {
        "hbm gather": bench.gather(rows),
        "hbm pooled gather": bench.pool(rows, 0.0, tables=1),
        "hbm coalesced update": bench.unexpanded_update(rows, rows),
    }[name]
