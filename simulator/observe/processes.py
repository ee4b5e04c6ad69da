"""Processes of ranks, one a GPU: started once, they train one point after the other.

They share what takes long to set up: the process group, the host's memory, the mini-batches that
were drawn last. Threads of the host are shared equally; where the CPU's work is one for all GPUs,
the first process has all but one for each of the others.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from simulator.config.point import PointConfig
from simulator.engine.sharing import trace_key
from simulator.errors import UsageError
from simulator.observe.accelerator import open_accelerator
from simulator.observe.arena import Arena
from simulator.observe.clock import BatchCountsSeen, Measured
from simulator.observe.extra import require_torch
from simulator.observe.inputs import Drawn, Inputs, draw, of_rank, prepare
from simulator.observe.peers import Peers
from simulator.observe.rows import Floats, use_threads
from simulator.observe.trainer import Trainer
from simulator.observe.workspace import Place

__all__ = ["RankJob", "Ranks", "require_ranks", "slowest"]

PATIENCE = timedelta(minutes=3)
"""How long a rank waits for the others in a collective."""
_ENVIRONMENT = {"NCCL_NVLS_ENABLE": "0", "CUDA_DEVICE_MAX_CONNECTIONS": "32"}
"""Of a process with a GPU: no multicast, which not every host lends; a queue of its own for each
stream of a pipeline and of NCCL (of the 8 by default some streams would share one, and wait)."""
_SHARED_MEMORY = Path("/dev/shm")
"""Where files are memory, on Linux."""


@dataclass(frozen=True)
class RankJob:
    """What the ranks do with one point."""

    point: PointConfig
    threads: int
    """Of the host, for all ranks."""
    repeats: int = 1
    keep_tables: bool = False
    keeps_host_table: bool = True
    """Whether the program has rows on the host."""


@dataclass(frozen=True)
class _Done:
    """What one rank says of a job."""

    times: tuple[Measured, ...] = ()
    tables: dict[int, Floats] | None = None
    error: str = ""


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
            f"systems: [{{name: {point.system.name}, gpus: {there}}}]"
        )
    if point.model.sharding != "table":
        raise UsageError("observe trains whole tables: --set model.sharding=table")


class Ranks:
    """The processes of `ranks` GPUs of kind `device` (`cuda`, or `cpu` for tensors in their
    place), each its own; a context that ends them."""

    def __init__(self, device: str, ranks: int) -> None:
        self.device, self.count = device, ranks
        context = multiprocessing.get_context("spawn")
        where = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        self._folder = tempfile.TemporaryDirectory(prefix="scratchpipe-ranks-", dir=where)
        self._ends: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(ranks):
            here, there = context.Pipe()
            arguments = (there, device, rank, ranks, Path(self._folder.name))
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            there.close()
            self._ends.append(here)
            self._processes.append(process)

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def train(self, job: RankJob) -> tuple[tuple[Measured, ...], Floats | None]:
        """Train a point: the slowest rank's times of each repeat, and the tables after the last,
        shape (rows, dim and state), where they are asked for.

        Raises `RuntimeError` with the first rank's error where one fails; all are ended then.
        """
        for end in self._ends:
            with suppress(OSError):  # of a process that has ended: its answer says so
                end.send(job)
        done = self._answers()
        errors = [each.error for each in done if each.error]
        if errors:
            self.close()
            raise RuntimeError(errors[0])
        times = zip(*(each.times for each in done), strict=True)
        measured = tuple(slowest(repeat) for repeat in times)
        return measured, _joined(job, [each.tables or {} for each in done])

    def _answers(self) -> list[_Done]:
        """What each rank says, by rank; once one fails the others have a moment to say why, too."""
        said: dict[int, _Done] = {}
        while len(said) < self.count:
            missing = [end for rank, end in enumerate(self._ends) if rank not in said]
            failed = any(done.error for done in said.values())
            ready = wait(missing, timeout=2.0 if failed else None)
            if not ready:
                break
            for end in ready:
                rank = self._ends.index(end)  # type: ignore[arg-type]
                said[rank] = self._answer(rank)
        return [said[rank] for rank in sorted(said)]

    def _answer(self, rank: int) -> _Done:
        try:
            done: _Done = self._ends[rank].recv()
        except (EOFError, OSError):
            self._processes[rank].join()
            code = self._processes[rank].exitcode
            return _Done(error=f"rank {rank} ended without a word (exit code {code})")
        return done

    def close(self) -> None:
        """End all processes."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(timeout=0.5)
            if process.is_alive():
                process.terminate()
            process.join()
        self._folder.cleanup()


