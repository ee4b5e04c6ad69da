"""The Triton kernels against NumPy, and systems that launch them, on Triton's interpreter: no GPU
needed.

In a process of its own: Triton reads `TRITON_INTERPRET` when a kernel is defined.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("torch_there")

CHECKS = '''
import numpy as np
import torch
from simulator.observe import kernels_gpu as kernels

rng = np.random.default_rng(0)
tensor = torch.from_numpy


def check_update():
    """Runs longer than a span, runs that end with the list, ids below 0, and a dim of no power."""
    for n, rows, dim in ((1000, 50, 16), (1003, 400, 12), (77, 3, 8)):
        ids = rng.integers(-1, rows, n).astype(np.int32)
        bags = (np.arange(n) // 5).astype(np.int32)
        gradients = rng.random((n, dim)).astype(np.float32)
        before = rng.random((rows, dim)).astype(np.float32)
        after = before.astype(np.float64)
        np.subtract.at(after, ids[ids >= 0], 0.1 * gradients[bags[ids >= 0]])
        table = tensor(before.copy())
        pairs = torch.sort(tensor(ids))
        kernels.coalesced_update(table, pairs, tensor(bags), tensor(gradients), 0.1, "sgd")
        assert np.allclose(table.numpy(), after, atol=1e-5)


def check_adagrad():
    """Runs of any length, cut ones among them: weights and state as the CPU's kernel has them."""
    from simulator.observe import rows as host

    for optimizer, state in (("adagrad", 12), ("rowwise_adagrad", 1)):
        for n, rows in ((1003, 40), (1024, 3), (77, 60), (20, 4)):
            ids = np.sort(rng.integers(-1, rows, n)) if n == 77 else rng.integers(-1, rows, n)
            bags = (np.arange(n) // 5).astype(np.int32)
            gradients = rng.random((n, 12)).astype(np.float32)
            before = rng.random((rows, 12 + state)).astype(np.float32)
            there = np.flatnonzero(ids >= 0)
            expected = before.copy()
            pairs = host.sort_pairs(ids[there], rows, 1)
            host.coalesced_update(expected, pairs, bags[there], gradients, 0.1, 1, optimizer)
            table, sent = tensor(before.copy()), (tensor(bags), tensor(gradients))
            pairs = torch.sort(tensor(ids.astype(np.int32)))
            kernels.coalesced_update(table, pairs, *sent, 0.1, optimizer)
            assert np.allclose(table.numpy(), expected, rtol=1e-5, atol=1e-5), (optimizer, n)


def check_split_and_pool():
    """Hot lookups are pooled, cold ones listed bag by bag."""
    sizes = rng.integers(0, 80, 40)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n, rows, slots, dim = int(offsets[-1]), 300, 90, 12
    ids = rng.integers(0, rows, n)
    slot_of = np.full(rows, -1, np.int32)
    slot_of[rng.permutation(rows)[:slots]] = np.arange(slots)
    found, cold = torch.zeros(n, dtype=torch.int32), torch.zeros(40, dtype=torch.int32)
    args = (tensor(ids), tensor(slot_of), tensor(offsets), found)
    kernels.count_cold[(40,)](*args, cold, B=32)
    assert np.array_equal(found.numpy(), slot_of[ids])
    starts = torch.zeros(41, dtype=torch.int64)
    starts[1:] = torch.cumsum(cold, 0)
    cold_ids, cold_bags = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int32)
    kernels.place_cold[(40,)](args[0], found, args[2], starts, cold_ids, cold_bags, B=32)
    missing = slot_of[ids] < 0
    count = int(missing.sum())
    assert int(starts[-1]) == count
    assert np.array_equal(cold_ids.numpy()[:count], ids[missing])
    bags = np.repeat(np.arange(40), sizes)
    assert np.array_equal(cold_bags.numpy()[:count], bags[missing])
    table = rng.random((slots, dim)).astype(np.float32)
    expected = np.zeros((40, dim))
    np.add.at(expected, bags[~missing], table[slot_of[ids[~missing]]])
    out = torch.zeros((40, dim))
    kernels.pool[(40,)](tensor(table), found, args[2], out, dim, dim, D=16, C=8)
    assert np.allclose(out.numpy(), expected, atol=1e-4)


def check_moves():
    table = rng.random((70, 12)).astype(np.float32)
    rows = rng.permutation(70)[:21]
    out = torch.zeros((21, 12))
    kernels.gather[(3,)](tensor(table), tensor(rows), out, 21, 12, D=16, R=8)
    assert np.array_equal(out.numpy(), table[rows])
    values = rng.random((21, 12)).astype(np.float32)
    kernels.scatter[(3,)](tensor(table), tensor(rows), tensor(values), 21, 12, D=16, R=8)
    assert np.array_equal(table[rows], values)


