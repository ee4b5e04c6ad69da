"""Kernels that timing needs, compiled by another process while this one draws and replays.

After an installation the model of DRAM takes ten seconds to compile, about as long as the kernels
that replays need first, and one process compiles one kernel at a time. The other process keeps
what it compiled on disk (`simulator._kernel_cache`), where this one finds it. Whatever happens to
it, this one compiles what it lacks.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import simpy

from simulator._compiled import PLAIN, is_kept
from simulator._threads import cores
from simulator.hardware import filling
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Demand, Resource, Service
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import frfcfs, measure, patterns
from simulator.hardware.machine import Machine

__all__ = ["await_kernels", "compile_all", "compiling_beside"]

MOST_S = 120.0
"""How long to wait for the other process before this one compiles."""
MEMORY = "ddr4_2400"
"""Any memory of the usual controller: kernels are the same for all."""
KERNELS: tuple[Any, ...] = (frfcfs.run, patterns.fill_pattern, filling.settle)

_begun: list[subprocess.Popen[bytes]] = []


@contextmanager
def compiling_beside() -> Iterator[None]:
    """Meanwhile another process compiles `KERNELS`, where nobody has and a core is free for it."""
    if PLAIN or cores() < 2 or all(is_kept(kernel) for kernel in KERNELS):
        yield
        return
    command = [sys.executable, "-m", "simulator.engine.beside"]
    none = subprocess.DEVNULL
    with contextlib.suppress(OSError):
        _begun.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=none, stderr=none))
    try:
        yield
    finally:
        for process in _begun:
            process.kill()
            process.communicate()
        _begun.clear()


def await_kernels() -> None:
    """Wait until the other process, if there is one, has compiled."""
    for process in _begun:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(MOST_S)


def compile_all() -> None:
    """Compile `KERNELS`, with the least work that calls them all."""
    measure(cast(Dram, load_part(MEMORY)), "gather", 64, 64)
    environment = simpy.Environment()
    machine = Machine(environment, {name: Resource(name, name, "other") for name in "ab"})

    def run(service: str, ps: int) -> Generator[simpy.Event, Any, None]:
        yield from machine.execute(Demand(service, {"a": Service(ps), service: Service(ps)}))

    environment.process(run("a", 2))
    environment.process(run("b", 1))
    environment.run()


def _end_with_parent() -> None:
    """End this process when the one that began it is gone: the pipe from it closes."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compile_all()
