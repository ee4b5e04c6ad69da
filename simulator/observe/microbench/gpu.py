"""The GPU's operators: rows in HBM, sort, unique, Plan.

Kernels are those that `observe` trains with (Triton, PyTorch); `impl` names the role that a
calibration knows. L2 is flushed before each kernel that is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.caches import Window
from simulator.observe.lru import LruCache, LruLists, Pools
from simulator.observe.microbench.cpu_bench import POOLED, draw_rows
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import HBM_FILE, Row, Subject, spread

__all__ = ["gpu_subjects"]

_TABLE_BYTES = 40_960_000_000
"""The GPU's table, as large as the CPU's: address translation of a small one is cheaper."""
_KEY_SPACE = 80_000_000
_SORTED = (10_000, 40_960, 100_000, 1_000_000)
_SLOTS = (1_600_000, 4_800_000, 8_000_000)
_TABLES = 8
_PLANS = 14
"""Mini-batches that are planned one after the other."""
_SOFTWARE = "Triton"
_POOLED_UPDATE = "Triton (sorted input, pooled gradients)"

Int64s = npt.NDArray[np.int64]


def gpu_subjects(gpu: GpuBench) -> list[Subject]:
    """Sorts, Plans and operators on rows."""
    return [
        Subject("gpu sorts", "micro_sort.csv", partial(_sorts, gpu)),
        Subject("gpu plans", "micro_plan.csv", partial(_plans, gpu)),
        Subject("gpu rows", HBM_FILE, partial(_operators, gpu)),
    ]


def _operators(gpu: GpuBench) -> Iterator[Row]:
    lookups = gpu.budget.lookups
    counts = (10_000, lookups, 1_000_000) if gpu.budget.quick else (
        1_000, 10_000, 100_000, lookups, 1_000_000, 4_000_000
    )  # fmt: skip
    free, _ = gpu.torch.cuda.mem_get_info()
    flat = gpu.ops.empty((min(_TABLE_BYTES, free // 2) // 4,))
    for dim in gpu.budget.dims:
        table = flat[: len(flat) // dim * dim].view(-1, dim)
        for dist in ("uniform", "zipf0.9"):
            for count in counts:
                if count * dim * 8 < len(flat):
                    yield from _row_operators(gpu, table, count, dist)
    yield from _streams(gpu, flat)


def _row_operators(gpu: GpuBench, table: Any, count: int, dist: str) -> Iterator[Row]:
    ops, dim = gpu.ops, table.shape[1]
    drawn = [draw_rows(len(table), count, dist, seed) for seed in range(2)]
    unique = int(np.mean([len(np.unique(rows)) for rows in drawn]))
    rows = [ops.upload(ids) for ids in drawn]
    buffer = ops.empty((count, dim))
    offsets = ops.upload(np.arange(0, count + 1, POOLED))
    sums = ops.empty((len(offsets), dim))
    pairs = [ops.sort(ids, len(table)) for ids in rows]
    own = ops.upload(np.arange(count, dtype=np.int32))
    bag_of = ops.upload(np.arange(count, dtype=np.int32) // POOLED)
    pooled = {
        "gather": (lambda k: ops.gather(table, rows[k % 2], buffer), "cuda k_gather"),
        "scatter": (lambda k: ops.scatter(table, rows[k % 2], buffer), "cuda k_scatter"),
        "pooled_gather": (lambda k: ops.pool(table, rows[k % 2], offsets, sums), "cuda k_pool"),
        "coalesced_update_red": (
            lambda k: ops.update(table, pairs[k % 2], own, buffer, 1e-3),
            "cuda k_segupd mode1 (sorted input)",
        ),
        "coalesced_update_pooled": (
            lambda k: ops.update(table, pairs[k % 2], bag_of, sums, 1e-3),
            _POOLED_UPDATE,
        ),
    }
    size = count * dim * 4
    traffic = {
        "gather": 2 * size + 8 * count,
        "scatter": 2 * size + 8 * count,
        "pooled_gather": size + size / POOLED + 8 * count,
        "coalesced_update_red": size + 2 * unique * dim * 4 + 12 * count,
        "coalesced_update_pooled": size // POOLED + 2 * unique * dim * 4 + 12 * count,
    }
    for op, (work, impl) in pooled.items():
        times = gpu.time(work)
        note = f"unique={unique}; {_SOFTWARE}" if "update" in op else _SOFTWARE
        yield {
            "op": op, "impl": impl, "dim": dim, "n_rows": count, "dist": dist, **times,
            "payload_GBps": size / times["ms"] / 1e6,
            "traffic_GBps": traffic[op] / times["ms"] / 1e6, "note": note,
        }  # fmt: skip


def _streams(gpu: GpuBench, flat: Any) -> Iterator[Row]:
    for power in (p for p in range(20, 29, 4) if 2 << p <= len(flat)):
        a, b = flat[: 1 << power], flat[1 << power : 2 << power]
        for op, work, passes in (
            ("stream_copy", lambda _, a=a, b=b: b.copy_(a), 2),
            ("stream_write_fill", lambda k, b=b: b.fill_(k), 1),
            ("stream_read_sum", lambda _, a=a: a.sum(), 1),
        ):
            times = gpu.time(work)
            rate = 4 * len(a) / times["ms"] / 1e6
            yield {
                "op": op, "impl": "torch", "dim": 1, "n_rows": len(a), "dist": "seq", **times,
                "payload_GBps": rate, "traffic_GBps": passes * rate,
            }  # fmt: skip


def _sorts(gpu: GpuBench) -> Iterator[Row]:
    torch = gpu.torch
    for dist in ("uniform", "zipf0.9", "zipf1.1"):
        for count in (*_SORTED, gpu.budget.lookups):
            drawn = draw_rows(_KEY_SPACE, count, dist, 0)
            long = gpu.ops.upload(drawn)
            ids = long.to(torch.int32)
            for op, impl, work in (
                ("sort_pairs", "cub radix 32 bit", lambda _, x=ids: torch.sort(x)),
                ("sort", "torch.sort int64", lambda _, x=long: torch.sort(x)),
                ("unique", "torch.unique int32", lambda _, x=ids: torch.unique(x)),
                ("unique_inverse", "torch.unique int64",
                 lambda _, x=long: torch.unique(x, return_inverse=True)),
            ):  # fmt: skip
                facts = {"op": op, "impl": impl, "n": count, "dist": dist}
                yield facts | gpu.time(work) | {"unique": len(np.unique(drawn))}


def _plans(gpu: GpuBench) -> Iterator[Row]:
    """One Plan of the default mini-batch, by slots and share of missed rows."""
    for slots in _SLOTS:
        for share in (0.0, 0.1, 0.5, 1.0):
            yield _plan(gpu, slots, share)


def _plan(gpu: GpuBench, slots: int, share: float) -> Row:
    """Plans of mini-batches that miss `share` of their lookups, one after the other, as training
    replays them: captured once."""
    ops, lookups = gpu.ops, gpu.budget.lookups // _TABLES * _TABLES
    rows, held = _KEY_SPACE // _TABLES, slots // _TABLES
    first = np.arange(_TABLES) * rows
    drawn = [_planned_ids(first, held, lookups, share, batch) for batch in range(_PLANS)]
    resident = (first[:, None] + np.arange(held)).ravel()
    pools = Pools((rows,) * _TABLES, (held,) * _TABLES, Window(3, 2))
    cache = LruCache(ops, pools, resident, drawn)
    ids, lists = ops.upload(drawn[0]), LruLists(ops, lookups)
    bag_of = ops.upload((np.arange(lookups) % _TABLES).astype(np.int32))
    out = ops.empty((lookups,), "int32")
    replay = ops.captured(lambda: ops.plan(cache, ids, bag_of, out, lists))
    samples = []
    for batch in drawn[1 : -pools.window.future]:
        ops.copy(ids, ops.upload(batch))
        ops.synchronize()
        begin = ops.mark()
        replay()
        end = ops.mark()
        ops.synchronize()
        samples.append(ops.between_us(begin, end) / 1e3)
    misses = np.mean([len(np.unique(each[each % rows >= held])) for each in drawn])
    facts = {"slots": held * _TABLES, "n_lookups": lookups, "miss_fraction_target": share}
    return facts | {"misses": max(float(misses), 1e-6)} | spread("ms", samples[2:])


def _planned_ids(first: Int64s, held: int, lookups: int, share: float, batch: int) -> Int64s:
    """Lookups of the tables in turn: resident rows, and for a `share` rows that no mini-batch
    before asked for."""
    rng, each = np.random.default_rng(batch), lookups // _TABLES
    fresh = round(each * share)
    new = held + batch * each + np.arange(fresh)
    old = rng.integers(0, held // 2, (_TABLES, each - fresh))
    rows = np.concatenate([np.broadcast_to(new, (_TABLES, fresh)), old], axis=1)
    ids: Int64s = (first[:, None] + rng.permuted(rows, axis=1)).T.ravel()
    return ids