def check_hit_map():
    ids = rng.integers(0, 500, 700)
    slot_of = np.where(np.arange(500) % 3 == 0, np.arange(500) // 3, -1).astype(np.int32)
    winner, counts = torch.zeros(500, dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    missed = torch.zeros(700, dtype=torch.int64)
    kernels.mark[(3,)](tensor(ids), winner, 700, B=256)
    kernels.find[(3,)](tensor(ids), winner, tensor(slot_of), missed, counts, 700, B=256)
    unique = np.unique(ids)
    misses = unique[slot_of[unique] < 0]
    assert counts.tolist() == [len(unique), len(misses)]
    assert np.array_equal(np.sort(missed.numpy()[: len(misses)]), misses)
    age, idle = rng.integers(0, 9, 10_000).astype(np.int32), torch.zeros(1, dtype=torch.int32)
    kernels.count_idle[(3,)](tensor(age), idle, 10_000, 4, B=4096)
    assert int(idle) == int((age < 4).sum())


def check_plan():
    """Triton's Plan and the plain one, mini-batch by mini-batch: the same rows move, the same slots
    are stamped, whatever slot a row gets; pools of several programs, free slots, places of two
    digits, windows."""
    from simulator.caches import Window
    from simulator.observe import kernels_lru, lru
    from simulator.observe.accelerator import CpuTensors

    gpu = CpuTensors(1)
    for rows, slots, lookups, window, filled in (
        ((300, 500), (150, 260), 2, Window(3, 2), True),
        ((9_000, 40), (5_000, 40), 40, Window(1, 1), False),
        ((90, 70, 80), (70, 60, 65), 2, Window(0, 2), True),
    ):
        tables = len(rows)
        bases, samples = np.cumsum((0, *rows[:-1])), 12
        bag_of = np.repeat(np.arange(samples * tables, dtype=np.int32), lookups)
        table = bag_of % tables
        skew = rng.random((9, len(table))) ** 2
        ids = [(skew[k] * np.array(rows)[table]).astype(np.int64) + bases[table] for k in range(9)]
        resident = np.concatenate(
            [b + np.where(np.arange(s) < filled * s * 0.8, np.arange(s), -1 - b)
             for b, s in zip(bases, slots)]
        )
        pools = lru.Pools(rows, slots, window)
        plain, fast = (lru.LruCache(gpu, pools, resident, ids) for _ in range(2))
        work = kernels_lru.LruScratch(gpu, fast)
        mine, other = (lru.LruLists(gpu, len(table)) for _ in range(2))
        for number, keys in enumerate(ids):
            out = [torch.zeros(len(keys), dtype=torch.int32) for _ in range(2)]
            lru.plan(plain, tensor(keys), out[0], mine)
            kernels_lru.plan(fast, work, tensor(keys), tensor(bag_of), out[1], other)
            assert torch.equal(plain.host_counts, fast.host_counts), number
            assert plain.counted(number, "short") == 0
            for name, count in (("missed_rows", "misses"), ("write_rows", "victims")):
                n = plain.counted(number, count)
                pair = [np.sort(getattr(x, name).numpy()[:n]) for x in (mine, other)]
                assert np.array_equal(*pair), (number, name)
            assert np.array_equal(fast.row_of.numpy()[out[1].numpy()], keys)
            assert np.array_equal(np.sort(plain.row_of), np.sort(fast.row_of))
            where = plain.slot_of.numpy() >= 0
            stamps = [c.stamp.numpy()[c.slot_of.numpy()[where]] for c in (plain, fast)]
            assert np.array_equal(*stamps), number
            n = fast.counted(number, "misses")
            given = fast.slot_of.numpy()[other.missed_rows[:n]]
            assert np.array_equal(given, other.missed_slots[:n])
            target = torch.full((n + 3,), -5)
            kernels_lru.send_list(fast, other.missed_rows, target, "misses")
            assert torch.equal(target[:n], other.missed_rows[:n]) and (target[n:] == -5).all()


check_plan()
check_adagrad()
check_update()
check_split_and_pool()
check_moves()
check_hit_map()
'''


SYSTEMS = '''
import numpy as np
from training import experiment, tables_of, trainer_of
from simulator.config.expand import expand
from simulator.observe import kernels_gpu, kernels_lru
from simulator.observe.accelerator import CpuTensors, CudaGpu


class Interpreted(CudaGpu):
    """Launches as on CUDA, without its streams, graphs and page-locked memory."""

    device = "cpu"

    def __init__(self):
        CpuTensors.__init__(self, 1)
        self._kernels, self._lru, self._scratch = kernels_gpu, kernels_lru, {}

    staging, stream, mark = CpuTensors.staging, CpuTensors.stream, CpuTensors.mark
    between_us, captured = CpuTensors.between_us, CpuTensors.captured
    synchronize = CpuTensors.synchronize


run = {"batches": 3, "warmup_batches": 1, "cpu_threads": 1}
for changes in ({}, {"trace": {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"}}):
    changes = changes | {"run": run, "cache": {"fraction": 0.4, "prefill": "hot"}}
    expected = tables_of(systems=["hybrid"], **changes)["hybrid"]
    for point in expand(experiment(**changes)):
        trainer = trainer_of(point, Interpreted())
        trainer.run()
        assert np.allclose(trainer.tables(), expected, rtol=0, atol=1e-6), point.system.label
'''


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("checks", [CHECKS, SYSTEMS], ids=["kernels", "systems"])
def test_kernels_equal_numpy(checks: str, tmp_path: Path) -> None:
    script = tmp_path / "checks.py"
    script.write_text(checks)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
