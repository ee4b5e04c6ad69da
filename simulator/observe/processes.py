"""Processes of ranks: started, waited for, and what they measured brought back."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from simulator.config.experiment import PointConfig
from simulator.errors import UsageError
from simulator.observe.accelerator import open_accelerator
from simulator.observe.clock import Measured
from simulator.observe.extra import require_torch
from simulator.observe.inputs import draw, prepare
from simulator.observe.ranks import RankTrainer, slowest
from simulator.observe.rows import Floats, use_threads

__all__ = ["RankJob", "require_ranks", "train_ranks"]

PATIENCE = timedelta(minutes=3)
"""How long a rank waits for the others in a collective."""


@dataclass(frozen=True)
class RankJob:
    """What the ranks of one point do."""

    point: PointConfig
    device: str
    ranks: int
    threads: int
    """Of the host, for all ranks."""
    repeats: int = 1
    keep_tables: bool = False


def require_ranks(point: PointConfig, device: str, ranks: int) -> None:
    """Raise `UsageError` where a point on several GPUs cannot be trained here."""
    samples = point.model.batch_size
    if samples % ranks:
        raise UsageError(
            f"observe shares a mini-batch equally, but {samples} samples are not a multiple of "
            f"{ranks} GPUs: --set model.batch_size={samples // ranks * ranks or ranks}"
        )
    there = require_torch().cuda.device_count() if device == "cuda" else ranks
    if there < ranks:
        raise UsageError(
            f"{point.system.label} takes {ranks} GPUs, but there are {there} here: "
            f"systems: [{{name: gpu_only, gpus: {there}}}]"
        )
    if point.operators.gpu.expand or point.operators.gpu.kernels_per_table:
        raise UsageError(
            "observe trains on several GPUs with fused operators alone: --set operators=observed"
        )


def train_ranks(job: RankJob) -> tuple[list[Measured], Floats | None]:
    """Train a point on several GPUs, a process each: the slowest rank's times of each repeat, and
    the tables after the last, shape (rows, dim and state), where they are asked for.

    Raises `RuntimeError` with the first rank's error where one fails; the others are ended then.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="scratchpipe-ranks-") as name:
        folder = Path(name)
        ranks = [
            context.Process(target=_rank, args=(job, rank, folder), daemon=True)
            for rank in range(job.ranks)
        ]
        for process in ranks:
            process.start()
        _wait(ranks)
        failed = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.error"))]
        if failed:
            raise RuntimeError(failed[0].strip())
        if any(process.exitcode for process in ranks):
            codes = ", ".join(str(process.exitcode) for process in ranks)
            raise RuntimeError(f"a rank ended without a word (exit codes {codes})")
        done = [pickle.loads((folder / f"{rank}.done").read_bytes()) for rank in range(job.ranks)]
    measured = [slowest(repeat) for repeat in zip(*(times for times, _ in done), strict=True)]
    return measured, _joined(job, [tables for _, tables in done]) if job.keep_tables else None


def _wait(ranks: Sequence[Any]) -> None:
    """Until all are done, or one has failed and the rest are ended."""
    try:
        while any(process.is_alive() for process in ranks):
            if any(process.exitcode for process in ranks):
                time.sleep(2.0)  # the others may have something to say, too
                break
            time.sleep(0.05)
    finally:
        for process in ranks:
            if process.is_alive():
                process.terminate()
            process.join()


def _joined(job: RankJob, parts: Sequence[dict[int, Floats]]) -> Floats:
    tables: dict[int, Floats] = {}
    for part in parts:
        tables |= part
    return np.concatenate([tables[table] for table in range(job.point.model.tables)])


def _rank(job: RankJob, rank: int, folder: Path) -> None:
    """The whole life of one rank; says on a file what came of it."""
    try:
        done = _train(job, rank, folder)
    except BaseException as error:
        text = f"rank {rank}: {type(error).__name__}: {error}"
        (folder / f"{rank}.error").write_text(text, encoding="utf-8")
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # not through the end of a process group whose other ranks may hang
    (folder / f"{rank}.done").write_bytes(pickle.dumps(done))


def _train(job: RankJob, rank: int, folder: Path) -> tuple[list[Measured], dict[int, Floats]]:
    torch = require_torch()
    threads = use_threads(max(1, job.threads // job.ranks))
    cuda = job.device == "cuda"
    if cuda:
        os.environ["NCCL_NVLS_ENABLE"] = "0"
        torch.cuda.set_device(rank)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    inputs = prepare(job.point, draw(job.point, threads), threads)
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=job.ranks,
        timeout=PATIENCE,
    )
    measured, tables = [], {}
    for _ in range(job.repeats):
        trainer = RankTrainer(inputs, open_accelerator(job.device, threads), rank)
        torch.distributed.barrier()
        measured.append(trainer.run())
        if job.keep_tables:
            sizes = [job.point.model.rows_per_table[table] for table in trainer.tables]
            parts = trainer.rows.cpu().split(sizes)
            tables = {t: p.numpy().copy() for t, p in zip(trainer.tables, parts, strict=True)}
        del trainer
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
    torch.distributed.destroy_process_group()
    return measured, tables
