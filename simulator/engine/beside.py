"""Kernels that timing needs, compiled by other processes while this one draws and replays.

After an installation the model of DRAM takes ten seconds to compile, about as long as the kernels
that replays need first, and one process compiles one kernel at a time. Another process keeps what
it compiled on disk (`simulator._kernel_cache`), where this one finds it. Whatever happens to it,
this one compiles what it lacks. While this one waits for it, a second one begins with the kernel
that SimPy stands for until it is there. A command that is done waits some seconds for that, where
it has been at it for long; what it did not come to is left to the next command.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import simpy

from simulator._compiled import PLAIN, can_be_kept, is_kept
from simulator._threads import cores
from simulator.engine import memory
from simulator.engine.clockwork import run_clockwork
from simulator.hardware import filling
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Demand, Resource, Service
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import frfcfs, measure, patterns
from simulator.hardware.machine import Machine

__all__ = ["await_kernels", "compile_events", "compile_pricing", "compiling_beside"]

MOST_S = 120.0
"""How long to wait for the other process before this one compiles."""
LONG_S, PATIENCE_S = 6.0, 4.0
"""Of about ten seconds: who has compiled for so long is waited for, no longer than that."""
MEMORY = "ddr4_2400"
"""Any memory of the usual controller: kernels are the same for all."""
PRICING: tuple[Any, ...] = (frfcfs.run, patterns.fill_pattern, filling.settle)
"""Without which no point is timed."""
EVENTS: tuple[Any, ...] = (run_clockwork,)
_CODE = """\
import sys
sys.path[:] = {path!r}
from simulator.engine import beside
beside.compile_for_another({work!r})
"""
"""Of the other process: what it imports is what this one does."""


class _Other:
    """Another process, once it has begun, that compiles `kernels`; `work`: its name of that."""

    def __init__(self, work: str, kernels: tuple[Any, ...]) -> None:
        self._work, self._kernels = work, kernels
        self._begun = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def is_needless(self) -> bool:
        """Whether somebody has compiled them, or nobody would find them."""
        return all(is_kept(kernel) or not can_be_kept(kernel) for kernel in self._kernels)

    def begin(self) -> None:
        if self.process is None and not self.is_needless:
            self._begun = time.monotonic()
            code = _CODE.format(path=sys.path, work=self._work)
            none = subprocess.DEVNULL
            with contextlib.suppress(OSError):
                self.process = subprocess.Popen(
                    [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=none, stderr=none
                )

    def wait(self, most_s: float) -> None:
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(most_s)

    @property
    def is_long_at_it(self) -> bool:
        return self.process is not None and time.monotonic() - self._begun > LONG_S

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


_others: list[_Other] = []
"""While a command runs: who compiles `PRICING`, and who compiles `EVENTS`."""


@contextmanager
def compiling_beside() -> Iterator[None]:
    """Meanwhile other processes compile, where nobody has and a core is free for it."""
    pricing, events = _Other("pricing", PRICING), _Other("events", EVENTS)
    if PLAIN or _others or cores() < 2 or (pricing.is_needless and events.is_needless):
        yield
        return
    _others.extend((pricing, events))
    try:
        (events if pricing.is_needless else pricing).begin()
        yield
        if events.is_long_at_it:
            events.wait(PATIENCE_S)
    finally:
        for other in _others:
            other.end()
        _others.clear()


def await_kernels() -> None:
    """Wait until another process, if there is one, has compiled `PRICING`; meanwhile there is a
    core for `EVENTS`."""
    if _others:
        pricing, events = _others
        events.begin()
        pricing.wait(MOST_S)


def compile_pricing() -> None:
    """Compile `PRICING`, with the least work that calls all of it."""
    measure(cast(Dram, load_part(MEMORY)), "gather", 64, 64)
    environment = simpy.Environment()
    machine = Machine(environment, {name: Resource(name, name, "other") for name in "ab"})

    def run(service: str, ps: int) -> Generator[simpy.Event, Any, None]:
        yield from machine.execute(Demand(service, {"a": Service(ps), service: Service(ps)}))

    environment.process(run("a", 2))
    environment.process(run("b", 1))
    environment.run()


def compile_events() -> None:
    """Compile `EVENTS`, with a run in which nobody waits for anything."""
    words = np.zeros(memory.HEAD_SIZE, np.int64)
    words[memory.BEGUN], words[memory.WAKE] = 1, memory.NEVER
    run_clockwork(words, np.zeros(1))


def _end_with_parent() -> None:
    """End this process when the one that began it is gone: the pipe from it closes."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def compile_for_another(work: str) -> None:
    """Compile in a process that another one began, and that ends with it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    {"pricing": compile_pricing, "events": compile_events}[work]()
