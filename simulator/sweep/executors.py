"""Where tasks run: in this process, in local processes, or where a scheduler of Dask has workers.

All the runner asks for is `submit(fn, *args)`, which gives back a future with `result()` and
`add_done_callback(fn)`: an executor of `concurrent.futures` and a `distributed.Client` do.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Protocol

from simulator._extras import extra_module
from simulator._threads import cores
from simulator.errors import UsageError
from simulator.sweep import work
from simulator.sweep.lifeline import begin_worker
from simulator.sweep.work import Event

__all__ = ["Executor", "FutureLike", "Inline", "LocalPool", "dask_client", "dask_workers"]

Listener = Callable[[Event], None]


class FutureLike(Protocol):
    """What `submit` gives back."""

    def result(self) -> Any:
        """The value, or raises what the task raised; called when it is done."""
        ...

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> Any:
        """Have `fn(future)` called, in any thread, when it is done."""
        ...


class Executor(Protocol):
    """Anything that runs functions elsewhere."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Start `fn(*args)`; a `FutureLike`."""
        ...


class Inline:
    """Runs each task at once, in this process."""

    def __init__(self) -> None:
        self._listener: Listener | None = None

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the events of tasks."""
        self._listener = listener

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            with work.sending(self._listener):
                future.set_result(fn(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalPool:
    """Processes of this machine, for use in a `with` statement.

    They end with the statement, and at once when this process dies, however it does: they hold one
    end of a pipe, whose other end closes with it. A pool that lost a process (killed for memory)
    starts afresh with the next task, with a pipe of its own for the events of tasks: the process
    may have died in the middle of one, or in its turn to send.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        # A fresh interpreter each: a fork of a process with threads (numba, rich) may hang.
        self._context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = self._context.Pipe()
        self._events: Connection | None = None
        """The end of the pool's pipe that its processes write to."""
        self._listener: Listener | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        failed = kind is not None
        if failed:
            self._ours.close()  # the workers leave what they are at
        if self._pool is not None:
            self._pool.shutdown(wait=not failed, cancel_futures=True)
        self._ours.close()
        if self._events is not None:
            self._events.close()
        if self._reader is not None and not failed:
            self._reader.join()

    def begin(self) -> None:
        """Have processes come into being, which takes seconds, while this one goes on."""
        for _ in range(min(self._processes, cores())):
            self.submit(work.be_there)

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the events of tasks, in another thread."""
        self._listener = listener

    def _read(self, events: Connection) -> None:
        """Until nobody can write any more."""
        with events, contextlib.suppress(EOFError, OSError):
            while True:
                event = events.recv()
                if self._listener is not None:
                    self._listener(event)

    def _new_pipe(self) -> Connection:
        """The end that processes write to, of a pipe that is read from now on."""
        if self._events is not None:
            self._events.close()
        ours, self._events = self._context.Pipe(duplex=False)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()
        return self._events

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        if self._pool is not None:
            with contextlib.suppress(BrokenExecutor):
                return self._pool.submit(fn, *args)
            self._pool.shutdown(wait=False)
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=self._context,
            initializer=begin_worker,
            initargs=(self._theirs, self._new_pipe(), self._context.Lock()),
        )
        return self._pool.submit(fn, *args)


@contextmanager
def dask_client(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at `address` ("tcp://host:8786").

    Raises `UsageError` where Dask Distributed is not installed or nobody answers.
    """
    distributed = extra_module("distributed", "--executor dask needs Dask")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong, we tell
    try:
        client = distributed.Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"--scheduler {address}: no Dask scheduler answers ({error})") from error
    try:
        yield client
    finally:
        client.close()


def dask_workers(client: Any) -> tuple[int, int]:
    """Tasks that a Dask cluster runs at a time: in all, and on its busiest machine.

    Raises `UsageError` where it has no workers.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    machines: Counter[str] = Counter()
    for worker in workers:
        machines[worker["host"]] += worker["nthreads"]
    if not machines:
        raise UsageError("the Dask scheduler has no workers: start one with `dask worker ADDRESS`")
    return sum(machines.values()), max(machines.values())
