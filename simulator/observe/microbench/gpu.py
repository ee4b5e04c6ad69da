"""The GPU and its link: operators on HBM, sort, unique, Plan, MLPs, launches, copies, contention.

Kernels are those that `observe` trains with (Triton, PyTorch); `impl` names the role that a
calibration knows. L2 is flushed before each kernel that is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from simulator.config.catalogue import load_named
from simulator.observe.accelerator import CudaGpu
from simulator.observe.hit_map import HitMap
from simulator.observe.microbench.contention import measure_contention
from simulator.observe.microbench.cpu import LOOKUPS, POOLED, CpuBench, draw_rows
from simulator.observe.microbench.tables import Budget, Row, milliseconds, spread
from simulator.observe.mlp import DenseStep

__all__ = ["measure_gpu"]

_FLUSH_BYTES = 1 << 28
_TABLE_BYTES = 40_960_000_000
"""The GPU's table, as large as the CPU's: address translation of a small one is cheaper."""
_KEY_SPACE = 80_000_000
_SOFTWARE = "Triton"


class _Gpu:
    """CUDA, with timing by events and L2 flushed."""

    def __init__(self, budget: Budget) -> None:
        self.ops = CudaGpu(budget.cores)
        self.torch = self.ops.torch
        self.budget = budget
        self._flush = self.ops.empty((_FLUSH_BYTES // 4,))

    def time(self, work: Callable[[int], object], *, flush: bool = True) -> dict[str, float]:
        """Milliseconds of `work(repetition)` on the current stream, by events."""
        for k in range(2):
            work(k)
        self.torch.cuda.synchronize()
        samples: list[float] = []
        until = time.perf_counter() + self.budget.seconds
        while len(samples) < 5 or (time.perf_counter() < until and len(samples) < 200):
            if flush:
                self._flush.fill_(len(samples))
            begin = self.ops.mark()
            work(len(samples))
            end = self.ops.mark()
            self.torch.cuda.synchronize()
            samples.append(self.ops.between_us(begin, end) / 1e3)
        return spread("ms", samples)


def measure_gpu(bench: CpuBench) -> Iterator[tuple[str, Iterator[Row]]]:
    """Each file of the GPU and its rows; `bench`: the CPU's table, for contention."""
    gpu = _Gpu(bench.budget)
    yield "micro_launch.csv", _launches(gpu)
    yield "micro_pcie.csv", _copies(gpu)
    yield "micro_sort.csv", _sorts(gpu)
    yield "micro_plan.csv", _plans(gpu)
    yield "micro_mlp.csv", _mlps(gpu)
    yield "micro_hbm.csv", _operators(gpu)
    gpu.torch.cuda.empty_cache()
    yield "contention.csv", measure_contention(gpu.ops, bench)


