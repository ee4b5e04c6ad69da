"""Gradients added to rows one by one where L2 has them, in place of a sort."""

from __future__ import annotations

import dataclasses

import pytest

from simulator.caches.facts import Flow
from simulator.config.catalogue import load_named
from simulator.config.operators import OperatorProfile
from simulator.hardware.devices.gpu_words import Board, GpuKernels
from simulator.hardware.devices.update_words import UPDATE_KERNELS, adds_atomically
from simulator.hardware.program import Accumulate, Buffer, Elsewhere, Store, Update

BOARD = Board("gpu", "gpu.hbm", 40 * 10**6)
TUNED = load_named("operators", "tuned")
assert isinstance(TUNED, OperatorProfile)
ATOMIC = TUNED.model_copy(update={"gpu": TUNED.gpu.model_copy(update={"update": "atomic"})})
ROWS = Flow(lookups=1_000, rows=400)
STORE = Store("tables", "gpu.hbm", 512, 0, 4)
VECTORS = Buffer("gradients", "gpu.hbm", 1_000 * 512)
UPDATE = Update("update", "gpu", STORE, ROWS, VECTORS, 512, True, False)


def kernels(word: Update | Accumulate, software: OperatorProfile = ATOMIC) -> GpuKernels:
    return UPDATE_KERNELS[type(word)](word, software, BOARD)


def reaches_memory(work: GpuKernels) -> int:
    return sum(round(a.count * (1 - a.hit_share)) * a.size for a in work.accesses)


def test_only_sums_of_sgd_need_no_order() -> None:
    assert adds_atomically(ATOMIC, "sgd")
    assert not adds_atomically(ATOMIC, "adagrad")
    assert not adds_atomically(TUNED, "sgd")
    adagrad = dataclasses.replace(UPDATE, optimizer="adagrad")
    assert kernels(adagrad) == kernels(adagrad, TUNED)


def test_a_row_passes_memory_once_each_way_and_l2_for_each_lookup() -> None:
    work = kernels(UPDATE)
    lists = 1_000 * (ATOMIC.id_bytes + 4)
    assert reaches_memory(work) == lists + 1_000 * 512 + 2 * 400 * 512
    assert sum(a.bytes for a in work.accesses) == lists + 1_000 * 512 + 2 * 1_000 * 512
    assert (work.kernels, work.sorts * work.sort_pairs) == (1, 0)


def test_rows_elsewhere_are_added_to_there() -> None:
    other = dataclasses.replace(STORE, name="far", memory="cpu.dram")
    work = kernels(
        dataclasses.replace(UPDATE, elsewhere=Elsewhere(other, Flow(lookups=50, rows=20)))
    )
    away = [a for a in work.accesses if a.memory == "cpu.dram"]
    assert sum(a.bytes for a in away) == 2 * 50 * 512
    assert sum(a.count for a in away if not a.hit_share) == 2 * 20


@pytest.mark.parametrize("repeats", [0, 600])
def test_sums_are_cleared_added_to_and_converted(repeats: int) -> None:
    rows = Flow(lookups=400 + repeats, rows=400)
    work = kernels(Accumulate("sum", "gpu", VECTORS, rows, 512, False, 4))
    lists, gradients = rows.lookups * (ATOMIC.id_bytes + 4), rows.lookups * 512
    assert reaches_memory(work) == lists + gradients + 5 * 400 * 512
    assert work.kernels == 3