def slowest(ranks: Sequence[Measured]) -> Measured:
    """The times of the slowest rank, of each iteration and each stage; what all did together."""
    first = ranks[0]
    return Measured(
        {number: max(r.iteration_us[number] for r in ranks) for number in first.iteration_us},
        {key: max(r.stage_us[key] for r in ranks) for key in first.stage_us},
        {number: _sum([r.counts[number] for r in ranks if r.counts]) for number in first.counts},
    )


def _sum(counts: Sequence[BatchCountsSeen]) -> BatchCountsSeen:
    def total(name: str) -> Any:
        values = [getattr(each, name) for each in counts]
        return None if None in values else sum(values)

    return BatchCountsSeen(*map(total, BatchCountsSeen.__slots__))


def _joined(job: RankJob, parts: Sequence[dict[int, Floats]]) -> Floats | None:
    if not job.keep_tables:
        return None
    tables: dict[int, Floats] = {}
    for part in parts:
        tables |= part
    return np.concatenate([tables[table] for table in range(job.point.model.tables)])


def _serve(end: Connection, device: str, rank: int, ranks: int, folder: Path) -> None:
    """The life of one rank: jobs until the other end is closed, or one fails."""
    try:
        process = _Rank(device, rank, ranks, folder)
        while True:
            try:
                job = end.recv()
            except EOFError:
                break
            end.send(process.train(job))
    except BaseException as error:
        traceback.print_exc()
        sys.stderr.flush()
        with suppress(OSError):
            end.send(_Done(error=f"rank {rank}: {type(error).__name__}: {error}"))
        os._exit(1)  # not through the end of a process group whose other ranks may hang
    os._exit(0)


class _Rank:
    """One process: what it keeps from job to job."""

    def __init__(self, device: str, rank: int, ranks: int, folder: Path) -> None:
        torch = require_torch()
        self._device, self._rank = device, rank
        cuda = device == "cuda"
        if cuda:
            os.environ |= _ENVIRONMENT
            torch.cuda.set_device(rank)
        elif sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.distributed.init_process_group(
            "nccl" if cuda else "gloo",
            init_method=f"file://{folder / 'meeting'}",
            rank=rank,
            world_size=ranks,
            timeout=PATIENCE,
            device_id=torch.device("cuda", rank) if cuda else None,
        )
        torch.distributed.barrier()
        self._peers = Peers(open_accelerator(device, 1), rank, ranks, folder)
        self._ranks = ranks
        self._arena = Arena()
        self._drawn: tuple[str, Drawn] | None = None

    def train(self, job: RankJob) -> _Done:
        """All repeats of a job."""
        threads = use_threads(max(1, job.threads // self._ranks))
        key = trace_key(job.point)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, draw(job.point, threads)
        inputs = of_rank(prepare(job.point, self._drawn[1], threads), self._rank)
        if inputs.share.together:
            threads = use_threads(max(1, job.threads - self._ranks + 1) if self._rank == 0 else 1)
        times, tables = [], None
        for _ in range(job.repeats):
            trainer = Trainer(inputs, self._place(job, inputs, threads))
            measured = trainer.run()
            if inputs.share.together and self._rank:
                measured.counts.clear()  # those of the first are those of all
            times.append(measured)
            tables = _by_table(inputs, trainer) if job.keep_tables else None
            del trainer
            gc.collect()
            if self._device == "cuda":
                require_torch().cuda.empty_cache()
        return _Done(tuple(times), tables)

    def _place(self, job: RankJob, inputs: Inputs, threads: int) -> Place:
        """Where it trains; of tables that all ranks have, the first has the rows."""
        table = None
        if job.keeps_host_table:
            rows_here = self._rank == 0 or not inputs.share.together
            table = self._arena.take(inputs.share, threads, filled=rows_here)
        return Place(open_accelerator(self._device, threads), table, threads, self._peers)


def _by_table(inputs: Inputs, trainer: Trainer) -> dict[int, Floats]:
    """The rows of each table that the rank has trained."""
    share = inputs.share
    if share.together and share.rank:
        return {}
    ends = np.cumsum(share.model.rows_per_table)[:-1]
    return dict(zip(share.tables, np.split(trainer.tables(), ends), strict=True))