def _operators(gpu: _Gpu) -> Iterator[Row]:
    counts = (10_000, LOOKUPS, 1_000_000) if gpu.budget.quick else (
        1_000, 10_000, 100_000, LOOKUPS, 1_000_000, 4_000_000
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


def _row_operators(gpu: _Gpu, table: Any, count: int, dist: str) -> Iterator[Row]:
    ops, dim = gpu.ops, table.shape[1]
    drawn = [draw_rows(len(table), count, dist, seed) for seed in range(2)]
    unique = int(np.mean([len(np.unique(rows)) for rows in drawn]))
    rows = [ops.upload(ids) for ids in drawn]
    buffer = ops.empty((count, dim))
    offsets = ops.upload(np.arange(0, count + 1, POOLED))
    sums = ops.empty((len(offsets), dim))
    pairs = [ops.sort(ids, len(table)) for ids in rows]
    own = ops.upload(np.arange(count, dtype=np.int32))
    pooled = {
        "gather": (lambda k: ops.gather(table, rows[k % 2], buffer), "cuda k_gather"),
        "scatter": (lambda k: ops.scatter(table, rows[k % 2], buffer), "cuda k_scatter"),
        "pooled_gather": (lambda k: ops.pool(table, rows[k % 2], offsets, sums), "cuda k_pool"),
        "coalesced_update_red": (
            lambda k: ops.update(table, pairs[k % 2], own, buffer, 1e-3),
            "cuda k_segupd mode1 (sorted input)",
        ),
    }
    size = count * dim * 4
    traffic = {
        "gather": 2 * size + 8 * count,
        "scatter": 2 * size + 8 * count,
        "pooled_gather": size + size / POOLED + 8 * count,
        "coalesced_update_red": size + 2 * unique * dim * 4 + 12 * count,
    }
    for op, (work, impl) in pooled.items():
        times = gpu.time(work)
        note = f"unique={unique}; {_SOFTWARE}" if op.endswith("red") else _SOFTWARE
        yield {
            "op": op, "impl": impl, "dim": dim, "n_rows": count, "dist": dist, **times,
            "payload_GBps": size / times["ms"] / 1e6,
            "traffic_GBps": traffic[op] / times["ms"] / 1e6, "note": note,
        }  # fmt: skip


def _streams(gpu: _Gpu, flat: Any) -> Iterator[Row]:
    for power in range(20, 29, 4):
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


def _sorts(gpu: _Gpu) -> Iterator[Row]:
    torch = gpu.torch
    for dist in ("uniform", "zipf0.9", "zipf1.1"):
        for count in (10_000, 40_960, 100_000, LOOKUPS, 1_000_000):
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


def _plans(gpu: _Gpu) -> Iterator[Row]:
    """One Plan of the default mini-batch, by slots and share of missed rows."""
    ops = gpu.ops
    for slots in (1_600_000, 4_800_000, 8_000_000):
        hit_map = HitMap(ops, _KEY_SPACE, slots, LOOKUPS)
        hit_map.preload(ops.upload(np.arange(slots)), ops.upload(np.arange(slots)))
        for share in (0.0, 0.1, 0.5, 1.0):
            yield _plan(gpu, hit_map, slots, share)


def _plan(gpu: _Gpu, hit_map: HitMap, slots: int, share: float) -> Row:
    """Plan a mini-batch that misses `share` of its lookups, and put the Hit-Map back after it."""
    ops, rng = gpu.ops, np.random.default_rng(0)
    hits = rng.integers(0, slots // 2, round(LOOKUPS * (1 - share)))
    misses = np.unique(rng.integers(slots, _KEY_SPACE, LOOKUPS - len(hits)))
    ids = np.concatenate([hits, misses])
    rng.shuffle(ids)
    here = ops.upload(slots // 2 + np.arange(len(misses)))
    gone = ops.upload(misses)
    there = SimpleNamespace(missed_rows=gone, missed_slots=here, victim_rows=here)
    back = SimpleNamespace(missed_rows=here, missed_slots=here, victim_rows=gone)
    out, counts = ops.empty((LOOKUPS,), "int32"), ops.empty((2,), "int32")
    sent, old = ops.upload(ids), ops.upload(rng.integers(0, slots // 2, LOOKUPS))

    def undo() -> None:
        counts.zero_()
        hit_map.plan(old, back, out, counts, 0)
        counts.zero_()

    times = _time_with_undo(gpu, lambda k: hit_map.plan(sent, there, out, counts, k), undo)
    facts = {"slots": slots, "n_lookups": len(ids), "miss_fraction_target": share}
    return facts | {"misses": max(float(len(misses)), 1e-6)} | times


def _time_with_undo(
    gpu: _Gpu, work: Callable[[int], object], undo: Callable[[], object]
) -> dict[str, float]:
    """As `_Gpu.time`, with the state put back, untimed, before each repetition."""
    samples = []
    for k in range(12):
        begin = gpu.ops.mark()
        work(k)
        end = gpu.ops.mark()
        undo()
        gpu.torch.cuda.synchronize()
        if k > 1:
            samples.append(gpu.ops.between_us(begin, end) / 1e3)
    return spread("ms", samples)


def _mlps(gpu: _Gpu) -> Iterator[Row]:
    """Training steps of the default model's MLPs."""
    shapes = [(n, 128) for n in (512, 1024, 2048, 4096, 8192)] + [(2048, 64), (2048, 256)]
    base = load_named("models", "default")
    for batch, dim in shapes:
        for precision in ("fp32", "tf32"):
            change = {"batch_size": batch, "dim": dim, "mlp_precision": precision}
            model = base.model_copy(update=change)
            for graph in (True, False) if (batch, dim) == (2048, 128) else (True,):
                step = DenseStep(model, "cuda", 0, graph=graph)
                yield {
                    "what": "mlp_train_step", "batch": batch, "dim": dim, "precision": precision,
                    "mode": "cuda_graph" if graph else "eager_host_clock",
                    **gpu.time(lambda _, step=step: step.run()),
                }  # fmt: skip


def _launches(gpu: _Gpu) -> Iterator[Row]:
    """Host costs, in microseconds."""
    torch, tiny = gpu.torch, gpu.ops.empty((8,))

    def sync(_: int) -> None:
        tiny.add_(1.0)
        torch.cuda.synchronize()

    def many(_: int) -> None:
        for _k in range(100):
            tiny.add_(1.0)

    graph = torch.cuda.CUDAGraph()
    many(0)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        many(0)
    event = torch.cuda.Event(enable_timing=True)
    for what, work, count in (
        ("empty kernel + stream sync", sync, 1),
        ("torch add_ on 8 floats, back to back (per launch)", many, 100),
        ("event record", lambda _: event.record(), 1),
    ):
        times = milliseconds(work, gpu.budget)
        torch.cuda.synchronize()
        yield {"what": what} | {k.replace("ms", "us"): v * 1e3 / count for k, v in times.items()}
    for what, work in (
        ("cuda graph of 100 tiny kernels (per replay)", lambda _: graph.replay()),
        ("event span around an empty kernel", lambda _: tiny.add_(1.0)),
    ):
        times = gpu.time(work, flush=False)
        yield {"what": what} | {k.replace("ms", "us"): v * 1e3 for k, v in times.items()}


def _copies(gpu: _Gpu) -> Iterator[Row]:
    """Copies of one direction and of both at once, pinned and pageable."""
    torch, ops = gpu.torch, gpu.ops
    for mem in ("pinned", "pageable"):
        for power in range(12, 29, 2):
            size = 1 << power
            pinned = mem == "pinned"
            up = torch.empty(size, dtype=torch.uint8, pin_memory=pinned).fill_(1)
            down = torch.empty(size, dtype=torch.uint8, pin_memory=pinned).fill_(1)
            on_gpu = [ops.empty((size,), "uint8") for _ in range(2)]

            def h2d(_: int, up: Any = up, on_gpu: Any = on_gpu) -> None:
                on_gpu[0].copy_(up, non_blocking=True)

            def d2h(_: int, down: Any = down, on_gpu: Any = on_gpu) -> None:
                down.copy_(on_gpu[1], non_blocking=True)

            for op, work in (("h2d", h2d), ("d2h", d2h)):
                yield _copy_row(op, mem, size, gpu.time(work, flush=False), _wall(gpu, work))
            if pinned:
                yield from _both_ways(gpu, size, h2d, d2h)


def _wall(gpu: _Gpu, work: Callable[[int], object]) -> dict[str, float]:
    def whole(k: int) -> None:
        work(k)
        gpu.torch.cuda.synchronize()

    return milliseconds(whole, gpu.budget)


def _both_ways(
    gpu: _Gpu, size: int, h2d: Callable[[int], None], d2h: Callable[[int], None]
) -> Iterator[Row]:
    samples: dict[str, list[float]] = {"both_h2d": [], "both_d2h": []}
    walls = []
    for k in range(4 + (8 if gpu.budget.quick else 30)):
        begin = time.perf_counter()
        moments = {}
        for op, work in (("both_h2d", h2d), ("both_d2h", d2h)):
            with gpu.ops.stream(op):
                start = gpu.ops.mark()
                work(k)
                moments[op] = (start, gpu.ops.mark())
        gpu.torch.cuda.synchronize()
        if k >= 4:
            walls.append((time.perf_counter() - begin) * 1e3)
            for op, (start, end) in moments.items():
                samples[op].append(gpu.ops.between_us(start, end) / 1e3)
    for op, times in samples.items():
        yield _copy_row(op, "pinned", size, spread("ms", times), spread("ms", walls)) | {
            "note": "wall of both copies"
        }


def _copy_row(
    op: str, mem: str, size: int, event: dict[str, float], wall: dict[str, float]
) -> dict[str, Any]:
    return {
        "op": op,
        "mem": mem,
        "bytes": size,
        **{k.replace("ms", "ms_event"): v for k, v in event.items()},
        **{k.replace("ms", "ms_wall"): v for k, v in wall.items()},
        "GBps_event": size / event["ms"] / 1e6,
        "GBps_wall": size / wall["ms"] / 1e6,
        "note": "",
    }
