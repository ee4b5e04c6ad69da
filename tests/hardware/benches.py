"""The H200 server on flat memories, and words with numbers that a person can redo."""

from __future__ import annotations

import dataclasses
from typing import Any

from machines import catalogue_part, changed, host, one_channel, socket, topology

from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.hardware.demand import Demand
from simulator.hardware.program import Buffer, Flow, Operation, Pool, Store, Update
from simulator.hardware.topology import Topology

XEON, H200, LINK = (
    catalogue_part(name) for name in ("h200_vm_xeon", "h200_sxm5_141gb", "h200_vm_pcie5_x16")
)
DRAM, HBM = "cpu.dram", "gpu.hbm"
TUNED: OperatorProfile = load_named("operators", "tuned")
PAPER: OperatorProfile = load_named("operators", "paper")


def bench(
    threads: int | None = None,
    *,
    cpu: dict[str, Any] | None = None,
    gpu: dict[str, Any] | None = None,
    link: dict[str, Any] | None = None,
    pools: int = 1,
) -> Topology:
    """The H200 server on flat memories of 1000 GB/s, HBM of one channel, with changed keys of its
    parts."""
    board = {"memory": one_channel("h200_sxm5_141gb")} | (gpu or {})
    pcie = changed("h200_vm_pcie5_x16", **(link or {}))
    return topology(
        host(
            cpu=changed("h200_vm_xeon", **(cpu or {})),
            gpu=changed("h200_sxm5_141gb", **board),
            pcie=socket(pcie, join=("cpu", "gpu")),
        ),
        threads=threads,
        pools=pools,
    )


def price(machine: Topology, word: Operation, software: OperatorProfile = TUNED) -> Demand:
    """What an operation asks of a machine."""
    return machine.price(word, software)


LOOKUPS, UNIQUE, DIM = 8 * 20 * 2048, 1000, 512
POOLED = 2048 * 8 * DIM
ROWS = Flow(LOOKUPS, UNIQUE)


def store(place: str, state: int = 0, slotted: bool = False) -> Store:
    return Store("rows", place, DIM, state, tables=8, slotted=slotted)


def buffer(place: str, size: int) -> Buffer:
    return Buffer("b", place, size)


def pool(at: str, place: str, **changes: Any) -> Pool:
    word = Pool("gather_reduce", at, store(place), ROWS, buffer(place, POOLED), 20)
    return dataclasses.replace(word, **changes)


def update(at: str, place: str, state: int = 0, **changes: Any) -> Update:
    word = Update("update", at, store(place, state), ROWS, buffer(place, POOLED), DIM, False, False)
    return dataclasses.replace(word, **changes)
