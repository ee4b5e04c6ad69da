"""NCCL between the GPUs of one host: all-to-all and all-reduce by size, a process a GPU.

Through `torch.distributed`, which costs the host some microseconds more than NCCL alone:
`us_submit` while the GPU is idle, `us_submit_busy` while a kernel keeps it at work. All ranks meet
before each call; `ms_event` is the rank that waits least for the others (the latest to come),
`ms_event_last_rank` the one that waits longest; calls back to back are submitted beforehand, so
that no GPU waits for its host. `bytes` is the buffer of a rank; of an all-to-all one share of it
stays where it is.
"""

from __future__ import annotations

import datetime
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simulator.observe.accelerator import CpuTensors, CudaGpu
from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject, spread

__all__ = ["collective_subjects", "collectives"]

_POWERS = tuple(range(12, 29, 2))
_LIMIT_S = 120.0
"""After which ranks that do not come back are ended."""
_IN_A_ROW = 20
_FILLER_CYCLES = 400_000
"""Of a kernel that does nothing, about 0.2 ms: longer than a call of the host."""


def collective_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_nccl.csv`: a pair, and all GPUs of the host where there are more."""
    repeats, count = 10 if gpu.budget.quick else 30, gpu.torch.cuda.device_count()
    return [
        Subject(f"collectives of {n}", "micro_nccl.csv", partial(collectives, "nccl", repeats, n))
        for n in dict.fromkeys((2, count))
    ]


def collectives(
    backend: str, repeats: int, count: int, powers: tuple[int, ...] = _POWERS
) -> Iterator[Row]:
    """Rows of `count` ranks. Raises `RuntimeError` where one fails or does not come back."""
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        ranks = [
            spawn.Process(target=_rank, args=(rank, count, backend, repeats, powers, folder))
            for rank in range(count)
        ]
        for one in ranks:
            one.start()
        _wait(ranks, Path(folder))
        said = [_said(Path(folder), rank) for rank in range(count)]
    if not all(said):
        raise RuntimeError(f"a rank did not come back within {_LIMIT_S:.0f} s")
    yield from _rows(said, repeats)


def _wait(ranks: list[Any], folder: Path) -> None:
    """Until all have ended; ends them where one has failed or the time is up."""
    until = time.monotonic() + _LIMIT_S
    while any(one.is_alive() for one in ranks) and time.monotonic() < until:
        ranks[0].join(0.1)
        if any(one.exitcode for one in ranks):
            break
    for one in ranks:
        if one.is_alive():
            one.kill()
        one.join()


def _said(folder: Path, rank: int) -> dict[str, Any]:
    file = folder / f"rank{rank}.json"
    if not file.is_file():
        return {}
    said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if "error" in said:
        raise RuntimeError(f"rank {rank}: {said['error']}")
    return said


def _rank(
    rank: int, count: int, backend: str, repeats: int, powers: tuple[int, ...], folder: str
) -> None:
    """One process: measures and leaves its samples, or what went wrong, in `folder`."""
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")  # not every host lends multicast
    try:
        said: dict[str, Any] = _measured(rank, count, backend, repeats, powers, folder)
    except Exception as error:  # the parent says it
        said = {"error": f"{type(error).__name__}: {error}"}
    aside = Path(folder) / f"rank{rank}.part"
    aside.write_text(json.dumps(said), encoding="utf-8")
    aside.replace(Path(folder) / f"rank{rank}.json")
    if "error" in said:
        raise SystemExit(1)


def _measured(
    rank: int, count: int, backend: str, repeats: int, powers: tuple[int, ...], folder: str
) -> dict[str, Any]:
    import torch
    from torch import distributed

    cuda = backend == "nccl"
    if cuda:
        torch.cuda.set_device(rank)
    distributed.init_process_group(
        backend,
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=count,
        timeout=datetime.timedelta(seconds=_LIMIT_S / 2),
    )
    ops = CudaGpu(1) if cuda else CpuTensors(1)
    meet = ops.empty((1,))
    said = {}
    for power in powers:
        buffer = ops.empty(((1 << power) // (4 * count) * count,))
        out = buffer.clone()
        calls = {
            "alltoall": partial(distributed.all_to_all_single, out, buffer),
            "allreduce": partial(distributed.all_reduce, buffer),
        }
        for op, call in calls.items():
            said[f"{op} {1 << power}"] = _samples(
                ops, call, partial(distributed.all_reduce, meet), repeats
            )
    distributed.destroy_process_group()
    return said


def _samples(
    ops: CpuTensors, call: Callable[[], object], meet: Callable[[], object], repeats: int
) -> dict[str, Any]:
    """Milliseconds by events, one at a time and in a row; microseconds to submit."""
    alone, submit, busy, in_a_row = [], [], [], []
    for k in range(repeats + 3):
        meet()
        ops.synchronize()
        begin, clock = ops.mark(), time.perf_counter()
        call()
        submitted = (time.perf_counter() - clock) * 1e6
        end = ops.mark()
        ops.synchronize()
        if k >= 3:
            alone.append(ops.between_us(begin, end) / 1e3)
            submit.append(submitted)
    for _ in range(repeats):
        meet()
        ops.synchronize()
        _keep_busy(ops)
        clock = time.perf_counter()
        call()
        busy.append((time.perf_counter() - clock) * 1e6)
        ops.synchronize()
    for _ in range(3):
        meet()
        _keep_busy(ops, _IN_A_ROW)
        begin = ops.mark()
        for _ in range(_IN_A_ROW):
            call()
        end = ops.mark()
        ops.synchronize()
        in_a_row.append(ops.between_us(begin, end) / 1e3 / _IN_A_ROW)
    return {"alone": alone, "submit": submit, "busy": busy, "row": in_a_row}


def _keep_busy(ops: CpuTensors, calls: int = 1) -> None:
    """Keep the GPU at work while so many calls are submitted."""
    if ops.overlaps:
        ops.torch.cuda._sleep(calls * _FILLER_CYCLES)


def _rows(said: list[dict[str, Any]], repeats: int) -> Iterator[Row]:
    for key in said[0]:
        op, size = key.split()[0], int(key.split()[1])
        ranks = [one[key] for one in said]
        alone = np.array([rank["alone"] for rank in ranks])
        first = spread("ms_event", alone.min(axis=0))
        row = max(float(np.median(rank["row"])) for rank in ranks)
        # of the buffer, what leaves a rank: all but its own share, by ring twice
        bus = size * (len(said) - 1) / len(said) * (1.0 if op == "alltoall" else 2.0)
        yield {
            "session": "m1",
            "op": op,
            "impl": "torch.distributed",
            "bytes": size,
            **first,
            "ms_event_last_rank": float(np.median(alone.max(axis=0))),
            "ms_backtoback": row,
            "us_submit": float(np.median([rank["submit"] for rank in ranks])),
            "us_submit_busy": float(np.median([rank["busy"] for rank in ranks])),
            "GBps_event": size / first["ms_event"] / 1e6,
            "GBps_bus_event": bus / first["ms_event"] / 1e6,
            "GBps_bus_backtoback": bus / row / 1e6,
            "note": f"ranks={len(said)}; reps={repeats}; ms_event: the rank that waits least",
        }
